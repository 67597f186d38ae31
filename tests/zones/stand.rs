//! Zones in memory that fail when they are told to, and a clock that goes when everybody waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use pitr::adapter::{MemoryStorage, OsEntropy, PrefixStorage, ThreadPool, Zone, ZoneSettings, ZoneStorage};
use pitr::model::{ObjectKey, Timestamp};
use pitr::port::{Environment, ObjectMeta, Operation, PortError, PutMode, Storage, StorageExt, Version};
use pitr::testing::{FaultyStorage, ManualClock};

use super::moody::Moody;

pub(crate) struct Stand {
    pub(crate) clock: ManualClock,
    /// What is in each zone.
    pub(crate) inside: Vec<MemoryStorage>,
    /// The same, at whoever's mercy.
    pub(crate) moods: Vec<Moody>,
    pub(crate) zones: Vec<FaultyStorage>,
    pub(crate) storage: ZoneStorage,
}

pub(crate) fn key(name: &str) -> ObjectKey {
    name.parse().unwrap()
}

/// Contents that are too long for a record.
pub(crate) fn long(seed: u8) -> Bytes {
    (0..3000_u32).flat_map(|at| [seed.wrapping_add(at.to_le_bytes()[0]); 1000]).collect()
}

impl Stand {
    /// So many zones, in which nothing is.
    pub(crate) fn new(zones: usize) -> Self {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let inside: Vec<_> = (0..zones).map(|_| MemoryStorage::new(Arc::new(clock.clone()))).collect();
        let moods: Vec<_> = inside.iter().map(|inner| Moody::new(Arc::new(inner.clone()))).collect();
        let zones: Vec<_> = moods.iter().map(|inner| FaultyStorage::new(Arc::new(inner.clone()))).collect();
        let storage = clock.run(open(&clock, &zones)).unwrap();
        Self { clock, inside, moods, zones, storage }
    }

    /// Another process.
    pub(crate) fn another(&self) -> ZoneStorage {
        self.run(open(&self.clock, &self.zones)).unwrap()
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.clock.run(future)
    }

    pub(crate) fn kill(&self, zone: usize) {
        self.zones[zone].crash_after(0);
    }

    /// The zone is back, and everybody knows it.
    pub(crate) fn revive(&self, zone: usize) {
        self.zones[zone].heal();
        self.pass(60);
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Takes everything out of a zone.
    pub(crate) fn empty(&self, zone: usize) {
        let inner = &self.inside[zone];
        for meta in self.run(inner.list_all(None)).unwrap() {
            self.run(inner.delete(&meta.key)).unwrap();
        }
        self.pass(60);
    }

    pub(crate) fn put(&self, name: &str, bytes: impl Into<Bytes>, mode: PutMode) -> Result<Version, PortError> {
        self.run(self.storage.put(&key(name), bytes.into(), mode))
    }

    pub(crate) fn create(&self, name: &str, bytes: impl Into<Bytes>) -> Version {
        self.put(name, bytes, PutMode::Create).unwrap()
    }

    pub(crate) fn delete(&self, name: &str) {
        self.run(self.storage.delete(&key(name))).unwrap();
    }

    pub(crate) fn find(&self, name: &str) -> Option<Bytes> {
        let found = self.run(self.storage.find(&key(name), 10 << 20)).unwrap();
        found.map(|(bytes, _)| bytes)
    }

    pub(crate) fn list(&self) -> Vec<(String, u64)> {
        let listed: Vec<ObjectMeta> = self.run(self.storage.list(None, None).try_collect()).unwrap();
        listed.into_iter().map(|meta| (meta.key.to_string(), meta.bytes)).collect()
    }

    /// How often the zones were asked since this was asked before: to write, to read, to list, to delete.
    pub(crate) fn requests(&self) -> [u64; 4] {
        let of = [Operation::Put, Operation::Get, Operation::List, Operation::Delete];
        of.map(|operation| self.zones.iter().map(|zone| zone.count(operation)).sum())
    }

    /// How many objects a zone has below `directory`.
    pub(crate) fn count(&self, zone: usize, directory: &str) -> usize {
        let inner = PrefixStorage::new(Arc::new(self.inside[zone].clone()), key(directory));
        self.run(inner.list_all(None)).unwrap().len()
    }
}

pub(crate) async fn open(clock: &ManualClock, zones: &[FaultyStorage]) -> Result<ZoneStorage, PortError> {
    let environment =
        Environment::new(Arc::new(clock.clone()), Arc::new(OsEntropy::new()), Arc::new(ThreadPool::default()));
    let zone = |(at, zone): (usize, &FaultyStorage)| Zone::new(&format!("z{at}"), Arc::new(zone.clone())).unwrap();
    ZoneStorage::open(zones.iter().enumerate().map(zone), ZoneSettings::default(), environment).await
}
