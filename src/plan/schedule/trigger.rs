//! What makes each task due, and when: by itself, whether or not it runs or has failed.

use std::time::Duration;

use super::check::DAY;
use super::hold::Hold;
use super::spread::{Purpose, spread};
use super::{DueReason, Schedule, ScheduleFacts};
use crate::model::{ScheduleSettings, ServerName, Task, TaskRun, Timestamp};

/// One cause for which a task is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trigger {
    pub(super) reason: DueReason,
    /// Since when; later than now only if time alone brings it about.
    pub(super) from: Timestamp,
    /// The time since the last run in which it is no cause.
    pub(super) rest: Option<Hold>,
    /// Whether it does not wait for the next try after a failure.
    pub(super) urgent: bool,
}

impl Trigger {
    const fn new(from: Timestamp, reason: DueReason) -> Self {
        Self { reason, from, rest: None, urgent: false }
    }

    /// Whenever `rest` is over.
    const fn after(rest: Hold, reason: DueReason) -> Self {
        Self { reason, from: Timestamp::MIN, rest: Some(rest), urgent: false }
    }
}

/// Everything that the triggers depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) schedule: &'a Schedule,
    pub(super) server: &'a ServerName,
    pub(super) facts: &'a ScheduleFacts,
    pub(super) now: Timestamp,
}

