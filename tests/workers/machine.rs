//! Machines that stand still while others take over from them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use pitr::engine::{ErrorKind, Repository, ServerLease, Verifier, Worker, WorkerSettings};
use pitr::format::layout::ServerLayout;
use pitr::model::{ObjectKey, Role};
use pitr::plan::Target;
use pitr::port::{Clock, Environment, StorageExt};
use pitr::testing::{ManualClock, MemoryTarget, SeededEntropy};

use super::hesitant::Hesitant;
use super::stage::settle;
use super::world::World;

const LEASE: Duration = Duration::from_secs(60);

/// Whether the clocks of a machine notice that it stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// They go on: its processes were stopped, or had no processor.
    Noticed,
    /// They stand still with it, but the time of day is set when it goes on: a virtual machine was suspended.
    ByDay,
    /// They stand still with it.
    Unnoticed,
}

/// A machine with clocks of its own.
pub(crate) struct Machine {
    pub(crate) clock: ManualClock,
    pub(crate) repository: Repository,
}

impl Machine {
    pub(crate) fn new(world: &World, seed: u64) -> Self {
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

    pub(crate) fn join(&self, world: &World, role: Role) -> Worker {
        world.finish(Worker::join(&self.repository, role, WorkerSettings::default().lease(LEASE))).unwrap()
    }
}

pub(crate) fn acquire(world: &World, worker: &Worker) -> Option<ServerLease> {
    world.finish(worker.acquire(world.server.name())).unwrap()
}

/// Lets `heir` wait until the other one is dead, who stands still for so long.
pub(crate) fn take_over(world: &World, heir: &Machine, worker: &Worker, other: &Machine, pause: Pause) -> ServerLease {
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

pub(crate) fn catalog(world: &World) -> BTreeSet<ObjectKey> {
    let directory = ServerLayout::new(world.server.name()).catalog();
    let listed = world.finish(world.storage.list_all(Some(&directory))).unwrap();
    listed.into_iter().map(|object| object.key).collect()
}

pub(crate) fn assert_sound(world: &World) {
    let report = world.finish(Verifier::new(&world.repository, world.server.name()).run()).unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults.first().map(ToString::to_string));
    world.restore(&world.plan(Target::Latest), &MemoryTarget::new()).unwrap();
}

/// Before a write, the worker finds that it lost its lease; in the middle of the last one, that whoever has it now was there first.
pub(crate) fn is_fenced(error: &pitr::engine::Error) -> bool {
    matches!(error.kind(), ErrorKind::Fenced | ErrorKind::Conflict)
}

pub(crate) fn archived(seed: u64) -> World {
    let world = World::new(seed);
    world.source.hold_files(3, 20_000);
    world.source.write(20_000);
    world.archive(|| u64::MAX);
    world
}
