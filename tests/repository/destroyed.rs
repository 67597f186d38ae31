//! A deleted server is gone for good, says who deleted it, and leaves no half of it, however often that is interrupted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use pitr::engine::{Archiver, DestroyReport, Error, ErrorKind, Snapshotter, Verifier};
use pitr::format::layout::ServerLayout;
use pitr::model::{Caller, Change, ConfigUpdate, LockKind, ObjectKey, PostgresMajor, Role, ServerSpec};
use pitr::plan::ChangeRefusal;
use pitr::port::{PutMode, Storage, StorageExt};

use crate::changes::{change, interleave, refusal};
use crate::immutable::Keeper;
use crate::sharing::{DAY, assert_sound};
use crate::sweep;
use crate::world::{Outcome, World, explain, run};

fn delete(world: &World) {
    change(world, "delete", Change::Delete).unwrap();
}

fn destroy(world: &World) -> Result<DestroyReport, Error> {
    world.finish(world.repository.destroy_server(world.server.name()))
}

fn objects(world: &World) -> BTreeSet<ObjectKey> {
    let root = ServerLayout::new(world.server.name()).root().clone();
    world.finish(world.storage.list_all(Some(&root))).unwrap().into_iter().map(|object| object.key).collect()
}

/// That the server is deleted, and by whom, whatever is asked.
fn assert_deleted(world: &World) {
    let name = world.server.name();
    let again = ServerSpec::new(name.clone(), PostgresMajor::MIN);
    for (what, kind, asked) in [
        ("open", ErrorKind::NotFound, world.finish(world.repository.server(name)).map(drop)),
        ("rotate", ErrorKind::NotFound, world.finish(world.repository.rotate_key(name)).map(drop)),
        ("verify", ErrorKind::NotFound, world.finish(Verifier::new(&world.repository, name).run()).map(drop)),
        ("create", ErrorKind::Conflict, world.finish(world.repository.create_server(again)).map(drop)),
    ] {
        let error = asked.unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {}", explain(&error));
        assert!(error.to_string().contains("was deleted at 2026-"), "{what}: {error}");
        assert!(error.to_string().contains("by ops"), "{what}: {error}");
        assert!(matches!(refusal(&error), Some(ChangeRefusal::Deleted(_))), "{what}");
    }
    let deletion = world.finish(world.repository.deletion(name)).unwrap().unwrap();
    assert_eq!((deletion.by.as_str(), deletion.undo_until), ("ops", None));
    let world_lease = world.finish(async {
        let worker = pitr::engine::Worker::join(&world.repository, Role::Sweeper, Default::default()).await?;
        let lease = worker.acquire(name).await.map(drop);
        worker.leave().await?;
        lease
    });
    assert_eq!(world_lease.unwrap_err().kind(), ErrorKind::NotFound, "no worker has it");
}

/// That nothing is there but who deleted it.
fn assert_empty(world: &World) {
    let (layout, left) = (ServerLayout::new(world.server.name()), objects(world));
    let [note, key] = &left.iter().collect::<Vec<_>>()[..] else { panic!("{left:?}") };
    assert!(note.is_below(&layout.deletions()) && **key == layout.key(), "{left:?}");
}

#[test]
fn a_deleted_server_is_gone_and_says_so() {
    let mut world = World::protected(1);
    let name = world.server.name().clone();
    world.server = world.finish(world.repository.rotate_key(&name)).unwrap();
    let before: Vec<_> =
        objects(&world).into_iter().map(|key| (key.clone(), crate::stand::read(&world, &key))).collect();
    delete(&world);
    let last = crate::stand::read(&world, &ServerLayout::new(&name).record());
    let report = destroy(&world).unwrap();
    assert!(report.objects >= before.len() as u64 && report.bytes > 10_000 && report.refused == 0, "{report:?}");
    assert_empty(&world);
    assert_deleted(&world);
    // Whoever kept everything else cannot open it.
    for (key, bytes) in before.iter().filter(|(key, _)| *key != ServerLayout::new(&name).key()) {
        crate::stand::write(&world, key, bytes.clone());
    }
    crate::stand::write(&world, &ServerLayout::new(&name).record(), last);
    assert_deleted(&world);
    destroy(&world).unwrap();
    assert_empty(&world);
    assert_eq!(destroy(&world).unwrap().objects, 0);
    println!("{}", world.finish(world.repository.server(&name)).unwrap_err());
}

