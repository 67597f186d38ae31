//! When: what is due for a server, by a pure function of its schedule, of what is known of it, and of the present time.
//!
//! A loop asks for the [`Agenda`], begins what is due, and sleeps until [`Agenda::next`] or until a fact changes. It decides
//! nothing by itself, so that what it will do can be asked beforehand.

mod agenda;
mod backoff;
mod check;
mod error;
mod explain;
mod facts;
mod gate;
mod hold;
mod observed;
mod spread;
mod trigger;

#[cfg(test)]
mod tests;

pub use agenda::{Agenda, DueReason, DueTask, LaterTask, Wait};
pub use error::ScheduleError;
pub use facts::ScheduleFacts;
pub use observed::written_after;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::spread::{Purpose, spread};
use self::trigger::View;
use crate::model::{ScheduleSettings, ServerName, Task, Timestamp};

/// When a server is to be backed up: settings that have been checked.
///
/// # Snapshots
///
/// The first is due at once. Then each *slot* makes one due: a time of day in UTC, the same all year (daylight saving has no
/// effect), later by a delay that depends on the server's name alone, so that a fleet does not start together. A restored
/// server has another name, hence another delay.
///
/// A slot counts only if it is half a period or more after the beginning of the last snapshot, however that came about. So
/// the first snapshot, or one on demand, does not make the next slot's a double: slots never make two snapshots due within
/// half a period, and never leave more than one and a half periods between two. Slots that were missed make one snapshot
/// due, not many.
///
/// Where idle slots are skipped, a slot waits for the first write after the last snapshot. A recovery time objective makes
/// one due in between, as often as the log that is written demands.
///
/// # Everything else
///
/// Log backups are due by time since the last one began, by size, and when a paused server is resumed. Retention is due when
/// a snapshot has succeeded since it began, when something expires, and at least daily. Verification, test restores and compaction are due by time, and compaction
/// also by the number of small log backups.
///
/// A task that failed is not due until its delay has passed, which doubles with each failure; a snapshot that was asked for
/// after the failure does not wait. A task that runs is not due, until its run is so old that it counts as dead. Of a paused
/// server nothing is due.
///
/// # Clocks that are set back
///
/// A run that is recorded for a time yet to come is trusted if that is up to half of its period ahead, and the next one is
/// counted from it. Further ahead it says nothing but that the clock was set back, and the task is due at once. So the next
/// run is at most one and a half periods away (two, for the next slot of a snapshot), never years. Log backups are not
/// trusted to lie ahead at all, as their gaps are what a disaster loses. Failures and runs that have not ended are trusted
/// up to half of their delay, or of their timeout, ahead. It takes that facts tell the run that was recorded last, not the
/// one with the latest time.
///
/// # Example: a loop that only obeys
///
/// ```
/// use std::time::Duration;
/// use pitr::model::{Task, TaskRun, Timestamp};
/// use pitr::plan::schedule::{Schedule, ScheduleFacts};
///
/// let (schedule, server) = (Schedule::default(), "prod".parse()?);
/// let mut now: Timestamp = "2026-11-23T10:00:00Z".parse()?;
/// let mut facts = ScheduleFacts::new(now);
/// let mut done = Vec::new();
/// while done.len() < 4 {
///     let agenda = schedule.agenda(&server, &facts, now);
///     match (agenda.due.first(), agenda.next) {
///         (Some(due), _) => {
///             // Here the task runs, which takes a second.
///             let started = now;
///             now = now.saturating_add(Duration::from_secs(1));
///             *facts.task_mut(due.task) = facts.task(due.task).succeeded(TaskRun::new(started, now));
///             done.push((due.task, started.to_string()));
///         }
///         // Here the loop sleeps.
///         (None, Some(next)) => now = next,
///         (None, None) => break,
///     }
/// }
/// let tasks: Vec<Task> = done.iter().map(|(task, _)| *task).collect();
/// assert_eq!(tasks, [Task::LogBackup, Task::Snapshot, Task::Retention, Task::LogBackup]);
/// assert_eq!(done[3].1, "2026-11-23T10:05:00.000000Z");
/// # Ok::<(), pitr::model::ParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ScheduleSettings", into = "ScheduleSettings")]
pub struct Schedule {
    settings: ScheduleSettings,
}

impl Schedule {
    /// The schedule with these settings.
    ///
    /// # Errors
    /// If a setting is outside its range, a duration has parts of a second, or a day is no whole number of snapshot periods.
    pub fn new(settings: ScheduleSettings) -> Result<Self, ScheduleError> {
        settings.check()?;
        Ok(Self { settings })
    }

    /// The settings that it is made of.
    #[must_use]
    pub fn settings(&self) -> &ScheduleSettings {
        &self.settings
    }

    /// What is due at `now` for `server`, and what will be.
    pub fn agenda(&self, server: &ServerName, facts: &ScheduleFacts, now: Timestamp) -> Agenda {
        let mut agenda = Agenda::default();
        if facts.paused {
            return agenda;
        }
        let view = View { schedule: self, server, facts, now };
        Task::ALL
            .into_iter()
            .filter_map(|task| view.planned(task))
            .for_each(|planned| view.enter(&mut agenda, planned));
        agenda.later.sort_by_key(|later| (later.at, later.task));
        agenda.next = agenda.later.first().map(|later| later.at);
        agenda
    }

    /// How long `task` waits after the last of so many failures in a row: longer after each, and never as long as another server.
    #[must_use]
    pub fn retry_delay(&self, server: &ServerName, task: Task, failures: u32) -> Duration {
        backoff::retry_delay(&self.settings, server, task, failures)
    }

    /// The first slot of a snapshot of `server` at or after `from`.
    #[must_use]
    pub fn next_slot(&self, server: &ServerName, from: Timestamp) -> Timestamp {
        let delay = spread(server, Purpose::Snapshot, self.settings.snapshot_jitter);
        let slot = micros(self.settings.snapshot_at.since_midnight() + delay);
        let until_slot = (slot - from.as_unix_micros()).rem_euclid(micros(self.settings.snapshot_every));
        from.saturating_add(Duration::from_micros(until_slot.unsigned_abs()))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).expect("settings are checked: two days at most")
}
