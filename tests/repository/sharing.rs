//! Snapshots share what did not change, and each of them stands for itself.

use std::collections::BTreeMap;
use std::time::Duration;

use pitr::engine::{Cost, ErrorKind, Fault, SnapshotSettings, SweepReport, SweepSettings, Sweeper};
use pitr::engine::{Snapshotter, Verifier, VerifyReport};
use pitr::format::block::Compression;
use pitr::format::layout::{DataPart, ServerLayout};
use pitr::model::{Catalog, ObjectKey, RetentionDays, Snapshot, SnapshotId};
use pitr::plan::Target;
use pitr::plan::retention::{Protections, RetentionPolicy, plan_retention};
use pitr::port::{Storage, StorageExt};
use pitr::testing::{MemoryTarget, ServerFiles};

use crate::stand::{Damage, inflict};
use crate::world::{Outcome, World, explain, run};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn layout(world: &World) -> ServerLayout {
    ServerLayout::new(world.server.name())
}

/// Lets a day pass, in which one file in `one_in` changes, and takes a snapshot at its end.
pub(crate) fn day(world: &World, one_in: u64) -> Snapshot {
    world.clock.advance(DAY);
    world.source.change_files(one_in);
    world.source.write(20_000);
    world.archive(|| u64::MAX);
    let taken = world.take().unwrap_or_else(|error| panic!("{}", explain(&error))).snapshot;
    world.source.write(20_000);
    world.archive(|| u64::MAX);
    taken
}

pub(crate) fn verify(world: &World) -> VerifyReport {
    world.finish(Verifier::new(&world.repository, world.server.name()).run()).unwrap()
}

pub(crate) fn assert_sound(world: &World) {
    let report = verify(world);
    assert!(report.is_sound(), "{:?}", report.faults);
}

pub(crate) fn sweep(world: &World, settings: SweepSettings) -> SweepReport {
    let policy = RetentionPolicy::new(RetentionDays::MIN);
    let plan = plan_retention(&world.catalog(), &policy, &Protections::none(), world.now());
    world.finish(Sweeper::new(&world.server).settings(settings).run(&plan)).unwrap()
}

pub(crate) fn assert_restores(world: &World, id: &SnapshotId, files: &ServerFiles) {
    let target = MemoryTarget::new();
    world.restore(&world.plan(Target::Snapshot(id.clone())), &target).unwrap();
    let mut restored = target.restored().files;
    restored.remove("backup_manifest");
    assert!(restored == files.files, "snapshot {id} is not what was there");
}

pub(crate) fn pack(world: &World, snapshot: &Snapshot) -> ObjectKey {
    layout(world).pack(&snapshot.id, 0)
}

#[test]
fn what_did_not_change_is_not_stored_again() {
    let world = World::new(1);
    let first = day(&world, u64::MAX);
    assert!(first.shares.is_empty() && first.stored_bytes > first.logical_bytes);
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    let second = world.take().unwrap().snapshot;
    assert_eq!(second.added_bytes(), second.manifest.bytes, "nothing but the manifest");
    assert!(second.manifest.bytes < 1_000);
    let [share] = &second.shares[..] else { panic!("{:?}", second.shares) };
    assert_eq!((&share.snapshot, share.held_bytes), (&first.id, first.stored_bytes - first.manifest.bytes));
    let third = day(&world, 10);
    assert!(third.added_bytes() < third.logical_bytes / 3, "{third:?}");
    world.archive(|| u64::MAX);
    assert_restores(&world, &third.id, &world.source.files());
    assert_sound(&world);
}

/// The bytes of all data, as stored.
fn data_bytes(world: &World) -> u64 {
    let listed = world.finish(world.storage.list_all(Some(&layout(world).data()))).unwrap();
    listed.iter().filter(|object| !object.key.as_str().ends_with("expired")).map(|object| object.bytes).sum()
}

/// Days of a server, each with a snapshot and a sweep. Whatever is in the catalog restores what was there, and takes what it says.
#[test]
fn every_snapshot_stands_for_itself_whatever_became_of_others() {
    for seed in 0..12 {
        let world = World::new(seed);
        if seed % 2 == 1 {
            world.source.stamp_files();
        }
        let mut files = BTreeMap::new();
        let mut before: Option<Snapshot> = None;
        for number in 0..24 {
            let taken = day(&world, [2, 5, 20, 100][(seed % 4) as usize] + number % 3);
            let held: u64 = taken.shares.iter().map(|share| share.held_bytes).sum();
            let used = before.map_or(0, |before| before.stored_bytes);
            assert!(held <= 2 * used, "{held} bytes are held, of which {used} were used");
            files.insert(taken.id.clone(), world.source.files());
            before = Some(taken);
            sweep(&world, SweepSettings::default());
        }
        let catalog = world.catalog();
        assert!(catalog.snapshots().count() < 12);
        for snapshot in catalog.snapshots() {
            assert_restores(&world, &snapshot.id, &files[&snapshot.id]);
        }
        assert_sound(&world);
        assert_told(&world, &catalog);
    }
}

