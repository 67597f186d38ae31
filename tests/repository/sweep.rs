//! What expired is deleted, and nothing else, however often a sweep is interrupted.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use pitr::engine::{ErrorKind, Repository, SweepReport, SweepSettings, Sweeper, Verifier};
use pitr::format::layout::{DataPart, ServerLayout};
use pitr::model::{Catalog, DayUsage, ObjectKey, RetentionDays, Timestamp};
use pitr::plan::retention::{Protections, RetentionPlan, RetentionPolicy, plan_retention};
use pitr::plan::{RestorableInterval, Target, recovery_window};
use pitr::port::{
    Environment, ObjectMeta, ObjectRead, Operation, PortError, PortErrorKind, PutMode, Storage, StorageExt, Upload,
    Version,
};
use pitr::testing::{Fault, FaultyStorage, MemoryTarget, SeededEntropy};

use crate::sharing::DAY;
use crate::stand::{Damage, inflict};
use crate::world::{Outcome, World, explain, run};

/// A server of so many days: one snapshot each, and a promotion in the middle.
pub(crate) fn aged(days: u32) -> World {
    age(World::new(11), days)
}

pub(crate) fn age(mut world: World, days: u32) -> World {
    world.bytes_max = 16 << 10;
    world.source.hold_files(20, 5_000);
    for day in 0..days {
        world.source.write(40_000);
        world.archive(|| u64::MAX);
        world.source.change_files(8);
        world.take().unwrap();
        if day == days / 2 {
            world.source.promote(3_000);
        }
        world.source.write(40_000);
        world.archive(|| u64::MAX);
        world.clock.advance(DAY);
    }
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    world
}

pub(crate) fn plan(world: &World) -> RetentionPlan {
    plan_for(world, 7)
}

pub(crate) fn plan_for(world: &World, days: u8) -> RetentionPlan {
    let policy = RetentionPolicy::new(RetentionDays::new(days).unwrap());
    plan_retention(&world.catalog(), &policy, &Protections::none(), world.now())
}

fn sweep(world: &World) -> SweepReport {
    let plan = plan(world);
    world.finish(Sweeper::new(&world.server).run(&plan)).unwrap_or_else(|error| panic!("{}", explain(&error)))
}

fn stored(world: &World) -> BTreeSet<ObjectKey> {
    let listed = world.finish(world.storage.list_all(None)).unwrap();
    listed.into_iter().map(|object| object.key).collect()
}

/// All that there is to be if `catalog` is: the facts, the data of its snapshots, and what these use of others; each has one pack.
fn expected(world: &World, catalog: &Catalog, before: &BTreeSet<ObjectKey>) -> BTreeSet<ObjectKey> {
    let layout = ServerLayout::new(world.server.name());
    let mut expected = BTreeSet::from([layout.key(), layout.record(), layout.usage()]);
    expected.extend(catalog.artifacts().map(|artifact| artifact.object().key));
    for snapshot in catalog.snapshots() {
        expected.insert(layout.snapshot(snapshot.incarnation, &snapshot.id));
        let directory = layout.snapshot_data(&snapshot.id);
        expected.extend(before.iter().filter(|key| key.is_below(&directory)).cloned());
        let gone = snapshot.shares.iter().map(|share| &share.snapshot).filter(|id| catalog.snapshot(id).is_none());
        expected.extend(gone.flat_map(|id| [layout.pack(id, 0), layout.data_part(id, DataPart::Expired)]));
    }
    expected
}

fn window(catalog: &Catalog, plan: &RetentionPlan) -> Vec<RestorableInterval> {
    let (start, end) = (plan.window_start().unwrap(), plan.horizon.unwrap());
    let intervals = recovery_window(catalog, catalog.current().unwrap()).intervals.into_iter();
    let clipped = intervals.map(|interval| (interval.from.max(start), interval.until.min(end)));
    clipped.filter(|(from, until)| from <= until).map(RestorableInterval::from).collect()
}

fn assert_sound(world: &World) {
    let report = world.finish(Verifier::new(&world.repository, world.server.name()).run()).unwrap();
    assert!(report.is_sound(), "{:?}", report.faults);
}

