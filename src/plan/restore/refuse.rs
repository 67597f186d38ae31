//! Refusals, with the numbers.

use super::search::{last_replayed, reaches};
use super::{PlanError, Point};
use crate::model::{Branch, Lsn, SnapshotId, Target, Timestamp, WalRange};
use crate::plan::past::{Candidate, Need, Path, Position};
use crate::plan::window::window;

/// Nothing on the path can be restored.
pub(super) fn nothing(path: &Path<'_>) -> PlanError {
    PlanError::NothingToRestore { snapshots: path.snapshots().count() }
}

/// The branch never passed through the snapshot.
pub(super) fn off_path(path: &Path<'_>, id: &SnapshotId) -> PlanError {
    let candidates = others(path, |other| other.candidate(id).is_some_and(|candidate| candidate.is_ok()));
    PlanError::WrongBranch { branch: path.branch, candidates }
}

/// No transaction or restore point on the path is what `target` names.
pub(super) fn not_found(path: &Path<'_>, target: Target, is_on: impl Fn(&Path<'_>) -> bool) -> PlanError {
    let candidates = others(path, is_on);
    if candidates.is_empty() {
        PlanError::NotFound { requested: target, branch: path.branch }
    } else {
        PlanError::WrongBranch { branch: path.branch, candidates }
    }
}

/// No candidate stops after the last commit by `at`.
pub(super) fn time(path: &Path<'_>, at: Timestamp, inclusive: bool) -> PlanError {
    let limit = last_replayed(at, inclusive);
    let window = window(path);
    let as_asked = |restorable: Timestamp| Point::Time(restorable.saturating_add(at.duration_since(limit)));
    let around = Around {
        requested: Point::Time(at),
        previous: window.last_by(limit).map(as_asked),
        next: window.first_from(limit).map(as_asked),
    };
    let needs: Vec<Need> = path.candidates().flat_map(|candidate| candidate.needs_for(limit)).collect();
    if !needs.is_empty() {
        return around.unknown(Target::Time { at, inclusive }, needs);
    }
    let newest = path.candidates().find(|candidate| candidate.floor <= limit);
    let hole = newest.and_then(|candidate| path.hole(candidate.reach));
    let later = path.candidates().filter(|candidate| candidate.floor > limit);
    let waiting = later.min_by_key(|candidate| candidate.floor);
    let waiting = waiting.filter(|_| hole.is_none_or(|hole| seen_after(path, hole) <= Some(limit)));
    let reached_from = |candidate: &Candidate<'_, '_>| candidate.stop_after(limit).is_some();
    around.refusal(path, hole, waiting.as_ref(), |other| other.candidates().any(|c| reached_from(&c)))
}

/// No candidate reaches `lsn`.
pub(super) fn position(path: &Path<'_>, lsn: Lsn) -> PlanError {
    let before = path.candidates().filter(|candidate| candidate.snapshot.wal.end <= lsn);
    let previous = before.map(|candidate| candidate.reach).max();
    let waiting = path.candidates().filter(|candidate| candidate.snapshot.wal.end > lsn).last();
    let around = Around {
        requested: Point::Lsn(lsn),
        previous: previous.map(Point::Lsn),
        next: waiting.as_ref().map(|candidate| Point::Lsn(candidate.snapshot.wal.end)),
    };
    let hole = previous.and_then(|reach| path.hole(reach));
    let waiting = waiting.filter(|_| hole.is_none_or(|hole| hole.end < lsn));
    around.refusal(path, hole, waiting.as_ref(), |other| other.candidates().any(|c| reaches(&c, lsn)))
}

/// What was asked for, and what can be restored on both sides of it.
struct Around {
    requested: Point,
    previous: Option<Point>,
    next: Option<Point>,
}

impl Around {
    /// Why it is refused: `hole` follows what can be reached before it, `waiting` is being taken there.
    fn refusal(
        self,
        path: &Path<'_>,
        hole: Option<WalRange>,
        waiting: Option<&Candidate<'_, '_>>,
        is_reached_on: impl Fn(&Path<'_>) -> bool,
    ) -> PlanError {
        let Self { requested, previous, next } = self;
        match (previous, next, waiting, hole) {
            (None, None, _, Some(missing)) => PlanError::InGap { requested, missing, previous, next },
            (None, None, ..) if path.candidates().next().is_some() => PlanError::OnlySnapshots { requested },
            (None, None, ..) => nothing(path),
            (None, Some(earliest), ..) => {
                let candidates = others(path, is_reached_on);
                if candidates.is_empty() {
                    PlanError::TooEarly { requested, earliest }
                } else {
                    PlanError::WrongBranch { branch: path.branch, candidates }
                }
            }
            (Some(_), Some(_), Some(waiting), _) => {
                let snapshot = waiting.snapshot.id.clone();
                PlanError::InSnapshot { requested, snapshot, previous, next }
            }
            (Some(_), _, _, Some(missing)) => PlanError::InGap { requested, missing, previous, next },
            (Some(latest), _, _, None) => PlanError::TooLate { requested, latest },
        }
    }

    fn unknown(self, requested: Target, mut needs: Vec<Need>) -> PlanError {
        let Self { previous, next, .. } = self;
        needs.sort_by_key(|need| (need.log().wal, need.log().key()));
        needs.dedup();
        PlanError::Unknown { requested, needs, previous, next }
    }
}

/// A time by which the hole had passed: that of the first commit that is known after it. The clock does not tell, up to which
/// the log there is complete: it was read before the log was written.
fn seen_after(path: &Path<'_>, hole: WalRange) -> Option<Timestamp> {
    let Position { stretch, lsn } = path.position(hole.end);
    let log = &path.stretch(stretch)?.record.log;
    let first = log.first_commit_after(Timestamp::MIN, log.pieces_between(lsn, Lsn::MAX));
    let first = first.and_then(|piece| log.piece(piece)?.log.max_commit_time());
    // What nothing is known of counts as late.
    Some(first.unwrap_or(Timestamp::MAX))
}

/// The other branches for which this holds.
fn others(path: &Path<'_>, holds: impl Fn(&Path<'_>) -> bool) -> Vec<Branch> {
    let others = path.catalog.branches().filter(|&branch| branch != path.branch);
    others.filter(|&branch| Path::new(path.catalog, branch).is_some_and(|other| holds(&other))).collect()
}
