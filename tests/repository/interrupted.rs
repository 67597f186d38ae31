//! Snapshots that were interrupted: what the next ones take of them, and what they must not.

use std::time::Duration;

use pitr::engine::{SweepSettings, Sweeper, Verifier, VerifyReport};
use pitr::format::layout::ServerLayout;
use pitr::model::{ObjectKey, Snapshot, SnapshotId};
use pitr::plan::Target;
use pitr::plan::retention::{Protections, RetentionPolicy, plan_retention};
use pitr::port::StorageExt;
use pitr::testing::MemoryTarget;

use crate::stand::{Damage, inflict};
use crate::world::{Outcome, World, explain, run};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn data(world: &World) -> Vec<ObjectKey> {
    let directory = ServerLayout::new(world.server.name()).data();
    let listed = world.finish(world.storage.list_all(Some(&directory))).unwrap();
    listed.into_iter().map(|object| object.key).collect()
}

fn has(objects: &[ObjectKey], part: &str) -> bool {
    objects.iter().any(|object| object.as_str().contains(part))
}

/// Lets time pass in which the server is seen.
fn pass(world: &World, duration: Duration) {
    world.clock.advance(duration);
    world.source.write(1_000);
    world.archive(|| u64::MAX);
}

fn verify(world: &World) -> VerifyReport {
    world.finish(Verifier::new(&world.repository, world.server.name()).run()).unwrap()
}

fn sweeper(world: &World, grace: Duration) -> Sweeper {
    Sweeper::new(&world.server).settings(SweepSettings::default().grace(grace))
}

/// A server whose first snapshot crashed after `operations` of the storage.
fn crashed(make: &dyn Fn() -> World, operations: u64) -> World {
    let world = make();
    world.storage.crash_after(operations);
    drop(world.take());
    world.storage.heal();
    world
}

/// After how many operations that snapshot has stored its packs, but not its manifest.
fn before_manifest(make: &dyn Fn() -> World) -> u64 {
    let world = make();
    let before = world.storage.operations();
    world.take().unwrap();
    let operations = world.storage.operations() - before;
    let is_there = |operations: &u64| {
        let data = data(&crashed(make, *operations));
        has(&data, "/pack-") && !has(&data, "/manifest")
    };
    (0..operations).rev().find(is_there).expect("packs come before the manifest")
}

fn world(seed: u64) -> impl Fn() -> World {
    move || {
        let world = World::new(seed);
        world.source.write(1_000);
        world.archive(|| u64::MAX);
        world
    }
}

#[test]
fn what_was_complete_later_knows_files_better() {
    let make = world(3);
    let world = crashed(&make, before_manifest(&make));
    world.clock.advance(HOUR / 2);
    assert_eq!(world.take().unwrap().snapshot.shares.len(), 1, "it goes on where the first was interrupted");
    world.source.change_files(3);
    world.clock.advance(HOUR / 2);
    world.take().unwrap();
    world.clock.advance(HOUR / 2);
    let same = world.take().unwrap().snapshot;
    assert_eq!(same.added_bytes(), same.manifest.bytes, "nothing has changed since");
}

#[test]
fn no_snapshot_keeps_more_than_twice_what_the_one_before_used() {
    let make = world(3);
    let world = crashed(&make, before_manifest(&make));
    let id: SnapshotId = data(&world)[0].parts().nth(3).unwrap().parse().unwrap();
    world.clock.advance(HOUR / 2);
    let share = |snapshot: &Snapshot| {
        let share = snapshot.shares.iter().find(|share| share.snapshot == id);
        share.map(|share| (share.used_bytes, share.held_bytes))
    };
    let mut before = world.take().unwrap().snapshot;
    assert!(share(&before).is_some());
    for _ in 0..40 {
        world.source.change_files(1);
        world.clock.advance(HOUR / 12);
        let taken = world.take().unwrap().snapshot;
        if let (Some((used, _)), Some((_, held))) = (share(&before), share(&taken)) {
            assert!(held <= 2 * used, "{held} bytes are held, of which {used} were used");
        }
        before = taken;
    }
}