impl View<'_> {
    /// What makes `task` due; of those at one instant, the first counts.
    pub(super) fn triggers(&self, task: Task) -> Vec<Trigger> {
        let of_task = match task {
            Task::LogBackup => vec![self.log_backup(), self.resumed(), self.unarchived()],
            Task::Snapshot => {
                let asked = [self.first_snapshot(), self.requested(), self.requested_anew()];
                asked.into_iter().chain([self.recovery_time(), self.slot()]).collect()
            }
            Task::Retention => vec![self.after_snapshot(), self.expiry(), self.daily_retention()],
            Task::Compaction => vec![self.small_log_backups(), self.compaction()],
            Task::Verification => {
                vec![self.now_and_then(task, Purpose::Verification, self.settings().verification_every)]
            }
            Task::TestRestore => {
                let every = self.settings().test_restore_every;
                vec![every.and_then(|every| self.now_and_then(task, Purpose::TestRestore, every))]
            }
        };
        of_task.into_iter().flatten().collect()
    }

    /// A clock that is set back must not lengthen what a disaster loses: a log backup is not trusted to lie ahead at all.
    fn log_backup(&self) -> Option<Trigger> {
        let every = self.settings().log_backup_every;
        Some(match self.facts.log_backup.last_success {
            Some(TaskRun { started, .. }) => {
                let rest = Hold::new(started, Duration::ZERO, started.saturating_add(every));
                Trigger::after(rest, DueReason::Cadence { every })
            }
            None => Trigger::new(self.past(self.facts.created_at), DueReason::First),
        })
    }

    fn resumed(&self) -> Option<Trigger> {
        let (run, resumed_at) = (self.facts.log_backup.last_success?, self.facts.resumed_at?);
        (run.started < resumed_at).then(|| Trigger::new(resumed_at, DueReason::Resumed))
    }

    fn unarchived(&self) -> Option<Trigger> {
        let unarchived_bytes = self.facts.unarchived_bytes;
        let enough = unarchived_bytes >= self.settings().log_backup_bytes;
        enough.then(|| Trigger::new(self.now, DueReason::Size { unarchived_bytes }))
    }

    fn first_snapshot(&self) -> Option<Trigger> {
        let none = self.facts.snapshot.last_success.is_none();
        none.then(|| Trigger::new(self.past(self.facts.created_at), DueReason::First))
    }

    fn requested(&self) -> Option<Trigger> {
        Some(Trigger::new(self.past(self.facts.snapshot_requested?), DueReason::OnDemand))
    }

    /// What failed before it was asked for does not delay it.
    fn requested_anew(&self) -> Option<Trigger> {
        let asked = self.facts.snapshot_requested?;
        let anew = Some(asked) > self.facts.snapshot.last_failure;
        anew.then(|| Trigger { urgent: true, ..Trigger::new(asked, DueReason::OnDemand) })
    }

    fn recovery_time(&self) -> Option<Trigger> {
        self.facts.snapshot.last_success?;
        let objective = self.settings().recovery_time_objective?;
        let rate = self.facts.replay_bytes_per_second;
        let rate = rate.unwrap_or_else(|| self.settings().replay_bytes_per_second);
        let rate = u128::from(rate.max(1));
        let micros = u128::from(self.facts.replay_bytes) * 1_000_000 / rate;
        let replay = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        (replay > objective).then(|| Trigger::new(self.now, DueReason::RecoveryTime { replay, objective }))
    }

    /// Rests until the first slot that is half a period or more after the last snapshot.
    fn slot(&self) -> Option<Trigger> {
        let last = self.facts.snapshot.last_success?.started;
        let half = self.settings().snapshot_every / 2;
        let slot = self.schedule.next_slot(self.server, last.saturating_add(half));
        let written = self.written()?;
        let reason = if written > slot { DueReason::FirstWrite } else { self.passed(slot) };
        Some(Trigger { from: written, ..Trigger::after(Hold::new(last, half, slot), reason) })
    }

    /// Since when there is something that a snapshot would save; `None` if there is nothing, and that matters.
    fn written(&self) -> Option<Timestamp> {
        let matters = self.settings().skip_idle_snapshots;
        if matters { self.facts.first_write.map(|at| self.past(at)) } else { Some(Timestamp::MIN) }
    }

    /// How many slots have passed, of which `first` is the first.
    fn passed(&self, first: Timestamp) -> DueReason {
        let every = self.settings().snapshot_every.as_micros();
        match u64::try_from(self.now.duration_since(first).as_micros() / every).unwrap_or(u64::MAX) {
            0 => DueReason::Slot,
            further => DueReason::MissedSlots { slots: further.saturating_add(1) },
        }
    }

    fn after_snapshot(&self) -> Option<Trigger> {
        let taken = self.facts.snapshot.last_success?.ended;
        match self.facts.retention.last_success {
            Some(run) => (taken > run.started).then(|| Trigger::new(taken, DueReason::AfterSnapshot)),
            None => Some(Trigger::new(self.past(taken), DueReason::AfterSnapshot)),
        }
    }

    /// Not again for a while if the last one left it: the server was not seen since.
    fn expiry(&self) -> Option<Trigger> {
        let (at, last) = (self.facts.expires_at?, self.facts.retention.last_success);
        let rest = last.map(|run| Hold::lasting(run.started, self.settings().retry_max));
        Some(Trigger { rest, ..Trigger::new(at, DueReason::Expiry) })
    }

    fn daily_retention(&self) -> Option<Trigger> {
        self.facts.snapshot.last_success?;
        Some(periodic(self.facts.retention.last_success?, DAY))
    }

    /// Not again for a while if the last one left as many: it could not merge them.
    fn small_log_backups(&self) -> Option<Trigger> {
        let log_backups = self.facts.small_log_backups;
        let enough = log_backups >= self.settings().compaction_log_backups;
        let last = self.facts.compaction.last_success;
        let rest = last.map(|run| Hold::lasting(run.started, self.settings().retry_max));
        enough.then(|| Trigger { rest, ..Trigger::new(self.now, DueReason::Count { log_backups }) })
    }

    fn compaction(&self) -> Option<Trigger> {
        let every = self.settings().compaction_every;
        let trigger = match self.facts.compaction.last_success {
            Some(run) => periodic(run, every),
            None => Trigger::after(Hold::lasting(self.facts.created_at, every), DueReason::First),
        };
        (self.facts.small_log_backups >= 2).then_some(trigger)
    }

    /// Once there is a snapshot. The first one at a time within the first period that depends on the server's name, for a fleet may be set up at once.
    fn now_and_then(&self, task: Task, purpose: Purpose, every: Duration) -> Option<Trigger> {
        let taken = self.facts.snapshot.last_success?.ended;
        Some(match self.facts.task(task).last_success {
            Some(run) => periodic(run, every),
            None => {
                let created = self.facts.created_at;
                let rest = Hold::new(created, every / 2, created.saturating_add(spread(self.server, purpose, every)));
                Trigger { from: self.past(taken), ..Trigger::after(rest, DueReason::First) }
            }
        })
    }

    fn settings(&self) -> &ScheduleSettings {
        &self.schedule.settings
    }

    /// An instant that has come, whatever the clock says.
    fn past(&self, at: Timestamp) -> Timestamp {
        at.min(self.now)
    }
}

fn periodic(last: TaskRun, every: Duration) -> Trigger {
    Trigger::after(Hold::lasting(last.started, every), DueReason::Cadence { every })
}
