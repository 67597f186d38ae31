//! Snapshots that are taken and restored while storages fail.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use pitr::engine::{Error, ErrorKind};
use pitr::format::wal_name::WalFileName;
use pitr::model::{Lsn, SegmentNumber};
use pitr::plan::{RestorePlan, Target};
use pitr::port::Operation;
use pitr::testing::{Fault, MemoryTarget, RestoredServer};

use crate::truth::check;
use crate::world::{Outcome, World, explain, run};

const NEVER: u64 = u64::MAX;

fn restore(world: &World, plan: &RestorePlan) -> Result<RestoredServer, Error> {
    let target = MemoryTarget::new();
    world.restore(plan, &target)?;
    Ok(target.restored())
}

fn assert_same_files(world: &World, restored: &RestoredServer) {
    let source = world.source.files();
    let mut files = source.files.clone();
    let manifest = restored.files.get("backup_manifest").cloned().unwrap();
    assert_eq!(manifest.1, source.manifest);
    files.insert("backup_manifest".to_owned(), manifest);
    assert_eq!(restored.files, files);
    let directories: BTreeMap<_, _> = source.directories.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
    assert_eq!(restored.directories, directories);
    assert_eq!(restored.tablespaces, Some(source.tablespaces));
}

fn assert_same_log(world: &World, plan: &RestorePlan, restored: &RestoredServer) {
    let recovery = restored.recovery.as_ref().unwrap();
    let (size, end) = (recovery.segment_size, plan.stop().end);
    assert!(restored.ended && restored.segments.keys().eq(&recovery.segments), "the promised segments are staged");
    assert!(recovery.segments.len() > 1);
    for (name, bytes) in &restored.segments {
        let Ok(WalFileName::Segment { timeline, segment }) = WalFileName::parse(name, size) else {
            panic!("{name} is no segment")
        };
        let range = segment.start(size)..segment.next().start(size).min(end);
        assert_eq!(bytes, &world.source.wal(timeline, range), "{name} of {plan}");
    }
    assert_eq!(Lsn::new(end.as_u64()), plan.stop().end);
    assert!(SegmentNumber::containing(end, size).as_u64() > 1);
}

#[test]
fn what_is_restored_is_what_was_there() {
    let world = World::protected(1);
    let plan = world.plan(Target::Latest);
    let restored = restore(&world, &plan).unwrap();
    assert_same_files(&world, &restored);
    assert_same_log(&world, &plan, &restored);
    let (history, expected) = (restored.histories.values().next().unwrap(), world.source.identity().timeline);
    assert!(restored.histories.contains_key(&expected) && history.starts_with(b"1\t"));
}

#[test]
fn a_snapshot_is_in_the_catalog_whole_or_not_at_all() {
    let whole = World::new(5);
    let before = whole.storage.operations();
    whole.take().unwrap();
    let operations = whole.storage.operations() - before;
    assert!(operations > 10, "{operations} operations are too few");
    for crash in 0..operations {
        let world = World::new(5);
        world.storage.crash_after(crash);
        let taken = world.take();
        world.storage.heal();
        // The last operation takes back the note that it is being taken.
        assert_eq!(taken.is_ok(), crash == operations - 1, "after {crash} operations");
        assert_eq!(world.catalog().snapshots().count(), usize::from(taken.is_ok()));
        let kind = taken.map_or_else(|error| error.kind(), |_| ErrorKind::Unavailable);
        assert_eq!(kind, ErrorKind::Unavailable);
    }
}

/// The answer to the very last write may be lost: then the snapshot is there, and is whole.
#[test]
fn a_snapshot_whose_taking_failed_after_all_can_be_restored() {
    let mut found = 0;
    for operation in [Operation::Put, Operation::Write, Operation::Finish, Operation::Upload, Operation::Get] {
        for nth in 1..12 {
            let world = World::new(6);
            world.archive(|| NEVER);
            world.storage.fail_nth(NonZeroU64::new(nth).unwrap(), operation, Fault::After);
            let taken = world.take();
            world.storage.heal();
            world.archive(|| NEVER);
            let Some(snapshot) = world.catalog().snapshots().next().cloned() else {
                assert!(taken.is_err());
                continue;
            };
            found += u32::from(taken.is_err());
            let restored = restore(&world, &world.plan(Target::Snapshot(snapshot.id))).unwrap();
            assert_same_files(&world, &restored);
        }
    }
    assert_eq!(found, 1, "only the snapshot's record can be there after an error");
}

#[test]
fn a_snapshot_may_be_killed_at_any_moment() {
    for polls in (1..).step_by(7) {
        let world = World::new(8);
        match run(&world.executor, world.snapshotter().take(), polls) {
            Outcome::Killed => assert_eq!(world.catalog().snapshots().count(), 0, "killed at poll {polls}"),
            Outcome::Finished(taken) => return drop(taken.unwrap()),
        }
    }
}

#[test]
fn a_snapshot_of_two_timelines_is_refused() {
    let world = World::new(9);
    let mut habits = pitr::testing::Habits::default();
    (habits.deeds, habits.promotes_one_in) = (1, 1);
    world.source.live_by(habits);
    let error = world.take().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", explain(&error));
    assert_eq!(world.catalog().snapshots().count(), 0);
}

/// A restore that fails in passing leaves nothing that could be started.
#[test]
fn a_restore_fails_with_its_storage_and_can_be_repeated() {
    let world = World::protected(2);
    let plan = world.plan(Target::Latest);
    let before = world.storage.operations();
    restore(&world, &plan).unwrap();
    let operations = world.storage.operations() - before;
    for crash in 0..operations {
        world.storage.crash_after(crash);
        let error = restore(&world, &plan).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", explain(&error));
        world.storage.heal();
    }
    assert_same_files(&world, &restore(&world, &plan).unwrap());
    check(&world).unwrap();
}