fn assert_swept(world: &World, plan: &RetentionPlan, before: &BTreeSet<ObjectKey>, whole: &Catalog) {
    let catalog = world.catalog();
    assert_eq!(stored(world), expected(world, &plan.remaining(whole).unwrap(), before));
    assert_eq!(window(&catalog, plan), window(whole, plan));
    assert_sound(world);
}

#[test]
fn what_expired_is_deleted_and_nothing_else() {
    let world = aged(20);
    let (whole, plan, before) = (world.catalog(), plan(&world), stored(&world));
    assert!(plan.expired_snapshots.len() > 5 && !plan.expired_logs.is_empty(), "{plan}");
    let report = sweep(&world);
    assert_swept(&world, &plan, &before, &whole);
    // The note of each snapshot is an object more, and so is the usage log.
    let gone = before.len() - stored(&world).len() + plan.expired_snapshots.len() + 1;
    assert_eq!(report.objects, gone as u64);
    assert!(report.bytes >= plan.freed_bytes() && report.refused.is_empty() && report.unrecorded.is_empty());
    let again = sweep(&world);
    assert_eq!(again.objects, 0);
    for target in [Target::Earliest, Target::Latest] {
        world.restore(&world.plan(target), &MemoryTarget::new()).unwrap();
    }
}

fn usage(world: &World) -> Result<Vec<DayUsage>, ErrorKind> {
    let usage = world.finish(world.server.usage_by_day(&world.catalog()));
    usage.map_err(|error| error.kind())
}

#[test]
fn what_was_stored_is_noted_before_it_is_gone() {
    let world = aged(20);
    let before = usage(&world).unwrap();
    assert!(before.len() >= 20 && before[0].at_end.total() > 0);
    sweep(&world);
    assert_eq!(usage(&world).unwrap(), before, "the catalog knows no more of the first days");
    let catalog = world.catalog();
    assert!(catalog.snapshots().all(|snapshot| snapshot.consistent_at > before[5].until));
    world.clock.advance(DAY);
    let after = usage(&world).unwrap();
    assert_eq!(after[..before.len() - 1], before[..before.len() - 1]);
    assert!(after.last().unwrap().at_end.total() < before.last().unwrap().at_end.total());

    // Who cannot read it says so; whoever deletes next, begins anew.
    let log = ServerLayout::new(world.server.name()).usage();
    inflict(&world, &log, &Damage::Flipped { at: 60 });
    assert_eq!(usage(&world), Err(ErrorKind::Corrupt));
    let report = world.finish(Verifier::new(&world.repository, world.server.name()).run()).unwrap();
    assert_eq!(report.faults.iter().map(|fault| &fault.object).collect::<Vec<_>>(), [&log]);
    let world = age(world, 3);
    sweep(&world);
    assert!(usage(&world).unwrap()[0].from > before[5].until);
    assert_sound(&world);
}

/// Whatever was done until then, what is left is sound and serves every instant of the window; the next sweep finishes it.
fn assert_goes_on(world: &World, plan: &RetentionPlan, before: &BTreeSet<ObjectKey>, whole: &Catalog) {
    world.storage.heal();
    let left = world.catalog();
    assert_eq!(left.current(), whole.current());
    assert_eq!(window(&left, plan), window(whole, plan));
    assert_sound(world);
    sweep(world);
    assert_swept(world, plan, before, whole);
}

