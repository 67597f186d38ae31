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
    /// The bytes that are fetched for the files, as they are stored.
    #[serde(default)]
    pub stored_bytes: u64,
}

/// How fast restores were, as far as that was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestoreRates {
    /// Bytes a second that were fetched for files, as they are stored, and written.
    #[serde(default)]
    pub fetch_bytes_per_second: Option<u64>,
    /// Bytes of log a second that were replayed.
    #[serde(default)]
    pub replay_bytes_per_second: Option<u64>,
}

/// What took less says more about what comes with it than about its rate.
const FETCH_MILLIS_MIN: u64 = 1_000;
/// A server takes a second or so to start.
const REPLAY_MILLIS_MIN: u64 = 10_000;

impl RestoreRates {
    /// The same after one more restore, which counts as much as all before it. One that failed counts for nothing, nor does what was too short
    /// to be measured.
    #[must_use]
    pub fn after(self, proof: &RestoreProof) -> Self {
        let Some(route) = proof.route.as_ref().filter(|_| proof.failure.is_none()) else { return self };
        let fetch = rate(route.stored_bytes, proof.files_millis, FETCH_MILLIS_MIN);
        let recovery = proof.trial.as_ref().map(|trial| trial.recovery_millis);
        let replay = rate(route.log_bytes, recovery, REPLAY_MILLIS_MIN);
        Self {
            fetch_bytes_per_second: between(self.fetch_bytes_per_second, fetch),
            replay_bytes_per_second: between(self.replay_bytes_per_second, replay),
        }
    }
}

/// Bytes a second, if that took `millis`, which are enough.
fn rate(bytes: u64, millis: Option<u64>, millis_min: u64) -> Option<u64> {
    let millis = millis.filter(|millis| *millis >= millis_min)?;
    let rate = u128::from(bytes) * 1000 / u128::from(millis);
    u64::try_from(rate).ok().filter(|rate| *rate > 0)
}

fn between(known: Option<u64>, measured: Option<u64>) -> Option<u64> {
    match (known, measured) {
        (Some(known), Some(measured)) => Some(known.midpoint(measured)),
        (known, measured) => known.or(measured),
    }
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
        Self { incarnation, snapshot, timeline, file_bytes: 0, log_bytes: 0, stored_bytes: 0 }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(stored_bytes: u64, files_millis: u64, log_bytes: u64, recovery_millis: u64) -> RestoreProof {
        let mut proof = RestoreProof::new(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        let route = RestoreRoute::new("7-18".parse().unwrap(), "one".parse().unwrap(), TimelineId::FIRST);
        proof.route = Some(RestoreRoute { stored_bytes, log_bytes, ..route });
        let trial = Trial::new("18.4", TimelineId::FIRST, Lsn::new(1));
        (proof.files_millis, proof.trial) = (Some(files_millis), Some(Trial { recovery_millis, ..trial }));
        proof
    }

    #[test]
    fn rates_are_measured_by_restores_that_take_long_enough() {
        let rates = |fetch, replay| RestoreRates { fetch_bytes_per_second: fetch, replay_bytes_per_second: replay };
        let none = RestoreRates::default();
        assert_eq!(none.after(&proof(5 << 20, 999, 1 << 30, 9_999)), none, "too short");
        let first = none.after(&proof(300_000_000, 2_000, 1_000_000_000, 20_000));
        assert_eq!(first, rates(Some(150_000_000), Some(50_000_000)));
        let second = first.after(&proof(5 << 20, 999, 700_000_000, 10_000));
        assert_eq!(second, rates(Some(150_000_000), Some(60_000_000)));
        let mut failed = proof(1, 10_000, 1, 100_000);
        failed.failure = Some("no room".to_owned());
        assert_eq!(second.after(&failed), second);
        assert_eq!(second.after(&proof(0, 1_000, 0, 10_000)), second, "nothing was fetched");
        let without_postgres = RestoreProof { trial: None, ..proof(300_000_000, 1_000, 1_000_000_000, 20_000) };
        assert_eq!(none.after(&without_postgres), rates(Some(300_000_000), None));
    }
}