/// What the planner says is stored is what is stored.
fn assert_told(world: &World, catalog: &Catalog) {
    let policy = RetentionPolicy::new(RetentionDays::MIN);
    let plan = plan_retention(catalog, &policy, &Protections::none(), world.now());
    let logs: u64 = plan.kept_logs.iter().map(|kept| kept.stored_bytes).sum();
    let (told, stored) = (plan.kept_bytes() - logs, data_bytes(world));
    assert!(told <= stored && stored <= told + told / 20, "{stored} bytes are stored, {told} were told");
}

#[test]
fn a_snapshot_that_builds_on_another_may_crash_at_every_operation() {
    let ready = || {
        let world = World::new(5);
        day(&world, 10);
        world.source.change_files(4);
        world
    };
    let world = ready();
    let before = world.storage.operations();
    world.take().unwrap();
    let operations = world.storage.operations() - before;
    assert!(operations > 20, "{operations} operations are too few");
    for crash in 0..operations {
        let world = ready();
        world.storage.crash_after(crash);
        let taken = world.take();
        world.storage.heal();
        assert_eq!(world.catalog().snapshots().count(), 1 + usize::from(taken.is_ok()), "after {crash} operations");
        assert_sound(&world);
        let next = day(&world, 10);
        assert!(!next.shares.is_empty());
        sweep(&world, SweepSettings::default());
        assert_restores(&world, &next.id, &world.source.files());
    }
}

/// A snapshot that is being taken keeps what it builds on, though that expires meanwhile.
#[test]
fn what_is_built_on_stays_while_it_is() {
    let mut kept = 0;
    for polls in (1..).step_by(11) {
        let world = World::new(6);
        let base = day(&world, 10);
        world.source.change_files(4);
        let files = world.source.files();
        let snapshotter = world.snapshotter();
        let mut taking = Box::pin(snapshotter.take());
        if let Outcome::Finished(taken) = run(&world.executor, taking.as_mut(), polls) {
            taken.unwrap();
            break;
        }
        for _ in 0..10 {
            day(&world, 2);
        }
        sweep(&world, SweepSettings::default().grace(30 * DAY));
        assert!(world.catalog().snapshot(&base.id).is_none(), "the base should have expired");
        kept += u32::from(world.finish(world.storage.exists(&pack(&world, &base))).unwrap());
        let taken = world.finish(taking).unwrap_or_else(|error| panic!("{}", explain(&error))).snapshot;
        world.source.write(1_000);
        world.archive(|| u64::MAX);
        // It saw the files as they were when the server began to read them.
        let target = MemoryTarget::new();
        world.restore(&world.plan(Target::Snapshot(taken.id)), &target).unwrap();
        let mut restored = target.restored().files;
        restored.remove("backup_manifest").unwrap();
        assert!(restored == files.files || restored == world.source.files().files);
        sweep(&world, SweepSettings::default().grace(30 * DAY));
        assert_sound(&world);
    }
    assert!(kept > 10, "{kept}");
}

fn about_to_change(seed: u64) -> World {
    let world = World::new(seed);
    day(&world, 10);
    world.source.change_files(2);
    world
}

/// Who stood still for longer than the grace must not go on: what it stored may be gone.
#[test]
fn a_snapshot_that_was_swept_away_is_not_recorded() {
    let world = about_to_change(7);
    let snapshotter = world.snapshotter();
    let mut taking = Box::pin(snapshotter.take());
    let polls = (1..).find(|_| matches!(run(&world.executor, taking.as_mut(), 1), Outcome::Finished(_))).unwrap();
    let mut refused = 0;
    // It is at the end that most happens without a message of the server.
    for polls in (1..polls - 30).step_by(40).chain(polls - 30..polls) {
        let world = about_to_change(7);
        let snapshotter = world.snapshotter();
        let mut taking = Box::pin(snapshotter.take());
        assert!(matches!(run(&world.executor, taking.as_mut(), polls), Outcome::Killed));
        day(&world, 2);
        world.clock.advance(9 * DAY);
        day(&world, 2);
        sweep(&world, SweepSettings::default());
        match world.finish(taking) {
            Err(error) if error.kind() == ErrorKind::Conflict => refused += 1,
            // It had not begun, or was complete.
            taken => drop(taken.unwrap_or_else(|error| panic!("{}", explain(&error)))),
        }
        assert_sound(&world);
        sweep(&world, SweepSettings::default());
        assert_sound(&world);
    }
    assert!(refused > 10, "{refused}");
}

