//! Tests of the schedule.

mod clocks;
mod exactness;
mod fleet;
mod held_back;
mod log_backups;
mod settings;
mod simulation;
mod snapshots;
mod upkeep;

use super::*;
use crate::model::{TaskFacts, TaskRun};

fn server() -> ServerName {
    "prod".parse().unwrap()
}

/// An instant of 2026, as in `06-01T02:00`.
fn at(text: &str) -> Timestamp {
    format!("2026-{text}:00Z").parse().unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn minutes(minutes: u64) -> Duration {
    seconds(60 * minutes)
}

fn hours(hours: u64) -> Duration {
    minutes(60 * hours)
}

fn days(days: u64) -> Duration {
    hours(24 * days)
}

/// Slots at 02:00 sharp, and otherwise as `edit` does it.
fn schedule(edit: impl FnOnce(&mut ScheduleSettings)) -> Schedule {
    let mut settings = ScheduleSettings { snapshot_jitter: Duration::ZERO, ..ScheduleSettings::default() };
    edit(&mut settings);
    Schedule::new(settings).unwrap()
}

fn sharp() -> Schedule {
    schedule(|_| ())
}

/// A run that took a minute.
fn ran(started: Timestamp) -> TaskRun {
    TaskRun::new(started, started.saturating_add(minutes(1)))
}

/// A server whose snapshot and log backup ran at `last`, and the other tasks soon after, so that nothing is due.
fn facts(last: Timestamp) -> ScheduleFacts {
    let mut facts = ScheduleFacts::new(last);
    for (minute, task) in [0, 0, 1, 2, 3, 4].into_iter().zip(Task::ALL) {
        let started = last.saturating_add(minutes(minute));
        *facts.task_mut(task) = TaskFacts::default().succeeded(ran(started));
    }
    facts
}

fn due(schedule: &Schedule, facts: &ScheduleFacts, now: Timestamp, task: Task) -> Option<DueTask> {
    schedule.agenda(&server(), facts, now).due.into_iter().find(|due| due.task == task)
}

fn later(schedule: &Schedule, facts: &ScheduleFacts, now: Timestamp, task: Task) -> Option<LaterTask> {
    schedule.agenda(&server(), facts, now).later.into_iter().find(|later| later.task == task)
}

/// Since when and why `task` is due.
fn cause(schedule: &Schedule, facts: &ScheduleFacts, now: Timestamp, task: Task) -> Option<(Timestamp, DueReason)> {
    due(schedule, facts, now, task).map(|due| (due.since, due.reason))
}

/// When and why `task` will be due.
fn prospect(schedule: &Schedule, facts: &ScheduleFacts, now: Timestamp, task: Task) -> Option<(Timestamp, DueReason)> {
    later(schedule, facts, now, task).map(|later| (later.at, later.reason))
}

#[test]
fn an_agenda_reads_well() {
    let mut facts = ScheduleFacts::new(at("06-01T10:00"));
    facts.small_log_backups = 300;
    facts.log_backup = TaskFacts::default().begun(at("06-01T09:00"));
    facts.compaction = TaskFacts::default().failed(at("06-01T10:00")).failed(at("06-01T10:01"));
    let text = sharp().agenda(&server(), &facts, at("06-01T10:01")).to_string();
    let expected = "\
due    log backup    since 2026-06-01T10:00:00.000000Z, because there was none yet; the run of 2026-06-01T09:00:00.000000Z counts as dead
due    snapshot      since 2026-06-01T10:00:00.000000Z, because there was none yet
later  compaction    at    2026-06-01T10:01:18.575131Z, again after 2 failures, because there are 300 small log backups
next   2026-06-01T10:01:18.575131Z";
    assert_eq!(text, expected);

    let now = at("06-01T10:01");
    let (task, reason) = (Task::Snapshot, DueReason::First);
    let only = DueTask { task, reason, since: now, failures: 0, abandoned: None };
    let text = Agenda { due: vec![only], ..Agenda::default() }.to_string();
    assert!(text.ends_with("\nnext   nothing but what is due"), "{text}");
}

#[test]
fn an_agenda_is_for_machines_too() {
    let agenda = sharp().agenda(&server(), &ScheduleFacts::new(at("06-01T10:00")), at("06-01T10:01"));
    let json = serde_json::to_value(&agenda.due).unwrap();
    let since = "2026-06-01T10:00:00.000000Z";
    assert_eq!(json[1]["task"], "snapshot");
    assert_eq!((&json[1]["reason"], &json[1]["since"]), (&"first".into(), &since.into()));
}
