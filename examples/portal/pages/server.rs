//! One server.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use indicatif::HumanBytes;
use maud::{Markup, PreEscaped, html};
use pitr::engine::Restores;
use pitr::model::{RetentionDays, ServerConfig, ServerName, Snapshot};
use pitr::plan::RestorePlan;
use pitr::service::{RestorePoints, ServerStatus, ServerUsage};

use super::restore::state;
use super::{Failure, badge, manage};
use crate::auth::Session;
use crate::shared::{Price, money, timeline};
use crate::{Portal, chart};

/// For how long past it is shown what was stored.
const PAST: Duration = Duration::from_secs(35 * 24 * 60 * 60);
const RETENTIONS: [u8; 5] = [7, 14, 21, 28, 35];

pub(crate) async fn page(
    State(portal): State<Portal>,
    Extension(session): Extension<Session>,
    Path(server): Path<ServerName>,
) -> Result<Markup, Failure> {
    let service = &portal.service;
    let status = service.status(&server).await?;
    let (points, usage) = (service.restore_points(&server).await?, service.usage(&server, PAST).await?);
    let (restores, picture) = (service.restores(&server).await?, picture(&portal, &server, None).await?);
    let main = html! {
        (health(&status, &points))
        section {
            h2 { "What can be restored" }
            (picture)
            (asking(&server, &status))
            (snapshots(&server, &points))
        }
        @if !restores.runs.is_empty() { (restores_of(&server, &restores)) }
        section { h2 { "What backups take" } div.wide { (chart::usage(&usage)) } (costs(&usage, portal.price)) }
        (configuration(&server, &status.config))
        (manage::section(&server, &session, &status.config, &points)?)
    };
    Ok(super::page(server.as_str(), &session, &main))
}

fn health(status: &ServerStatus, points: &RestorePoints) -> Markup {
    let (config, holes) =
        (&status.config, points.windows.first().map_or(0, |window| window.intervals.len().saturating_sub(1)));
    html! {
        p.lead {
            (badge(status.health.status)) " "
            @match (status.earliest, status.latest) {
                (Some(earliest), Some(latest)) => { "Every instant from " time { (earliest) } " to " time { (latest) } @if holes > 0 { ", but for " (holes) " holes," } " can be restored." }
                _ => { "No instant can be restored yet." }
            }
            @if let Some(at) = config.paused_at { " Backups are paused since " time { (at) } "." }
            @if let Some(deletion) = &config.deletion { " It is " (deletion) "." }
        }
        @if !status.health.findings.is_empty() {
            ul.findings { @for finding in &status.health.findings { li { (badge(finding.status())) " " strong { (finding) } br; (finding.advice()) } } }
        }
    }
}

/// The timeline, of which a click asks for the plan to that instant.
pub(super) async fn picture(
    portal: &Portal,
    server: &ServerName,
    plan: Option<&RestorePlan>,
) -> Result<Markup, Failure> {
    let drawn = PreEscaped(timeline(&portal.service, server, plan).await?);
    Ok(
        html! { figure.timeline data-plan=(format!("/servers/{server}/plan")) { div.wide { (drawn) } figcaption { "Click an instant, or a snapshot, to see what its restore would take." } } },
    )
}

/// The same without a picture.
fn asking(server: &ServerName, status: &ServerStatus) -> Markup {
    let place = format!("/servers/{server}/plan");
    html! {
        form.row method="get" action=(place) {
            label for="value" { "Instant, with its offset" }
            input id="value" name="value" value=[status.latest] placeholder="2026-11-24T14:02:59+01:00" required;
            button name="to" value="time" { "Plan its restore" }
            button.plain name="to" value="before" { "Just before it" }
        }
        p { a href=(format!("{place}?to=latest")) { "The end of the log" } " · " a href=(format!("{place}?to=earliest")) { "The first snapshot" } }
    }
}

fn snapshots(server: &ServerName, points: &RestorePoints) -> Markup {
    let link = |snapshot: &Snapshot| format!("/servers/{server}/plan?to=snapshot&value={}", snapshot.id);
    html! {
        details {
            summary { (points.snapshots.len()) @if points.snapshots.len() == 1 { " snapshot" } @else { " snapshots" } }
            div.wide { table {
                thead { tr { th { "Snapshot" } th { "Consistent at" } th.number { "Size" } th.number { "Added" } } }
                tbody { @for snapshot in points.snapshots.iter().rev() { tr {
                    th scope="row" { a href=(link(snapshot)) { (snapshot.id) } }
                    td { time { (snapshot.consistent_at) } }
                    td.number { (HumanBytes(snapshot.logical_bytes)) }
                    td.number { (HumanBytes(snapshot.added_bytes())) }
                } } }
            } }
        }
    }
}

fn restores_of(server: &ServerName, restores: &Restores) -> Markup {
    html! {
        section {
            h2 { "Restores" }
            ul { @for run in restores.runs.iter().rev() { li {
                a href=(format!("/servers/{server}/restores/{}", run.order.id)) { (run.order.spec.name) }
                ", " (run.order.spec.target) ": " (state(run))
            } } }
        }
    }
}

fn costs(usage: &ServerUsage, price: Price) -> Markup {
    let terms = price.terms();
    let forecast = |days: &u8| {
        RetentionDays::new(*days).map(|days| usage.rates.forecast(days, usage.provisioned_bytes, &terms)).ok()
    };
    html! {
        p { (usage.now) "; " (HumanBytes(usage.provisioned_bytes)) " are free." }
        div.wide { table {
            caption { "What another retention would take in the long run, at " (price) " for a GiB and month" }
            thead { tr { th { "Retention" } th.number { "Stored" } th.number { "Charged" } th.number { "A month" } } }
            tbody { @for forecast in RETENTIONS.iter().filter_map(forecast) { tr {
                th scope="row" { (forecast.retention.days()) " days" @if forecast.retention == usage.retention { " (now)" } }
                td.number { (HumanBytes(forecast.total_bytes)) }
                td.number { (HumanBytes(forecast.excess_bytes)) }
                td.number { (money(forecast.monthly_charge_micros)) }
            } } }
        } }
    }
}

fn configuration(server: &ServerName, config: &ServerConfig) -> Markup {
    let (spec, schedule) = (&config.spec, &config.schedule);
    html! {
        section {
            h2 { "Configuration" }
            dl {
                dt { "PostgreSQL" } dd { (spec.postgres) }
                dt { "Retention" } dd { (spec.retention.days()) " days" }
                dt { "Snapshots" } dd { "every " (schedule.snapshot_every.as_secs() / 3600) " hours, one of them about " (schedule.snapshot_at) " UTC" }
                dt { "Log backups" } dd { "every " (schedule.log_backup_every.as_secs()) " s" }
                dt { "Test restores" } dd { @match schedule.test_restore_every { Some(every) => { "every " (every.as_secs() / 3600) " hours" } None => { "none by schedule" } } }
            }
            p { a href=(format!("/servers/{server}/changes")) { "Who changed what" } }
        }
    }
}
