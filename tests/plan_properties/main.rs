//! Random pasts of a server, planned and then checked: against the server's true past, and against a brute-force search.
#![allow(missing_docs, reason = "the modules of a test have no users")]

mod oracle;
mod world;

use std::time::Duration;

use oracle::Oracle;
use pitr::model::{Catalog, Lsn, Timestamp, WalRange};
use pitr::plan::{
    PlanError, Point, RecoveryTarget, RestorePlan, RestoreRequest, Target, plan_restore, recovery_window,
};
use proptest::prelude::*;
use world::{Step, UNIT, World, steps};

fn catalog(world: &World) -> Catalog {
    Catalog::new(world.artifacts()).expect("a world does not contradict itself")
}

fn plan(catalog: &Catalog, world: &World, timeline: usize, target: Target) -> Result<RestorePlan, PlanError> {
    plan_restore(catalog, &RestoreRequest::new(target).on_timeline(world.timelines[timeline].id))
}

/// PostgreSQL as a model: replays what is staged and says where it stops, or how it fails.
fn replay(world: &World, timeline: usize, plan: &RestorePlan) -> Result<Lsn, String> {
    let staged = plan.logs().last().map_or_else(|| plan.snapshot().wal.start, |log| log.needed.end);
    let replayed = |&(end, _): &(Lsn, Timestamp)| plan.snapshot().wal.start < end && end <= staged;
    let mut commits = world.commits(timeline).into_iter().filter(replayed);
    let stop = match plan.recovery() {
        RecoveryTarget::Time { at, inclusive, .. } => {
            let after = |time: Timestamp| if inclusive { time > at } else { time >= at };
            let first = commits.find(|&(_, time)| after(time));
            let (end, _) = first.ok_or("recovery ended before configured recovery target was reached")?;
            if end <= plan.snapshot().wal.end {
                return Err("requested recovery stop point is before consistent recovery point".to_owned());
            }
            end
        }
        _ => staged,
    };
    if stop < plan.snapshot().wal.end { Err("WAL ends before end of online backup".to_owned()) } else { Ok(stop) }
}

/// Without a hole, from the start of a segment, and with nothing that could be left out.
fn check_logs(plan: &RestorePlan) -> Result<(), TestCaseError> {
    let from = plan.logs().first().map(|log| log.needed.start);
    let segment = plan.snapshot().wal.start.as_u64() / world::SEGMENT * world::SEGMENT;
    prop_assert!(from.is_none_or(|from| from == Lsn::new(segment)));
    for pair in plan.logs().windows(2) {
        prop_assert_eq!(pair[0].needed.end, pair[1].needed.start);
    }
    for (i, log) in plan.logs().iter().enumerate() {
        let WalRange { timeline, start, end, .. } = log.needed;
        prop_assert!(log.backup.wal.timeline == timeline && log.backup.wal.start <= start && end <= log.backup.wal.end);
        let elsewhere = |unit: Lsn| {
            let others = plan.logs().iter().enumerate().filter(|&(j, _)| j != i).map(|(_, log)| log.backup.wal);
            others.into_iter().any(|wal| wal.timeline == timeline && wal.start <= unit && unit < wal.end)
        };
        let mut needed = start.as_u64() / UNIT..end.min(plan.stop().end).as_u64().div_ceil(UNIT);
        prop_assert!(!needed.all(|unit| elsewhere(Lsn::new(unit * UNIT))), "log {i} can be left out of {plan}");
    }
    Ok(())
}

fn check_time(world: &World, timeline: usize, plan: &RestorePlan, at: Timestamp) -> Result<(), TestCaseError> {
    check_logs(plan)?;
    let stop = replay(world, timeline, plan).map_err(TestCaseError::fail)?;
    let range = plan.stop();
    let owner = world.path(timeline).into_iter().find(|&(_, _, left)| stop <= left).map(|(number, ..)| number);
    prop_assert_eq!(owner.map(|number| world.timelines[number].id), Some(plan.timeline()), "{}", plan);
    prop_assert!(range.start <= stop && stop <= range.end, "{stop} is not in {range}");
    let replayed = |end: Lsn| plan.snapshot().wal.start < end && end < stop;
    let late = world.commits(timeline).into_iter().find(|&(end, time)| replayed(end) && time > at);
    prop_assert_eq!(late, None, "replayed by {}", plan);
    Ok(())
}

