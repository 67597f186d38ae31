//! Files that their stamps say have not changed are not read, and everything is in the snapshot all the same.

use pitr::engine::{ErrorKind, SnapshotReport, SnapshotSettings};
use pitr::format::block::Compression;
use pitr::format::layout::ServerLayout;
use pitr::port::StorageExt;

use crate::sharing::{assert_restores, assert_sound};
use crate::world::World;

const RELATION: &str = "base/1/1259";

/// A server whose files have stamps, and of which there is a snapshot.
fn stamped(seed: u64) -> World {
    let world = World::new(seed);
    world.source.stamp_files();
    take(&world, |settings| settings).unwrap();
    world
}

fn take(
    world: &World,
    with: impl FnOnce(SnapshotSettings) -> SnapshotSettings,
) -> pitr::engine::Result<SnapshotReport> {
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    let settings = with(SnapshotSettings::default().compression(Compression::none()));
    let taken = world.finish(world.snapshotter().settings(settings).take());
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    taken
}

#[test]
fn what_did_not_change_is_not_read() {
    let world = stamped(1);
    let all: u64 = world.source.files().files.values().map(|(entry, _)| entry.bytes).sum();
    assert_eq!(world.source.bytes_read(), all);
    let same = take(&world, |settings| settings).unwrap().snapshot;
    assert_eq!((world.source.bytes_read(), same.added_bytes()), (all, same.manifest.bytes));
    assert_restores(&world, &same.id, &world.source.files());
    let before = world.source.files();
    world.source.change_files(20);
    let after = world.source.files();
    let changed = after
        .files
        .values()
        .filter(|(entry, content)| before.files.get(&entry.path).is_none_or(|(_, before)| before != content));
    let changed: u64 = changed.map(|(entry, _)| entry.bytes).sum();
    let taken = take(&world, |settings| settings).unwrap().snapshot;
    assert_eq!(world.source.bytes_read() - all, changed);
    assert_restores(&world, &taken.id, &after);
    assert_sound(&world);
}

#[test]
fn what_is_no_longer_stored_is_read() {
    let world = stamped(2);
    let first = world.catalog().snapshots().next().unwrap().id.clone();
    let pack = ServerLayout::new(world.server.name()).pack(&first, 0);
    let all = world.source.bytes_read();
    let mistrusting = take(&world, |settings| settings.mistrust([pack.clone()])).unwrap().snapshot;
    assert_eq!((world.source.bytes_read(), mistrusting.shares.len()), (all * 2, 0));
    let pack = ServerLayout::new(world.server.name()).pack(&mistrusting.id, 0);
    world.finish(pitr::port::Storage::delete(&world.storage, &pack)).unwrap();
    assert!(!world.finish(world.storage.exists(&pack)).unwrap());
    let healed = take(&world, |settings| settings).unwrap().snapshot;
    assert_restores(&world, &healed.id, &world.source.files());
}

#[test]
fn a_stamp_that_lies_is_found_out_when_all_is_read() {
    let world = stamped(3);
    let honest = world.source.files();
    world.source.change_secretly(RELATION);
    let deceived = take(&world, |settings| settings).unwrap();
    assert_eq!(deceived.contradicted, [""; 0]);
    assert_restores(&world, &deceived.snapshot.id, &honest);
    let before = world.source.bytes_read();
    let told = take(&world, SnapshotSettings::read_all).unwrap();
    assert_eq!(told.contradicted, [RELATION]);
    assert!(world.source.bytes_read() - before > told.snapshot.logical_bytes / 2);
    // What lied once is not believed again: its stamp is not stored.
    let mut files = world.source.files();
    files.files.get_mut(RELATION).unwrap().0.stamp = None;
    assert_restores(&world, &told.snapshot.id, &files);
    let again = take(&world, SnapshotSettings::read_all).unwrap();
    assert_eq!(again.contradicted, [""; 0]);
    assert_restores(&world, &again.snapshot.id, &world.source.files());
}

#[test]
fn damaged_pages_are_reported_as_long_as_they_are_there() {
    let world = stamped(4);
    for block in [3, 200] {
        world.source.damage_page(RELATION, block);
    }
    let unread = take(&world, |settings| settings).unwrap();
    assert_eq!((unread.snapshot.checksum_failures, unread.damaged_pages.len()), (0, 0), "nothing was read");
    let first = take(&world, SnapshotSettings::read_all).unwrap();
    let second = take(&world, |settings| settings).unwrap();
    for report in [first, second] {
        let named: Vec<_> = report.damaged_pages.iter().map(|page| (page.path.as_str(), page.block)).collect();
        assert_eq!(named, [(RELATION, 3), (RELATION, 200)]);
        assert_eq!(report.snapshot.checksum_failures, 2);
        let recorded = world.catalog();
        let recorded = recorded.snapshots().find(|snapshot| snapshot.id == report.snapshot.id).unwrap();
        assert_eq!(recorded.checksum_failures, 2);
    }
    let count = world.catalog().snapshots().count();
    let refused = take(&world, SnapshotSettings::refuse_damaged_pages).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.to_string().contains("block 3 of \"base/1/1259\""), "{refused}");
    assert_eq!(world.catalog().snapshots().count(), count);
    assert_sound(&world);
}
