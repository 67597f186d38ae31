//! Clocks that are set back.

use super::*;

/// When `task` is due if its last run, or all that is known of it, is `ahead` of now.
fn due_in(task: Task, ahead: Duration, edit: impl FnOnce(&mut ScheduleFacts, Timestamp)) -> Duration {
    let now = at("06-01T12:00");
    let schedule = schedule(|settings| settings.test_restore_every = Some(days(7)));
    let mut facts = facts(at("06-01T11:00"));
    facts.small_log_backups = 2;
    edit(&mut facts, now.saturating_add(ahead));
    match due(&schedule, &facts, now, task) {
        Some(_) => Duration::ZERO,
        None => later(&schedule, &facts, now, task).unwrap().at.duration_since(now),
    }
}

#[test]
fn a_run_far_ahead_does_not_block_its_task() {
    for task in Task::ALL {
        let years_ahead = due_in(task, days(10_000), |facts, at| {
            *facts.task_mut(task) = TaskFacts::default().succeeded(ran(at));
        });
        assert_eq!(years_ahead, Duration::ZERO, "{task}");
    }
}

#[test]
fn after_that_one_run_the_task_goes_on_as_ever() {
    let mut facts = facts(at("06-01T11:00"));
    let (now, recorded) = (at("06-01T12:00"), at("06-09T12:00"));
    facts.snapshot = facts.snapshot.succeeded(ran(recorded));
    let reason = DueReason::ClockSetBack { recorded };
    assert_eq!(cause(&sharp(), &facts, now, Task::Snapshot), Some((now, reason)));
    facts.snapshot = facts.snapshot.succeeded(ran(now));
    let expected = Some((at("06-02T02:00"), DueReason::Slot));
    assert_eq!(prospect(&sharp(), &facts, now, Task::Snapshot), expected);
}

#[test]
fn a_run_ahead_puts_off_the_next_by_half_a_period_at_most() {
    let cadences = [
        (Task::LogBackup, minutes(5)),
        (Task::Retention, days(1)),
        (Task::Compaction, days(1)),
        (Task::Verification, days(7)),
        (Task::TestRestore, days(7)),
    ];
    for (task, every) in cadences {
        for tenths in 0..30 {
            let wait = due_in(task, every * tenths / 10, |facts, at| {
                *facts.task_mut(task) = TaskFacts::default().succeeded(ran(at));
            });
            assert!(wait <= every * 3 / 2, "{task} in {wait:?} with a run {tenths} tenths of a period ahead");
        }
    }
    for hours_ahead in 0..72 {
        let wait = due_in(Task::Snapshot, hours(hours_ahead), |facts, at| {
            facts.snapshot = TaskFacts::default().succeeded(ran(at));
        });
        assert!(wait <= days(2), "a snapshot in {wait:?} with one {hours_ahead} hours ahead");
    }
}

#[test]
fn a_log_backup_ahead_is_followed_at_once() {
    let wait = due_in(Task::LogBackup, seconds(1), |facts, at| {
        facts.log_backup = TaskFacts::default().succeeded(ran(at));
    });
    assert_eq!(wait, Duration::ZERO);
}

#[test]
fn failures_and_runs_far_ahead_do_not_block_either() {
    for task in Task::ALL {
        for tenths in 0..30 {
            let ahead = days(1) * tenths / 10;
            let after_failure = due_in(task, ahead, |facts, at| {
                *facts.task_mut(task) = TaskFacts::default().failed(at);
                facts.snapshot_requested = Some(at);
            });
            let beside_run = due_in(task, ahead, |facts, at| {
                *facts.task_mut(task) = TaskFacts::default().begun(at);
                facts.created_at = at;
            });
            let is_weekly = matches!(task, Task::Verification | Task::TestRestore);
            let most = if is_weekly { days(7) } else { days(1) } * 3 / 2;
            assert!(after_failure <= most, "{task} in {after_failure:?}");
            assert!(beside_run <= most, "{task} in {beside_run:?}");
        }
    }
}

#[test]
fn what_happened_in_the_future_has_happened() {
    let (now, ahead) = (at("06-01T12:00"), at("06-09T12:00"));
    let facts = ScheduleFacts::new(ahead);
    assert_eq!(cause(&sharp(), &facts, now, Task::Snapshot), Some((now, DueReason::First)));
    let mut facts = super::facts(at("06-01T11:00"));
    facts.snapshot_requested = Some(ahead);
    assert_eq!(cause(&sharp(), &facts, now, Task::Snapshot), Some((now, DueReason::OnDemand)));
}

#[test]
fn events_ahead_do_not_repeat_what_they_trigger() {
    let (now, ahead) = (at("06-01T12:00"), at("06-09T12:00"));
    let mut facts = facts(at("06-01T11:58"));
    facts.resumed_at = Some(ahead);
    facts.snapshot = facts.snapshot.succeeded(TaskRun::new(at("06-01T11:58"), ahead));
    assert_eq!(sharp().agenda(&server(), &facts, now).due, []);
}

#[test]
fn the_ends_of_time_are_no_trouble() {
    for now in [Timestamp::MIN, Timestamp::MAX] {
        for last in [Timestamp::MIN, Timestamp::MAX] {
            let agenda = sharp().agenda(&server(), &facts(last), now);
            assert!(agenda.next.is_none_or(|next| next > now), "{agenda}");
        }
    }
}
