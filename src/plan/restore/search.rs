//! From a request to the past that it is looked for in, and what is looked for there.

use super::cost::Scale;
use super::refuse;
use super::request::RestoreRequest;
use super::resolve;
use super::restore_plan::{RecoveryTarget, RestorePlan, SnapshotChoice};
use super::route::{Choice, Route};
use super::{PlanError, Point};
use crate::model::{Branch, Catalog, Lsn, SnapshotId, Target, TimelineChoice, Timestamp};
use crate::plan::past::{Candidate, Obstacle, Path, Stop};
use crate::plan::window::{TICK, window};

/// Records end at multiples of this (`MAXALIGN` in PostgreSQL's `src/include/c.h`).
const ALIGNMENT: u64 = 8;

/// A past, and the scale on which ways through it are weighed.
#[derive(Debug)]
pub(super) struct Search<'a> {
    pub(super) path: Path<'a>,
    pub(super) scale: Scale,
}

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The state after the last commit up to a limit, which is what was meant by an instant.
    Time { at: Timestamp, inclusive: bool },
    /// Everything that ends by the position that was asked for, which is that of a record or is not.
    Position { asked: Lsn },
    /// A snapshot as of its consistency, and why that one.
    Own(SnapshotId, SnapshotChoice),
}

impl Goal {
    /// Where recovery from `candidate` stops if this is its goal; `None` if it cannot get there.
    pub(super) fn stop_from(&self, path: &Path<'_>, candidate: &Candidate<'_, '_>) -> Option<Stop> {
        match self {
            Self::Time { at, inclusive } => candidate.stop_after(last_replayed(*at, *inclusive)),
            Self::Position { asked } => reaches(candidate, *asked).then(|| path.stop_at(whole(*asked))),
            Self::Own(id, _) => (candidate.snapshot.id == *id).then(|| Stop::at_end(candidate.snapshot.wal)),
        }
    }
}

impl<'a> Search<'a> {
    /// In the past that `request` speaks of.
    pub(super) fn new(catalog: &'a Catalog, request: &RestoreRequest) -> Result<Self, PlanError> {
        let branch = branch(catalog, request)?;
        let path = Path::new(catalog, branch).ok_or_else(|| unknown(catalog, branch))?;
        Ok(Self { path, scale: Scale { objective: request.objective, costs: request.costs } })
    }

    /// What `request` looks for.
    pub(super) fn goal(&self, request: &RestoreRequest) -> Result<Goal, PlanError> {
        let path = &self.path;
        let position = |asked| Goal::Position { asked };
        match &request.target {
            Target::Earliest => {
                let first = path.candidates().last().ok_or_else(|| refuse::nothing(path))?;
                Ok(Goal::Own(first.snapshot.id.clone(), SnapshotChoice::Earliest))
            }
            Target::Latest => match request.deleted_at {
                Some(deleted_at) => self.latest_before(deleted_at),
                None => self.end_of_log(Timestamp::MAX),
            },
            Target::Time { at, inclusive } => {
                self.not_after_deletion(request, *at, *inclusive)?;
                Ok(Goal::Time { at: *at, inclusive: *inclusive })
            }
            Target::Lsn(lsn) => Ok(position(*lsn)),
            Target::Xid { xid, inclusive } => {
                let end = resolve::transaction(path, *xid)?;
                // A record without its last eight bytes is none, and recovery ends before it.
                let before = Lsn::new(end.as_u64().saturating_sub(ALIGNMENT));
                Ok(position(if *inclusive { end } else { before }))
            }
            Target::RestorePoint(name) => resolve::restore_point(path, name).map(position),
            Target::Snapshot(id) => Ok(Goal::Own(id.clone(), SnapshotChoice::Requested)),
        }
    }

