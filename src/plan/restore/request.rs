//! What the user wants back.

use serde::{Deserialize, Serialize};

use super::{CostModel, Objective};
use crate::model::{Incarnation, Lsn, SnapshotId, TimelineId, Timestamp, Xid};

/// The point to restore to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Target {
    /// The first snapshot that can be restored, as of the moment when it is consistent.
    Earliest,
    /// The end of the log, as far as it can be reached without a hole.
    Latest,
    /// The state at an instant.
    #[non_exhaustive]
    Time {
        /// The instant.
        at: Timestamp,
        /// Whether what was committed in that very microsecond is part of it.
        inclusive: bool,
    },
    /// Everything whose record ends at or before this position, and nothing after.
    Lsn(Lsn),
    /// The state when a transaction ended. Transactions end in the order of their commit and abort records, not of their IDs:
    /// what had ended before is part of it, whatever its ID.
    #[non_exhaustive]
    Xid {
        /// The transaction, without its subtransactions.
        xid: Xid,
        /// Whether the transaction itself is part of it.
        inclusive: bool,
    },
    /// The state when `pg_create_restore_point` was called with this name.
    RestorePoint(String),
    /// One snapshot as of the moment when it is consistent: no log but its own is needed.
    Snapshot(SnapshotId),
}

impl Target {
    /// The state at `at`, with what was committed in that very microsecond.
    #[must_use]
    pub const fn time(at: Timestamp) -> Self {
        Self::Time { at, inclusive: true }
    }

    /// The state just before `at`, without what was committed in that very microsecond.
    #[must_use]
    pub const fn just_before(at: Timestamp) -> Self {
        Self::Time { at, inclusive: false }
    }

    /// The state when the transaction `xid` had ended.
    #[must_use]
    pub const fn xid(xid: Xid) -> Self {
        Self::Xid { xid, inclusive: true }
    }

    /// The state just before the transaction `xid` ended: as if it had never been committed.
    #[must_use]
    pub const fn just_before_xid(xid: Xid) -> Self {
        Self::Xid { xid, inclusive: false }
    }
}

/// The timeline whose past the target lies in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TimelineChoice {
    /// The one that the server was on last; for a snapshot, its own.
    #[default]
    Current,
    /// This one.
    Id(TimelineId),
}

/// A target, and what it is chosen by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestoreRequest {
    /// The point to restore to.
    pub target: Target,
    /// The timeline whose past it lies in.
    #[serde(default)]
    pub timeline: TimelineChoice,
    /// Which life of the server; `None` is the newest one, and for a snapshot its own.
    #[serde(default)]
    pub incarnation: Option<Incarnation>,
    /// By what the best of several ways is chosen.
    #[serde(default)]
    pub objective: Objective,
    /// What makes one restore take longer than another.
    #[serde(default)]
    pub costs: CostModel,
    /// When the server was deleted, if it was: no later instant is planned, whatever its log says, and the latest point is the
    /// last one up to then.
    #[serde(default)]
    pub deleted_at: Option<Timestamp>,
}

impl RestoreRequest {
    /// `target`, on the current timeline, as fast as possible.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            target,
            timeline: TimelineChoice::default(),
            incarnation: None,
            objective: Objective::default(),
            costs: CostModel::default(),
            deleted_at: None,
        }
    }

    /// The same in the past of `timeline`.
    #[must_use]
    pub fn on_timeline(mut self, timeline: TimelineId) -> Self {
        self.timeline = TimelineChoice::Id(timeline);
        self
    }

    /// The same in another life of the server.
    #[must_use]
    pub fn of_incarnation(mut self, incarnation: Incarnation) -> Self {
        self.incarnation = Some(incarnation);
        self
    }

    /// The same, with another idea of what is best.
    #[must_use]
    pub fn for_objective(mut self, objective: Objective) -> Self {
        self.objective = objective;
        self
    }

    /// The same, with what was measured where the restore will run.
    #[must_use]
    pub fn with_costs(mut self, costs: CostModel) -> Self {
        self.costs = costs;
        self
    }

    /// The same of a server that was deleted at this instant.
    #[must_use]
    pub fn of_server_deleted_at(mut self, deleted_at: Timestamp) -> Self {
        self.deleted_at = Some(deleted_at);
        self
    }
}

impl From<Target> for RestoreRequest {
    fn from(target: Target) -> Self {
        Self::new(target)
    }
}
