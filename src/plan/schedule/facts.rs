//! What is known of a server when it is asked what is due.

use serde::{Deserialize, Serialize};

use crate::model::{Task, TaskFacts, Timestamp};

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
    /// The restores of it on trial.
    pub test_restore: TaskFacts,
    /// When something that is there expires, if nothing else happens until then.
    pub expires_at: Option<Timestamp>,
    /// When a user asked for a snapshot, until one that began later has succeeded, or the user wants it no longer.
    pub snapshot_requested: Option<Timestamp>,
    /// When the first write after the last snapshot was noticed. What the snapshot itself writes does not count.
    pub first_write: Option<Timestamp>,
    /// The bytes of log from the start of the last snapshot to the server's present position.
    pub replay_bytes: u64,
    /// Bytes of log a second that test restores have replayed, if that was measured: then the setting does not count.
    pub replay_bytes_per_second: Option<u64>,
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
            test_restore: TaskFacts::default(),
            expires_at: None,
            snapshot_requested: None,
            first_write: None,
            replay_bytes: 0,
            replay_bytes_per_second: None,
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
            Task::TestRestore => &self.test_restore,
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
            Task::TestRestore => &mut self.test_restore,
        }
    }
}
