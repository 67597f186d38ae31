//! What both programs show alike.

use std::fmt;
use std::str::FromStr;

use pitr::adapter::system;
use pitr::engine::Error;
use pitr::model::{OrderPhase, RestoreRun, ServerName};
use pitr::plan::usage::BillingTerms;
use pitr::plan::{RestorePlan, SvgOptions, timeline_svg};
use pitr::service::BackupService;

/// The timeline of a server over its retention, and what a plan takes of it.
pub(crate) async fn timeline(
    service: &BackupService,
    server: &ServerName,
    plan: Option<&RestorePlan>,
) -> Result<String, Error> {
    let server = service.repository().server(server).await?;
    let (catalog, retention) = (server.inventory().await?.catalog, server.spec().await?.retention);
    let now = system().clock.now();
    let options = SvgOptions::default().window(now.saturating_sub(retention.duration()), now);
    let options = plan.map_or(options, |plan| options.plan(plan));
    Ok(timeline_svg(&catalog, options))
}

/// How far a restore is that is not over.
pub(crate) fn stage(run: &RestoreRun) -> &'static str {
    match (&run.order.phase, &run.route) {
        (OrderPhase::Cancelled { .. }, _) => "what it made is being removed",
        (OrderPhase::Made, _) => "the server is there, and is being protected",
        (_, Some(_)) => "files and log are being restored",
        _ => "it waits for whoever serves with --servers",
    }
}

/// The price of a GiB for a month.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Price(f64);

impl Price {
    pub(crate) fn terms(self) -> BillingTerms {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was compared with its bounds")]
        BillingTerms::new((self.0 * 1e6).round() as u64)
    }
}

impl FromStr for Price {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let price = text.parse().ok().filter(|price| (0.0..=1e9).contains(price));
        price.map(Self).ok_or_else(|| format!("{text} is no price"))
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Millionths in whole hundredths.
pub(crate) fn money(micros: u128) -> String {
    format!("{}.{:02}", micros / 1_000_000, micros / 10_000 % 100)
}