/// Points that a refusal offers can be restored, and nothing between them and what was asked for can.
fn check_refusal(error: &PlanError, at: Timestamp, restorable: &dyn Fn(Timestamp) -> bool, instants: &[Timestamp]) {
    let (previous, next) = match error {
        PlanError::TooEarly { earliest, .. } => (None, Some(*earliest)),
        PlanError::TooLate { latest, .. } => (Some(*latest), None),
        PlanError::InGap { previous, next, .. }
        | PlanError::InSnapshot { previous, next, .. }
        | PlanError::Unknown { previous, next, .. } => (*previous, *next),
        PlanError::NothingToRestore { .. } | PlanError::OnlySnapshots { .. } => (None, None),
        PlanError::WrongBranch { candidates, .. } => return assert!(!candidates.is_empty()),
        other => panic!("{other}"),
    };
    let instant = |point: Option<Point>| match point {
        Some(Point::Time(at)) => Some(at),
        Some(other) => panic!("{other} is no time"),
        None => None,
    };
    let (previous, next) = (instant(previous), instant(next));
    assert!(previous.is_none_or(|previous| previous < at && restorable(previous)), "{error}");
    assert!(next.is_none_or(|next| at < next && restorable(next)), "{error}");
    let late = matches!(error, PlanError::TooLate { .. });
    for &other in instants.iter().filter(|&&other| restorable(other)) {
        assert!(other >= at || previous.is_some_and(|previous| other <= previous), "{error}: {other} can be restored");
        assert!(late || other <= at || next.is_some_and(|next| next <= other), "{error}: {other} can be restored");
    }
}

