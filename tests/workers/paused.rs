//! An archiver and a snapshot that stand still at any moment, and go on after another worker took over.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt;
use pitr::engine::{Archiver, ErrorKind, Result, ServerLease, SnapshotReport, SnapshotSettings, Snapshotter};
use pitr::format::block::Compression;
use pitr::format::layout::ServerLayout;
use pitr::model::Role;
use pitr::plan::recovery_windows;
use pitr::port::StorageExt;

use super::machine::{Machine, Pause, acquire, archived, assert_sound, catalog, is_fenced, take_over};
use super::stage::settle;
use super::world::{Outcome, World, explain, run};

fn snapshotter(world: &World, lease: &ServerLease) -> Snapshotter {
    let settings = SnapshotSettings::default().compression(Compression::none());
    Snapshotter::new(lease.server(), Arc::new(world.source.clone())).settings(settings)
}

/// What came of a snapshot that stood still.
struct Nap {
    world: World,
    /// Whether it had said that it was being taken, and not been recorded.
    was_begun: bool,
    was_recorded: bool,
    taken: Result<SnapshotReport>,
}

/// A snapshot that stands still after so many polls, while another worker takes over and takes one. `None` if it was done before that.
fn snapshot_that_stands_still(polls: u64, pause: Pause) -> Option<Nap> {
    let world = archived(3);
    let [first, second] = [1, 2].map(|seed| Machine::new(&world, seed));
    let (sleeper, heir) = (first.join(&world, Role::Snapshotter), second.join(&world, Role::Snapshotter));
    let lease = acquire(&world, &sleeper).unwrap();
    let snapshots = snapshotter(&world, &lease);
    let mut taking = Box::pin(snapshots.take());
    if let Outcome::Finished(taken) = run(&world.executor, taking.as_mut(), polls) {
        taken.unwrap();
        return None;
    }
    let was_noted = world.finish(world.storage.list_all(Some(&ServerLayout::new(world.server.name()).data()))).unwrap();
    let was_noted = was_noted.iter().any(|object| object.key.name() == "running");
    // It may have been about to take its note back.
    let was_recorded = catalog(&world).iter().any(|object| object.parts().nth(4) == Some("snapshots"));
    let lease = take_over(&world, &second, &heir, &first, pause);
    world.finish(snapshotter(&world, &lease).take()).unwrap();
    let before = catalog(&world);
    let taken = world.finish(taking.as_mut());
    if taken.is_err() {
        assert_eq!(catalog(&world), before, "after {polls} polls");
    }
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    assert_sound(&world);
    Some(Nap { world, was_begun: was_noted && !was_recorded, was_recorded, taken })
}

#[test]
fn a_snapshot_that_stood_still_is_not_recorded() {
    for pause in [Pause::Noticed, Pause::ByDay] {
        let mut polls = 0;
        while let Some(Nap { was_recorded, taken, .. }) = snapshot_that_stands_still(polls, pause) {
            match taken {
                Ok(_) => assert!(was_recorded, "after {polls} polls"),
                Err(error) => assert!(is_fenced(&error), "after {polls} polls: {}", explain(&error)),
            }
            polls += 1;
        }
        assert!(polls > 30, "{polls} moments are too few to tell");
    }
}

/// The sleeper believes that it has its lease. Whoever took over has made sure of what was begun before.
#[test]
fn nor_if_its_clocks_stood_still_too() {
    let (mut polls, mut fenced, mut whole) = (0, 0, 0);
    while let Some(Nap { was_begun, taken, .. }) = snapshot_that_stands_still(polls, Pause::Unnoticed) {
        match taken {
            Err(error) => {
                assert!(is_fenced(&error), "after {polls} polls: {}", explain(&error));
                fenced += 1;
            }
            // It had not begun: what it has taken since is a snapshot like any other. Or it was done.
            Ok(_) => {
                assert!(!was_begun, "after {polls} polls");
                whole += 1;
            }
        }
        polls += 1;
    }
    println!("{polls} moments: {fenced} were fenced, {whole} had not begun");
    assert!(fenced > 20 && whole > 0, "{fenced} and {whole}");
}

/// What the sleeper had stored is not stored again.
#[test]
fn whoever_takes_over_goes_on_where_the_sleeper_was() {
    let shares = |polls| {
        let Nap { world, .. } = snapshot_that_stands_still(polls, Pause::Noticed)?;
        let catalog = world.catalog();
        let snapshot = catalog.snapshots().next().expect("there is one");
        Some(snapshot.shares.len())
    };
    let found: Vec<_> = (0..).map_while(shares).collect();
    assert!(found.contains(&1), "{found:?}");
}

