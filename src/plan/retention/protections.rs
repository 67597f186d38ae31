//! What must not be deleted, however old it is.

use serde::{Deserialize, Serialize};

use crate::model::{Branch, Hold, Lease, Lsn, ServerConfig, SnapshotId};

/// Everything that is to be kept beside what the policy says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Protections {
    /// Snapshots that somebody wants to be kept.
    #[serde(default)]
    pub holds: Vec<Hold>,
    /// What is being read.
    #[serde(default)]
    pub leases: Vec<Lease>,
    /// What is being written.
    #[serde(default)]
    pub running: Vec<RunningSnapshot>,
}

impl Protections {
    /// Nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self { holds: Vec::new(), leases: Vec::new(), running: Vec::new() }
    }

    /// The holds of a server, as it is configured.
    #[must_use]
    pub fn of(config: &ServerConfig) -> Self {
        Self { holds: config.holds.clone(), ..Self::none() }
    }

    /// And this hold.
    #[must_use]
    pub fn with_hold(mut self, hold: Hold) -> Self {
        self.holds.push(hold);
        self
    }

    /// And this lease.
    #[must_use]
    pub fn with_lease(mut self, lease: Lease) -> Self {
        self.leases.push(lease);
        self
    }

    /// And what this snapshot needs, which is being taken.
    #[must_use]
    pub fn with_running(mut self, running: RunningSnapshot) -> Self {
        self.running.push(running);
        self
    }
}

/// A snapshot that is being taken: its log, and what it builds on, is needed as soon as it is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunningSnapshot {
    /// Where it is being taken.
    pub branch: Branch,
    /// Where its log starts.
    pub start: Lsn,
    /// What it builds on, if it is incremental.
    pub parent: Option<SnapshotId>,
}

impl RunningSnapshot {
    /// A snapshot of `branch` that began at `start`.
    #[must_use]
    pub const fn new(branch: Branch, start: Lsn, parent: Option<SnapshotId>) -> Self {
        Self { branch, start, parent }
    }
}