#[test]
fn a_sweep_may_crash_at_every_operation() {
    let world = aged(12);
    let (plan_made, operations) = (plan(&world), world.storage.operations());
    world.finish(Sweeper::new(&world.server).run(&plan_made)).unwrap();
    let operations = world.storage.operations() - operations;
    assert!(operations > 60, "{operations} operations are too few");
    for crash in 0..operations {
        let world = aged(12);
        let (whole, plan, before) = (world.catalog(), plan(&world), stored(&world));
        world.storage.crash_after(crash);
        let swept = world.finish(Sweeper::new(&world.server).run(&plan));
        assert_eq!(swept.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_goes_on(&world, &plan, &before, &whole);
    }
}

#[test]
fn a_sweep_may_be_killed_at_any_moment() {
    for polls in (1..).step_by(2) {
        let world = aged(12);
        let (whole, plan, before) = (world.catalog(), plan(&world), stored(&world));
        let outcome = run(&world.executor, Sweeper::new(&world.server).run(&plan), polls);
        assert_goes_on(&world, &plan, &before, &whole);
        if matches!(outcome, Outcome::Finished(_)) {
            assert!(polls > 20, "it was killed {polls} times only");
            return;
        }
    }
}

#[test]
fn what_fails_after_its_effect_is_done_all_the_same() {
    for nth in 1..40 {
        let world = aged(10);
        let (whole, plan, before) = (world.catalog(), plan(&world), stored(&world));
        world.storage.fail_nth(NonZeroU64::new(nth).unwrap(), Operation::Delete, Fault::After);
        drop(world.finish(Sweeper::new(&world.server).run(&plan)));
        assert_goes_on(&world, &plan, &before, &whole);
    }
}

/// Sweeps go on at every moment of a snapshot, and of what it stored nothing is missing.
#[test]
fn a_snapshot_that_is_being_taken_is_left_alone() {
    for polls in (1..).step_by(9) {
        let world = aged(10);
        let snapshotter = world.snapshotter();
        let mut taking = Box::pin(snapshotter.take());
        let outcome = run(&world.executor, taking.as_mut(), polls);
        sweep(&world);
        if let Outcome::Finished(taken) = outcome {
            drop(taken.unwrap());
            assert!(polls > 30, "a snapshot took {polls} polls only");
            return;
        }
        world.finish(taking).unwrap();
        world.source.write(1_000);
        world.archive(|| u64::MAX);
        assert_sound(&world);
        world.restore(&world.plan(Target::Latest), &MemoryTarget::new()).unwrap();
    }
}

/// What a sweep takes from under a verification is no fault.
#[test]
fn a_verification_that_meets_a_sweep_finds_nothing_wrong() {
    for polls in (1..).step_by(3) {
        let world = aged(10);
        let mut verifying = Box::pin(Verifier::new(&world.repository, world.server.name()).run());
        let outcome = run(&world.executor, verifying.as_mut(), polls);
        assert!(sweep(&world).objects > 0);
        if matches!(outcome, Outcome::Finished(_)) {
            assert!(polls > 100, "it took {polls} polls only");
            return;
        }
        let report = world.finish(verifying).unwrap();
        assert!(report.is_sound(), "met after {polls} polls: {:?}", report.faults);
    }
}

#[test]
fn what_a_killed_snapshot_left_goes_after_the_grace() {
    let world = aged(10);
    sweep(&world);
    let sound = stored(&world);
    let killed = (1..).find_map(|polls| {
        assert!(matches!(run(&world.executor, world.snapshotter().take(), polls), Outcome::Killed));
        let left: Vec<_> = stored(&world).difference(&sound).cloned().collect();
        (!left.is_empty()).then_some(left)
    });
    let killed = killed.unwrap();
    assert_eq!(sweep(&world).objects, 0, "it could be going on");
    // Only our clock says that a day has passed: the server was not seen since.
    world.clock.advance(2 * DAY);
    assert_eq!(sweep(&world).objects, 0, "our clock may be wrong");
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    sweep(&world);
    assert!(killed.iter().all(|object| !stored(&world).contains(object)));
    // Should it go on after all, it finds that it was abandoned.
    let abandoned = || {
        let records = stored(&world).into_iter().filter(|key| key.parts().nth(4) == Some("snapshots")).count();
        records - world.catalog().snapshots().count()
    };
    assert_eq!(abandoned(), 1);
    let pass = |days: u32| {
        world.clock.advance(days * DAY);
        world.source.write(1_000);
        world.archive(|| u64::MAX);
        sweep(&world);
    };
    pass(390);
    assert_eq!(abandoned(), 1);
    pass(20);
    assert_eq!(abandoned(), 0, "nobody stands still for so long");
}

#[test]
fn a_snapshot_of_which_the_record_was_lost_is_not_deleted() {
    let world = aged(10);
    sweep(&world);
    let snapshot = world.catalog().snapshots().last().cloned().unwrap();
    let record = ServerLayout::new(world.server.name()).snapshot(snapshot.incarnation, &snapshot.id);
    world.finish(world.storage.delete(&record)).unwrap();
    let directory = ServerLayout::new(world.server.name()).snapshot_data(&snapshot.id);
    let data = || stored(&world).into_iter().filter(|key| key.is_below(&directory)).collect::<Vec<_>>();
    let before = data();
    world.clock.advance(3 * DAY);
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    assert_eq!(sweep(&world).unrecorded, [snapshot.id]);
    assert!(before.len() > 1);
    assert_eq!(data(), before);
}

#[test]
fn nothing_is_deleted_by_a_plan_that_does_not_fit() {
    let world = aged(12);
    let plan = plan(&world);
    let before = stored(&world);
    // An anchor of the plan is gone meanwhile.
    let kept = &plan.kept_snapshots[0].id;
    let kept = world.catalog().snapshot(kept).cloned().unwrap();
    let record = ServerLayout::new(world.server.name()).snapshot(kept.incarnation, &kept.id);
    world.finish(world.storage.delete(&record)).unwrap();
    let error = world.finish(Sweeper::new(&world.server).run(&plan)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{}", explain(&error));
    assert_eq!(stored(&world).len(), before.len() - 1);
}

#[test]
fn nothing_is_deleted_while_the_catalog_cannot_be_read() {
    let world = aged(12);
    let (plan, before) = (plan(&world), stored(&world));
    let snapshot = world.catalog().snapshots().last().cloned().unwrap();
    let record = ServerLayout::new(world.server.name()).snapshot(snapshot.incarnation, &snapshot.id);
    let overwrite = PutMode::Overwrite;
    world.finish(world.storage.put(&record, Bytes::from_static(b"damage"), overwrite)).unwrap();
    let sweeper = || Sweeper::new(&world.server);
    let error = world.finish(sweeper().run(&plan)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", explain(&error));
    assert!(error.to_string().contains(record.as_str()));
    assert_eq!(stored(&world), before);
    let settings = SweepSettings::default().despite_unreadable();
    let inventory = world.finish(world.server.inventory()).unwrap();
    let policy = RetentionPolicy::new(RetentionDays::MIN);
    let plan = plan_retention(&inventory.catalog, &policy, &Protections::none(), world.now());
    assert!(world.finish(sweeper().settings(settings).run(&plan)).unwrap().objects > 0);
}

/// Lets one object not go.
#[derive(Debug)]
struct Locked {
    inner: FaultyStorage,
    object: ObjectKey,
}

impl std::fmt::Display for Locked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "locked {}", self.inner)
    }
}

