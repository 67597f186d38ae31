//! The key of a server is rotated: what is there stays readable, what comes is sealed by the new one.

use std::collections::BTreeSet;

use bytes::Bytes;
use pitr::engine::{Error, ErrorKind, ServerRepository, Verifier};
use pitr::format::layout::ServerLayout;
use pitr::model::{ObjectKey, Snapshot};
use pitr::plan::Target;
use pitr::port::{PutMode, Storage, StorageExt};
use pitr::testing::{MemoryTarget, ServerFiles};

use crate::sharing::{assert_restores, assert_sound, day};
use crate::world::{World, explain};

fn rotate(world: &World) -> Result<ServerRepository, Error> {
    world.finish(world.repository.rotate_key(world.server.name()))
}

fn objects(world: &World) -> Vec<ObjectKey> {
    let root = ServerLayout::new(world.server.name()).root().clone();
    world.finish(world.storage.list_all(Some(&root))).unwrap().into_iter().map(|object| object.key).collect()
}

fn content(world: &World, key: &ObjectKey) -> Bytes {
    world.finish(world.storage.find(key, usize::MAX)).unwrap().unwrap().0
}

/// The ids of the keys by which these objects are sealed, as their headers have them; the wrapped key is not sealed.
fn keys_of(world: &World, objects: &[ObjectKey]) -> BTreeSet<Vec<u8>> {
    let wrapped = ServerLayout::new(world.server.name()).key();
    objects.iter().filter(|key| **key != wrapped).map(|key| content(world, key)[12..28].to_vec()).collect()
}

fn retired(world: &World) -> Vec<ObjectKey> {
    let layout = ServerLayout::new(world.server.name());
    objects(world).into_iter().filter(|key| key.is_below(&layout.all_retired_keys())).collect()
}

/// A snapshot, and the files that it has.
fn taken(world: &World, one_in: u64) -> (Snapshot, ServerFiles) {
    let snapshot = day(world, one_in);
    (snapshot, world.source.files())
}

#[test]
fn what_is_there_stays_and_what_comes_has_the_new_key() {
    let mut world = World::new(1);
    let mut days = vec![taken(&world, u64::MAX)];
    for _ in 0..2 {
        let before = objects(&world);
        let bytes: Vec<_> = before.iter().map(|key| content(&world, key)).collect();
        world.server = rotate(&world).unwrap();
        for (key, bytes) in before.iter().zip(bytes) {
            let is_wrapped_key = *key == ServerLayout::new(world.server.name()).key();
            assert_eq!(content(&world, key) != bytes, is_wrapped_key, "{key}");
        }
        let (snapshot, files) = taken(&world, 10);
        assert!(!snapshot.shares.is_empty(), "it builds on one before the rotation");
        days.push((snapshot, files));
        let came: Vec<_> = objects(&world).into_iter().filter(|key| !before.contains(key)).collect();
        let (keys, old) = (keys_of(&world, &came), keys_of(&world, &before));
        assert_eq!(keys.len(), 1);
        assert!(keys.is_disjoint(&old));
    }
    assert_eq!(keys_of(&world, &objects(&world)).len(), 3);
    assert_sound(&world);
    // Also for whoever opens it only now, and with all wrapping keys rotated.
    let name = world.server.name().clone();
    world.server = world.finish(world.repository.server(&name)).unwrap();
    for (snapshot, files) in &days {
        assert_restores(&world, &snapshot.id, files);
    }
    world.restore(&world.plan(Target::Latest), &MemoryTarget::new()).unwrap();
}

#[test]
fn whoever_has_the_old_key_is_told_to_open_the_server_anew() {
    let mut world = World::protected(2);
    let plan = world.plan(Target::Latest);
    let new = rotate(&world).unwrap();
    let old = std::mem::replace(&mut world.server, new);
    let snapshot = world.take().unwrap().snapshot;
    let new = std::mem::replace(&mut world.server, old);
    // What it knows of already, it can go on with.
    world.restore(&plan, &MemoryTarget::new()).unwrap();
    let listed = world.finish(world.server.inventory()).unwrap_err();
    for error in [listed, world.take().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Conflict, "{}", explain(&error));
        assert!(explain(&error).contains("open the server anew"), "{}", explain(&error));
    }
    world.server = new;
    assert!(world.catalog().snapshot(&snapshot.id).is_some());
    world.take().unwrap();
}

#[test]
fn an_interrupted_rotation_has_changed_nothing_or_all() {
    for crash in 0.. {
        let mut world = World::protected(2);
        world.storage.crash_after(crash);
        let rotated = rotate(&world);
        world.storage.heal();
        let name = world.server.name().clone();
        world.server = world.finish(world.repository.server(&name)).unwrap();
        world.restore(&world.plan(Target::Latest), &MemoryTarget::new()).unwrap();
        assert_sound(&world);
        world.server = rotate(&world).unwrap();
        world.take().unwrap();
        assert_sound(&world);
        if rotated.is_ok() {
            assert!(crash > 3, "{crash} operations are too few");
            return;
        }
    }
}

#[test]
fn a_lost_or_damaged_list_of_old_keys_is_named() {
    let mut world = World::protected(3);
    world.server = rotate(&world).unwrap();
    let list = retired(&world).pop().unwrap();
    let intact = content(&world, &list);
    let name = world.server.name().clone();
    let store = |bytes: Bytes| world.finish(world.storage.put(&list, bytes, PutMode::Overwrite)).unwrap();
    for byte in [0, 20, 100, intact.len() - 1] {
        let mut damaged = intact.to_vec();
        damaged[byte] ^= 1;
        store(damaged.into());
        let error = world.finish(world.repository.server(&name)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{byte}: {}", explain(&error));
        assert!(explain(&error).contains(list.as_str()), "{}", explain(&error));
        let report = world.finish(Verifier::new(&world.repository, &name).run()).unwrap();
        let named: Vec<_> = report.faults.iter().map(|fault| &fault.object).collect();
        assert_eq!(named, [&list], "{byte}");
    }
    store(intact);
    world.finish(world.repository.server(&name)).unwrap();
}
