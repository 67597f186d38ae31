//! Restores that make a new server: as they are ordered, and what became of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    Incarnation, Lease, Parameters, PostRestoreTask, RequestId, RestoreRoute, ServerConfig, ServerName, Target,
    TimelineChoice, Timestamp,
};

/// What is to be restored, and as what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestoreSpec {
    /// What the new server is called.
    pub name: ServerName,
    /// The point to restore to.
    pub target: Target,
    /// The timeline whose past it lies in.
    #[serde(default)]
    pub timeline: TimelineChoice,
    /// Which life of the server; `None` is the newest one, and for a snapshot its own.
    #[serde(default)]
    pub incarnation: Option<Incarnation>,
    /// Whether the new server is meant to take the place of the original.
    #[serde(default)]
    pub replaces_original: bool,
}

impl RestoreSpec {
    /// `target`, on the current timeline, as a server called `name` beside the original.
    #[must_use]
    pub fn new(name: ServerName, target: Target) -> Self {
        Self { name, target, timeline: TimelineChoice::default(), incarnation: None, replaces_original: false }
    }

    /// The same, to take the place of the original.
    #[must_use]
    pub fn replacing_original(self) -> Self {
        Self { replaces_original: true, ..self }
    }
}

/// A restore that was ordered, and is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestoreOrder {
    /// The request in which it was ordered, which is its name from then on.
    pub id: RequestId,
    /// Who ordered it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What was ordered.
    pub spec: RestoreSpec,
    /// How far it was decided.
    pub phase: OrderPhase,
}

impl RestoreOrder {
    /// `spec`, ordered by `by` at `at` in the request `id`.
    #[must_use]
    pub fn new(id: RequestId, by: impl Into<String>, at: Timestamp, spec: RestoreSpec) -> Self {
        Self { id, by: by.into(), at, spec, phase: OrderPhase::Ordered }
    }
}

/// How far a restore was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OrderPhase {
    /// The server is to be made.
    Ordered,
    /// It is not to be made any more: what there is of it is removed.
    Cancelled {
        /// Who cancelled it.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// It is there, and accepts writes. It is to be protected, and can be deleted then.
    Made,
}

/// What became of a restore so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestoreRun {
    /// What was ordered.
    pub order: RestoreOrder,
    /// How often it failed in passing, and was tried again.
    pub failures: u32,
    /// Why, the last time.
    #[serde(default)]
    pub failure: Option<String>,
    /// How it is restored, once that is known.
    #[serde(default)]
    pub route: Option<RestoreRoute>,
    /// What it reads, which is kept as long as it is not over.
    #[serde(default)]
    pub lease: Option<Lease>,
    /// The server that it makes.
    #[serde(default)]
    pub server: Option<ServerConfig>,
    /// How it ends, once that is decided.
    #[serde(default)]
    pub outcome: Option<RestoreOutcome>,
    /// When it was over: the server is protected, or nothing of it is left.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
}

impl RestoreRun {
    /// Nothing was done yet.
    #[must_use]
    pub const fn new(order: RestoreOrder) -> Self {
        let (failure, route, lease, server) = (None, None, None, None);
        Self { order, failures: 0, failure, route, lease, server, outcome: None, ended_at: None }
    }
}

/// How a restore ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RestoreOutcome {
    /// With a new server.
    Made(NewServer),
    /// It could not be made, for this reason.
    Failed(String),
    /// It was cancelled.
    Cancelled,
}

impl fmt::Display for RestoreOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made(server) => write!(f, "made, at {}", server.endpoint),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// A server that was made by a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NewServer {
    /// How it is reached, for an operator: without passwords.
    pub endpoint: String,
    /// The time of the last commit or abort that was replayed; `None` if there was none, or it is not known.
    #[serde(default)]
    pub last_commit: Option<Timestamp>,
    /// The parameters that it runs with; `None` if they are not known.
    #[serde(default)]
    pub parameters: Option<Parameters>,
    /// What there is to do with it, in the order in which it is best done.
    pub tasks: Vec<FollowUp>,
}

impl NewServer {
    /// One that is reached at `endpoint`, of which no more is known.
    #[must_use]
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self { endpoint: endpoint.into(), last_commit: None, parameters: None, tasks: Vec::new() }
    }
}

/// Something to do after a restore, and whether it was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FollowUp {
    /// What.
    pub task: PostRestoreTask,
    /// Whether it was done, by whoever made the server.
    pub is_done: bool,
}

impl FollowUp {
    /// `task`, which was done, or not.
    #[must_use]
    pub const fn new(task: PostRestoreTask, is_done: bool) -> Self {
        Self { task, is_done }
    }
}
