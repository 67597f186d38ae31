//! What backups take.

use std::fmt::{self, Display};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use indicatif::HumanBytes;
use pitr::model::{RetentionDays, ServerName};
use pitr::plan::usage::{DayUsage, Forecast, Usage};
use serde::Serialize;

use crate::exit::{Failure, Result};
use crate::shared::{Price, money};
use crate::world::{AT_ONCE, World};

/// The retentions of which is said what they would cost.
const RETENTIONS: [u8; 4] = [7, 14, 21, 35];

#[derive(Serialize)]
struct Report {
    server: ServerName,
    stored: Usage,
    provisioned_bytes: u64,
    days: Vec<DayUsage>,
    forecasts: Vec<Forecast>,
}

pub(crate) async fn run(world: &World, server: &ServerName, days: u16, price: Price) -> Result<()> {
    let terms = price.terms();
    let report = world.service.usage(server, Duration::from_secs(86_400) * u32::from(days)).await?;
    let mut retentions = RETENTIONS.to_vec();
    retentions.push(report.retention.days());
    retentions.sort_unstable();
    retentions.dedup();
    let forecast = |days: u8| {
        let retention = RetentionDays::new(days).ok()?;
        Some(report.rates.forecast(retention, report.provisioned_bytes, &terms))
    };
    let forecasts = retentions.into_iter().filter_map(forecast).collect();
    let (stored, provisioned_bytes) = (report.now, report.provisioned_bytes);
    world.output.say(&Report { server: server.clone(), stored, provisioned_bytes, days: report.days, forecasts })
}

/// What all servers take.
pub(crate) async fn fleet(world: &World, price: Price) -> Result<()> {
    let terms = price.terms();
    let servers = stream::iter(world.service.servers().await?).map(async |server| {
        let usage = world.service.usage(&server, Duration::ZERO).await?;
        let forecast = usage.rates.forecast(usage.retention, usage.provisioned_bytes, &terms);
        Ok(Share { server, stored: usage.now, provisioned_bytes: usage.provisioned_bytes, forecast })
    });
    let servers: Vec<_> = servers.buffered(AT_ONCE).try_collect().await.map_err(|error: Failure| error)?;
    let stored = servers.iter().map(|share| share.stored).sum();
    world.output.say(&Fleet { servers, stored })
}

#[derive(Serialize)]
struct Fleet {
    servers: Vec<Share>,
    stored: Usage,
}

/// What one of several takes.
#[derive(Serialize)]
struct Share {
    server: ServerName,
    stored: Usage,
    provisioned_bytes: u64,
    /// With its retention.
    forecast: Forecast,
}

impl Display for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "server                   stored        free   in the long run   a month")?;
        for Share { server, stored, provisioned_bytes, forecast } in &self.servers {
            let [stored, free, later] =
                [stored.total(), *provisioned_bytes, forecast.total_bytes].map(|bytes| HumanBytes(bytes).to_string());
            let charge = money(forecast.monthly_charge_micros);
            writeln!(f, "{:<20} {stored:>10} {free:>11} {later:>17} {charge:>9}", server.as_str())?;
        }
        let charge = money(self.servers.iter().map(|share| share.forecast.monthly_charge_micros).sum());
        let later: u64 = self.servers.iter().map(|share| share.forecast.total_bytes).sum();
        let [stored, later] = [self.stored.total(), later].map(|bytes| HumanBytes(bytes).to_string());
        write!(f, "{:<20} {stored:>10} {:>11} {later:>17} {charge:>9}", "all", "")
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stored)?;
        // Before the first backup there is nothing to tell.
        let days = self.days.iter().skip_while(|day| day.maximum == 0);
        days.clone().try_for_each(|day| write!(f, "\n  {:.10}  {}", day.day.to_string(), self.bar(day)))?;
        if self.provisioned_bytes > 0 {
            write!(f, "\n              {:>10}  {FREE} is free", HumanBytes(self.provisioned_bytes).to_string())?;
        }
        write!(f, "\nretention      stored     charged   a month")?;
        self.forecasts.iter().try_for_each(|forecast| write!(f, "\n{}", row(forecast)))?;
        match self.forecasts.first().map(|forecast| forecast.observed_days) {
            Some(days) if days < 7 => write!(f, "\nknown by {days} whole days only: it will be more"),
            _ => Ok(()),
        }
    }
}

/// The longest bar.
const BAR: u64 = 40;
const FREE: char = '|';

impl Report {
    /// What was there at the end of the day, drawn beside what is free.
    fn bar(&self, day: &DayUsage) -> String {
        let total = day.at_end.total();
        let scale =
            self.days.iter().map(|day| day.at_end.total()).chain([self.provisioned_bytes, 1]).max().unwrap_or(1);
        let length = |bytes: u64| usize::try_from(u128::from(bytes) * u128::from(BAR) / u128::from(scale)).unwrap_or(0);
        let mut bar: Vec<char> = std::iter::repeat_n('=', length(total)).collect();
        if self.provisioned_bytes > 0 {
            bar.resize(bar.len().max(length(self.provisioned_bytes) + 1), ' ');
            bar[length(self.provisioned_bytes)] = FREE;
        }
        let bar: String = bar.into_iter().collect();
        format!("{:>10}  {bar}", HumanBytes(total).to_string())
    }
}

fn row(forecast: &Forecast) -> String {
    let [stored, charged] = [forecast.total_bytes, forecast.excess_bytes].map(|bytes| HumanBytes(bytes).to_string());
    let (days, charge) = (forecast.retention.days(), money(forecast.monthly_charge_micros));
    format!("  {days:>2} days {stored:>11} {charged:>11} {charge:>9}")
}
