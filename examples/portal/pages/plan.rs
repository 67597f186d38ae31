//! What a restore would take, and the order for it.

use axum::Extension;
use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use pitr::model::ServerName;
use pitr::plan::{RestorePlan, RestoreRequest};

use super::{Failure, Point, request, server, sign};
use crate::Portal;
use crate::auth::Session;

pub(crate) async fn page(
    State(portal): State<Portal>,
    Extension(session): Extension<Session>,
    Path(name): Path<ServerName>,
    Query(point): Query<Point>,
) -> Result<Markup, Failure> {
    let explanation = portal.service.explain(&name, &RestoreRequest::new(point.target()?)).await??;
    let plan = explanation.outcome.as_ref().ok();
    let picture = server::picture(&portal, &name, plan).await?;
    let request = request()?;
    let main = html! {
        (picture)
        @match &explanation.outcome {
            Ok(plan) => { (order(&name, &session, &point, plan, &request)) }
            Err(refusal) => { p.bad role="alert" { (refusal) } }
        }
        section { h2 { "Why so" } pre.wide { (explanation) } }
        p { a href=(format!("/servers/{name}")) { "Back to " (name) } }
    };
    Ok(super::page(&format!("Restore {name}"), &session, &main))
}

fn order(server: &ServerName, session: &Session, point: &Point, plan: &RestorePlan, request: &Markup) -> Markup {
    let cost = plan.cost();
    html! {
        p.lead { "To " strong { (plan.target()) } ": about " strong { (cost.estimated_duration.as_secs().max(1)) " s" } ", for "
            (indicatif::HumanBytes(cost.bytes_to_fetch)) " in " (cost.objects) " objects, and "
            (indicatif::HumanBytes(cost.wal_bytes_to_replay)) " of log to replay." }
        form.card method="post" action=(format!("/servers/{server}/restore")) {
            (sign(session))
            input type="hidden" name="to" value=(point.to);
            input type="hidden" name="value" value=(point.value);
            (request)
            label for="name" { "The name of the new server" }
            input id="name" name="name" required pattern="[a-z0-9]([a-z0-9\\-]{0,61}[a-z0-9])?" value=(format!("{server}-restored"));
            label { input type="checkbox" name="replaces" value="yes"; " It is to take the place of the original" }
            button { "Restore" }
        }
    }
}