pub(crate) fn faults(report: &VerifyReport) -> Vec<&ObjectKey> {
    report.faults.iter().map(|fault| &fault.object).collect()
}

fn instants(report: &VerifyReport, fault: &Fault) -> usize {
    match report.costs(fault) {
        Cost::Instants(losses) => losses.len(),
        other => panic!("{other:?}"),
    }
}

/// A pack that is damaged costs every snapshot that uses it. The next snapshot stores anew what was in it.
#[test]
fn a_damaged_pack_is_healed_by_the_next_snapshot() {
    for damage in [Damage::Flipped { at: 70_000 }, Damage::Truncated { bytes: 9_000 }, Damage::Deleted] {
        let world = World::new(8);
        let first = day(&world, 10);
        let second = day(&world, 100);
        let key = pack(&world, &first);
        inflict(&world, &key, &damage);
        let report = verify(&world);
        assert_eq!(faults(&report), [&key]);
        assert!(instants(&report, &report.faults[0]) > 0, "both snapshots need it");
        let settings = SnapshotSettings::default().compression(Compression::none()).mistrust([key.clone()]);
        let source = std::sync::Arc::new(world.source.clone());
        let third = world.finish(Snapshotter::new(&world.server, source).settings(settings).take()).unwrap().snapshot;
        world.source.write(1_000);
        world.archive(|| u64::MAX);
        assert!(third.shares.iter().all(|share| share.snapshot != first.id));
        assert_restores(&world, &third.id, &world.source.files());
        let report = verify(&world);
        assert_eq!(faults(&report), [&key], "{second:?} still needs it");
    }
}

/// Nobody needs to say that a pack is missing.
#[test]
fn a_missing_pack_is_not_built_on() {
    let world = World::new(9);
    let first = day(&world, 10);
    let (packs, _) = (pack(&world, &first), day(&world, 100));
    world.finish(world.storage.delete(&packs)).unwrap();
    let third = day(&world, u64::MAX);
    assert!(third.shares.iter().all(|share| share.snapshot != first.id));
    assert_restores(&world, &third.id, &world.source.files());
}

/// A manifest that cannot be read is not built on; the one before it is.
#[test]
fn a_damaged_manifest_or_record_is_passed_over() {
    for damaged in [0, 1] {
        let world = World::new(10);
        let (first, second) = (day(&world, 10), day(&world, 5));
        let record = layout(&world).snapshot(second.incarnation, &second.id);
        let key = [second.manifest.key.clone(), record][damaged].clone();
        inflict(&world, &key, &Damage::Flipped { at: 200 });
        world.clock.advance(DAY);
        let third = world.take().unwrap().snapshot;
        assert_eq!(third.shares.iter().map(|share| &share.snapshot).collect::<Vec<_>>(), [&first.id]);
    }
}

/// What a manifest uses that cannot be read, nobody knows: the data of snapshots stay, and the sweep says so.
#[test]
fn no_pack_is_deleted_while_a_manifest_cannot_be_read() {
    let world = World::new(11);
    let first = day(&world, 2);
    for _ in 0..9 {
        day(&world, 2);
    }
    let newest = day(&world, 2);
    inflict(&world, &newest.manifest.key, &Damage::Flipped { at: 200 });
    let before = data_bytes(&world);
    let report = sweep(&world, SweepSettings::default());
    assert_eq!(report.unreadable, std::slice::from_ref(&newest.manifest.key));
    assert!(world.catalog().snapshot(&first.id).is_none());
    assert_eq!(data_bytes(&world), before);
    sweep(&world, SweepSettings::default().despite_unreadable());
    assert!(data_bytes(&world) < before);
}

