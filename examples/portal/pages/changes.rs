//! Who changed what.

use axum::Extension;
use axum::extract::{Path, State};
use maud::{Markup, html};
use pitr::model::ServerName;

use super::Failure;
use crate::Portal;
use crate::auth::Session;

pub(crate) async fn page(
    State(portal): State<Portal>,
    Extension(session): Extension<Session>,
    Path(server): Path<ServerName>,
) -> Result<Markup, Failure> {
    let changes = portal.service.changes(&server).await?;
    let main = html! {
        @for (object, error) in &changes.unreadable { p.bad { (object) ": " (error) } }
        div.wide { table {
            thead { tr { th.number { "" } th { "When" } th { "What" } th { "By" } th { "Request" } } }
            tbody { @for change in changes.changes.iter().rev() { tr {
                td.number { (change.revision) }
                td { time { (change.at) } }
                td { (change.change) }
                td { (change.caller.by) }
                td { code { (change.caller.request) } }
            } } }
        } }
        p { a href=(format!("/servers/{server}")) { "Back to " (server) } }
    };
    Ok(super::page(&format!("Changes of {server}"), &session, &main))
}
