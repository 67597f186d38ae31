//! The work for a server that comes again and again.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// What the loop of a server does, in the order in which it does what is due at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Task {
    /// Archiving the log so far. First, as what is not archived can be lost, and as it takes seconds.
    LogBackup,
    /// Taking a snapshot.
    Snapshot,
    /// Deleting what has expired. After the snapshot, which lets others expire.
    Retention,
    /// Making small log backups into larger ones. After retention, which leaves fewer of them.
    Compaction,
    /// Reading what is stored, to see that it can be restored. Late: nothing depends on it.
    Verification,
    /// Restoring an instant on trial. Last, as it takes the longest.
    TestRestore,
}

impl Task {
    /// All of them, in order.
    pub const ALL: [Self; 6] =
        [Self::LogBackup, Self::Snapshot, Self::Retention, Self::Compaction, Self::Verification, Self::TestRestore];
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::LogBackup => "log backup",
            Self::Snapshot => "snapshot",
            Self::Retention => "retention",
            Self::Compaction => "compaction",
            Self::Verification => "verification",
            Self::TestRestore => "test restore",
        })
    }
}

/// A run that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskRun {
    /// When it began. The next one is counted from here, so that a long run does not put off the next.
    pub started: Timestamp,
    /// When it had ended.
    pub ended: Timestamp,
}

impl TaskRun {
    /// A run from `started` to `ended`.
    #[must_use]
    pub const fn new(started: Timestamp, ended: Timestamp) -> Self {
        Self { started, ended }
    }
}

/// What is known of the runs of one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskFacts {
    /// The run that succeeded last: the one recorded last, which after a step of the clock need not have the latest time.
    pub last_success: Option<TaskRun>,
    /// How many runs failed since.
    pub failures: u32,
    /// When the last of these had failed.
    pub last_failure: Option<Timestamp>,
    /// When the run that has not ended yet began, or last showed progress.
    pub running_since: Option<Timestamp>,
}

impl TaskFacts {
    /// The same after a run that began at `at`, and has not ended yet.
    #[must_use]
    pub fn begun(self, at: Timestamp) -> Self {
        Self { running_since: Some(at), ..self }
    }

    /// The same after `run`, which succeeded.
    #[must_use]
    pub fn succeeded(self, run: TaskRun) -> Self {
        Self { last_success: Some(run), ..Self::default() }
    }

    /// The same after one more run, which had failed at `at`.
    #[must_use]
    pub fn failed(self, at: Timestamp) -> Self {
        let failures = self.failures.saturating_add(1);
        Self { failures, last_failure: Some(at), running_since: None, ..self }
    }
}