#[test]
fn what_is_not_deleted_is_not_destroyed() {
    let world = World::protected(2);
    let before = objects(&world);
    assert_eq!(destroy(&world).unwrap_err().kind(), ErrorKind::InvalidInput);
    let lock = Change::PlaceLock { name: "own".parse().unwrap(), kind: LockKind::CanNotDelete, reason: String::new() };
    let lock = change(&world, "lock", lock).unwrap();
    let error = change(&world, "delete", Change::Delete).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", explain(&error));
    assert_eq!(refusal(&error), Some(&ChangeRefusal::Locked(lock.config.locks[0].clone())));
    assert_eq!(destroy(&world).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(objects(&world).is_superset(&before));
    assert_sound(&world);
    let nobody = world.finish(world.repository.destroy_server(&"nobody".parse().unwrap())).unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::NotFound);
    assert_eq!(world.finish(world.repository.deletion(world.server.name())).unwrap(), None);
}

#[test]
fn a_deletion_can_be_undone_within_its_grace_and_not_after_it() {
    let graced = || {
        let world = World::protected(3);
        let update = ConfigUpdate::new().delete_grace(5 * DAY);
        change(&world, "grace", Change::Configure(Box::new(update))).unwrap();
        delete(&world);
        world
    };
    let world = graced();
    let plan = world.plan(pitr::plan::Target::Latest);
    assert_eq!(destroy(&world).unwrap_err().kind(), ErrorKind::Conflict);
    world.restore(&plan, &pitr::testing::MemoryTarget::new()).expect("until then it can be restored");
    let source = Arc::new(world.source.clone());
    let stopped = world.finish(Archiver::new(&world.server, source.clone()).run(futures::future::ready(())));
    let taken = world.finish(Snapshotter::new(&world.server, source).take()).map(drop);
    for refused in [stopped, taken] {
        let error = refused.unwrap_err();
        assert!(matches!(refusal(&error), Some(ChangeRefusal::Deleted(_))), "{}", explain(&error));
    }
    change(&world, "undelete", Change::Undelete).unwrap();
    assert_eq!(destroy(&world).unwrap_err().kind(), ErrorKind::InvalidInput);
    world.source.write(50_000);
    world.archive(|| u64::MAX);
    assert_sound(&world);

    let world = graced();
    world.clock.advance(5 * DAY);
    assert_eq!(change(&world, "undelete", Change::Undelete).unwrap_err().kind(), ErrorKind::NotFound);
    destroy(&world).unwrap();
    assert_empty(&world);
}

#[test]
fn a_name_can_be_used_again_a_day_later_once_all_is_gone() {
    let mut world = World::protected(4);
    let name = world.server.name().clone();
    delete(&world);
    let create =
        |world: &World| world.finish(world.repository.create_server(ServerSpec::new(name.clone(), PostgresMajor::MIN)));
    assert!(create(&world).is_err(), "it is still there");
    destroy(&world).unwrap();
    let straggler = ServerLayout::new(&name).catalog().join("late").unwrap();
    world.finish(world.storage.put(&straggler, "late".into(), PutMode::Create)).unwrap();
    world.clock.advance(DAY.saturating_sub(Duration::from_micros(1)));
    println!("{}", create(&world).unwrap_err());
    world.clock.advance(Duration::from_micros(1));
    println!("{}", create(&world).unwrap_err());
    assert_deleted(&world);
    assert_eq!(destroy(&world).unwrap().objects, 1);
    world.server = create(&world).unwrap();
    assert_eq!(world.finish(world.server.changes()).unwrap().changes.len(), 1);
    world.source = pitr::testing::SimulatedServer::new(77, &world.clock);
    world.source.write(50_000);
    world.archive(|| u64::MAX);
    world.take().unwrap();
    assert_sound(&world);
    assert_eq!(world.finish(world.repository.deletion(&name)).unwrap(), None);
}

/// Killed at every moment, and called again: the same is left. From the first moment on it cannot be opened.
#[test]
fn a_destruction_can_be_interrupted_anywhere() {
    let (mut polls, mut keys) = (0, BTreeSet::new());
    loop {
        let world = World::protected(5);
        delete(&world);
        let name = world.server.name().clone();
        let key = crate::stand::read(&world, &ServerLayout::new(&name).key());
        let ended = run(&world.executor, world.repository.destroy_server(&name), polls);
        keys.insert(crate::stand::read(&world, &ServerLayout::new(&name).key()) == key);
        assert_eq!(world.finish(world.repository.server(&name)).unwrap_err().kind(), ErrorKind::NotFound);
        destroy(&world).unwrap();
        assert_empty(&world);
        assert_deleted(&world);
        if matches!(ended, Outcome::Finished(_)) {
            break;
        }
        polls += 1;
    }
    assert!(keys.len() == 2 && polls > 2, "killed at {polls} moments, before the key was destroyed and after it");
    for operations in 0.. {
        let world = World::protected(5);
        delete(&world);
        world.storage.crash_after(operations);
        let crashed = destroy(&world).is_err();
        world.storage.heal();
        destroy(&world).unwrap();
        assert_empty(&world);
        assert_deleted(&world);
        if !crashed {
            break;
        }
    }
}

