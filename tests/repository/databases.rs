//! Restores of some databases.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::Arc;

use pitr::engine::{ErrorKind, MissingDatabases, Restore, RestoreSettings, Result};
use pitr::plan::Target;
use pitr::testing::{MemoryTarget, RestoredServer};

use crate::world::{World, explain};

/// The databases of users; the second is in a tablespace.
const FIRST: u32 = 16_500;
const SECOND: u32 = 16_501;

fn protected(seed: u64) -> World {
    let world = World::new(seed);
    world.source.add_database("base/16500");
    world.source.add_database("pg_tblspc/16390/PG_15_202209061/16501");
    world.take().unwrap();
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    world
}

/// What is restored of `world` if only the databases `oids` are wanted.
fn restore(world: &World, oids: impl IntoIterator<Item = u32>) -> (Result<()>, RestoredServer) {
    let target = MemoryTarget::new();
    let settings = RestoreSettings::default().only_databases(oids);
    let plan = world.plan(Target::Latest);
    let restore = Restore::new(&world.server, plan, Arc::new(target.clone())).settings(settings);
    let done = world.finish(async { restore.run().await?.run().await });
    (done, target.restored())
}

fn is_of(path: &str, databases: &[u32]) -> bool {
    let directory = path.rsplit('/').nth(1).unwrap_or_default();
    databases.iter().any(|oid| directory == oid.to_string())
}

#[test]
fn those_that_are_not_wanted_are_zeros() {
    let world = protected(1);
    let whole = world.source.files().files;
    let cases: [(&[u32], &[u32]); 5] = [
        (&[FIRST], &[SECOND]),
        (&[SECOND], &[FIRST]),
        (&[], &[FIRST, SECOND]),
        (&[1], &[FIRST, SECOND]),
        (&[FIRST, SECOND], &[]),
    ];
    for (wanted, left_out) in cases {
        let (done, mut restored) = restore(&world, wanted.iter().copied());
        done.unwrap();
        restored.files.remove("backup_manifest").unwrap();
        let paths = |files: &std::collections::BTreeMap<String, _>| files.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(paths(&restored.files), paths(&whole));
        for (path, (entry, content)) in &restored.files {
            let original = &whole[path].1;
            let expected = if is_of(path, left_out) { vec![0; original.len()].into() } else { original.clone() };
            assert!(*content == expected && entry.bytes == original.len() as u64, "{wanted:?}: {path}");
        }
        assert_eq!(restored.recovery.unwrap().ignores_invalid_pages, !left_out.is_empty(), "{wanted:?}");
    }
}

#[test]
fn all_are_restored_unless_asked_otherwise() {
    let (world, target) = (protected(2), MemoryTarget::new());
    world.restore(&world.plan(Target::Latest), &target).unwrap();
    assert!(!target.restored().recovery.unwrap().ignores_invalid_pages);
}

#[test]
fn what_the_snapshot_does_not_have_is_refused_before_anything_is_written() {
    let world = protected(3);
    for (wanted, missing) in
        [(&[4_000_000][..], &[4_000_000][..]), (&[SECOND, 7, FIRST, 4_000_000], &[7, 4_000_000]), (&[2_619], &[2_619])]
    {
        let (done, restored) = restore(&world, wanted.iter().copied());
        let error = done.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", explain(&error));
        assert!(missing.iter().all(|oid| explain(&error).contains(&oid.to_string())), "{}", explain(&error));
        let source = error.source().and_then(|source| source.downcast_ref::<MissingDatabases>());
        assert_eq!(source.unwrap().oids, missing);
        assert_eq!(restored, RestoredServer::default());
    }
}
