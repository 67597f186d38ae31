//! What the user wants back.

use serde::{Deserialize, Serialize};

use super::{CostModel, Objective};
use crate::model::{Incarnation, RestoreSpec, Target, TimelineChoice, TimelineId, Timestamp};

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

impl From<&RestoreSpec> for RestoreRequest {
    fn from(spec: &RestoreSpec) -> Self {
        let RestoreSpec { target, timeline, incarnation, .. } = spec.clone();
        Self { timeline, incarnation, ..Self::new(target) }
    }
}
