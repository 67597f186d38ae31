//! What a catalog says to a worker that remembers nothing.

use super::ScheduleFacts;
use crate::model::{Catalog, Lsn, Snapshot, TaskRun, Timestamp};
use crate::plan::compaction::{CompactionPolicy, plan_compaction};
use crate::plan::past::Path;
use crate::plan::retention::Protections;

impl ScheduleFacts {
    /// The same, with what `catalog` says of the server's current branch at `now`: the last snapshot that can be restored and the last log
    /// backup, unless later ones are known; the log since the last snapshot, and the first commit in it; and how many log backups
    /// [compaction](crate::plan::compaction) would merge.
    ///
    /// A catalog has the server's clock where these facts ask for the worker's, and says when a snapshot was complete but not when it
    /// began. So what a worker remembers itself is better, and stays.
    #[must_use]
    pub fn observed(mut self, catalog: &Catalog, now: Timestamp) -> Self {
        let Some(branch) = catalog.current() else { return self };
        let Some(path) = Path::new(catalog, branch) else { return self };
        self.small_log_backups = mergeable(catalog, now);
        let end = path.archived_end().unwrap_or(Lsn::ZERO);
        let last_log = path.observed_between(Lsn::ZERO, end);
        self.log_backup.last_success = later(self.log_backup.last_success, last_log);
        if let Some(candidate) = path.candidates().next() {
            let snapshot = candidate.snapshot;
            self.snapshot.last_success = later(self.snapshot.last_success, Some(snapshot.consistent_at));
            let mut after = catalog.logs(branch).filter(|log| log.end() > snapshot.wal.end);
            let first = || after.find_map(|log| written_after(log.max_commit_time(), log.start(), snapshot));
            self.first_write = self.first_write.or_else(first);
        }
        if let Some(snapshot) = catalog.last_snapshot() {
            // Also one that waits for its log still: what is written from now on is replayed from there.
            let end = catalog.archived_through(branch).unwrap_or(Lsn::ZERO);
            self.replay_bytes = self.replay_bytes.max(end.bytes_since(snapshot.wal.start));
        }
        self
    }
}

/// How many log backups would become fewer now.
fn mergeable(catalog: &Catalog, now: Timestamp) -> u64 {
    let plan = plan_compaction(catalog, &CompactionPolicy::default(), &Protections::none(), now);
    plan.merges.iter().map(|merge| merge.logs.len() as u64).sum()
}

/// When something was written after `snapshot`, if log says so that begins at `start` and holds a commit at `commit` as its latest. Of log that the snapshot ends in, only
/// a later time does.
#[must_use]
pub fn written_after(commit: Option<Timestamp>, start: Lsn, snapshot: &Snapshot) -> Option<Timestamp> {
    commit.filter(|commit| start >= snapshot.wal.end || *commit > snapshot.consistent_at)
}

/// The later of a run that is known and one that was complete at `at`.
fn later(known: Option<TaskRun>, at: Option<Timestamp>) -> Option<TaskRun> {
    let observed = at.map(|at| TaskRun::new(at, at));
    known.into_iter().chain(observed).max_by_key(|run| run.ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LogBackup, ScheduleSettings, SegmentSize, Snapshot, StoredObject, Task, TimelineId, WalRange};
    use crate::plan::schedule::{DueReason, Schedule};

    #[test]
    fn a_worker_that_remembers_nothing_begins_where_the_catalog_ends() {
        let life = "7-15".parse().unwrap();
        let at = |hour: i64| Timestamp::from_unix_micros(hour * 3_600_000_000).unwrap();
        let wal = |start: u64, end: u64| {
            WalRange::new(TimelineId::FIRST, Lsn::new(start << 20), Lsn::new(end << 20)).unwrap()
        };
        let manifest = StoredObject::new("manifest".parse().unwrap(), 1000);
        let snapshot = Snapshot::full("one".parse().unwrap(), life, wal(1, 2), SegmentSize::MIN, at(2), manifest);
        let log = |start, end, hour| {
            let mut log = LogBackup::new(life, wal(start, end), "log".parse().unwrap(), end);
            (log.max_commit_time, log.complete_through) = (Some(at(hour)), Some(at(hour)));
            log
        };
        // It is not known of the last of the small ones that the server has left it behind.
        let logs =
            [log(1, 2, 1)].into_iter().chain((2..12).map(|start| log(start, start + 1, 3))).chain([log(12, 12, 4)]);
        let catalog = Catalog::new(logs.map(Into::into).chain([snapshot.into()])).unwrap();
        let facts = ScheduleFacts::new(at(0)).observed(&catalog, at(5));
        assert_eq!(facts.snapshot.last_success, Some(TaskRun::new(at(2), at(2))));
        assert_eq!(facts.log_backup.last_success, Some(TaskRun::new(at(4), at(4))));
        assert_eq!((facts.replay_bytes, facts.first_write, facts.small_log_backups), (11 << 20, Some(at(3)), 9));
        let remembered = facts.clone().observed(&Catalog::default(), at(5));
        assert_eq!(remembered, facts);

        let schedule = Schedule::new(ScheduleSettings::default()).unwrap();
        let due = |facts: &ScheduleFacts| {
            let agenda = schedule.agenda(&"prod".parse().unwrap(), facts, at(4));
            agenda.due.into_iter().find(|due| due.task == Task::Snapshot).map(|due| due.reason)
        };
        assert_eq!(due(&ScheduleFacts::new(at(0))), Some(DueReason::First));
        assert_eq!(due(&facts), None, "there is one of two hours ago");
    }
}
