//! What the user wants back.

use serde::{Deserialize, Serialize};

use super::CostModel;
use crate::model::{Incarnation, Lsn, SnapshotId, TimelineId, Timestamp};

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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreRequest {
    /// The point to restore to.
    pub target: Target,
    /// The timeline whose past it lies in.
    pub timeline: TimelineChoice,
    /// Which life of the server; `None` is the newest one, and for a snapshot its own.
    pub incarnation: Option<Incarnation>,
    /// What makes one restore take longer than another.
    pub costs: CostModel,
}

impl RestoreRequest {
    /// `target`, on the current timeline.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self { target, timeline: TimelineChoice::Current, incarnation: None, costs: CostModel::default() }
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

    /// The same, with what was measured where the restore will run.
    #[must_use]
    pub fn with_costs(mut self, costs: CostModel) -> Self {
        self.costs = costs;
        self
    }
}

impl From<Target> for RestoreRequest {
    fn from(target: Target) -> Self {
        Self::new(target)
    }
}
