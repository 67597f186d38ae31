//! Planning: from a request to the fastest way there.

use super::candidate::{Candidate, Obstacle};
use super::evidence::Stop;
use super::path::Path;
use super::refuse;
use super::request::{RestoreRequest, Target, TimelineChoice};
use super::route::{RecoveryTarget, RestorePlan, Route, SnapshotChoice};
use super::window::TICK;
use super::{CostModel, PlanError};
use crate::model::{Branch, Catalog, Lsn, SnapshotId, Timestamp};

/// Finds the artifacts that restore what `request` asks for, as fast as possible; the module's page has the rules.
///
/// The same catalog and request always give the same plan. Takes time logarithmic in the number of log backups, linear in
/// the number of snapshots and in the size of the plan.
///
/// # Errors
/// If that cannot be restored: why, and what can be. Never is anything else planned instead.
pub fn plan_restore(catalog: &Catalog, request: &RestoreRequest) -> Result<RestorePlan, PlanError> {
    let RestoreRequest { target, costs, .. } = request;
    let branch = branch(catalog, request)?;
    let path = &Path::new(catalog, branch).ok_or_else(|| unknown(catalog, branch))?;
    let (route, recovery) = match target {
        Target::Earliest => earliest(path, costs)?,
        Target::Latest => latest(path, costs)?,
        Target::Time { at, inclusive } => time(path, costs, *at, *inclusive)?,
        Target::Lsn(lsn) => position(path, costs, *lsn)?,
        Target::Snapshot(id) => snapshot(path, costs, id)?,
    };
    Ok(route.plan(path, target, recovery))
}

type Planned<'p, 'a> = Result<(Route<'p, 'a>, RecoveryTarget), PlanError>;

fn earliest<'p, 'a>(path: &'p Path<'a>, costs: &CostModel) -> Planned<'p, 'a> {
    let first = path.candidates().last().ok_or_else(|| refuse::nothing(path))?;
    Ok(consistent(path, costs, first, SnapshotChoice::Earliest))
}

fn latest<'p, 'a>(path: &'p Path<'a>, costs: &CostModel) -> Planned<'p, 'a> {
    let last = path.candidates().map(|candidate| candidate.reach).max().ok_or_else(|| refuse::nothing(path))?;
    position(path, costs, last)
}

/// PostgreSQL stops by itself where there is a commit after the time. Where there is none it would fail ("recovery ended
/// before configured recovery target was reached"), and all of the log is what was asked for.
fn time<'p, 'a>(path: &'p Path<'a>, costs: &CostModel, at: Timestamp, inclusive: bool) -> Planned<'p, 'a> {
    let limit = last_replayed(at, inclusive);
    let route = Route::fastest(path, costs, |candidate| candidate.stop_after(limit));
    let route = route.ok_or_else(|| refuse::time(path, at, limit))?;
    let recovery = if route.is_idle() { RecoveryTarget::EndOfWal } else { RecoveryTarget::Time { at, inclusive } };
    Ok((route, recovery))
}

fn position<'p, 'a>(path: &'p Path<'a>, costs: &CostModel, lsn: Lsn) -> Planned<'p, 'a> {
    let reaches = |candidate: &Candidate<'_, '_>| (candidate.snapshot.wal.end..=candidate.reach).contains(&lsn);
    let route = Route::fastest(path, costs, |candidate| reaches(candidate).then(|| path.stop_at(lsn)));
    Ok((route.ok_or_else(|| refuse::position(path, lsn))?, RecoveryTarget::EndOfWal))
}

fn snapshot<'p, 'a>(path: &'p Path<'a>, costs: &CostModel, id: &SnapshotId) -> Planned<'p, 'a> {
    let snapshot = id.clone();
    match path.candidate(id) {
        Some(Ok(candidate)) => Ok(consistent(path, costs, candidate, SnapshotChoice::Requested)),
        Some(Err(Obstacle::Chain(reason))) => Err(PlanError::BrokenChain { snapshot, reason }),
        Some(Err(Obstacle::Log(missing))) => Err(PlanError::LogMissing { snapshot, missing }),
        None => Err(refuse::off_path(path, id)),
    }
}

fn consistent<'p, 'a>(
    path: &'p Path<'a>,
    costs: &CostModel,
    candidate: Candidate<'p, 'a>,
    choice: SnapshotChoice,
) -> (Route<'p, 'a>, RecoveryTarget) {
    let stop = Stop::at_end(candidate.snapshot.wal);
    (Route::new(path, costs, candidate, stop, choice), RecoveryTarget::EndOfWal)
}

/// The time of the last commits that are replayed: over whole microseconds, "before" is "up to the one before".
fn last_replayed(at: Timestamp, inclusive: bool) -> Timestamp {
    if inclusive { at } else { at.saturating_sub(TICK) }
}

fn branch(catalog: &Catalog, request: &RestoreRequest) -> Result<Branch, PlanError> {
    let own = match &request.target {
        Target::Snapshot(id) => {
            let snapshot = catalog.snapshot(id).ok_or_else(|| PlanError::UnknownSnapshot { snapshot: id.clone() })?;
            Some(Branch::new(snapshot.incarnation, snapshot.wal.timeline))
        }
        _ => None,
    };
    let nothing = || PlanError::NothingToRestore { snapshots: 0 };
    let default = own.or_else(|| catalog.current()).ok_or_else(nothing)?;
    let incarnation = request.incarnation.unwrap_or(default.incarnation);
    let timeline = match request.timeline {
        TimelineChoice::Id(timeline) => timeline,
        TimelineChoice::Current if incarnation == default.incarnation => default.timeline,
        TimelineChoice::Current if catalog.incarnations().all(|known| known != incarnation) => {
            return Err(PlanError::UnknownIncarnation { incarnation });
        }
        TimelineChoice::Current => catalog.current_timeline(incarnation).ok_or_else(nothing)?,
    };
    Ok(Branch::new(incarnation, timeline))
}

fn unknown(catalog: &Catalog, branch: Branch) -> PlanError {
    let incarnation = branch.incarnation;
    let known = catalog.incarnations().any(|known| known == incarnation);
    if known { PlanError::UnknownTimeline { branch } } else { PlanError::UnknownIncarnation { incarnation } }
}
