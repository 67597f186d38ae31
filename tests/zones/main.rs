//! Several storages as one: whatever zones are away, slow, empty or stale.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cases;
mod history;
mod model;
mod moody;
mod network;
#[path = "../support/random.rs"]
mod random;
mod stand;

use std::sync::Arc;

use pitr::adapter::{MemoryStorage, SystemClock, Zone, ZoneSettings, ZoneStorage, system};
use pitr::port::Storage;
use pitr::testing::conformance::storage::run_all;

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new(Arc::new(SystemClock::new())))
}

async fn open(storages: &[Arc<dyn Storage>]) -> ZoneStorage {
    let names = ["a", "b", "c", "d", "e"];
    let zones = names.iter().zip(storages).map(|(name, storage)| Zone::new(name, Arc::clone(storage)).unwrap());
    ZoneStorage::open(zones, ZoneSettings::default(), system()).await.unwrap()
}

#[tokio::test]
async fn zones_conform() {
    for zones in [1, 2, 3, 5] {
        let storages: Vec<_> = (0..zones).map(|_| memory()).collect();
        run_all(&open(&storages).await).await;
    }
}