/// An archiver that stands still after so many polls, while another one takes over, and how it ended. `None` if it has stored everything
/// before that.
fn archiver_that_stands_still(polls: u64, pause: Pause) -> Option<Result<()>> {
    let world = archived(4);
    world.take().unwrap();
    world.source.write(300_000);
    let [first, second] = [1, 2].map(|seed| Machine::new(&world, seed));
    let (sleeper, heir) = (first.join(&world, Role::Archiver), second.join(&world, Role::Archiver));
    let lease = acquire(&world, &sleeper).unwrap();
    let archiver =
        |lease: &ServerLease| Archiver::new(lease.server(), Arc::new(world.source.clone())).settings(world.settings());
    let drained = || {
        futures::future::poll_fn(|_| match world.source.is_drained() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
    };
    let asleep = archiver(&lease);
    let mut archiving = Box::pin(asleep.run(drained()));
    if let Outcome::Finished(archived) = run(&world.executor, archiving.as_mut(), polls) {
        archived.unwrap();
        return None;
    }
    let lease = take_over(&world, &second, &heir, &first, pause);
    world.finish(archiver(&lease).run(drained())).unwrap();
    world.source.write(100_000);
    let (before, window) = (catalog(&world), recovery_windows(&world.catalog()));
    let outcome = world.finish(archiving.as_mut());
    if pause != Pause::Unnoticed {
        // What was on its way to the storage when it stood still arrives: log that its heir has stored, too.
        assert!(catalog(&world).difference(&before).count() <= 1, "after {polls} polls");
        assert_eq!(recovery_windows(&world.catalog()), window, "after {polls} polls");
    }
    world.finish(archiver(&lease).run(drained())).unwrap();
    assert_sound(&world);
    Some(outcome)
}

#[test]
fn an_archiver_that_stood_still_changes_nothing() {
    for pause in [Pause::Noticed, Pause::ByDay] {
        let outcomes = (0..).map_while(|polls| archiver_that_stands_still(polls, pause));
        // One who has stored everything just before need not notice.
        let errors: Vec<_> = outcomes.filter_map(Result::err).collect();
        assert!(errors.iter().all(|error| error.kind() == ErrorKind::Fenced), "{errors:?}");
        assert!(errors.len() > 20, "{} moments are too few to tell", errors.len());
    }
}

/// What it stores is log of the server, which changes nothing.
#[test]
fn or_what_is_true_if_its_clocks_stood_still_too() {
    let moments = (0..).map_while(|polls| archiver_that_stands_still(polls, Pause::Unnoticed)).count();
    assert!(moments > 20, "{moments} moments are too few to tell");
}

/// It wakes up in the very moment in which it is taken for dead: either it is, or it lives.
#[test]
fn nobody_is_dead_and_alive() {
    let (mut dead, mut alive) = (0, 0);
    for (second, polls) in (30..=45).flat_map(|second| (0..12).map(move |polls| (second, polls))) {
        let world = archived(6);
        let [first, other] = [1, 2].map(|seed| Machine::new(&world, seed));
        let (sleeper, heir) = (first.join(&world, Role::Sweeper), other.join(&world, Role::Sweeper));
        let lease = acquire(&world, &sleeper).unwrap();
        let mut keep = heir.keep().boxed_local();
        settle(&world.executor, |context| assert!(keep.as_mut().poll(context).is_pending()));
        for passed in 1..=second {
            for clock in [&world.clock, &first.clock, &other.clock] {
                clock.advance(Duration::from_secs(1));
            }
            if passed < second {
                settle(&world.executor, |context| assert!(keep.as_mut().poll(context).is_pending()));
            }
        }
        for _ in 0..polls {
            assert!(keep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            let _ = world.executor.run_one();
        }
        let write = |major: u32| {
            let incarnation = format!("7301234567890123456-{major}").parse().unwrap();
            world.finish(lease.server().admit_incarnation(incarnation))
        };
        let awake = write(15);
        settle(&world.executor, |context| assert!(keep.as_mut().poll(context).is_pending()));
        match acquire(&world, &heir) {
            Some(_) => {
                assert_eq!(write(16).unwrap_err().kind(), ErrorKind::Fenced, "after {second} s and {polls} polls");
                dead += 1;
            }
            None => {
                awake.unwrap();
                write(16).unwrap();
                alive += 1;
            }
        }
    }
    println!("{dead} were dead, {alive} alive");
    assert!(dead > 20 && alive > 20, "{dead} and {alive}");
}
