//! All servers.

use axum::Extension;
use axum::extract::State;
use futures::{StreamExt, stream};
use indicatif::HumanBytes;
use maud::{Markup, html};
use pitr::engine::Error;
use pitr::model::ServerName;
use pitr::service::ServerStatus;

use super::{Failure, badge};
use crate::Portal;
use crate::auth::Session;

/// How many servers are looked at at once.
const AT_ONCE: usize = 8;

pub(crate) async fn page(
    State(portal): State<Portal>,
    Extension(session): Extension<Session>,
) -> Result<Markup, Failure> {
    let servers = portal.service.servers().await?;
    let looked = stream::iter(servers).map(async |server| {
        let status = portal.service.status(&server).await;
        (server, status)
    });
    let servers: Vec<_> = looked.buffered(AT_ONCE).collect().await;
    let main = html! {
        @if servers.is_empty() { p { "None is protected here: " code { "pitrctl protect" } " begins with one." } }
        @else {
            div.wide { table {
                thead { tr { th { "Server" } th { "Health" } th { "Restorable from" } th { "until" } th { "Retention" } th.number { "Stored" } } }
                tbody { @for (server, status) in &servers { (row(server, status)) } }
            } }
        }
    };
    Ok(super::page("Servers", &session, &main))
}

fn row(server: &ServerName, status: &Result<ServerStatus, Error>) -> Markup {
    let name = html! { th scope="row" { a href=(format!("/servers/{server}")) { (server) } } };
    match status {
        Err(error) => html! { tr { (name) td colspan="5" { (error) } } },
        Ok(status) => html! {
            tr {
                (name)
                td { (badge(status.health.status)) }
                @for instant in [status.earliest, status.latest] {
                    td { @if let Some(instant) = instant { time datetime=(instant) { (instant) } } @else { "–" } }
                }
                td { (status.config.spec.retention.days()) " days" }
                td.number { (HumanBytes(status.usage.total())) }
            }
        },
    }
}
