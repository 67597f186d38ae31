//! What is being read.

use serde::{Deserialize, Serialize};

use super::{Incarnation, SnapshotId, Timestamp, WalRange};

/// Keeps what a restore is reading, or is about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lease {
    /// Who reads it.
    pub holder: String,
    /// Which life of the server it is of.
    pub incarnation: Incarnation,
    /// The snapshots.
    pub snapshots: Vec<SnapshotId>,
    /// The log.
    pub logs: Vec<WalRange>,
    /// When it ends, unless it is renewed.
    pub until: Timestamp,
}
