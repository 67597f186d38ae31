//! Workers that stand still at any moment, and go on after another one took over.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt;
use pitr::engine::{Archiver, ErrorKind, Repository, Result, ServerLease, Snapshotter, Sweeper, Verifier, Worker};
use pitr::engine::{SnapshotReport, SnapshotSettings, SweepReport, WorkerSettings};
use pitr::format::block::Compression;
use pitr::format::layout::ServerLayout;
use pitr::model::{ObjectKey, RetentionDays, Role};
use pitr::plan::retention::{Protections, RetentionPlan, RetentionPolicy, plan_retention};
use pitr::plan::{Target, recovery_windows};
use pitr::port::{Clock, Environment, StorageExt};
use pitr::testing::{ManualClock, MemoryTarget, SeededEntropy};

use super::hesitant::Hesitant;
use super::stage::settle;
use super::world::{Outcome, World, explain, run};

const LEASE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether the clocks of a machine notice that it stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// They go on: its processes were stopped, or had no processor.
    Noticed,
    /// They stand still with it, but the time of day is set when it goes on: a virtual machine was suspended.
    ByDay,
    /// They stand still with it.
    Unnoticed,
}

/// A machine with clocks of its own.
struct Machine {
    clock: ManualClock,
    repository: Repository,
}

impl Machine {
    fn new(world: &World, seed: u64) -> Self {
        let clock = ManualClock::new("2026-11-23T21:08:38Z".parse().unwrap());
        let entropy = Arc::new(SeededEntropy::new(seed));
        let environment = Environment::new(Arc::new(clock.clone()), entropy, Arc::new(world.executor.clone()));
        let repository = Repository::new(
            Arc::new(Hesitant::new(Arc::new(world.storage.clone()), &world.executor)),
            Arc::new(world.keys.clone()),
            environment,
        );
        Self { clock, repository }
    }

    fn join(&self, world: &World, role: Role) -> Worker {
        world.finish(Worker::join(&self.repository, role, WorkerSettings::default().lease(LEASE))).unwrap()
    }
}

fn acquire(world: &World, worker: &Worker) -> Option<ServerLease> {
    world.finish(worker.acquire(world.server.name())).unwrap()
}

/// Lets `heir` wait until the other one is dead, who stands still for so long.
fn take_over(world: &World, heir: &Machine, worker: &Worker, other: &Machine, pause: Pause) -> ServerLease {
    assert!(acquire(world, worker).is_none(), "the other one may be alive");
    let mut keep = worker.keep().boxed_local();
    for _ in 0..LEASE.as_secs() {
        let second = Duration::from_secs(1);
        world.clock.advance(second);
        heir.clock.advance(second);
        match pause {
            Pause::Noticed => other.clock.advance(second),
            Pause::ByDay => other.clock.set(other.clock.now().saturating_add(second)),
            Pause::Unnoticed => {}
        }
        settle(&world.executor, |context| assert!(keep.as_mut().poll(context).is_pending()));
    }
    drop(keep);
    let lease = acquire(world, worker).expect("the other one is dead");
    assert_eq!(lease.token(), 2);
    lease
}

fn catalog(world: &World) -> BTreeSet<ObjectKey> {
    let directory = ServerLayout::new(world.server.name()).catalog();
    let listed = world.finish(world.storage.list_all(Some(&directory))).unwrap();
    listed.into_iter().map(|object| object.key).collect()
}

fn assert_sound(world: &World) {
    let report = world.finish(Verifier::new(&world.repository, world.server.name()).run()).unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults.first().map(ToString::to_string));
    world.restore(&world.plan(Target::Latest), &MemoryTarget::new()).unwrap();
}

fn snapshotter(world: &World, lease: &ServerLease) -> Snapshotter {
    let settings = SnapshotSettings::default().compression(Compression::none());
    Snapshotter::new(lease.server(), Arc::new(world.source.clone())).settings(settings)
}

fn go_on<T>(world: &World, future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> T {
    match run(&world.executor, future, u64::MAX) {
        Outcome::Finished(output) => output,
        Outcome::Killed => unreachable!("nobody polls so often"),
    }
}

/// Before a write, the worker finds that it lost its lease; in the middle of the last one, that whoever has it now was there first.
fn is_fenced(error: &pitr::engine::Error) -> bool {
    matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Conflict)
}

fn archived(seed: u64) -> World {
    let world = World::new(seed);
    world.source.hold_files(3, 20_000);
    world.source.write(20_000);
    world.archive(|| u64::MAX);
    world
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
    go_on(&world, Box::pin(snapshotter(&world, &lease).take()).as_mut()).unwrap();
    let before = catalog(&world);
    let taken = go_on(&world, taking.as_mut());
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
    go_on(&world, Box::pin(archiver(&lease).run(drained())).as_mut()).unwrap();
    world.source.write(100_000);
    let (before, window) = (catalog(&world), recovery_windows(&world.catalog()));
    let outcome = go_on(&world, archiving.as_mut());
    if pause != Pause::Unnoticed {
        // What was on its way to the storage when it stood still arrives: log that its heir has stored, too.
        assert!(catalog(&world).difference(&before).count() <= 1, "after {polls} polls");
        assert_eq!(recovery_windows(&world.catalog()), window, "after {polls} polls");
    }
    go_on(&world, Box::pin(archiver(&lease).run(drained())).as_mut()).unwrap();
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
    go_on(&world, Box::pin(sweeper.run(&planned)).as_mut()).unwrap();
    let stored = || world.finish(world.storage.list_all(None)).unwrap();
    let before = stored();
    let swept = go_on(&world, sweeping.as_mut());
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
            let taken = go_on(&world, taking.as_mut());
            swept.unwrap_or_else(|| go_on(&world, sweeping.as_mut())).unwrap();
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
