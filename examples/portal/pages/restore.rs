//! A restore, as it goes on.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use indicatif::HumanBytes;
use maud::{Markup, html};
use pitr::model::{FollowUp, OrderPhase, RequestId, RestoreOutcome, RestoreRun, ServerName};

use super::{Failure, request, sign};
use crate::Portal;
use crate::auth::Session;
use crate::shared::stage;

pub(crate) async fn page(
    State(portal): State<Portal>,
    Extension(session): Extension<Session>,
    Path((server, restore)): Path<(ServerName, RequestId)>,
) -> Result<Markup, Failure> {
    let run = find(&portal, &server, &restore).await?;
    let place = format!("/servers/{server}/restores/{restore}");
    let main = html! {
        p.lead { "From " a href=(format!("/servers/{server}")) { (server) } ", to " strong { (run.order.spec.target) } ", ordered at " time { (run.order.at) } " by " (run.order.by) "." }
        div data-live=(format!("{place}/progress")) aria-live="polite" { (shown(&portal, &run)) }
        @if run.ended_at.is_none() && matches!(run.order.phase, OrderPhase::Ordered) {
            form method="post" action=(format!("{place}/cancel")) { (sign(&session)) (request()?) button.plain { "Cancel" } }
        }
        noscript { p { a href=(place) { "Look again" } } }
    };
    Ok(super::page(&format!("Restore as {}", run.order.spec.name), &session, &main))
}

/// What changes of the page.
pub(crate) async fn progress(
    State(portal): State<Portal>,
    Path((server, restore)): Path<(ServerName, RequestId)>,
) -> Result<Markup, Failure> {
    Ok(shown(&portal, &find(&portal, &server, &restore).await?))
}

async fn find(portal: &Portal, server: &ServerName, restore: &RequestId) -> Result<RestoreRun, Failure> {
    let runs = portal.service.restores(server).await?.runs;
    let missing = || Failure::new(StatusCode::NOT_FOUND, format!("there is no restore {restore} of {server}"));
    runs.into_iter().find(|run| run.order.id == *restore).ok_or_else(missing)
}

fn shown(portal: &Portal, run: &RestoreRun) -> Markup {
    let is_over = run.ended_at.is_some();
    html! {
        div.card data-over=[is_over.then_some("yes")] {
            p { strong { (state(run)) } }
            @if let Some(progress) = portal.live.progress(&run.order.id).filter(|_| !is_over) {
                progress max=(progress.bytes_total.max(1)) value=(progress.bytes) {}
                p { (HumanBytes(progress.bytes)) " of " (HumanBytes(progress.bytes_total)) }
            }
            @if let (Some(failure), false) = (&run.failure, is_over) { p.bad { "It failed " (run.failures) " times, and is tried again: " (failure) } }
            @if let Some(RestoreOutcome::Made(server)) = &run.outcome {
                p { "It is reached at " code { (server.endpoint) } }
                @if is_over { p { a href=(format!("/servers/{}", run.order.spec.name)) { "To " (run.order.spec.name) } } }
                h2 { "What is left to do" }
                ol { @for FollowUp { task, is_done, .. } in &server.tasks { li class=(if *is_done { "done" } else { "open" }) { (task) @if *is_done { " – done" } br; small { (task.why()) } } } }
            }
        }
    }
}

/// How far it is, in a few words.
pub(super) fn state(run: &RestoreRun) -> String {
    match run.outcome.as_ref().filter(|_| run.ended_at.is_some()) {
        Some(RestoreOutcome::Made(_)) => "made".to_owned(),
        Some(outcome) => outcome.to_string(),
        None => stage(run).to_owned(),
    }
}
