//! When log backups are due.

use super::*;

const LOG_BACKUP: Task = Task::LogBackup;

#[test]
fn the_first_is_due_at_once() {
    let created = at("06-01T10:00");
    let facts = ScheduleFacts::new(created);
    assert_eq!(cause(&sharp(), &facts, created, LOG_BACKUP), Some((created, DueReason::First)));
    let tasks = sharp().agenda(&server(), &facts, created).due;
    let order: Vec<Task> = tasks.into_iter().map(|due| due.task).collect();
    assert_eq!(order, [Task::LogBackup, Task::Snapshot], "the log first: it takes seconds");
}

#[test]
fn the_cadence_counts_from_the_last_ones_beginning() {
    let facts = facts(at("06-01T10:00"));
    let cadence = DueReason::Cadence { every: minutes(5) };
    let next = at("06-01T10:05");
    assert_eq!(prospect(&sharp(), &facts, at("06-01T10:01"), LOG_BACKUP), Some((next, cadence)));
    assert_eq!(cause(&sharp(), &facts, next, LOG_BACKUP), Some((next, cadence)));
    assert_eq!(cause(&sharp(), &facts, at("06-09T10:05"), LOG_BACKUP), Some((next, cadence)), "once, however late");
    let every_second = schedule(|settings| settings.log_backup_every = seconds(1));
    let (soon, _) = prospect(&every_second, &facts, at("06-01T10:00"), LOG_BACKUP).unwrap();
    assert_eq!(soon, at("06-01T10:00").saturating_add(seconds(1)));
}

#[test]
fn enough_log_makes_one_due() {
    let mut facts = facts(at("06-01T10:00"));
    let now = at("06-01T10:01");
    facts.unarchived_bytes = (16 << 20) - 1;
    assert_eq!(due(&sharp(), &facts, now, LOG_BACKUP), None);
    facts.unarchived_bytes += 1;
    let reason = DueReason::Size { unarchived_bytes: 16 << 20 };
    assert_eq!(cause(&sharp(), &facts, now, LOG_BACKUP), Some((now, reason)));
}

#[test]
fn failures_put_it_off_for_a_minute_at_most() {
    let mut facts = facts(at("06-01T10:00"));
    let failed = at("06-01T11:00");
    for failures in 1..=40 {
        facts.log_backup = facts.log_backup.failed(failed);
        let (retry, _) = prospect(&sharp(), &facts, failed, LOG_BACKUP).unwrap();
        let nominal = seconds(10 << (failures - 1).min(10)).min(minutes(1));
        let delay = retry.duration_since(failed);
        assert!((nominal * 3 / 4..=nominal).contains(&delay), "{delay:?} after {failures} failures");
    }
}

#[test]
fn a_retry_waits_no_longer_than_a_short_cadence() {
    let every_second = schedule(|settings| settings.log_backup_every = seconds(1));
    let mut facts = facts(at("06-01T10:00"));
    let failed = at("06-01T11:00");
    facts.log_backup = facts.log_backup.failed(failed);
    let (retry, _) = prospect(&every_second, &facts, failed, LOG_BACKUP).unwrap();
    assert!(retry.duration_since(failed) <= seconds(1), "{retry}");
}

#[test]
fn a_resumed_server_is_archived_at_once() {
    let mut facts = facts(at("06-01T10:00"));
    let resumed = at("06-01T10:02");
    facts.resumed_at = Some(resumed);
    assert_eq!(cause(&sharp(), &facts, resumed, LOG_BACKUP), Some((resumed, DueReason::Resumed)));
    facts.log_backup = facts.log_backup.succeeded(ran(resumed));
    assert_eq!(due(&sharp(), &facts, at("06-01T10:03"), LOG_BACKUP), None, "once");
}