/// Though a part of the manifest, in another pack, tells of what is in it.
#[test]
fn a_pack_that_cannot_be_read_is_not_built_on() {
    let world = World::new(13);
    world.source.hold_files(30_000, 5_000);
    pass(&world, HOUR);
    let snapshotter = world.snapshotter();
    let mut taking = Box::pin(snapshotter.take());
    while data(&world).iter().filter(|object| object.as_str().contains("/pack-")).count() < 2 {
        assert!(matches!(run(&world.executor, taking.as_mut(), 500), Outcome::Killed), "it has one pack");
    }
    drop(taking);
    let first = data(&world).into_iter().find(|object| object.as_str().ends_with("/pack-00000000")).unwrap();
    inflict(&world, &first, &Damage::Truncated { bytes: 60 << 20 });
    let taken = world.take().unwrap().snapshot;
    pass(&world, HOUR);
    let target = MemoryTarget::new();
    let restored = world.restore(&world.plan(Target::Snapshot(taken.id)), &target);
    restored.unwrap_or_else(|error| panic!("{}", explain(&error)));
    let (restored, files) = (target.restored().files, world.source.files().files);
    assert!(files.iter().all(|(path, file)| restored[path] == *file));
}

/// Of the snapshot that is to be gone on with, a sweep deletes the packs while the next one has seen them, but not said so yet.
#[test]
fn what_grew_old_while_nobody_said_so_is_not_built_on() {
    let make = || {
        let world = World::new(21);
        world.source.hold_files(20, 5_000);
        world
    };
    let operations = before_manifest(&make);
    'begun: for begun in 1..40 {
        for swept in 1..80 {
            let world = crashed(&make, operations);
            let snapshotter = world.snapshotter();
            let mut taking = Box::pin(snapshotter.take());
            assert!(matches!(run(&world.executor, taking.as_mut(), begun), Outcome::Killed));
            pass(&world, 13 * HOUR);
            let policy = RetentionPolicy::new(pitr::model::RetentionDays::MIN);
            let plan = plan_retention(&world.catalog(), &policy, &Protections::none(), world.now());
            let sweeper = sweeper(&world, Duration::ZERO);
            let mut sweeping = Box::pin(sweeper.run(&plan));
            if let Outcome::Finished(_) = run(&world.executor, sweeping.as_mut(), swept) {
                continue 'begun;
            }
            let taken = world.finish(taking);
            drop(world.finish(sweeping));
            if taken.is_ok() {
                let faults = verify(&world).faults;
                assert!(faults.is_empty(), "after {begun} and {swept} polls: {faults:?}");
            }
        }
    }
}

/// A snapshot that was swept away wakes up, and is killed before it has noticed.
#[test]
fn what_was_swept_away_does_not_look_as_if_its_record_had_been_lost() {
    let make = world(7);
    let polls = {
        let world = make();
        let snapshotter = world.snapshotter();
        let mut taking = Box::pin(snapshotter.take());
        (1_u64..).find(|_| matches!(run(&world.executor, taking.as_mut(), 1), Outcome::Finished(_))).unwrap()
    };
    for begun in (polls.saturating_sub(40)..polls).step_by(2) {
        for operations in 0..12 {
            let world = make();
            let snapshotter = world.snapshotter();
            let mut taking = Box::pin(snapshotter.take());
            assert!(matches!(run(&world.executor, taking.as_mut(), begun), Outcome::Killed));
            pass(&world, 30 * HOUR);
            let policy = RetentionPolicy::new(pitr::model::RetentionDays::MIN);
            let plan = plan_retention(&world.catalog(), &policy, &Protections::none(), world.now());
            world.finish(sweeper(&world, 24 * HOUR).run(&plan)).unwrap();
            world.storage.crash_after(operations);
            drop(world.finish(taking));
            world.storage.heal();
            let faults = verify(&world).faults;
            assert!(faults.is_empty(), "{begun} polls, {operations} operations: {faults:?}");
        }
    }
}

/// Its packs are named by nobody that can be read, but needed.
#[test]
fn while_a_manifest_or_a_record_is_damaged_nothing_is_called_harmless() {
    for of_record in [false, true] {
        let world = world(9)();
        let first = world.take().unwrap().snapshot;
        for _ in 0..8 {
            pass(&world, 24 * HOUR);
            world.take().unwrap();
        }
        pass(&world, 9 * 24 * HOUR);
        let policy = RetentionPolicy::new(pitr::model::RetentionDays::MIN);
        let plan = plan_retention(&world.catalog(), &policy, &Protections::none(), world.now());
        world.finish(Sweeper::new(&world.server).run(&plan)).unwrap();
        assert!(world.catalog().snapshot(&first.id).is_none() && verify(&world).is_sound());
        let layout = ServerLayout::new(world.server.name());
        for snapshot in world.catalog().snapshots() {
            let record = layout.snapshot(snapshot.incarnation, &snapshot.id);
            let damaged = if of_record { &record } else { &snapshot.manifest.key };
            inflict(&world, damaged, &Damage::Flipped { at: 200 });
        }
        let pack = layout.pack(&first.id, 0);
        assert!(!verify(&world).unreferenced.into_iter().any(|object| object.key == pack), "{pack} is needed");
    }
}
