//! Damage to any object of a repository is noticed, named, and harms nothing else.
#![allow(clippy::unwrap_used, reason = "a test may end at whatever it does not expect")]
#![allow(clippy::print_stdout, reason = "what errors say is for people to judge: run with --nocapture")]

use std::sync::Arc;

use pitr::adapter::{MemoryKey, SystemClock, ThreadPool};
use pitr::engine::{Archiver, Error, ErrorKind, Repository, Snapshotter};
use pitr::format::seal::WrappingKey;
use pitr::model::{ObjectKey, PostgresMajor, ServerSpec};
use pitr::port::Environment;
use pitr::testing::{ManualClock, SeededEntropy, SimulatedServer};

mod changes;
mod compact;
mod databases;
mod delta;
mod destroyed;
mod immutable;
mod interrupted;
mod key_rotation;
mod keys;
mod layers;
#[path = "../support/random.rs"]
mod random;
mod roles;
mod scale;
mod sendable;
mod sharing;
mod stamps;
mod stand;
mod sweep;
mod trial;
mod verify;
#[path = "../simulation/world.rs"]
#[allow(dead_code, reason = "shared with the simulation")]
mod world;

use stand::{Damage, Kind, Stand};
use world::{World, explain};

#[test]
fn damage_is_noticed_and_named_and_harms_nothing_else() {
    let stand = Stand::new();
    let whole = stand.world.catalog();
    for key in stand.needed() {
        let (kind, intact) = (Kind::of(&key), stand.read(&key));
        stand.need(&key).unwrap();
        for damage in stand.damages(&key) {
            stand.inflict(&key, &damage);
            match stand.need(&key) {
                Err(error) => assert_says_it(&stand, &key, &damage, &error),
                // A record that is gone is not known to have been there; a history is told by the plan itself.
                Ok(()) => {
                    let gone = kind == Kind::SnapshotRecord && matches!(damage, Damage::Deleted);
                    assert!(gone || kind == Kind::History, "{damage:?} of {key}");
                }
            }
            let inventory = stand.world.finish(stand.world.server.inventory()).unwrap();
            let known = |catalog: &pitr::model::Catalog| {
                catalog.snapshots().count()
                    + catalog.branches().map(|branch| catalog.logs(branch).count()).sum::<usize>()
            };
            assert!(known(&inventory.catalog) + 1 >= known(&whole), "{damage:?} of {key} harms others");
            stand.write(&key, intact.clone());
            stand.need(&key).unwrap();
        }
    }
}

fn assert_says_it(stand: &Stand, key: &ObjectKey, damage: &Damage, error: &Error) {
    let text = explain(error);
    println!("{:?}, {damage:?}:\n    {:?}: {text}", Kind::of(key), error.kind());
    let expected = match damage {
        Damage::Deleted => vec![ErrorKind::NotFound],
        // A header says which version wrote it; that is not authentic yet.
        Damage::Flipped { at: ..64 } => vec![ErrorKind::Corrupt, ErrorKind::InvalidInput],
        _ => vec![ErrorKind::Corrupt],
    };
    assert!(expected.contains(&error.kind()), "{damage:?} of {key}: {:?}, {text}", error.kind());
    let names = text.contains(key.as_str()) || text.contains(&format!("server {}", stand.world.server.name()));
    assert!(names, "{damage:?} of {key}: {text}");
}

#[test]
fn another_wrapping_key_opens_nothing() {
    let world = World::protected(1);
    let entropy = Arc::new(SeededEntropy::new(9));
    let keys = MemoryKey::new(WrappingKey::new([8; 32]), entropy.clone());
    let environment = Environment::new(Arc::new(SystemClock::new()), entropy, Arc::new(ThreadPool::default()));
    let repository = Repository::new(Arc::new(world.storage.clone()), Arc::new(keys), environment);
    let error = world.finish(repository.server(world.server.name())).unwrap_err();
    println!("{}", explain(&error));
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", explain(&error));
    let again = ServerSpec::new(world.server.name().clone(), PostgresMajor::MIN);
    let error = world.finish(repository.create_server(again)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", explain(&error));
}

#[test]
fn another_server_is_refused() {
    let world = World::protected(1);
    let stranger = Arc::new(SimulatedServer::new(99, &ManualClock::new(pitr::model::Timestamp::UNIX_EPOCH)));
    let archived = world.finish(Archiver::new(&world.server, stranger.clone()).run(std::future::pending()));
    let taken = world.finish(Snapshotter::new(&world.server, stranger).take()).map(drop);
    for error in [archived.unwrap_err(), taken.unwrap_err()] {
        println!("{}", explain(&error));
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", explain(&error));
        assert!(error.to_string().contains("another server"));
    }
    assert_eq!(world.catalog().incarnations().count(), 1);
}

#[test]
fn damaged_log_is_refused_at_the_door() {
    let world = World::new(2);
    world.source.write(60_000);
    let end = world.source.identity().flush_lsn;
    world.source.damage(pitr::model::Lsn::new(end.as_u64() - 9_000));
    let world::Outcome::Finished(Err(error)) = world.archive_once(Arc::new(world.source.clone()), u64::MAX) else {
        panic!("damaged log was archived")
    };
    println!("{}", explain(&error));
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", explain(&error));
    assert!(world.source.acknowledged().iter().all(|(_, lsn)| *lsn < end), "damaged log was acknowledged");
}

#[test]
fn a_name_protects_one_server_only() {
    let world = World::new(1);
    let again = ServerSpec::new(world.server.name().clone(), PostgresMajor::MIN);
    let error = world.finish(world.repository.create_server(again)).unwrap_err();
    println!("{}", explain(&error));
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = world.finish(world.repository.server(&"nobody".parse().unwrap())).unwrap_err();
    println!("{}", explain(&error));
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