#[async_trait]
impl Storage for Locked {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        self.inner.put(key, bytes, mode).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        self.inner.upload(key).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.inner.head(key).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        self.inner.list(directory, after)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        if *key == self.object {
            return Err(PortError::new(PortErrorKind::Denied, format!("{key} is retained by a lock")));
        }
        self.inner.delete(key).await
    }
}

/// Of a branch of which something cannot go, the end stays, and so does what tells of it. The next sweep goes on when the lock has ended.
#[test]
fn what_is_locked_keeps_what_would_go_after_it() {
    let world = aged(20);
    let (whole, plan, before) = (world.catalog(), plan(&world), stored(&world));
    let logs = &plan.expired_logs[0].logs;
    let (locked, end) = (logs[1].key(), logs[logs.len() - 1].key());
    let storage = Locked { inner: world.storage.clone(), object: locked.clone() };
    let environment = Environment::new(
        Arc::new(world.clock.clone()),
        Arc::new(SeededEntropy::new(1)),
        Arc::new(world.executor.clone()),
    );
    let repository = Repository::new(Arc::new(storage), Arc::new(world.keys.clone()), environment);
    let server = world.finish(repository.server(world.server.name())).unwrap();
    let report = world.finish(Sweeper::new(&server).run(&plan)).unwrap();
    assert_eq!(report.refused.iter().map(|(key, _)| key).collect::<Vec<_>>(), [&locked]);
    let left = stored(&world);
    assert!(left.contains(&locked) && left.contains(&end) && !left.contains(&logs[2].key()));
    assert_goes_on(&world, &plan, &before, &whole);
}

/// The latest instant of the world, by our clock.
impl World {
    pub(crate) fn now(&self) -> Timestamp {
        pitr::port::Clock::now(&self.clock)
    }
}
