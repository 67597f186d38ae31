//! What must not be deleted, however old it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Branch, Incarnation, Lsn, SnapshotId, Timestamp, WalRange};
use crate::plan::RestorePlan;

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

/// Keeps a snapshot, with the log that makes it consistent, beyond the window: a copy for years, a legal hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hold {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What it is called by whoever placed it.
    pub name: String,
    /// When it ends by itself; `None` is never.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// When it was released, if it was: after the policy's grace it is over.
    #[serde(default)]
    pub released_at: Option<Timestamp>,
}

impl Hold {
    /// A hold on `snapshot` without an end.
    #[must_use]
    pub fn new(snapshot: SnapshotId, name: impl Into<String>) -> Self {
        Self { snapshot, name: name.into(), until: None, released_at: None }
    }

    /// One that ends at this instant.
    #[must_use]
    pub const fn until(mut self, until: Timestamp) -> Self {
        self.until = Some(until);
        self
    }

    /// One that was released at this instant.
    #[must_use]
    pub const fn released_at(mut self, released_at: Timestamp) -> Self {
        self.released_at = Some(released_at);
        self
    }

    /// Whether it keeps its snapshot at `now`, if released holds last for `grace`.
    #[must_use]
    pub fn is_active(&self, now: Timestamp, grace: Duration) -> bool {
        let released = self.released_at.is_some_and(|released| now >= released.saturating_add(grace));
        let ended = self.until.is_some_and(|until| now >= until);
        // An end that comes first counts; a release never makes a hold last longer.
        !released && !ended
    }
}

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

impl Lease {
    /// A lease on everything that `plan` needs.
    #[must_use]
    pub fn on(plan: &RestorePlan, holder: impl Into<String>, until: Timestamp) -> Self {
        Self {
            holder: holder.into(),
            incarnation: plan.incarnation(),
            snapshots: plan.snapshots().iter().map(|snapshot| snapshot.id.clone()).collect(),
            logs: plan.logs().iter().map(|log| log.needed).collect(),
            until,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_a_grace_and_an_end_has_none() {
        let at = |hour: i64| Timestamp::from_unix_micros(hour * 3_600_000_000).unwrap();
        let grace = Duration::from_secs(2 * 3600);
        let hold = Hold::new("one".parse().unwrap(), "audit");
        assert!(hold.is_active(Timestamp::MAX, grace));
        let ending = hold.clone().until(at(10));
        assert!(ending.is_active(at(9), grace) && !ending.is_active(at(10), grace));
        let released = hold.released_at(at(10));
        assert!(released.is_active(at(11), grace) && !released.is_active(at(12), grace));
        assert!(!released.until(at(11)).is_active(at(11), grace), "the end comes before the grace is over");
    }
}
