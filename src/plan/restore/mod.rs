//! Restores: from a request to the best way there, or to a refusal that says what is possible instead.

mod considered;
mod cost;
mod error;
mod explain;
mod refuse;
mod request;
mod resolve;
mod restore_plan;
mod route;
mod search;

pub use considered::{Considered, ConsistentFrom, Explanation, Verdict, explain_restore};
pub use cost::{Cost, CostModel, Objective};
pub use error::{PlanError, Point};
pub use request::RestoreRequest;
pub use restore_plan::{Answer, PlannedLog, RecoveryTarget, RestorePlan, SnapshotChoice};

use self::search::Search;
use crate::model::{Catalog, Snapshot};
pub use crate::model::{Target, TimelineChoice};

/// Finds the artifacts that restore what `request` asks for, the best ones by its objective; the page of [`plan`](super) has
/// the rules.
///
/// The same catalog and request always give the same plan. Takes time logarithmic in the number of log backups where these do
/// not overlap, linear in the number of snapshots and in the size of the plan.
///
/// # Errors
/// If that cannot be restored: why, and what can be. Never is anything else planned instead.
pub fn plan_restore(catalog: &Catalog, request: &RestoreRequest) -> Result<RestorePlan, PlanError> {
    let search = Search::new(catalog, request)?;
    let goal = search.goal(request)?;
    search.plan(request, &goal)
}

/// The snapshots that can each be restored by itself.
pub(crate) fn restorable_snapshots(catalog: &Catalog) -> impl Iterator<Item = &Snapshot> {
    catalog.snapshots().filter(|snapshot| {
        let request = RestoreRequest::new(Target::Snapshot(snapshot.id.clone()));
        plan_restore(catalog, &request.of_incarnation(snapshot.incarnation)).is_ok()
    })
}
