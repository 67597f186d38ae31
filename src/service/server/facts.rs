//! What is known of a server when it is asked what is due.

use crate::format::record::RunLog;
use crate::model::{Catalog, LogBackup, Lsn, ServerConfig, Snapshot, Task, TaskFacts, TaskRun, Timestamp};
use crate::plan::compaction::{CompactionPolicy, plan_compaction};
use crate::plan::retention::{Protections, RetentionPolicy, next_expiry};
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
    let mut facts = facts.observed(catalog, 0);
    let plan = plan_compaction(catalog, &CompactionPolicy::default(), &Protections::none(), now);
    if let (Some(snapshot), Some(branch)) = (last_snapshot(catalog), catalog.current()) {
        // Also one that waits for its log still: what is written from now on is replayed from there.
        let end = catalog.archived_through(branch).unwrap_or(Lsn::ZERO);
        facts.replay_bytes = end.bytes_since(snapshot.wal.start.min(end));
    }
    facts.small_log_backups = plan.merges.iter().map(|merge| merge.logs.len() as u64).sum();
    // A little later: by then the server was seen since.
    let expiry = next_expiry(catalog, &RetentionPolicy::of(config), now);
    facts.expires_at = expiry.map(|at| at.saturating_add(config.schedule.log_backup_every));
    configure(&mut facts, config, runs);
    facts
}

/// What there is of a server, of which `snapshot` is the last one; but for what became of its tasks.
pub(super) fn survey_of(catalog: &Catalog, snapshot: Option<&Snapshot>, now: Timestamp) -> Survey {
    let window = catalog.current().map(|branch| recovery_window(catalog, branch));
    Survey {
        earliest: window.as_ref().and_then(RecoveryWindow::earliest),
        latest: window.as_ref().and_then(RecoveryWindow::latest),
        last_snapshot: snapshot.map(|snapshot| snapshot.consistent_at),
        usage: UsageHistory::new(StoredBytes::of(catalog)).at(now),
        ..Survey::default()
    }
}

/// The last snapshot that can be restored, or will be with its log.
pub(super) fn last_snapshot(catalog: &Catalog) -> Option<&Snapshot> {
    let incarnation = catalog.current()?.incarnation;
    let usable = catalog.snapshots().filter(|snapshot| snapshot.incarnation == incarnation);
    usable.filter(|snapshot| catalog.unusable(&snapshot.id).is_none()).max_by_key(|snapshot| snapshot.consistent_at)
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
