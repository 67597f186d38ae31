//! What is known of a server when it is asked what is due.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

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
    /// Reading what is stored, to see that it can be restored. Last: nothing depends on it.
    Verification,
}

impl Task {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::LogBackup, Self::Snapshot, Self::Retention, Self::Compaction, Self::Verification];
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::LogBackup => "log backup",
            Self::Snapshot => "snapshot",
            Self::Retention => "retention",
            Self::Compaction => "compaction",
            Self::Verification => "verification",
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

/// All that a [`Schedule`](super::Schedule) must know of one server.
///
/// Every instant comes from the clock that `now` comes from, not from the server's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScheduleFacts {
    /// Since when the server is protected.
    pub created_at: Timestamp,
    /// Whether the server is stopped, or its backups are paused: nothing is due then.
    pub paused: bool,
    /// When it was last paused no longer, if it ever was paused.
    pub resumed_at: Option<Timestamp>,
    /// The archiving of its log.
    pub log_backup: TaskFacts,
    /// Its snapshots. Only those count that can be restored, of the server's present incarnation.
    pub snapshot: TaskFacts,
    /// The deletion of what has expired.
    pub retention: TaskFacts,
    /// The compaction of its log backups.
    pub compaction: TaskFacts,
    /// The verification of its backups.
    pub verification: TaskFacts,
    /// When a user asked for a snapshot, until one that began later has succeeded, or the user wants it no longer.
    pub snapshot_requested: Option<Timestamp>,
    /// When the first write after the last snapshot was noticed. What the snapshot itself writes does not count.
    pub first_write: Option<Timestamp>,
    /// The bytes of log from the start of the last snapshot to the server's present position.
    pub replay_bytes: u64,
    /// The bytes of log that are written, and not archived.
    pub unarchived_bytes: u64,
    /// How many log backups are so small that compaction would merge them.
    pub small_log_backups: u64,
}

impl ScheduleFacts {
    /// A server that is protected since `created_at`, of which there is nothing yet.
    #[must_use]
    pub fn new(created_at: Timestamp) -> Self {
        Self {
            created_at,
            paused: false,
            resumed_at: None,
            log_backup: TaskFacts::default(),
            snapshot: TaskFacts::default(),
            retention: TaskFacts::default(),
            compaction: TaskFacts::default(),
            verification: TaskFacts::default(),
            snapshot_requested: None,
            first_write: None,
            replay_bytes: 0,
            unarchived_bytes: 0,
            small_log_backups: 0,
        }
    }

    /// What is known of the runs of `task`.
    #[must_use]
    pub fn task(&self, task: Task) -> &TaskFacts {
        match task {
            Task::LogBackup => &self.log_backup,
            Task::Snapshot => &self.snapshot,
            Task::Retention => &self.retention,
            Task::Compaction => &self.compaction,
            Task::Verification => &self.verification,
        }
    }

    /// The same, to be changed.
    pub fn task_mut(&mut self, task: Task) -> &mut TaskFacts {
        match task {
            Task::LogBackup => &mut self.log_backup,
            Task::Snapshot => &mut self.snapshot,
            Task::Retention => &mut self.retention,
            Task::Compaction => &mut self.compaction,
            Task::Verification => &mut self.verification,
        }
    }
}