/// A note that was left is no fault, and the next sweep takes it back.
#[test]
fn a_note_that_was_left_goes() {
    let world = World::new(12);
    let before = world.storage.operations();
    let first = day(&world, 10);
    let note = layout(&world).data_part(&first.id, DataPart::Running);
    let operations = world.storage.operations() - before;
    assert!(operations > 0 && !world.finish(world.storage.exists(&note)).unwrap());
    world.storage.fail_nth(std::num::NonZeroU64::MIN, pitr::port::Operation::Delete, pitr::testing::Fault::Before);
    let second = day(&world, 10);
    let note = layout(&world).data_part(&second.id, DataPart::Running);
    assert!(world.finish(world.storage.exists(&note)).unwrap());
    assert_sound(&world);
    assert_eq!(sweep(&world, SweepSettings::default()).objects, 1);
    assert!(!world.finish(world.storage.exists(&note)).unwrap());
}

/// A server that fills two packs.
fn large(seed: u64) -> World {
    let world = World::new(seed);
    world.source.hold_files(24, 4 << 20);
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    world
}

/// Takes a snapshot and kills it as soon as it has finished a pack, which is given.
fn killed(world: &World) -> ObjectKey {
    let snapshotter = world.snapshotter();
    let mut taking = Box::pin(snapshotter.take());
    loop {
        assert!(matches!(run(&world.executor, taking.as_mut(), 50), Outcome::Killed), "it never finished a pack");
        let listed = world.finish(world.storage.list_all(Some(&layout(world).data()))).unwrap();
        if let Some(pack) = listed.into_iter().map(|object| object.key).find(|key| key.as_str().contains("/pack-")) {
            return pack;
        }
    }
}

fn exists(world: &World, object: &ObjectKey) -> bool {
    world.finish(world.storage.exists(object)).unwrap()
}

/// Lets the server be seen after `duration`.
fn pass(world: &World, duration: Duration) {
    world.clock.advance(duration);
    world.source.write(1_000);
    world.archive(|| u64::MAX);
}

#[test]
fn the_packs_of_an_interrupted_snapshot_are_used_by_the_next() {
    let world = large(13);
    let pack = killed(&world);
    let taken = world.take().unwrap().snapshot;
    let [share] = &taken.shares[..] else { panic!("{:?}", taken.shares) };
    assert!(share.used_bytes > 60 << 20 && taken.added_bytes() < 50 << 20, "{taken:?}");
    pass(&world, 2 * DAY);
    sweep(&world, SweepSettings::default());
    assert!(exists(&world, &pack), "the snapshot needs it");
    assert_restores(&world, &taken.id, &world.source.files());
    assert_sound(&world);
    let next = day(&world, u64::MAX);
    assert!(next.shares.len() == 2 && next.added_bytes() < 1 << 20, "{next:?}");
}

/// What is damaged of it, or was stored too long ago, is not.
#[test]
fn an_interrupted_snapshot_is_used_while_it_is_young_and_sound() {
    let world = large(14);
    let pack = killed(&world);
    inflict(&world, &pack, &Damage::Truncated { bytes: 60 << 20 });
    assert!(world.take().unwrap().snapshot.shares.is_empty());
    let world = large(14);
    killed(&world);
    world.clock.advance(DAY / 2);
    assert!(world.take().unwrap().snapshot.shares.is_empty());
}

/// Between two looks of the snapshot that goes on with it, the interrupted one grows old enough to be swept.
#[test]
fn an_interrupted_snapshot_stays_while_another_builds_on_it() {
    let world = large(15);
    let pack = killed(&world);
    world.clock.advance(DAY / 8);
    let snapshotter = world.snapshotter();
    let mut taking = Box::pin(snapshotter.take());
    assert!(matches!(run(&world.executor, taking.as_mut(), 100), Outcome::Killed));
    pass(&world, 3 * DAY / 8);
    assert!(matches!(run(&world.executor, taking.as_mut(), 100), Outcome::Killed));
    pass(&world, DAY / 8);
    sweep(&world, SweepSettings::default().grace(Duration::ZERO));
    assert!(exists(&world, &pack));
    let taken = world.finish(taking).unwrap().snapshot;
    assert_eq!(taken.shares.len(), 1);
    pass(&world, Duration::ZERO);
    assert_restores(&world, &taken.id, &world.source.files());
    assert_sound(&world);
    // Of one that nobody builds on, nothing stays.
    let world = large(15);
    let pack = killed(&world);
    pass(&world, 5 * DAY / 8);
    sweep(&world, SweepSettings::default().grace(Duration::ZERO));
    assert!(!exists(&world, &pack));
}
