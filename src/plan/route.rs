//! The plan: which artifacts, in which order, and what to tell PostgreSQL.

use std::time::Duration;

use serde::Serialize;

use super::candidate::Candidate;
use super::evidence::Stop;
use super::path::Path;
use super::{Cost, CostModel, Target};
use crate::model::{
    Branch, Chain, Incarnation, LogBackup, Snapshot, SnapshotId, StoredObject, TimelineHistory, TimelineId, Timestamp,
    WalRange,
};

/// Everything that a restore needs, in the order in which it needs it.
///
/// It names each object exactly: whoever executes it lists nothing. It holds nothing that could be left out. `Display`
/// explains it to an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use = "a plan restores nothing by itself"]
pub struct RestorePlan {
    target: Target,
    requested: TimelineId,
    branch: Branch,
    snapshots: Vec<Snapshot>,
    choice: SnapshotChoice,
    logs: Vec<PlannedLog>,
    histories: Vec<StoredObject>,
    path: TimelineHistory,
    recovery: RecoveryTarget,
    answer: Answer,
    stop: WalRange,
    unreachable_from: Option<WalRange>,
    cost: Cost,
}

/// A log backup, and what of it is to be staged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlannedLog {
    /// The log backup.
    pub backup: LogBackup,
    /// The bytes of it that are to be staged; each begins where the one before ends.
    pub needed: WalRange,
}

/// When PostgreSQL is to end recovery (`recovery_target` and its like).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecoveryTarget {
    /// Before the first commit after a time: `recovery_target_time`, `recovery_target_inclusive`.
    #[non_exhaustive]
    Time {
        /// The time.
        at: Timestamp,
        /// Whether commits of that very microsecond are replayed.
        inclusive: bool,
    },
    /// When all that is staged is replayed: no target at all. What is staged must end exactly where the plan says, the
    /// rest of the last segment being zeros.
    EndOfWal,
}

impl RecoveryTarget {
    /// Before the first commit after `at`, or, unless `inclusive`, at it.
    #[must_use]
    pub const fn time(at: Timestamp, inclusive: bool) -> Self {
        Self::Time { at, inclusive }
    }
}

/// In which sense the plan restores what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// The log goes on after the target.
    Exact,
    /// The target lies after the last commit, and the server was seen to be idle up to then.
    #[non_exhaustive]
    IdleTail {
        /// The latest commit after the snapshot, if there is one.
        last_commit: Option<Timestamp>,
        /// The server's clock when it was last seen without further log.
        archived_until: Timestamp,
    },
}

/// Why recovery starts from this snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SnapshotChoice {
    /// It was asked for.
    Requested,
    /// It is the first one that can be restored.
    Earliest,
    /// It is the newest one from which the target can be reached, and none before it is faster.
    Newest,
    /// Recovery from it is faster than from a newer one.
    #[non_exhaustive]
    Faster {
        /// The newest one from which the target can be reached.
        than: SnapshotId,
        /// The estimate for that one.
        estimated_duration: Duration,
    },
}

impl RestorePlan {
    /// Which life of the server is restored.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.branch.incarnation
    }

    /// The timeline to recover along: `recovery_target_timeline`. It is the one that the stop lies on.
    ///
    /// That can be an ancestor of the timeline that was asked for. PostgreSQL makes the new server's timeline a child of
    /// the one that it was told to recover along, wherever it stops (`StartupXLOG` in `access/transam/xlog.c`): if it was
    /// told a descendant, the new history would say that this was left before it began.
    #[must_use]
    pub fn timeline(&self) -> TimelineId {
        self.branch.timeline
    }

    /// The timeline in whose past the target was looked for.
    #[must_use]
    pub fn requested_timeline(&self) -> TimelineId {
        self.requested
    }

    /// What was asked for.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The snapshots to lay over each other: a full one, then each with its parent before it. Never empty.
    #[must_use]
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.snapshots
    }

    /// The snapshot that recovery starts from: the last one of the chain.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        self.snapshots.last().expect("the constructor takes a chain, which ends with the snapshot itself")
    }

    /// Why recovery starts from that snapshot.
    #[must_use]
    pub fn choice(&self) -> &SnapshotChoice {
        &self.choice
    }

    /// The log to stage, in order and without a hole, from the start of a segment on.
    #[must_use]
    pub fn logs(&self) -> &[PlannedLog] {
        &self.logs
    }

    /// The timeline histories to stage: PostgreSQL reads only that of the timeline to recover along, and none for
    /// timeline 1. Empty too if it is not stored; then [`Self::unstored_history`] is to be staged.
    #[must_use]
    pub fn histories(&self) -> &[StoredObject] {
        &self.histories
    }

    /// The history to print and stage because PostgreSQL needs one ("recovery target timeline does not exist"), and none is
    /// stored. `None` if one is, and for timeline 1.
    ///
    /// If a descendant's history is stored, this is what it tells, reasons and all. If nothing is known of the ancestors
    /// there are none in it, which prints as an empty file. PostgreSQL takes that (`readTimeLineHistory` in
    /// `access/transam/timeline.c`): such a plan needs log of this timeline only.
    #[must_use]
    pub fn unstored_history(&self) -> Option<&TimelineHistory> {
        let needed = self.timeline() != TimelineId::FIRST && self.histories.is_empty();
        needed.then_some(&self.path)
    }

    /// How the timeline descends from those before it, as far as is known.
    #[must_use]
    pub fn path(&self) -> &TimelineHistory {
        &self.path
    }

    /// When PostgreSQL is to end recovery.
    #[must_use]
    pub fn recovery(&self) -> RecoveryTarget {
        self.recovery
    }

    /// In which sense this is what was asked for.
    #[must_use]
    pub fn answer(&self) -> Answer {
        self.answer
    }

    /// Where recovery ends: within this range, or at its end. For a time, the first commit after it ends in here.
    #[must_use]
    pub fn stop(&self) -> WalRange {
        self.stop
    }

    /// A hole because of which log that is archived after it cannot be reached. Only looked for if the latest point was
    /// asked for.
    #[must_use]
    pub fn unreachable_from(&self) -> Option<WalRange> {
        self.unreachable_from
    }

    /// What it takes.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }
}

