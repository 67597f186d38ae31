//! Each role does its work with the permissions that docs/OPERATIONS.md names, and has use for all of them.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use pitr::engine::{Repository, Sweeper, TestRestore, Verifier, Worker, WorkerSettings};
use pitr::format::layout::ServerLayout;
use pitr::model::{Change, ObjectKey, RestoreSpec, Role};
use pitr::plan::Target;
use pitr::port::{
    Clock, Environment, ObjectMeta, ObjectRead, PortError, PortErrorKind, PutMode, Storage, Upload, Version,
};
use pitr::testing::{FaultyStorage, MemoryScratch, MemoryTarget, SeededEntropy};

use crate::changes;
use crate::immutable::Keeper;
use crate::sharing::DAY;
use crate::sweep;
use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Read,
    List,
    Create,
    Replace,
    Delete,
    Renew,
}

/// What may be done, and to what: below a server's directory, if it is there. A star is any part, two are any that follow, or none.
type Permission = (Verb, &'static str);

/// Whatever a role does, it opens the server.
const OPENING: &[Permission] = &[(Verb::Read, "key"), (Verb::Read, "keys/*"), (Verb::Read, "server")];

const ARCHIVER: &[Permission] = &[
    (Verb::Read, "catalog/**"),
    (Verb::List, "catalog/**"),
    (Verb::Create, "catalog/*/logs/**"),
    (Verb::Create, "catalog/*/timelines/*"),
    (Verb::Replace, "server"),
];

const SNAPSHOTTER: &[Permission] = &[
    (Verb::Read, "catalog/**"),
    (Verb::Read, "data/**"),
    (Verb::List, "catalog/**"),
    (Verb::List, "data/**"),
    (Verb::Create, "data/**"),
    (Verb::Create, "catalog/*/snapshots/*"),
    (Verb::Replace, "data/*/running"),
    (Verb::Delete, "data/*/running"),
];

const SWEEPER: &[Permission] = &[
    (Verb::Read, "catalog/**"),
    (Verb::Read, "data/**"),
    (Verb::List, "catalog/**"),
    (Verb::List, "data/**"),
    (Verb::List, "proofs/**"),
    (Verb::List, "changes/**"),
    (Verb::List, "restores/**"),
    (Verb::Read, "restores/*"),
    (Verb::Read, "usage"),
    (Verb::Create, "usage"),
    (Verb::Replace, "usage"),
    (Verb::Create, "data/*/expired"),
    (Verb::Create, "catalog/*/snapshots/*"),
    (Verb::Delete, "proofs/*"),
    (Verb::Delete, "changes/*"),
    (Verb::Delete, "restores/*"),
    (Verb::Delete, "catalog/**"),
    (Verb::Delete, "data/**"),
];

/// What a sweeper needs beside that, where the store keeps objects immutable.
const RENEWER: &[Permission] = &[
    (Verb::List, "**"),
    (Verb::Read, "renewal"),
    (Verb::Create, "renewal"),
    (Verb::Replace, "renewal"),
    (Verb::Renew, "**"),
];

const RESTORER: &[Permission] = &[(Verb::Read, "catalog/**"), (Verb::Read, "data/**"), (Verb::List, "catalog/**")];

const VERIFIER: &[Permission] = &[
    (Verb::Read, "catalog/**"),
    (Verb::Read, "data/**"),
    (Verb::Read, "proofs/*"),
    (Verb::Read, "leases/*"),
    (Verb::Read, "changes/*"),
    (Verb::Read, "restores/*"),
    (Verb::Read, "deletions/*"),
    (Verb::Read, "usage"),
    (Verb::List, "**"),
];

/// Whoever changes a server, and reads what it was before.
const MANAGER: &[Permission] = &[
    (Verb::Read, "changes/*"),
    (Verb::Read, "data/*/expired"),
    (Verb::List, "catalog/**"),
    (Verb::List, "changes/**"),
    (Verb::Create, "changes/*"),
    (Verb::Replace, "server"),
];

/// Whoever destroys a server that is deleted: it has use for nothing but what it deletes.
const DESTROYER: &[Permission] = &[
    (Verb::Read, "deletions/*"),
    (Verb::List, "**"),
    (Verb::Create, "deletions/*"),
    (Verb::Replace, "key"),
    (Verb::Delete, "**"),
];

/// What sharing the servers among several workers takes beside that.
const WORKER: &[Permission] = &[
    (Verb::List, "servers"),
    (Verb::Read, "leases/archiver"),
    (Verb::Create, "leases/archiver"),
    (Verb::Replace, "leases/archiver"),
    (Verb::List, "workers/archiver"),
    (Verb::Read, "workers/archiver/*"),
    (Verb::Create, "workers/archiver/*"),
    (Verb::Replace, "workers/archiver/*"),
    (Verb::Delete, "workers/archiver/*"),
];

/// A storage that lets one role do what it may.
#[derive(Clone, Debug)]
struct Guarded {
    inner: FaultyStorage,
    permissions: Vec<Permission>,
    used: Arc<Mutex<BTreeSet<Permission>>>,
}

impl Guarded {
    fn check(&self, verb: Verb, key: &ObjectKey) -> Result<(), PortError> {
        let parts = key.parts().collect::<Vec<_>>();
        let local = if let ["servers", _, local @ ..] = &parts[..] { local } else { &parts[..] };
        let permits = |permission: &&Permission| permission.0 == verb && matches(permission.1, local);
        let denied = || PortError::new(PortErrorKind::Denied, format!("{verb:?} of {key} is not permitted"));
        let permission = self.permissions.iter().find(permits).ok_or_else(denied)?;
        self.used.lock().unwrap().insert(*permission);
        Ok(())
    }
}

fn matches(pattern: &str, parts: &[&str]) -> bool {
    let mut pattern = pattern.split('/').filter(|part| !part.is_empty());
    let mut parts = parts.iter();
    loop {
        match (pattern.next(), parts.next()) {
            (None, None) | (Some("**"), _) => return true,
            (Some("*"), Some(_)) => {}
            (Some(expected), Some(part)) if expected == *part => {}
            _ => return false,
        }
    }
}

#[async_trait]
impl Storage for Guarded {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        self.check(if mode == PutMode::Create { Verb::Create } else { Verb::Replace }, key)?;
        self.inner.put(key, bytes, mode).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        self.check(Verb::Create, key)?;
        self.inner.upload(key).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        self.check(Verb::Read, key)?;
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.check(Verb::Read, key)?;
        self.inner.head(key).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        match self.check(Verb::List, directory.expect("nobody lists everything")) {
            Ok(()) => self.inner.list(directory, after),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.check(Verb::Delete, key)?;
        self.inner.delete(key).await
    }

    fn immutable_for(&self) -> Option<Duration> {
        self.inner.immutable_for()
    }

    async fn renew(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.check(Verb::Renew, key)?;
        self.inner.renew(key).await
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Lets a role open the server and work, and sees that it has used all that it may.
fn works(world: World, role: &[Permission], work: impl FnOnce(&World)) {
    works_deleted(world, role, |world| {
        world.server = world.finish(world.repository.server(&world.server.name().clone())).unwrap();
        work(world);
    });
}

/// The same, for a server that cannot be opened.
fn works_deleted(mut world: World, role: &[Permission], work: impl FnOnce(&mut World)) {
    let permissions = [OPENING, role].concat();
    let guarded = Guarded { inner: world.storage.clone(), permissions: permissions.clone(), used: Arc::default() };
    let environment = Environment::new(
        Arc::new(world.clock.clone()),
        Arc::new(SeededEntropy::new(99)),
        Arc::new(world.executor.clone()),
    );
    world.repository = Repository::new(Arc::new(guarded.clone()), Arc::new(world.keys.clone()), environment);
    work(&mut world);
    let used = guarded.used.lock().unwrap().clone();
    let unused: Vec<_> = permissions.iter().filter(|permission| !used.contains(permission)).collect();
    assert!(unused.is_empty(), "not needed: {unused:?}");
}

#[test]
fn an_archiver() {
    works(World::new(12), ARCHIVER, |world| {
        world.source.write(50_000);
        world.source.promote(10_000);
        world.source.write(50_000);
        world.archive(|| u64::MAX);
    });
}

#[test]
fn a_snapshotter() {
    works(sweep::aged(12), SNAPSHOTTER, |world| {
        world.source.change_files(8);
        world.take().unwrap();
    });
}

/// It has something to do for each of its permissions.
fn sweepable(world: World) -> World {
    // One is interrupted when it has noted that it is being taken.
    world.storage.crash_after(12);
    world.take().unwrap_err();
    world.storage.heal();
    world.clock.advance(2 * DAY);
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    let layout = ServerLayout::new(world.server.name());
    let changes = ["0000000000000001-0005000000000000-a", "0000000000000002-0005000000000000-b"];
    let changes = changes.map(|name| layout.changes().join(name).unwrap());
    let restore = layout.restores().join("0005000000000000-old").unwrap();
    for old in changes.into_iter().chain([layout.proof("20200101T000000Z-old"), restore]) {
        world.finish(world.storage.put(&old, Bytes::new(), PutMode::Create)).unwrap();
    }
    changes::change(&world, "restore", restore_as("prod-2")).unwrap();
    world
}

fn restore_as(name: &str) -> Change {
    Change::Restore(Box::new(RestoreSpec::new(name.parse().unwrap(), Target::Latest)))
}

fn sweeps(world: &World) {
    for days in [10, 7] {
        let report = world.finish(Sweeper::new(&world.server).run(&sweep::plan_for(world, days))).unwrap();
        assert!(report.refused.is_empty() && report.not_renewed.is_empty(), "{report:?}");
    }
}

#[test]
fn a_sweeper() {
    works(sweepable(sweep::aged(12)), SWEEPER, sweeps);
}

#[test]
fn a_sweeper_where_objects_are_immutable() {
    let world = World::over(11, |clock, inner| Arc::new(Keeper::over(clock, inner)));
    works(sweepable(sweep::age(world, 12)), &[SWEEPER, RENEWER].concat(), |world| {
        sweeps(world);
        world.clock.advance(5 * DAY);
        sweeps(world);
    });
}

#[test]
fn a_restorer() {
    works(sweep::aged(12), RESTORER, |world| world.restore(&world.plan(Target::Latest), &MemoryTarget::new()).unwrap());
}

#[test]
fn a_verifier() {
    let world = sweep::aged(12);
    let scratch = MemoryScratch::new();
    world.finish(TestRestore::new(&world.server, Arc::new(scratch)).run()).unwrap();
    changes::change(&world, "one", Change::Pause).unwrap();
    let damaged = ServerLayout::new(world.server.name()).restore(world.now(), &"two".parse().unwrap());
    world.finish(world.storage.put(&damaged, Bytes::new(), PutMode::Create)).unwrap();
    works(world, VERIFIER, |world| {
        let report = world.finish(Verifier::new(&world.repository, world.server.name()).run()).unwrap();
        assert_eq!(report.faults.into_iter().map(|fault| fault.object).collect::<Vec<_>>(), [damaged]);
    });
}

#[test]
fn a_manager() {
    let world = sweep::aged(2);
    let snapshot = world.catalog().snapshots().next().unwrap().id.clone();
    works(world, MANAGER, |world| {
        let hold = Change::PlaceHold { snapshot, name: "audit".to_owned(), until: None };
        let end = Change::EndRestore { restore: "three".parse().unwrap() };
        for (request, change) in [
            ("one", Change::Pause),
            ("two", hold),
            ("one", Change::Pause),
            ("three", restore_as("prod-2")),
            ("four", end),
            ("five", Change::Delete),
        ] {
            changes::change(world, request, change).unwrap();
        }
        world.finish(world.server.changes()).unwrap();
    });
}

#[test]
fn a_destroyer() {
    let world = sweep::aged(2);
    changes::change(&world, "one", Change::Delete).unwrap();
    works_deleted(world, DESTROYER, |world| {
        world.finish(world.repository.destroy_server(world.server.name())).unwrap();
    });
}

#[test]
fn a_worker() {
    let (world, lease) = (World::new(12), Duration::from_secs(60));
    let settings = WorkerSettings::default().lease(lease);
    world.finish(Worker::join(&world.repository, Role::Archiver, settings.clone())).unwrap();
    works(world, WORKER, |world| {
        let worker = world.finish(Worker::join(&world.repository, Role::Archiver, settings)).unwrap();
        // The other one does nothing, and is dead after a while.
        let stop = world.clock.sleep(lease * 2);
        let work = |_| world.clock.sleep(lease / 4);
        in_time(world, worker.tend(work, stop)).unwrap();
    });
}

/// What `future` gives, where time passes as soon as nothing else happens.
fn in_time<T>(world: &World, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        assert!(world.executor.run_one() || world.clock.advance_to_next(), "nobody waits for the time to pass");
    }
}