fn check_against_oracle(steps: &[Step]) -> Result<(), TestCaseError> {
    let world = World::after(steps);
    let catalog = catalog(&world);
    let instants = world.instants();
    for timeline in 0..world.timelines.len() {
        if catalog.history(world.branch(timeline)).is_none() {
            continue;
        }
        let oracle = Oracle::new(&world, timeline);
        let window = recovery_window(&catalog, world.branch(timeline));
        let restorable = |at: Timestamp| plan(&catalog, &world, timeline, Target::time(at)).is_ok();
        for &at in &instants {
            let expected = oracle.time(at);
            let actual = plan(&catalog, &world, timeline, Target::time(at));
            prop_assert_eq!(window.contains(at), actual.is_ok(), "{} in {:?}", at, window);
            match (&actual, &expected) {
                (Ok(plan), Some(expected)) => {
                    check_time(&world, timeline, plan, at)?;
                    prop_assert_eq!(plan.stop().end, expected.stop, "{}", plan);
                    prop_assert_eq!(plan.recovery() == RecoveryTarget::EndOfWal, expected.idle, "{}", plan);
                    prop_assert_eq!(plan.cost().estimated_duration, expected.estimated, "{} {:?}", plan, expected);
                    prop_assert_eq!(plan.snapshot().id.as_str(), &expected.snapshot, "{}", plan);
                }
                (Err(error), None) => check_refusal(error, at, &restorable, &instants),
                _ => prop_assert!(false, "{at}: planned {actual:?}, expected {expected:?}"),
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Sufficient, minimal, fastest, and refused only if nothing is possible, whatever the clocks did.
    #[test]
    fn times_are_planned_as_by_brute_force(steps in steps(false, false)) {
        check_against_oracle(&steps)?;
    }

    /// The same with clocks as they should be. Then what is idle stays so, also in what is not archived.
    #[test]
    fn nothing_committed_by_then_is_missing(steps in steps(true, false)) {
        check_against_oracle(&steps)?;
        let world = World::after(&steps);
        let catalog = catalog(&world);
        for timeline in 0..world.timelines.len() {
            for at in world.instants() {
                let Ok(plan) = plan(&catalog, &world, timeline, Target::time(at)) else { continue };
                let stop = replay(&world, timeline, &plan).expect("checked before");
                let missing = world.commits(timeline).into_iter().find(|&(end, time)| end > stop && time < at);
                prop_assert_eq!(missing, None, "{}", plan);
            }
        }
    }

    /// Log backups that overlap: every plan is still right and minimal, and the window still tells what can be planned.
    #[test]
    fn overlapping_logs_are_planned_rightly(steps in steps(false, true)) {
        let world = World::after(&steps);
        let catalog = catalog(&world);
        for timeline in 0..world.timelines.len() {
            let window = recovery_window(&catalog, world.branch(timeline));
            for at in world.instants() {
                let planned = plan(&catalog, &world, timeline, Target::time(at));
                prop_assert_eq!(window.contains(at), planned.is_ok());
                if let Ok(plan) = planned {
                    check_time(&world, timeline, &plan, at)?;
                }
            }
        }
    }

    /// Excluding an instant is including the microsecond before it.
    #[test]
    fn exclusive_is_a_microsecond_earlier(steps in steps(false, false)) {
        let world = World::after(&steps);
        let catalog = catalog(&world);
        for at in world.instants() {
            let before = plan(&catalog, &world, 0, Target::just_before(at));
            let included = plan(&catalog, &world, 0, Target::time(at.saturating_sub(Duration::from_micros(1))));
            prop_assert_eq!(before.is_ok(), included.is_ok());
            if let (Ok(before), Ok(included)) = (before, included) {
                prop_assert_eq!((before.stop(), before.logs()), (included.stop(), included.logs()));
                replay(&world, 0, &before).map_err(TestCaseError::fail)?;
            }
        }
    }

    /// Positions, ends and snapshots themselves.
    #[test]
    fn positions_are_planned_as_by_brute_force(steps in steps(false, false)) {
        let world = World::after(&steps);
        let catalog = catalog(&world);
        for timeline in 0..world.timelines.len() {
            let oracle = Oracle::new(&world, timeline);
            let mut furthest = None;
            for lsn in (0..120).map(|unit| Lsn::new(unit * UNIT)) {
                let expected = oracle.position(lsn);
                let actual = plan(&catalog, &world, timeline, Target::Lsn(lsn));
                prop_assert_eq!(actual.is_ok(), expected.is_some(), "{}: {:?}, {:?}", lsn, actual, expected);
                let (Ok(plan), Some(expected)) = (actual, expected) else { continue };
                check_logs(&plan)?;
                prop_assert_eq!(replay(&world, timeline, &plan), Ok(lsn));
                prop_assert_eq!(plan.cost().estimated_duration, expected.estimated);
                furthest = Some(lsn);
            }
            let latest = plan(&catalog, &world, timeline, Target::Latest).ok();
            prop_assert_eq!(latest.map(|plan| plan.stop().end), furthest);
        }
    }

    /// Whatever clocks say: nothing is archived that goes on after the end of the current branch, and one there is as soon
    /// as anything is.
    #[test]
    fn nothing_follows_the_current_branch(steps in steps(false, true)) {
        let world = World::after(&steps);
        let current = catalog(&world).current();
        let pasts: Vec<_> = (0..world.timelines.len()).map(|timeline| world.archived_past(timeline)).collect();
        prop_assert_eq!(current.is_some(), pasts.iter().any(Option::is_some));
        let number = (0..pasts.len()).find(|&number| Some(world.branch(number)) == current);
        let Some(end) = number.and_then(|number| pasts[number].as_ref()) else { return Ok(()) };
        for past in pasts.iter().flatten() {
            prop_assert!(past == end || !past.starts_with(end), "{:?} goes on after {:?}", past, current);
        }
    }

    /// The order in which artifacts are found does not matter, nor finding them twice.
    #[test]
    fn order_and_duplicates_do_not_matter(steps in steps(false, true), turn in 0..100_usize) {
        let world = World::after(&steps);
        let mut artifacts = world.artifacts();
        artifacts.extend(world.artifacts());
        artifacts.reverse();
        let length = artifacts.len().max(1);
        artifacts.rotate_left(turn % length);
        let (one, other) = (catalog(&world), Catalog::new(artifacts).expect("the same artifacts"));
        for at in world.instants() {
            let request = RestoreRequest::new(Target::time(at));
            prop_assert_eq!(plan_restore(&one, &request), plan_restore(&other, &request));
        }
    }
}
