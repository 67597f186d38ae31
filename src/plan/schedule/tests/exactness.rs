//! The next instant is exactly that, whatever the facts.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const TICK: Duration = Duration::from_micros(1);

fn now() -> Timestamp {
    at("06-01T12:00")
}

/// An instant around now: seconds, hours or days from it, most of them before.
fn around() -> impl Strategy<Value = Timestamp> {
    let micros =
        prop_oneof![-600_000_000_i64..60_000_000, -200_000_000_000_i64..100_000_000_000, -2_000_000_000_000_i64..0];
    micros.prop_map(|micros| Timestamp::from_unix_micros(now().as_unix_micros() + micros).unwrap())
}

fn maybe_around() -> impl Strategy<Value = Option<Timestamp>> {
    prop::option::of(around())
}

fn task_facts() -> impl Strategy<Value = TaskFacts> {
    let last = prop::option::of((around(), 0_u64..7200));
    (last, 0_u32..12, maybe_around(), maybe_around()).prop_map(|(last, failures, last_failure, running_since)| {
        let last_success = last.map(|(started, took)| TaskRun::new(started, started.saturating_add(seconds(took))));
        TaskFacts { last_success, failures, last_failure, running_since }
    })
}

fn any_facts() -> impl Strategy<Value = ScheduleFacts> {
    let tasks = prop::array::uniform5(task_facts());
    let amounts = (0..60_000_000_000_u64, 0..20_000_000_u64, 0..300_u64);
    let instants = (around(), maybe_around(), maybe_around(), maybe_around());
    (tasks, instants, amounts).prop_map(
        |(tasks, (created_at, resumed_at, snapshot_requested, first_write), amounts)| {
            let (replay_bytes, unarchived_bytes, small_log_backups) = amounts;
            let mut facts = ScheduleFacts {
                resumed_at,
                snapshot_requested,
                first_write,
                replay_bytes,
                unarchived_bytes,
                small_log_backups,
                ..ScheduleFacts::new(created_at)
            };
            Task::ALL.into_iter().zip(tasks).for_each(|(task, known)| *facts.task_mut(task) = known);
            facts
        },
    )
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let objective = prop::option::of((60_u64..1200).prop_map(seconds));
    let every = prop::sample::select(vec![1, 6, 12, 24]).prop_map(hours);
    (any::<bool>(), objective, every, 1_u64..3600).prop_map(|(skip_idle_snapshots, objective, every, cadence)| {
        schedule(|settings| {
            settings.skip_idle_snapshots = skip_idle_snapshots;
            settings.recovery_time_objective = objective;
            settings.snapshot_every = every;
            settings.log_backup_every = seconds(cadence);
        })
    })
}

fn due_at(schedule: &Schedule, facts: &ScheduleFacts, now: Timestamp) -> BTreeSet<Task> {
    schedule.agenda(&server(), facts, now).due.into_iter().map(|due| due.task).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_more_is_due_before_next_and_something_is_then(
        schedule in any_schedule(),
        facts in any_facts(),
        part in 0.0..1.0_f64,
    ) {
        let agenda = schedule.agenda(&server(), &facts, now());
        prop_assert_eq!(&agenda, &schedule.agenda(&server(), &facts, now()), "the same each time");
        let due = due_at(&schedule, &facts, now());
        let Some(next) = agenda.next else {
            prop_assert!(due.contains(&Task::LogBackup), "the log is always due at some time");
            return Ok(());
        };
        prop_assert!(next > now());
        let between = now().saturating_add(next.duration_since(now()).mul_f64(part)).min(next.saturating_sub(TICK));
        for earlier in [between, next.saturating_sub(TICK)] {
            prop_assert!(due_at(&schedule, &facts, earlier).is_subset(&due), "{}", agenda);
        }
        let then = schedule.agenda(&server(), &facts, next);
        let new: Vec<&DueTask> = then.due.iter().filter(|then| !due.contains(&then.task)).collect();
        prop_assert!(!new.is_empty(), "{}", agenda);
        prop_assert!(new.iter().all(|new| new.since == next), "{}\n{}", agenda, then);
    }

    #[test]
    fn each_task_is_told_once(schedule in any_schedule(), facts in any_facts()) {
        let agenda = schedule.agenda(&server(), &facts, now());
        let due: Vec<Task> = agenda.due.iter().map(|due| due.task).collect();
        prop_assert!(due.is_sorted_by(|a, b| a < b), "in order: {:?}", due);
        prop_assert!(agenda.later.is_sorted_by_key(|later| later.at));
        prop_assert!(agenda.due.iter().all(|due| due.since <= now()));
        prop_assert!(agenda.later.iter().all(|later| later.at > now() && !due.contains(&later.task)));
        let later: BTreeSet<Task> = agenda.later.iter().map(|later| later.task).collect();
        prop_assert_eq!(later.len(), agenda.later.len());
    }

    /// A run of each task that is due leaves nothing due but what another one's run brought about.
    #[test]
    fn a_success_is_enough(schedule in any_schedule(), facts in any_facts()) {
        let mut facts = facts;
        let agenda = schedule.agenda(&server(), &facts, now());
        for due in &agenda.due {
            *facts.task_mut(due.task) = facts.task(due.task).succeeded(TaskRun::new(now(), now()));
        }
        (facts.snapshot_requested, facts.first_write) = (None, None);
        (facts.replay_bytes, facts.unarchived_bytes, facts.small_log_backups) = (0, 0, 0);
        let again = due_at(&schedule, &facts, now());
        let expected: BTreeSet<Task> = match agenda.due.iter().any(|due| due.task == Task::Snapshot) {
            true => BTreeSet::from([Task::Retention, Task::Verification]),
            false => BTreeSet::new(),
        };
        prop_assert!(again.is_subset(&expected), "{:?} after\n{}", again, agenda);
    }
}