    /// The best plan to get there.
    pub(super) fn plan(&self, request: &RestoreRequest, goal: &Goal) -> Result<RestorePlan, PlanError> {
        let path = &self.path;
        let choice = match goal {
            Goal::Own(id, why) => {
                let candidate = self.named(id)?;
                let stop = Stop::at_end(candidate.snapshot.wal);
                Choice { route: Route::new(path, &self.scale, &candidate, stop), why: why.clone() }
            }
            _ => {
                let best = Route::best(path, &self.scale, |candidate| goal.stop_from(path, candidate));
                best.ok_or_else(|| self.refusal(goal))?
            }
        };
        // PostgreSQL stops by itself where there is a commit after the time. Where there is none it would fail ("recovery
        // ended before configured recovery target was reached"), and all of the log is what was asked for.
        let recovery = match *goal {
            Goal::Time { at, inclusive } if choice.route.stop.idle.is_none() => RecoveryTarget::Time { at, inclusive },
            _ => RecoveryTarget::EndOfWal,
        };
        Ok(choice.plan(self, request, recovery))
    }

    fn named(&self, id: &SnapshotId) -> Result<Candidate<'_, 'a>, PlanError> {
        let snapshot = id.clone();
        match self.path.candidate(id) {
            Some(Ok(candidate)) => Ok(candidate),
            Some(Err(Obstacle::Chain(reason))) => Err(PlanError::BrokenChain { snapshot, reason }),
            Some(Err(Obstacle::Log(missing))) => Err(PlanError::LogMissing { snapshot, missing }),
            None => Err(refuse::off_path(&self.path, id)),
        }
    }

    fn refusal(&self, goal: &Goal) -> PlanError {
        match goal {
            Goal::Time { at, inclusive } => refuse::time(&self.path, *at, *inclusive),
            Goal::Position { asked } => refuse::position(&self.path, *asked),
            Goal::Own(id, _) => refuse::off_path(&self.path, id),
        }
    }

    /// As far as the log reaches from any snapshot that was consistent by `limit`.
    fn end_of_log(&self, limit: Timestamp) -> Result<Goal, PlanError> {
        let candidates = self.path.candidates().filter(|candidate| candidate.snapshot.consistent_at <= limit);
        let last = candidates.map(|candidate| candidate.reach).max();
        last.map(|asked| Goal::Position { asked }).ok_or_else(|| refuse::nothing(&self.path))
    }

    /// The last that was there when the server was deleted. Its log can go on: with what was lost on the way, for one.
    fn latest_before(&self, deleted_at: Timestamp) -> Result<Goal, PlanError> {
        let window = window(&self.path);
        if window.latest().is_none_or(|latest| latest < deleted_at) {
            return self.end_of_log(deleted_at);
        }
        match (window.last_by(deleted_at), window.earliest()) {
            (None, Some(requested)) => Err(PlanError::AfterDeletion { requested, deleted_at, latest: None }),
            (at, _) => Ok(Goal::Time { at: at.unwrap_or(deleted_at), inclusive: true }),
        }
    }

    /// What is in the log of a deleted server after its deletion is nobody's wish.
    fn not_after_deletion(&self, request: &RestoreRequest, at: Timestamp, inclusive: bool) -> Result<(), PlanError> {
        let limit = last_replayed(at, inclusive);
        let Some(deleted_at) = request.deleted_at.filter(|&deleted_at| deleted_at < limit) else { return Ok(()) };
        let latest = window(&self.path).last_by(deleted_at);
        Err(PlanError::AfterDeletion { requested: at, deleted_at, latest: latest.map(Point::Time) })
    }
}

/// The time of the last commits that are replayed: over whole microseconds, "before" is "up to the one before".
pub(super) fn last_replayed(at: Timestamp, inclusive: bool) -> Timestamp {
    if inclusive { at } else { at.saturating_sub(TICK) }
}

/// Whether recovery from `candidate` can end where everything has ended that ends by `lsn`.
pub(super) fn reaches(candidate: &Candidate<'_, '_>, lsn: Lsn) -> bool {
    (candidate.snapshot.wal.end..=candidate.reach).contains(&whole(lsn))
}

/// Where the last record can end that ends by `lsn`.
const fn whole(lsn: Lsn) -> Lsn {
    lsn.align_down(ALIGNMENT)
}

fn branch(catalog: &Catalog, request: &RestoreRequest) -> Result<Branch, PlanError> {
    let own = match &request.target {
        Target::Snapshot(id) => {
            let snapshot = catalog.snapshot(id).ok_or_else(|| PlanError::UnknownSnapshot { snapshot: id.clone() })?;
            Some(snapshot.branch())
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
