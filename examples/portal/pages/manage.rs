//! What can be changed of a server, and what is shown before it is.

use axum::Extension;
use axum::extract::{Path, Query, State};
use indicatif::HumanBytes;
use maud::{Markup, html};
use pitr::model::{ConfigUpdate, RetentionDays, ServerConfig, ServerName};
use pitr::service::RestorePoints;
use serde::Deserialize;

use super::{Failure, request, sign};
use crate::auth::Session;
use crate::{Portal, actions};

/// A form that asks for one change.
struct Asking<'a> {
    server: &'a ServerName,
    session: &'a Session,
}

impl Asking<'_> {
    fn form(&self, what: &str, class: &str, fields: &Markup) -> Result<Markup, Failure> {
        Ok(html! {
            form class=(class) method="post" action=(format!("/servers/{}/change", self.server)) {
                (sign(self.session)) (request()?)
                input type="hidden" name="what" value=(what);
                (fields)
            }
        })
    }

    fn button(&self, what: &str, label: &str, fields: &Markup) -> Result<Markup, Failure> {
        self.form(what, "inline", &html! { (fields) button.plain { (label) } })
    }
}

/// Everything that can be changed, beside how it is.
pub(super) fn section(
    server: &ServerName,
    session: &Session,
    config: &ServerConfig,
    points: &RestorePoints,
) -> Result<Markup, Failure> {
    let asking = Asking { server, session };
    if config.deletion.is_some() {
        return asking.form("undelete", "row", &html! { button { "Undo its deletion" } });
    }
    let (pause, label) =
        if config.paused_at.is_some() { ("resume", "Resume backups") } else { ("pause", "Pause backups") };
    Ok(html! {
        section {
            h2 { "Change it" }
            div.row { (asking.button("snapshot", "Take a snapshot now", &html! {})?) (asking.button(pause, label, &html! {})?) }
            form.row method="get" action=(format!("/servers/{server}/retention")) {
                label for="days" { "Retention in days" }
                input id="days" name="days" type="number" min=(RetentionDays::MIN.days()) max=(RetentionDays::MAX.days()) value=(config.spec.retention.days()) required;
                button.plain { "See what that changes" }
            }
            (locks(&asking, config)?)
            (holds(&asking, config, points)?)
            p { a.bad href=(format!("/servers/{server}/delete")) { "Delete its backups" } }
        }
    })
}

fn locks(asking: &Asking<'_>, config: &ServerConfig) -> Result<Markup, Failure> {
    let fields = html! {
        label for="lock" { "Lock" }
        input id="lock" name="name" required pattern="[A-Za-z0-9][A-Za-z0-9\\-]*" placeholder="production";
        label for="kind" { "which forbids to" }
        select id="kind" name="kind" { option value="CanNotDelete" { "delete" } option value="ReadOnly" { "change or delete" } }
        label for="reason" { "because" }
        input id="reason" name="reason";
        button.plain { "Place" }
    };
    Ok(html! {
        @for lock in &config.locks {
            div.row { span { (lock) } (asking.button("unlock", "Remove", &html! { input type="hidden" name="name" value=(lock.name); })?) }
        }
        (asking.form("lock", "row", &fields)?)
    })
}

fn holds(asking: &Asking<'_>, config: &ServerConfig, points: &RestorePoints) -> Result<Markup, Failure> {
    let fields = html! {
        label for="snapshot" { "Hold snapshot" }
        select id="snapshot" name="snapshot" { @for snapshot in points.snapshots.iter().rev() { option { (snapshot.id) } } }
        label for="hold" { "as" }
        input id="hold" name="name" required placeholder="audit";
        button.plain { "Hold" }
    };
    Ok(html! {
        @for hold in &config.holds {
            @let release = html! { input type="hidden" name="name" value=(hold.name); input type="hidden" name="snapshot" value=(hold.snapshot); };
            div.row {
                span { "Hold " (hold.name) " on " (hold.snapshot) @if let Some(at) = hold.released_at { ", released at " (at) } }
                @if hold.released_at.is_none() { (asking.button("release", "Release", &release)?) }
            }
        }
        @if !points.snapshots.is_empty() { (asking.form("hold", "row", &fields)?) }
    })
}

#[derive(Deserialize)]
pub(crate) struct Days {
    days: String,
}

/// What another retention deletes or spares, before it is set.
pub(crate) async fn retention(
    State(portal): State<Portal>,
    Extension(session): Extension<Session>,
    Path(server): Path<ServerName>,
    Query(Days { days }): Query<Days>,
) -> Result<Markup, Failure> {
    let retention = actions::days(&days)?;
    let effects = portal.service.preview(&server, &ConfigUpdate::new().retention(retention)).await?;
    let asking = Asking { server: &server, session: &session };
    let fields = html! { input type="hidden" name="days" value=(retention.days()); button { "Keep every instant for " (retention.days()) " days" } };
    let main = html! {
        p.lead { "It deletes " strong { (effects.newly_expired.len()) " objects, " (HumanBytes(effects.newly_freed_bytes)) } ", and spares " (effects.newly_kept.len()) "." }
        @if let Some(from) = effects.promised_from { p { "Promised from then on: every instant from " time { (from) } "." } }
        (asking.form("retention", "card", &fields)?)
        details { summary { "What would be kept, and why" } pre.wide { (effects.plan) } }
        p { a href=(format!("/servers/{server}")) { "Back to " (server) } }
    };
    Ok(super::page(&format!("Retention of {server}"), &session, &main))
}

/// Whoever deletes types the server's name.
pub(crate) async fn delete(
    State(portal): State<Portal>,
    Extension(session): Extension<Session>,
    Path(server): Path<ServerName>,
) -> Result<Markup, Failure> {
    let config = portal.service.status(&server).await?.config;
    let asking = Asking { server: &server, session: &session };
    let fields = html! { label for="name" { "The server's name" } input id="name" name="name" required autocomplete="off"; button { "Delete all of its backups" } };
    let main = html! {
        @match config.delete_grace.as_secs() {
            0 => { p.bad { "Their key is destroyed at once: nobody can restore anything of it any more." } }
            grace => { p.bad { "Their key is destroyed in " (grace / 3600) " hours. Until then it can be undone." } }
        }
        (asking.form("delete", "card", &fields)?)
        p { a href=(format!("/servers/{server}")) { "Back to " (server) } }
    };
    Ok(super::page(&format!("Delete {server}"), &session, &main))
}
