//! Damage to any object of a repository is noticed, named, and harms nothing else.
#![allow(clippy::unwrap_used, reason = "a test may end at whatever it does not expect")]
#![allow(clippy::print_stdout, reason = "what errors say is for people to judge: run with --nocapture")]

use std::sync::Arc;

use bytes::Bytes;
use pitr::adapter::{MemoryKey, SystemClock, ThreadPool};
use pitr::engine::{Archiver, Error, ErrorKind, Repository, Snapshotter};
use pitr::format::layout::ServerLayout;
use pitr::format::seal::WrappingKey;
use pitr::model::{ObjectKey, PostgresMajor, ServerName, ServerSpec};
use pitr::plan::{RestorePlan, Target};
use pitr::port::{Environment, PutMode, Storage, StorageExt};
use pitr::testing::{ManualClock, MemoryTarget, SeededEntropy, SimulatedServer};

#[path = "simulation/world.rs"]
#[allow(dead_code, reason = "shared with the simulation")]
mod world;

use world::{World, explain};

/// What an object is to the repository, and what needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Key,
    Server,
    SnapshotRecord,
    History,
    Log,
    Manifest,
    Pack,
}

impl Kind {
    fn of(key: &ObjectKey) -> Self {
        match key.parts().skip(2).collect::<Vec<_>>()[..] {
            ["key"] => Self::Key,
            ["server"] => Self::Server,
            ["catalog", _, "snapshots", _] => Self::SnapshotRecord,
            ["catalog", _, "timelines", _] => Self::History,
            ["catalog", _, "logs", ..] => Self::Log,
            ["data", _, "manifest"] => Self::Manifest,
            ["data", ..] => Self::Pack,
            ref other => panic!("nobody knows {other:?}"),
        }
    }
}

/// What happens to an object.
#[derive(Clone, Debug)]
enum Damage {
    Flipped { at: usize },
    Truncated { bytes: usize },
    Extended,
    Deleted,
    Swapped { with: ObjectKey },
}

/// Two servers in one repository, and a plan that needs all that the first one has.
struct Stand {
    world: World,
    other: ServerName,
    plan: RestorePlan,
}

impl Stand {
    fn new() -> Self {
        let mut world = World::protected(4);
        let plan = world.plan(Target::Latest);
        world.take().unwrap();
        let other: ServerName = "other".parse().unwrap();
        let spec = ServerSpec::new(other.clone(), PostgresMajor::MIN);
        let other_server = world.finish(world.repository.create_server(spec)).unwrap();
        let first = std::mem::replace(&mut world.server, other_server);
        world.archive(|| u64::MAX);
        world.take().unwrap();
        world.server = first;
        Self { world, other, plan }
    }

    fn objects(&self, server: &ServerName) -> Vec<ObjectKey> {
        let root = ServerLayout::new(server).key().to_string().replace("/key", "").parse().unwrap();
        let listed = self.world.finish(self.world.storage.list_all(Some(&root))).unwrap();
        listed.into_iter().map(|object| object.key).collect()
    }

    fn read(&self, key: &ObjectKey) -> Bytes {
        let (bytes, _) = self.world.finish(self.world.storage.find(key, usize::MAX)).unwrap().unwrap();
        bytes
    }

    fn write(&self, key: &ObjectKey, bytes: Bytes) {
        self.world.finish(self.world.storage.put(key, bytes, PutMode::Overwrite)).unwrap();
    }

    fn inflict(&self, key: &ObjectKey, damage: &Damage) {
        let bytes = self.read(key);
        match damage {
            Damage::Flipped { at } => {
                let mut bytes = bytes.to_vec();
                bytes[*at] ^= 1;
                self.write(key, bytes.into());
            }
            Damage::Truncated { bytes: length } => self.write(key, bytes.slice(..*length)),
            Damage::Extended => self.write(key, [&bytes[..], b"x"].concat().into()),
            Damage::Deleted => self.world.finish(self.world.storage.delete(key)).unwrap(),
            Damage::Swapped { with } => self.write(key, self.read(with)),
        }
    }

    /// Every damage that there is to `key`.
    fn damages(&self, key: &ObjectKey) -> Vec<Damage> {
        let length = self.read(key).len();
        let flips = [0, 4, 9, 40, length / 2, length - 1].map(|at| Damage::Flipped { at: at.min(length - 1) });
        let cuts = [0, 1, length / 2, length - 1].map(|bytes| Damage::Truncated { bytes });
        let same_kind = |other: &ObjectKey| other != key && Kind::of(other) == Kind::of(key);
        let sibling = self.objects(self.world.server.name()).into_iter().find(same_kind);
        let foreign = self.objects(&self.other).into_iter().find(same_kind);
        let swaps = sibling.into_iter().chain(foreign).map(|with| Damage::Swapped { with });
        flips.into_iter().chain(cuts).chain([Damage::Extended, Damage::Deleted]).chain(swaps).collect()
    }

    /// Does what needs an object of this kind.
    fn need(&self, key: &ObjectKey) -> Result<(), Error> {
        match Kind::of(key) {
            Kind::Key | Kind::Server => {
                self.world.finish(self.world.repository.server(self.world.server.name())).map(drop)
            }
            Kind::SnapshotRecord => {
                let inventory = self.world.finish(self.world.server.inventory()).unwrap();
                let found = inventory.unreadable.into_iter().find(|(unreadable, _)| unreadable == key);
                found.map_or(Ok(()), |(_, error)| Err(error))
            }
            Kind::History | Kind::Manifest | Kind::Pack => self.restore_in_vain(),
            Kind::Log => self.world.restore(&self.plan, &MemoryTarget::new()),
        }
    }

    /// What cannot be restored must not be startable.
    fn restore_in_vain(&self) -> Result<(), Error> {
        let target = MemoryTarget::new();
        let restored = self.world.restore(&self.plan, &target);
        assert!(restored.is_ok() || target.restored().recovery.is_none(), "the damaged server can be started");
        restored
    }

    /// All objects that the plan needs, one of each kind at least.
    fn needed(&self) -> Vec<ObjectKey> {
        let layout = ServerLayout::new(self.world.server.name());
        let snapshot = self.plan.snapshot();
        let logs = self.plan.logs();
        let mut needed =
            vec![layout.key(), layout.record(), snapshot.manifest.key.clone(), layout.pack(&snapshot.id, 0)];
        needed.push(layout.snapshot(snapshot.incarnation, &snapshot.id));
        needed.extend(self.plan.histories().iter().map(|history| history.key.clone()));
        needed.extend([&logs[0], &logs[logs.len() - 1]].map(|log| log.backup.key()));
        needed
    }
}

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