/// Whoever stands still in the middle of it, and goes on when the name is used again, takes nothing from the new server.
#[test]
fn who_goes_on_too_late_deletes_nothing() {
    let (mut polls, mut too_late) = (0, 0);
    loop {
        let mut world = World::protected(9);
        delete(&world);
        let (repository, name) = (world.repository.clone(), world.server.name().clone());
        let mut late = Box::pin(repository.destroy_server(&name));
        if let Outcome::Finished(_) = run(&world.executor, late.as_mut(), polls) {
            break;
        }
        destroy(&world).unwrap();
        world.clock.advance(DAY);
        world.server =
            world.finish(repository.create_server(ServerSpec::new(name.clone(), PostgresMajor::MIN))).unwrap();
        world.source = pitr::testing::SimulatedServer::new(78, &world.clock);
        world.source.write(50_000);
        world.archive(|| u64::MAX);
        world.take().unwrap();
        let before = objects(&world);
        too_late += u32::from(world.finish(late).is_err());
        assert!(objects(&world).is_superset(&before), "after {polls} polls");
        assert_sound(&world);
        polls += 1;
    }
    assert!(polls > 2 && too_late > 0, "{too_late} of {polls}");
}

/// Two who destroy it, and one who rotates its key, at once.
#[test]
fn whoever_rotates_the_key_meanwhile_saves_nothing() {
    for seed in 0..200 {
        let world = World::protected(6);
        delete(&world);
        let (repository, name) = (&world.repository, world.server.name());
        let destroyed = || async { repository.destroy_server(name).await.map(drop) }.boxed();
        let rotated = async { repository.rotate_key(name).await.map(drop) }.boxed();
        let ended = interleave(&world, seed, vec![destroyed(), destroyed(), rotated]);
        for destroyed in &ended[..2] {
            assert!(destroyed.is_ok(), "seed {seed}: {:?}", destroyed.as_ref().map_err(|error| explain(error)));
        }
        destroy(&world).unwrap();
        assert_empty(&world);
        assert_deleted(&world);
    }
}

/// At the very end of the grace: one of the two is told that he came too late, and it is as the other one wants.
#[test]
fn of_who_undeletes_and_who_destroys_one_wins() {
    let mut saved = BTreeSet::new();
    for seed in 0..100 {
        let world = World::protected(7);
        let update = ConfigUpdate::new().delete_grace(DAY);
        change(&world, "grace", Change::Configure(Box::new(update))).unwrap();
        delete(&world);
        world.clock.advance(DAY.saturating_sub(Duration::from_micros(1)));
        let (repository, server, clock) = (&world.repository, &world.server, &world.clock);
        let caller = Caller::new("ops", "undelete".parse().unwrap());
        let undeleted = async { server.change(&caller, Change::Undelete).await.is_ok() }.boxed();
        let destroyed = async {
            while repository.destroy_server(server.name()).await.is_err_and(|error| error.kind() == ErrorKind::Conflict)
            {
                clock.advance(Duration::from_micros(1));
            }
            repository.server(server.name()).await.is_err()
        };
        let [undeleted, destroyed] = interleave(&world, seed, vec![undeleted, destroyed.boxed()])[..] else {
            unreachable!()
        };
        assert_ne!(undeleted, destroyed, "seed {seed}");
        if undeleted {
            assert_sound(&world);
        } else {
            assert_empty(&world);
        }
        saved.insert(undeleted);
    }
    assert_eq!(saved.len(), 2, "either wins sometimes");
}

#[test]
fn what_the_store_keeps_is_told_and_deleted_later() {
    let world = World::over(8, |clock, inner| Arc::new(Keeper::refusing(clock, inner)));
    let world = sweep::age(world, 2);
    delete(&world);
    let report = destroy(&world).unwrap();
    assert!(report.refused > 3 && report.first_refused.is_some(), "{report:?}");
    assert_deleted(&world);
    world.clock.advance(15 * DAY);
    let report = destroy(&world).unwrap();
    assert_eq!((report.refused, report.objects > 3), (0, true));
    assert_empty(&world);
}
