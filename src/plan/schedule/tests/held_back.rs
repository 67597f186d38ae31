//! What runs, has failed, or is paused.

use super::*;

#[test]
fn failures_double_the_delay_up_to_an_hour() {
    let mut facts = facts(at("06-01T02:00"));
    let failed = at("06-02T03:00");
    for (failures, micros) in (1..).zip([
        9_191_105,
        16_780_272,
        33_418_712,
        74_631_387,
        159_244_723,
        295_905_034,
        571_136_612,
        1_158_961_110,
        2_315_488_086,
        2_935_972_914,
        3_556_910_941,
    ]) {
        facts.snapshot = facts.snapshot.failed(failed);
        let retry = later(&sharp(), &facts, failed, Task::Snapshot).unwrap();
        assert_eq!(retry.at.duration_since(failed), Duration::from_micros(micros), "after {failures} failures");
        assert_eq!((retry.waits, retry.reason), (Wait::Retry { failures }, DueReason::Slot));
        let due = due(&sharp(), &facts, retry.at, Task::Snapshot).unwrap();
        assert_eq!((due.since, due.failures), (retry.at, failures));
    }
}

#[test]
fn a_success_ends_the_delay() {
    let failed = TaskFacts::default().failed(at("06-01T02:00")).failed(at("06-01T02:05"));
    let succeeded = failed.begun(at("06-01T02:10")).succeeded(ran(at("06-01T02:10")));
    assert_eq!(succeeded, TaskFacts { last_success: Some(ran(at("06-01T02:10"))), ..TaskFacts::default() });
    let again = succeeded.begun(at("06-02T02:00")).failed(at("06-02T02:01"));
    assert_eq!((again.failures, again.running_since, again.last_success), (1, None, succeeded.last_success));

    let mut facts = facts(at("06-01T02:00"));
    let slot = at("06-02T02:00");
    facts.snapshot.last_failure = Some(slot);
    assert_eq!(cause(&sharp(), &facts, slot, Task::Snapshot), Some((slot, DueReason::Slot)), "no failure is counted");
}

#[test]
fn tasks_are_put_off_one_by_one() {
    let mut facts = facts(at("06-01T02:00"));
    let now = at("06-02T02:00");
    (0..20).for_each(|_| facts.snapshot = facts.snapshot.failed(now));
    let due: Vec<Task> =
        sharp().agenda(&server(), &facts, now.saturating_add(minutes(10))).due.iter().map(|due| due.task).collect();
    assert_eq!(due, [Task::LogBackup, Task::Retention]);
}

#[test]
fn a_new_request_does_not_wait_for_the_next_try() {
    let mut facts = facts(at("06-01T02:00"));
    (0..20).for_each(|_| facts.snapshot = facts.snapshot.failed(at("06-02T02:00")));
    let asked = at("06-02T02:01");
    facts.snapshot_requested = Some(asked);
    assert_eq!(cause(&sharp(), &facts, asked, Task::Snapshot), Some((asked, DueReason::OnDemand)));
    facts.snapshot.last_failure = Some(asked);
    assert_eq!(
        due(&sharp(), &facts, asked, Task::Snapshot),
        None,
        "what failed at the same time may have been the request"
    );
    facts.snapshot = facts.snapshot.failed(at("06-02T02:02"));
    let retry = later(&sharp(), &facts, at("06-02T02:02"), Task::Snapshot).unwrap();
    assert_eq!(retry.waits, Wait::Retry { failures: 21 }, "but it does after it has failed itself");
}

#[test]
fn what_runs_is_not_due_until_it_counts_as_dead() {
    for (task, timeout) in [(Task::Snapshot, days(1)), (Task::LogBackup, minutes(10))] {
        let mut facts = ScheduleFacts::new(at("06-01T02:00"));
        let since = at("06-01T02:01");
        *facts.task_mut(task) = TaskFacts::default().begun(since);
        let dead = since.saturating_add(timeout);
        let waiting = later(&sharp(), &facts, since, task).unwrap();
        assert_eq!((waiting.at, waiting.waits), (dead, Wait::Run { since }));
        assert_eq!(due(&sharp(), &facts, dead.saturating_sub(seconds(1)), task), None);
        let due = due(&sharp(), &facts, dead, task).unwrap();
        assert_eq!((due.since, due.abandoned), (dead, Some(since)));
    }
}

#[test]
fn what_is_due_by_time_when_a_run_counts_as_dead_does_not_wait_for_the_run() {
    let mut facts = facts(at("06-01T02:58"));
    facts.log_backup = facts.log_backup.begun(at("06-01T02:50"));
    let dead = at("06-01T03:00");
    facts.resumed_at = Some(dead);
    let waiting = later(&sharp(), &facts, at("06-01T02:55"), Task::LogBackup).unwrap();
    assert_eq!((waiting.at, waiting.reason, waiting.waits), (dead, DueReason::Resumed, Wait::Time));
}

#[test]
fn of_a_paused_server_nothing_is_due() {
    let mut facts = facts(at("06-01T02:00"));
    facts.snapshot_requested = Some(at("06-02T02:00"));
    facts.unarchived_bytes = u64::MAX;
    facts.paused = true;
    let agenda = sharp().agenda(&server(), &facts, at("06-20T02:00"));
    assert_eq!(agenda, Agenda::default());
    assert_eq!(agenda.next, None);
    assert_eq!(agenda.to_string(), "next   nothing while the server is paused");
}

#[test]
fn a_resumed_server_makes_up_for_a_missed_slot_only() {
    let due_when_resumed = |resumed| {
        let mut facts = facts(at("06-01T02:00"));
        facts.resumed_at = Some(resumed);
        let due = sharp().agenda(&server(), &facts, resumed).due;
        due.iter().map(|due| due.task).collect::<Vec<_>>()
    };
    assert_eq!(due_when_resumed(at("06-01T02:04")), [Task::LogBackup]);
    assert_eq!(due_when_resumed(at("06-02T01:59")), [Task::LogBackup]);
    let after_the_slot = [Task::LogBackup, Task::Snapshot, Task::Retention];
    assert_eq!(due_when_resumed(at("06-02T03:00")), after_the_slot);
}
