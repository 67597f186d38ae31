//! The validated index of one server's artifacts.

use serde::{Deserialize, Serialize};

use super::{Incarnation, LogBackup, Snapshot, SnapshotId, StoredObject, TimelineHistory, TimelineId};

/// What the planner orders and retention keeps or expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Artifact {
    /// A base backup.
    Snapshot(Snapshot),
    /// A stretch of log.
    Log(LogBackup),
    /// How a timeline descends from others.
    #[non_exhaustive]
    History {
        /// Which life of the server it is of.
        incarnation: Incarnation,
        /// The ancestry.
        history: TimelineHistory,
        /// Where it is stored.
        object: StoredObject,
    },
}
/// PLANNER HELPER: replace by the real one.
#[derive(Debug)]
pub struct Catalog;
/// PLANNER HELPER
#[derive(Debug)]
pub struct CatalogError;
