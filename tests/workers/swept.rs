//! Sweeps that stand still at any moment, and go on.

use std::time::Duration;

use pitr::engine::{ErrorKind, Result, SweepReport, Sweeper};
use pitr::model::{RetentionDays, Role};
use pitr::plan::retention::{Protections, RetentionPlan, RetentionPolicy, plan_retention};
use pitr::port::{Clock, StorageExt};

use super::machine::{Machine, Pause, acquire, archived, assert_sound, is_fenced, take_over};
use super::world::{Outcome, World, explain, run};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A sweep that stands still after so many polls, while another worker takes over and sweeps. `None` if it was done before that.
fn sweep_that_stands_still(polls: u64) -> Option<Result<SweepReport>> {
    let world = archived(8);
    for _ in 0..12 {
        world.source.change_files(3);
        world.take().unwrap();
        world.clock.advance(DAY);
        world.source.write(10_000);
        world.archive(|| u64::MAX);
    }
    let [first, second] = [1, 2].map(|seed| Machine::new(&world, seed));
    let (sleeper, heir) = (first.join(&world, Role::Sweeper), second.join(&world, Role::Sweeper));
    let lease = acquire(&world, &sleeper).unwrap();
    let (asleep, planned) = (Sweeper::new(lease.server()), plan(&world));
    let mut sweeping = Box::pin(asleep.run(&planned));
    if let Outcome::Finished(swept) = run(&world.executor, sweeping.as_mut(), polls) {
        assert!(swept.unwrap().objects > 5);
        return None;
    }
    let lease = take_over(&world, &second, &heir, &first, Pause::Noticed);
    let (sweeper, planned) = (Sweeper::new(lease.server()), plan(&world));
    world.finish(sweeper.run(&planned)).unwrap();
    let stored = || world.finish(world.storage.list_all(None)).unwrap();
    let before = stored();
    let swept = world.finish(sweeping.as_mut());
    assert_eq!(stored(), before, "after {polls} polls");
    assert_sound(&world);
    Some(swept)
}

fn plan(world: &World) -> RetentionPlan {
    let policy = RetentionPolicy::new(RetentionDays::MIN);
    plan_retention(&world.catalog(), &policy, &Protections::none(), world.clock.now())
}

#[test]
fn a_sweep_that_stood_still_deletes_nothing() {
    let outcomes = (0..).map_while(sweep_that_stands_still);
    // Its plan may not fit any more; and who has deleted everything just before need not notice.
    let errors: Vec<_> = outcomes.filter_map(Result::err).collect();
    assert!(errors.iter().all(is_fenced), "{:?}", errors.iter().find(|error| !is_fenced(error)));
    println!("{} moments", errors.len());
    assert!(errors.len() > 20, "{} moments are too few to tell", errors.len());
}

/// A snapshot stands still for more than a day; a sweep that takes it for interrupted stands still, too, and both go on. No lease helps here.
#[test]
fn a_sweep_and_a_snapshot_that_both_stood_still_agree() {
    let (mut recorded, mut abandoned) = (0, 0);
    for polls in 0.. {
        let mut moments = 0;
        for sweep_polls in 0.. {
            let mut world = archived(5);
            let repository = Machine::new(&world, 1).repository;
            world.server = world.finish(repository.server(world.server.name())).unwrap();
            let snapshots = world.snapshotter();
            let mut taking = Box::pin(snapshots.take());
            if let Outcome::Finished(taken) = run(&world.executor, taking.as_mut(), polls) {
                taken.unwrap();
                break;
            }
            world.clock.advance(DAY + DAY / 4);
            world.source.write(1_000);
            world.archive(|| u64::MAX);
            let (sweeper, planned) = (Sweeper::new(&world.server), plan(&world));
            let mut sweeping = Box::pin(sweeper.run(&planned));
            let swept = match run(&world.executor, sweeping.as_mut(), sweep_polls) {
                Outcome::Finished(swept) => Some(swept),
                Outcome::Killed => None,
            };
            let is_done = swept.is_some();
            let taken = world.finish(taking.as_mut());
            swept.unwrap_or_else(|| world.finish(sweeping.as_mut())).unwrap();
            match taken {
                Ok(_) => recorded += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Conflict, "{}", explain(&error));
                    abandoned += 1;
                }
            }
            world.take().unwrap();
            world.source.write(1_000);
            world.archive(|| u64::MAX);
            assert_sound(&world);
            moments += 1;
            if is_done {
                break;
            }
        }
        if moments == 0 {
            break;
        }
    }
    println!("{recorded} were recorded, {abandoned} abandoned");
    assert!(recorded > 20 && abandoned > 20, "{recorded} and {abandoned}");
}
