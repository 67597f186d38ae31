//! What a catalog is made of.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Incarnation, LogBackup, Snapshot, StoredObject, TimelineHistory, TimelineId};

/// What the planner orders and retention keeps or expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Artifact {
    /// A base backup.
    Snapshot(Box<Snapshot>),
    /// A stretch of log.
    Log(LogBackup),
    /// How a timeline descends from others.
    History(StoredHistory),
}

impl Artifact {
    /// Its object: of a snapshot, the manifest.
    #[must_use]
    pub fn object(&self) -> StoredObject {
        match self {
            Self::Snapshot(snapshot) => snapshot.manifest.clone(),
            Self::Log(log) => log.object(),
            Self::History(history) => history.object.clone(),
        }
    }

    /// All that is stored of it, in bytes.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        match self {
            Self::Snapshot(snapshot) => snapshot.stored_bytes,
            Self::Log(log) => log.stored_bytes,
            Self::History(history) => history.object.bytes,
        }
    }
}

impl From<Snapshot> for Artifact {
    fn from(snapshot: Snapshot) -> Self {
        Self::Snapshot(Box::new(snapshot))
    }
}

impl From<LogBackup> for Artifact {
    fn from(backup: LogBackup) -> Self {
        Self::Log(backup)
    }
}

impl From<StoredHistory> for Artifact {
    fn from(history: StoredHistory) -> Self {
        Self::History(history)
    }
}

/// A timeline history file that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StoredHistory {
    /// Which life of the server it is of.
    pub incarnation: Incarnation,
    /// The ancestry that it tells.
    pub history: TimelineHistory,
    /// Where it is stored.
    pub object: StoredObject,
}

impl StoredHistory {
    /// The `history` of a timeline of `incarnation`, stored as `object`.
    #[must_use]
    pub const fn new(incarnation: Incarnation, history: TimelineHistory, object: StoredObject) -> Self {
        Self { incarnation, history, object }
    }
}

/// One timeline of one life of a server: what is restored is always a position on a branch's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Branch {
    /// Which life of the server.
    pub incarnation: Incarnation,
    /// Which of its timelines.
    pub timeline: TimelineId,
}

impl Branch {
    /// The branch of `incarnation` that ends on `timeline`.
    #[must_use]
    pub const fn new(incarnation: Incarnation, timeline: TimelineId) -> Self {
        Self { incarnation, timeline }
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timeline {} of {}", self.timeline, self.incarnation)
    }
}
