//! A repository, and what can happen to its objects.

use bytes::Bytes;
use pitr::engine::Error;
use pitr::format::layout::ServerLayout;
use pitr::model::{ObjectKey, PostgresMajor, ServerName, ServerSpec};
use pitr::plan::{RestorePlan, Target};
use pitr::port::{PutMode, Storage, StorageExt};
use pitr::testing::MemoryTarget;

use crate::world::World;

/// What an object is to the repository, and what needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Key,
    Server,
    SnapshotRecord,
    History,
    Log,
    Manifest,
    Pack,
}

impl Kind {
    pub(crate) fn of(key: &ObjectKey) -> Self {
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
pub(crate) enum Damage {
    Flipped { at: usize },
    Truncated { bytes: usize },
    Extended,
    Deleted,
    Swapped { with: ObjectKey },
}

/// Two servers in one repository, and a plan that needs all that the first one has.
pub(crate) struct Stand {
    pub(crate) world: World,
    pub(crate) other: ServerName,
    pub(crate) plan: RestorePlan,
}

impl Stand {
    pub(crate) fn new() -> Self {
        let mut world = World::protected(4);
        let plan = world.plan(Target::Latest);
        world.source.change_files(10);
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

    pub(crate) fn objects(&self, server: &ServerName) -> Vec<ObjectKey> {
        let root = ServerLayout::new(server).key().to_string().replace("/key", "").parse().unwrap();
        let listed = self.world.finish(self.world.storage.list_all(Some(&root))).unwrap();
        listed.into_iter().map(|object| object.key).collect()
    }

    pub(crate) fn read(&self, key: &ObjectKey) -> Bytes {
        read(&self.world, key)
    }

    pub(crate) fn write(&self, key: &ObjectKey, bytes: Bytes) {
        write(&self.world, key, bytes);
    }

    pub(crate) fn inflict(&self, key: &ObjectKey, damage: &Damage) {
        inflict(&self.world, key, damage);
    }

    /// Every damage that there is to `key`.
    pub(crate) fn damages(&self, key: &ObjectKey) -> Vec<Damage> {
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
    pub(crate) fn need(&self, key: &ObjectKey) -> Result<(), Error> {
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
    pub(crate) fn restore_in_vain(&self) -> Result<(), Error> {
        let target = MemoryTarget::new();
        let restored = self.world.restore(&self.plan, &target);
        assert!(restored.is_ok() || target.restored().recovery.is_none(), "the damaged server can be started");
        restored
    }

    /// All objects that the plan needs, one of each kind at least.
    pub(crate) fn needed(&self) -> Vec<ObjectKey> {
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

pub(crate) fn read(world: &World, key: &ObjectKey) -> Bytes {
    let (bytes, _) = world.finish(world.storage.find(key, usize::MAX)).unwrap().unwrap();
    bytes
}

pub(crate) fn write(world: &World, key: &ObjectKey, bytes: Bytes) {
    world.finish(world.storage.put(key, bytes, PutMode::Overwrite)).unwrap();
}

pub(crate) fn inflict(world: &World, key: &ObjectKey, damage: &Damage) {
    let bytes = read(world, key);
    match damage {
        Damage::Flipped { at } => {
            let mut bytes = bytes.to_vec();
            bytes[*at] ^= 1;
            write(world, key, bytes.into());
        }
        Damage::Truncated { bytes: length } => write(world, key, bytes.slice(..*length)),
        Damage::Extended => write(world, key, [&bytes[..], b"x"].concat().into()),
        Damage::Deleted => world.finish(world.storage.delete(key)).unwrap(),
        Damage::Swapped { with } => write(world, key, read(world, with)),
    }
}