/// A candidate, and the way from it to a stop.
#[derive(Debug)]
pub(super) struct Route<'p, 'a> {
    candidate: Candidate<'p, 'a>,
    /// Whose end is the stop.
    branch: Branch,
    stop: Stop,
    logs: Vec<(&'a LogBackup, WalRange)>,
    cost: Cost,
    choice: SnapshotChoice,
}

impl<'p, 'a> Route<'p, 'a> {
    pub(super) fn new(
        path: &'p Path<'a>,
        costs: &CostModel,
        candidate: Candidate<'p, 'a>,
        stop: Stop,
        choice: SnapshotChoice,
    ) -> Self {
        let logs = path.cover(candidate.from, stop.range.end);
        let branch = Branch::new(path.branch.incarnation, stop.range.timeline);
        let stored = logs.iter().map(|(backup, _)| &backup.object).chain(path.catalog.history_object(branch));
        let (objects, bytes) = stored.fold((candidate.chain.snapshots, candidate.chain.stored_bytes), |sum, object| {
            (sum.0.saturating_add(1), sum.1.saturating_add(object.bytes))
        });
        let cost = costs.cost(bytes, objects, stop.range.end.bytes_since(candidate.snapshot.wal.start));
        Self { candidate, branch, stop, logs, cost, choice }
    }

    /// Of all routes to the stop of the newest candidate that has one, the fastest; the newer one of equals.
    pub(super) fn fastest(
        path: &'p Path<'a>,
        costs: &CostModel,
        stop_from: impl Fn(&Candidate<'p, 'a>) -> Option<Stop>,
    ) -> Option<Self> {
        let mut candidates = path.candidates();
        let (newest, meant) =
            candidates.by_ref().find_map(|candidate| stop_from(&candidate).map(|stop| (candidate, stop)))?;
        let mut best = Self::new(path, costs, newest, meant.clone(), SnapshotChoice::Newest);
        let than = best.candidate.snapshot.id.clone();
        let estimated_duration = best.cost.estimated_duration;
        for candidate in candidates {
            let replay = meant.range.end.bytes_since(candidate.snapshot.wal.end);
            // Those that follow end even earlier: from them, too, replay alone takes longer.
            if costs.cost(0, 0, replay).estimated_duration >= best.cost.estimated_duration {
                break;
            }
            let Chain { snapshots, stored_bytes } = candidate.chain;
            if costs.cost(stored_bytes, snapshots, replay).estimated_duration >= best.cost.estimated_duration {
                continue;
            }
            let Some(stop) = stop_from(&candidate).filter(|stop| meant.is(stop)) else { continue };
            let choice = SnapshotChoice::Faster { than: than.clone(), estimated_duration };
            let route = Self::new(path, costs, candidate, stop, choice);
            if route.cost.estimated_duration < best.cost.estimated_duration {
                best = route;
            }
        }
        Some(best)
    }

    /// The plan to take this route.
    pub(super) fn plan(self, path: &Path<'a>, target: &Target, recovery: RecoveryTarget) -> RestorePlan {
        let Self { candidate, branch, stop, mut logs, cost, choice } = self;
        if let (RecoveryTarget::Time { .. }, Some((backup, needed))) = (recovery, logs.last_mut()) {
            // The last log backup is fetched anyway, and PostgreSQL stops by itself.
            needed.end = backup.wal.end.min(path.left_at(needed.timeline));
        }
        let planned = |(backup, needed): (&LogBackup, WalRange)| PlannedLog { backup: backup.clone(), needed };
        RestorePlan {
            target: target.clone(),
            requested: path.branch.timeline,
            branch,
            snapshots: path.catalog.chain(candidate.snapshot),
            choice,
            logs: logs.into_iter().map(planned).collect(),
            histories: path.catalog.history_object(branch).cloned().into_iter().collect(),
            path: path.catalog.history(branch).unwrap_or(path.history).clone(),
            recovery,
            answer: stop.idle.map_or(Answer::Exact, |(last_commit, archived_until)| Answer::IdleTail {
                last_commit,
                archived_until,
            }),
            stop: stop.range,
            unreachable_from: (*target == Target::Latest).then(|| path.hole(stop.range.end)).flatten(),
            cost,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.stop.idle.is_some()
    }
}
