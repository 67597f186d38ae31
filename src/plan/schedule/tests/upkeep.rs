//! When retention, compaction and verification are due.

use super::*;

#[test]
fn retention_follows_each_snapshot() {
    let mut facts = ScheduleFacts::new(at("06-01T10:00"));
    assert_eq!(due(&sharp(), &facts, at("06-09T10:00"), Task::Retention), None, "there is nothing that could expire");
    let taken = at("06-01T10:01");
    facts.snapshot = TaskFacts::default().succeeded(TaskRun::new(at("06-01T10:00"), taken));
    let expected = Some((taken, DueReason::AfterSnapshot));
    assert_eq!(cause(&sharp(), &facts, at("06-01T10:02"), Task::Retention), expected);

    facts.retention = facts.retention.succeeded(ran(taken));
    assert_eq!(due(&sharp(), &facts, at("06-01T10:02"), Task::Retention), None);
    facts.retention = facts.retention.succeeded(ran(at("06-01T10:00")));
    assert_eq!(cause(&sharp(), &facts, at("06-01T10:02"), Task::Retention), expected, "it began too early to see it");
}

#[test]
fn retention_runs_daily_without_snapshots() {
    let facts = facts(at("06-01T10:00"));
    let began = facts.retention.last_success.unwrap().started;
    let expected = Some((began.saturating_add(days(1)), DueReason::Cadence { every: days(1) }));
    assert_eq!(prospect(&sharp(), &facts, at("06-01T11:00"), Task::Retention), expected);
}

#[test]
fn retention_is_due_when_something_expires_but_not_again_at_once() {
    let mut facts = facts(at("06-01T10:00"));
    let began = facts.retention.last_success.unwrap().started;
    facts.expires_at = Some(at("06-01T15:00"));
    let expected = Some((at("06-01T15:00"), DueReason::Expiry));
    assert_eq!(prospect(&sharp(), &facts, at("06-01T11:00"), Task::Retention), expected);
    facts.expires_at = Some(began);
    let later = Some((began.saturating_add(hours(1)), DueReason::Expiry));
    assert_eq!(prospect(&sharp(), &facts, began, Task::Retention), later);
}

#[test]
fn compaction_is_due_by_number_or_by_time() {
    let mut facts = facts(at("06-01T10:00"));
    let now = at("06-05T10:00");
    for nothing_to_merge in [0, 1] {
        facts.small_log_backups = nothing_to_merge;
        assert_eq!(due(&sharp(), &facts, now, Task::Compaction), None);
    }
    facts.small_log_backups = 2;
    let reason = |facts: &ScheduleFacts, now| due(&sharp(), facts, now, Task::Compaction).map(|due| due.reason);
    assert_eq!(reason(&facts, now), Some(DueReason::Cadence { every: days(1) }));
    let soon = at("06-01T11:30");
    facts.small_log_backups = 255;
    assert_eq!(reason(&facts, soon), None);
    facts.small_log_backups = 256;
    assert_eq!(reason(&facts, soon), Some(DueReason::Count { log_backups: 256 }));
}

#[test]
fn compaction_that_changed_nothing_is_not_repeated_for_an_hour() {
    let mut facts = facts(at("06-01T10:00"));
    facts.small_log_backups = 300;
    let began = at("06-01T11:00");
    facts.compaction = facts.compaction.succeeded(TaskRun::new(began, began));
    let reason = DueReason::Count { log_backups: 300 };
    let again = began.saturating_add(hours(1));
    assert_eq!(prospect(&sharp(), &facts, began, Task::Compaction), Some((again, reason)));
}

#[test]
fn verification_is_weekly() {
    let facts = facts(at("06-01T10:00"));
    let began = facts.verification.last_success.unwrap().started;
    let expected = Some((began.saturating_add(days(7)), DueReason::Cadence { every: days(7) }));
    assert_eq!(prospect(&sharp(), &facts, at("06-05T10:00"), Task::Verification), expected);
}

#[test]
fn the_first_verification_comes_within_a_week_at_the_servers_own_time() {
    let created = at("06-01T10:00");
    let mut facts = ScheduleFacts::new(created);
    assert_eq!(due(&sharp(), &facts, at("06-20T10:00"), Task::Verification), None, "there is nothing to verify");
    facts.snapshot = facts.snapshot.succeeded(ran(created));
    let (first, reason) = prospect(&sharp(), &facts, created, Task::Verification).unwrap();
    assert_eq!((first.to_string().as_str(), reason), ("2026-06-06T06:59:58.556093Z", DueReason::First));
    let late = ran(at("06-20T10:00"));
    facts.snapshot = facts.snapshot.succeeded(late);
    assert_eq!(cause(&sharp(), &facts, at("06-21T10:00"), Task::Verification), Some((late.ended, DueReason::First)));

    let trusted = created.saturating_sub(days(7) / 2);
    let due_at = |now| due(&sharp(), &facts, now, Task::Verification).map(|due| due.reason);
    assert_eq!(due_at(trusted), None, "a clock may be set back by half of it");
    let too_early = trusted.saturating_sub(seconds(1));
    assert_eq!(due_at(too_early), Some(DueReason::ClockSetBack { recorded: created }));
}

#[test]
fn test_restores_are_made_where_they_are_wanted() {
    let mut facts = ScheduleFacts::new(at("06-01T10:00"));
    facts.snapshot = facts.snapshot.succeeded(ran(at("06-01T10:00")));
    assert_eq!(prospect(&sharp(), &facts, at("06-05T10:00"), Task::TestRestore), None);
    let settings = ScheduleSettings { test_restore_every: Some(days(2)), ..sharp().settings().clone() };
    let schedule = Schedule::new(settings).unwrap();
    let (first, reason) = prospect(&schedule, &facts, at("06-01T10:00"), Task::TestRestore).unwrap();
    assert!(reason == DueReason::First && first < at("06-03T10:00"), "{first}");
    facts.test_restore = facts.test_restore.succeeded(ran(first));
    let next = (first.saturating_add(days(2)), DueReason::Cadence { every: days(2) });
    assert_eq!(prospect(&schedule, &facts, first, Task::TestRestore), Some(next));
}
