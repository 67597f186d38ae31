//! Restores over what is there already.

use std::collections::BTreeMap;

use bytes::Bytes;
use pitr::plan::{RestorePlan, Target};
use pitr::testing::{MemoryTarget, ServerFiles};

use crate::world::World;

/// A server of which there is a snapshot, and a plan to restore that.
fn protected(seed: u64) -> (World, ServerFiles, RestorePlan) {
    let world = World::new(seed);
    let files = world.source.files();
    let taken = world.take().unwrap().snapshot;
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    let plan = world.plan(Target::Snapshot(taken.id));
    (world, files, plan)
}

fn contents(files: &ServerFiles) -> BTreeMap<String, Bytes> {
    files.files.iter().map(|(path, (_, content))| (path.clone(), content.clone())).collect()
}

#[test]
fn only_what_differs_is_written() {
    for seed in 0..8 {
        let (world, files, plan) = protected(seed);
        world.source.change_files(4);
        let changed = world.source.files();
        let target = MemoryTarget::over(contents(&changed));
        world.restore(&plan, &target).unwrap();
        let mut restored = target.restored();
        let manifest = restored.files.remove("backup_manifest").unwrap().1;
        assert!(restored.files == files.files);
        let differ = files
            .files
            .values()
            .filter(|(entry, content)| changed.files.get(&entry.path).is_none_or(|(_, changed)| changed != content));
        let differ: u64 = differ.map(|(entry, _)| entry.bytes).sum();
        let written = restored.bytes_written - manifest.len() as u64;
        assert!(written > 0 && written <= differ, "{written} bytes were written, {differ} were in files that differ");
        assert!(differ < plan.snapshot().logical_bytes / 2);

        let target = MemoryTarget::over(contents(&files));
        world.restore(&plan, &target).unwrap();
        assert_eq!(target.restored().bytes_written, manifest.len() as u64, "nothing differs");
    }
}

/// How much of a file of 80 MiB is written over one of which only the extents `same` are the same.
fn written_over(same: std::ops::Range<usize>) -> usize {
    const MIB: usize = 1 << 20;
    let world = World::new(4);
    world.source.hold_files(1, 80 << 20);
    let taken = world.take().unwrap().snapshot;
    let (path, (_, content)) = world.source.files().files.pop_first().unwrap();
    let mut standing = vec![0xA5; content.len()];
    let same = same.start * MIB..same.end * MIB;
    standing[same.clone()].copy_from_slice(&content[same]);
    let target = MemoryTarget::over(BTreeMap::from([(path.clone(), standing.into())]));
    world.archive(|| u64::MAX);
    world.restore(&world.plan(Target::Snapshot(taken.id)), &target).unwrap();
    let mut restored = target.restored();
    assert!(restored.files[&path].1 == content);
    let manifest = restored.files.remove("backup_manifest").unwrap().1;
    (usize::try_from(restored.bytes_written).unwrap() - manifest.len()) / MIB
}

#[test]
fn where_32_mib_differ_every_eighth_is_looked_at() {
    assert_eq!(written_over(0..0), 80);
    assert_eq!(written_over(20..64), 80 - 44);
    assert_eq!(written_over(40..48), 80 - 8, "the first of them is looked at, so the others are");
    assert_eq!(written_over(37..39), 80, "nobody looks at these");
    assert_eq!(written_over(40..41) + written_over(79..80), 79 + 80);
}

#[test]
fn a_file_of_another_length_is_no_obstacle() {
    let (world, files, plan) = protected(9);
    let path = "base/1/1259";
    let content = files.files[path].1.clone();
    let longer = [&content[..], &[7; 100_000]].concat();
    for standing in [content.slice(..content.len() / 3), longer.into(), Bytes::new()] {
        let target = MemoryTarget::over(BTreeMap::from([(path.to_owned(), standing)]));
        world.restore(&plan, &target).unwrap();
        assert_eq!(target.restored().files[path].1, content);
    }
}
