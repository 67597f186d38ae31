//! What a form can change. That it is meant was made sure of before.

use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Redirect;
use pitr::model::{Caller, Change, ConfigUpdate, LockKind, RequestId, RestoreSpec, RetentionDays, ServerName};
use serde::Deserialize;

use crate::Portal;
use crate::pages::{Failure, Point, read};

/// Who asks, for the record of changes.
const BY: &str = "portal";

#[derive(Deserialize)]
pub(crate) struct Order {
    #[serde(flatten)]
    point: Point,
    name: String,
    /// Drawn when the form was made: whoever sends it twice, orders once.
    request: RequestId,
    replaces: Option<String>,
}

pub(crate) async fn restore(
    State(portal): State<Portal>,
    Path(server): Path<ServerName>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failure> {
    let spec = RestoreSpec::new(read(&order.name)?, order.point.target()?);
    let spec = if order.replaces.is_some() { spec.replacing_original() } else { spec };
    let caller = Caller::new(BY, order.request.clone());
    portal.service.restore(&server, &caller, spec).await??;
    Ok(Redirect::to(&format!("/servers/{server}/restores/{}", order.request)))
}

/// One of the other changes.
#[derive(Deserialize)]
pub(crate) struct Wish {
    what: String,
    request: RequestId,
    #[serde(default)]
    name: String,
    #[serde(default)]
    snapshot: String,
    kind: Option<LockKind>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    days: String,
}

impl Wish {
    fn change(self, server: &ServerName) -> Result<Change, Failure> {
        let unknown = || Failure::new(StatusCode::BAD_REQUEST, "nobody knows this change");
        let another = "nothing was deleted: this is not the server's name";
        Ok(match self.what.as_str() {
            "snapshot" => Change::RequestSnapshot,
            "pause" => Change::Pause,
            "resume" => Change::Resume,
            "retention" => Change::Configure(Box::new(ConfigUpdate::new().retention(days(&self.days)?))),
            "hold" => Change::PlaceHold { snapshot: read(&self.snapshot)?, name: self.name, until: None },
            "release" => Change::ReleaseHold { snapshot: read(&self.snapshot)?, name: self.name },
            "lock" => {
                Change::PlaceLock { name: read(&self.name)?, kind: self.kind.ok_or_else(unknown)?, reason: self.reason }
            }
            "unlock" => Change::RemoveLock { name: read(&self.name)? },
            "undelete" => Change::Undelete,
            "delete" if self.name == server.as_str() => Change::Delete,
            "delete" => return Err(Failure::new(StatusCode::BAD_REQUEST, another)),
            _ => return Err(unknown()),
        })
    }
}

/// A retention, as it is typed or chosen.
pub(crate) fn days(text: &str) -> Result<RetentionDays, Failure> {
    let days = RetentionDays::new(read(text)?);
    days.map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error.to_string()))
}

pub(crate) async fn change(
    State(portal): State<Portal>,
    Path(server): Path<ServerName>,
    Form(wish): Form<Wish>,
) -> Result<Redirect, Failure> {
    let caller = Caller::new(BY, wish.request.clone());
    let change = wish.change(&server)?;
    let is_gone = matches!(change, Change::Delete);
    portal.service.change(&server, &caller, change).await?;
    Ok(if is_gone { Redirect::to("/") } else { Redirect::to(&format!("/servers/{server}")) })
}

#[derive(Deserialize)]
pub(crate) struct Cancel {
    request: RequestId,
}

pub(crate) async fn cancel(
    State(portal): State<Portal>,
    Path((server, restore)): Path<(ServerName, RequestId)>,
    Form(Cancel { request }): Form<Cancel>,
) -> Result<Redirect, Failure> {
    let place = format!("/servers/{server}/restores/{restore}");
    portal.service.change(&server, &Caller::new(BY, request), Change::CancelRestore { restore }).await?;
    Ok(Redirect::to(&place))
}
