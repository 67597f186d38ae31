//! What test restores have shown.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Incarnation, Lsn, SnapshotId, TimelineId, Timestamp};

/// A server that was restored on trial: what was asked for, how far that went, and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestoreProof {
    /// When it was begun, by the clock of the machine that restored.
    pub begun: Timestamp,
    /// When it was over.
    pub ended: Timestamp,
    /// The instant that was to be restored.
    pub instant: Timestamp,
    /// How; `None` if not even that could be found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<RestoreRoute>,
    /// How long it took until all files were written, in milliseconds; `None` if they were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_millis: Option<u64>,
    /// What the server was like; `None` if it did not come up, or no PostgreSQL was at hand to start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// Why this shows that something is wrong; `None` if all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// How an instant is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestoreRoute {
    /// The life of the server that is restored.
    pub incarnation: Incarnation,
    /// The snapshot that recovery starts from.
    pub snapshot: SnapshotId,
    /// The timeline to recover along.
    pub timeline: TimelineId,
    /// The bytes of files that the snapshot has.
    pub file_bytes: u64,
    /// The bytes of log that are replayed.
    pub log_bytes: u64,
}

/// A restored server that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Trial {
    /// PostgreSQL's version, as the server says.
    pub postgres: String,
    /// How long it took from its start until it accepted connections, in milliseconds.
    pub recovery_millis: u64,
    /// The timeline that it began when recovery ended.
    pub timeline: TimelineId,
    /// The end of the last record that was replayed.
    pub reached: Lsn,
    /// The time of the last commit or abort that was replayed; `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit: Option<Timestamp>,
    /// How many databases were looked through.
    pub databases: u64,
    /// How many tables, materialized views, TOAST tables and indexes were read.
    pub relations: u64,
    /// Whether they were also checked by `amcheck`, in all databases. Indexes were not looked at otherwise.
    pub amcheck: bool,
    /// What is wrong with them: the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// How much a test restore has shown, each more than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Proven {
    /// That something is wrong.
    Nothing,
    /// All files and all log can be fetched, and are what was stored.
    Files,
    /// PostgreSQL recovers with them to where the plan says, and its tables can be read; and its indexes, if [`Trial::amcheck`] says so.
    Server,
}

impl RestoreProof {
    /// A proof, begun just now at `begun`, that restores `instant`.
    #[must_use]
    pub const fn new(begun: Timestamp, instant: Timestamp) -> Self {
        let (route, files_millis, trial, failure) = (None, None, None, None);
        Self { begun, ended: begun, instant, route, files_millis, trial, failure }
    }

    /// The time that the restore took.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.ended.duration_since(self.begun)
    }

    /// How much it has shown.
    #[must_use]
    pub const fn proven(&self) -> Proven {
        match (&self.failure, &self.trial) {
            (Some(_), _) => Proven::Nothing,
            (None, None) => Proven::Files,
            (None, Some(_)) => Proven::Server,
        }
    }
}

impl RestoreRoute {
    /// Along `timeline` from `snapshot`, which a server took in its life `incarnation`.
    #[must_use]
    pub const fn new(incarnation: Incarnation, snapshot: SnapshotId, timeline: TimelineId) -> Self {
        Self { incarnation, snapshot, timeline, file_bytes: 0, log_bytes: 0 }
    }
}

impl Trial {
    /// A server of this version that came up on `timeline`, after the log was replayed up to `reached`.
    #[must_use]
    pub fn new(postgres: impl Into<String>, timeline: TimelineId, reached: Lsn) -> Self {
        let (recovery_millis, last_commit, databases, relations, amcheck) = (0, None, 0, 0, false);
        let (postgres, faults) = (postgres.into(), Vec::new());
        Self { postgres, recovery_millis, timeline, reached, last_commit, databases, relations, amcheck, faults }
    }
}

impl fmt::Display for RestoreProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instant, begun, .. } = self;
        write!(f, "{instant}")?;
        if let Some(RestoreRoute { snapshot, .. }) = &self.route {
            write!(f, " from snapshot {snapshot}")?;
        }
        write!(f, ", on trial at {begun}: ")?;
        match (&self.failure, &self.trial) {
            (Some(failure), _) => write!(f, "FAILED: {failure}"),
            (None, None) => write!(f, "files and log are sound; no PostgreSQL was started"),
            (None, Some(trial)) => {
                let Trial { postgres, reached, databases, relations, .. } = trial;
                write!(
                    f,
                    "PostgreSQL {postgres} recovered to {reached}; {relations} relations of {databases} databases are sound"
                )
            }
        }
    }
}
