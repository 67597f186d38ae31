//! The plan: which artifacts, in which order, and what to tell PostgreSQL.

use serde::Serialize;

use super::{Cost, Objective};
use crate::model::{
    Branch, Incarnation, Lease, LogBackup, RestoreRoute, Snapshot, SnapshotId, StoredObject, Target, TimelineHistory,
    TimelineId, Timestamp, WalRange,
};

/// Everything that a restore needs, in the order in which it needs it.
///
/// It names each object exactly: whoever executes it lists nothing. It holds nothing that could be left out. `Display`
/// explains it to an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use = "a plan restores nothing by itself"]
pub struct RestorePlan {
    pub(super) target: Target,
    pub(super) requested: TimelineId,
    pub(super) branch: Branch,
    pub(super) snapshots: Vec<Snapshot>,
    pub(super) choice: SnapshotChoice,
    pub(super) logs: Vec<PlannedLog>,
    pub(super) histories: Vec<StoredObject>,
    pub(super) path: TimelineHistory,
    pub(super) recovery: RecoveryTarget,
    pub(super) answer: Answer,
    pub(super) stop: WalRange,
    pub(super) unreachable_from: Option<WalRange>,
    pub(super) objective: Objective,
    pub(super) cost: Cost,
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
    /// It is the newest one from which the target can be reached, and none before it is better by the objective.
    Newest,
    /// It is better by the objective than the newest one from which the target can be reached.
    #[non_exhaustive]
    Better {
        /// The newest one.
        than: SnapshotId,
        /// What the restore from that one would take.
        cost: Cost,
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

    /// The bytes of that log.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.logs.iter().map(|log| log.needed.bytes()).sum()
    }

    /// The way that it takes, as it is recorded.
    #[must_use]
    pub fn route(&self) -> RestoreRoute {
        let (file_bytes, log_bytes) = (self.snapshot().logical_bytes, self.log_bytes());
        let stored_bytes = self.snapshots.iter().map(|snapshot| snapshot.stored_bytes).sum();
        let route = RestoreRoute::new(self.incarnation(), self.snapshot().id.clone(), self.timeline());
        RestoreRoute { file_bytes, log_bytes, stored_bytes, ..route }
    }

    /// A lease of `holder` on all of it, until `until`.
    #[must_use]
    pub fn lease(&self, holder: impl Into<String>, until: Timestamp) -> Lease {
        Lease {
            holder: holder.into(),
            incarnation: self.incarnation(),
            snapshots: self.snapshots.iter().map(|snapshot| snapshot.id.clone()).collect(),
            logs: self.logs.iter().map(|log| log.needed).collect(),
            until,
        }
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

    /// By what it is the best.
    #[must_use]
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// What it takes.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }
}
