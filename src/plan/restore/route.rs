//! Ways from a snapshot to a stop, and the best of them.

use super::cost::{Cost, Scale, Weight};
use super::restore_plan::{Answer, PlannedLog, RecoveryTarget, RestorePlan, SnapshotChoice};
use super::search::Search;
use super::{RestoreRequest, Target};
use crate::model::{Branch, Chain, Cover, Load, LogRef, Lsn, Snapshot, WalRange};
use crate::plan::past::{Candidate, Path, Position, Span, Stop};

/// A candidate, and the way from it to a stop.
#[derive(Debug)]
pub(super) struct Route<'p, 'a> {
    snapshot: &'a Snapshot,
    /// Whose end is the stop.
    branch: Branch,
    pub(super) stop: Stop,
    covers: Vec<(Span<'p, 'a>, Cover<'a>)>,
    pub(super) cost: Cost,
    pub(super) weight: Weight,
}

/// The best route, and why its snapshot.
#[derive(Debug)]
pub(super) struct Choice<'p, 'a> {
    pub(super) route: Route<'p, 'a>,
    pub(super) why: SnapshotChoice,
}

impl<'p, 'a> Route<'p, 'a> {
    /// From `candidate` to `stop`, by the log backups that weigh least.
    pub(super) fn new(path: &'p Path<'a>, scale: &Scale, candidate: &Candidate<'p, 'a>, stop: Stop) -> Self {
        let snapshot = candidate.snapshot;
        let branch = Branch::new(path.branch.incarnation, stop.range.timeline);
        let ways = candidate.from.iter().map(|&from| covers(path, scale, from, stop.range.end));
        let (covers, logs) = ways.min_by_key(|&(_, load)| scale.fetch(load)).unwrap_or_default();
        let history =
            path.catalog.history_object(branch).map_or_else(Load::default, |object| Load::object(object.bytes));
        let fetched = chain_load(candidate.chain) + logs + history;
        let replayed = stop.range.end.bytes_since(snapshot.wal.start);
        let cost = scale.costs.cost(fetched.bytes, fetched.objects, replayed);
        let weight = scale.fetch(fetched) + scale.replay(replayed);
        Self { snapshot, branch, stop, covers, cost, weight }
    }

    /// Of all routes to the stop of the newest candidate that has one, the best; the newer one of equals.
    pub(super) fn best(
        path: &'p Path<'a>,
        scale: &Scale,
        stop_from: impl Fn(&Candidate<'p, 'a>) -> Option<Stop>,
    ) -> Option<Choice<'p, 'a>> {
        let mut candidates = path.candidates();
        let first = candidates.by_ref().find_map(|candidate| stop_from(&candidate).map(|stop| (candidate, stop)));
        let (newest, meant) = first?;
        let than = &newest.snapshot.id;
        let mut best = Self::new(path, scale, &newest, meant.clone());
        let cost = best.cost;
        for candidate in candidates {
            // Those that follow end even earlier: from them, too, the log alone weighs more.
            let log = least(path, scale, &candidate, &meant);
            if log >= best.weight {
                break;
            }
            if log + scale.fetch(chain_load(candidate.chain)) >= best.weight {
                continue;
            }
            let Some(stop) = stop_from(&candidate).filter(|stop| meant.is(stop)) else { continue };
            let route = Self::new(path, scale, &candidate, stop);
            if route.weight < best.weight {
                best = route;
            }
        }
        let why = match &best.snapshot.id {
            id if id == than => SnapshotChoice::Newest,
            _ => SnapshotChoice::Better { than: than.clone(), cost },
        };
        Some(Choice { route: best, why })
    }

    /// The log backups to stage, each with what is needed of it.
    fn logs(&self) -> impl Iterator<Item = (LogRef<'a>, WalRange)> + '_ {
        self.covers.iter().flat_map(|(span, cover)| {
            let mut start = span.start;
            cover.logs().map(move |log| {
                let needed = WalRange { timeline: log.timeline(), start, end: log.end().min(span.end) };
                start = needed.end;
                (log, needed)
            })
        })
    }
}

impl Choice<'_, '_> {
    /// The plan to take the route.
    pub(super) fn plan(self, search: &Search<'_>, request: &RestoreRequest, recovery: RecoveryTarget) -> RestorePlan {
        let (path, Self { route, why }) = (&search.path, self);
        let planned = |(log, needed): (LogRef<'_>, WalRange)| PlannedLog { backup: log.to_backup(), needed };
        let mut logs: Vec<PlannedLog> = route.logs().map(planned).collect();
        if let (RecoveryTarget::Time { .. }, Some(PlannedLog { backup, needed })) = (recovery, logs.last_mut()) {
            // The last log backup is fetched anyway, and PostgreSQL stops by itself.
            needed.end = backup.wal.end.min(path.left_at(needed.timeline));
        }
        let Route { snapshot, branch, stop, cost, .. } = route;
        let at_end = request.target == Target::Latest && recovery == RecoveryTarget::EndOfWal;
        let idle = |(last_commit, archived_until)| Answer::IdleTail { last_commit, archived_until };
        RestorePlan {
            target: request.target.clone(),
            requested: path.branch.timeline,
            branch,
            snapshots: path.catalog.chain(snapshot),
            choice: why,
            logs,
            histories: path.catalog.history_object(branch).cloned().into_iter().collect(),
            path: path.catalog.history(branch).unwrap_or(path.history).clone(),
            recovery,
            answer: stop.idle.map_or(Answer::Exact, idle),
            stop: stop.range,
            unreachable_from: at_end.then(|| path.hole(stop.range.end)).flatten(),
            objective: request.objective,
            cost,
        }
    }
}

/// The log backups that weigh least of those that hold the log between the two, and what they take to fetch.
fn covers<'p, 'a>(
    path: &'p Path<'a>,
    scale: &Scale,
    from: Position,
    to: Lsn,
) -> (Vec<(Span<'p, 'a>, Cover<'a>)>, Load) {
    let cover = |span: Span<'p, 'a>| {
        let cover = span.stretch.record.log.cover(span.start, span.end, |load| scale.fetch(load));
        (span, cover)
    };
    let covers: Vec<_> = path.spans(from, to).map(cover).collect();
    let load = covers.iter().fold(Load::default(), |sum, (_, cover)| sum + cover.load);
    (covers, load)
}

const fn chain_load(chain: Chain) -> Load {
    Load { objects: chain.snapshots, bytes: chain.stored_bytes }
}

/// What the log after the snapshot weighs at least: the further back, the more.
fn least(path: &Path<'_>, scale: &Scale, candidate: &Candidate<'_, '_>, stop: &Stop) -> Weight {
    let end = candidate.snapshot.wal.end;
    let spans = path.spans(path.position(end), stop.range.end);
    let loads = spans.map(|Span { stretch, start, end }| stretch.record.log.load_at_least(start, end));
    scale.fetch(loads.fold(Load::default(), |sum, load| sum + load)) + scale.replay(stop.range.end.bytes_since(end))
}
