//! When a task is due that something makes due: not while it runs, and not soon after it failed.

use super::backoff::retry_delay;
use super::hold::{Hold, first_free, free_since};
use super::trigger::{Trigger, View};
use super::{Agenda, DueReason, DueTask, LaterTask, Wait};
use crate::model::{Task, Timestamp};

/// When a task is due next, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    task: Task,
    reason: DueReason,
    /// Now, or later.
    at: Timestamp,
    /// Since when, if it is now.
    since: Timestamp,
    waits: Wait,
}

impl View<'_> {
    /// The first instant from now on at which `task` is due; `None` if no time makes it so.
    pub(super) fn planned(&self, task: Task) -> Option<Planned> {
        let of_trigger = |trigger| self.held_back(task, trigger);
        self.triggers(task).into_iter().map(of_trigger).min_by_key(|planned| (planned.at, planned.since))
    }

    fn held_back(&self, task: Task, trigger: Trigger) -> Planned {
        let run = self.run(task);
        let failure = self.failure(task).filter(|_| !trigger.urgent);
        let holds: Vec<Hold> = trigger.rest.into_iter().chain(failure).chain(run).collect();
        let at = first_free(trigger.from.max(self.now), &holds);
        let early = trigger.rest.filter(|rest| at < rest.from);
        let reason = early.map_or(trigger.reason, |rest| DueReason::ClockSetBack { recorded: rest.recorded });
        let since = if early.is_some() { at } else { free_since(trigger.from, at, &holds) };
        let ends_it = |hold: Option<Hold>| hold.filter(|hold| at == hold.until && at > trigger.from);
        let waits = match (ends_it(trigger.rest), ends_it(run), ends_it(failure)) {
            (None, Some(run), _) => Wait::Run { since: run.recorded },
            (None, None, Some(_)) => Wait::Retry { failures: self.facts.task(task).failures },
            _ => Wait::Time,
        };
        Planned { task, reason, at, since, waits }
    }

    /// While it waits for the next try.
    fn failure(&self, task: Task) -> Option<Hold> {
        let known = self.facts.task(task);
        let failed = known.last_failure.filter(|_| known.failures > 0)?;
        Some(Hold::lasting(failed, retry_delay(&self.schedule.settings, self.server, task, known.failures)))
    }

    /// While the run that has not ended does not count as dead.
    fn run(&self, task: Task) -> Option<Hold> {
        let timeout = match task {
            Task::LogBackup => self.schedule.settings.log_backup_timeout,
            _ => self.schedule.settings.run_timeout,
        };
        Some(Hold::lasting(self.facts.task(task).running_since?, timeout))
    }

    /// Adds what is planned to what is due, or to what will be.
    pub(super) fn enter(&self, agenda: &mut Agenda, planned: Planned) {
        let Planned { task, reason, at, since, waits } = planned;
        let known = self.facts.task(task);
        if at <= self.now {
            let (failures, abandoned) = (known.failures, known.running_since);
            agenda.due.push(DueTask { task, reason, since, failures, abandoned });
        } else {
            agenda.later.push(LaterTask { task, reason, at, waits });
        }
    }
}
