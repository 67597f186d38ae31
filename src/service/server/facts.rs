//! What is known of a server when it is asked what is due.

use crate::format::record::RunLog;
use crate::model::{Catalog, LogBackup, ServerConfig, Snapshot, Task, TaskFacts, TaskRun, Timestamp};
use crate::plan::retention::{RetentionPolicy, next_expiry};
use crate::plan::schedule::{ScheduleFacts, written_after};
use crate::plan::usage::{StoredBytes, UsageHistory};
use crate::plan::{RecoveryWindow, recovery_window};
use crate::service::Survey;

/// What is known of the server `config`, protected since `created_at`, from what became of the work for it and from its catalog.
pub(in crate::service) fn facts_of(
    config: &ServerConfig,
    created_at: Timestamp,
    runs: &RunLog,
    catalog: &Catalog,
    now: Timestamp,
) -> ScheduleFacts {
    let mut facts = ScheduleFacts::new(created_at);
    for (task, known) in &runs.tasks {
        // Whoever ran it then is not at it any more.
        *facts.task_mut(*task) = TaskFacts { running_since: None, ..*known };
    }
    let mut facts = facts.observed(catalog, now);
    // A little later: by then the server was seen since.
    let expiry = next_expiry(catalog, &RetentionPolicy::of(config), now);
    facts.expires_at = expiry.map(|at| at.saturating_add(config.schedule.log_backup_every));
    configure(&mut facts, config, runs);
    facts
}

/// What there is of a server; but for what became of its tasks.
pub(super) fn survey_of(catalog: &Catalog, now: Timestamp) -> Survey {
    let window = catalog.current().map(|branch| recovery_window(catalog, branch));
    Survey {
        earliest: window.as_ref().and_then(RecoveryWindow::earliest),
        latest: window.as_ref().and_then(RecoveryWindow::latest),
        last_snapshot: catalog.last_snapshot().map(|snapshot| snapshot.consistent_at),
        usage: UsageHistory::new(StoredBytes::of(catalog)).at(now),
        ..Survey::default()
    }
}

/// What follows from how the server is configured.
pub(super) fn configure(facts: &mut ScheduleFacts, config: &ServerConfig, runs: &RunLog) {
    facts.paused = config.paused_at.is_some() || config.deletion.is_some();
    facts.resumed_at = config.resumed_at;
    facts.replay_bytes_per_second = runs.rates.replay_bytes_per_second;
    facts.snapshot_requested = config.snapshot_requested_at.filter(|asked| Some(*asked) != runs.answered);
}

/// What follows from `log`, which was stored just now, after the last snapshot.
pub(super) fn archived(facts: &mut ScheduleFacts, log: &LogBackup, snapshot: Option<&Snapshot>, now: Timestamp) {
    facts.log_backup = facts.log_backup.succeeded(TaskRun::new(now, now));
    facts.small_log_backups += 1;
    let Some(snapshot) = snapshot else { return };
    facts.replay_bytes = log.wal.end.bytes_since(snapshot.wal.start.min(log.wal.end));
    facts.first_write = facts.first_write.or_else(|| written_after(log.max_commit_time, log.wal.start, snapshot));
}

/// Which tasks exclude each other: of each kind one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Snapshot,
    /// What deletes: it would only meet what the other one deletes.
    Upkeep,
    Verification,
    Trial,
}

impl Lane {
    /// Where `task` belongs; `None` if it is the archiver's, which runs all the time.
    pub(super) const fn of(task: Task) -> Option<Self> {
        match task {
            Task::LogBackup => None,
            Task::Snapshot => Some(Self::Snapshot),
            Task::Retention | Task::Compaction => Some(Self::Upkeep),
            Task::Verification => Some(Self::Verification),
            Task::TestRestore => Some(Self::Trial),
        }
    }
}
