//! A server that is protected in three zones, S3, Azure and a directory, each of which is lost in the middle of something.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pitr::adapter::postgres::InitOptions;
use pitr::adapter::{LocalStorage, RetryPolicy, RetryStorage, Zone, ZoneSettings, ZoneStorage, system};
use pitr::plan::{RestoreRequest, Target};
use pitr::port::{Operation, Storage};

use super::fuse::Fuse;
use super::ledger::{self, Load};
use super::stand::{Stand, scratch};
use super::stores::{Kind, Store};

type Shared = Arc<Mutex<Store>>;

/// A store, and the zone that is kept in it.
fn zone(kind: Kind) -> (Shared, Fuse) {
    let store = Store::start(kind);
    let mut policy = RetryPolicy::default();
    policy.attempts_max = 3;
    let fuse = Fuse::new(Arc::new(RetryStorage::new(Arc::new(store.storage("/zone")), policy, system())));
    (Arc::new(Mutex::new(store)), fuse)
}

fn kill(store: &Shared) -> impl FnOnce() + Send + 'static {
    let store = Arc::clone(store);
    move || store.lock().unwrap().kill()
}

async fn revive(store: &Shared) {
    let store = Arc::clone(store);
    tokio::task::spawn_blocking(move || store.lock().unwrap().revive()).await.unwrap();
}

/// Waits until it happened, while everything goes on.
async fn blown(fuse: &Fuse, what: &str) {
    for _ in 0..600 {
        if fuse.has_blown() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what} never came");
}

async fn zones_are_lost(major: u32) {
    let scratch = scratch();
    let ((s3, s3_fuse), (azure, azure_fuse)) = (zone(Kind::S3), zone(Kind::Azure));
    let directory = LocalStorage::open(scratch.path().join("repository"), system().executor).await.unwrap();
    let storages: [(&str, Arc<dyn Storage>); 3] = [
        ("s3", Arc::new(s3_fuse.clone())),
        ("azure", Arc::new(azure_fuse.clone())),
        ("directory", Arc::new(directory)),
    ];
    let mut settings = ZoneSettings::default();
    settings.pause = Duration::from_secs(1);
    let zones = storages.map(|(name, storage)| Zone::new(name, storage).unwrap());
    let storage = ZoneStorage::open(zones, settings, system()).await.unwrap();
    let mut stand = Stand::over(Arc::new(storage.clone()), scratch, major, &InitOptions::default()).await;
    let client = stand.client().await;
    client.batch_execute(ledger::TABLES).await.unwrap();
    stand.archive();
    let load = Load::start(&stand, 2).await;

    // The home zone, while a pack is stored. It comes back empty.
    s3_fuse.arm(Operation::Write, "/pack-", 1, kill(&s3));
    let snapshot = stand.snapshot().await;
    assert!(s3_fuse.has_blown(), "the snapshot has no pack");
    revive(&s3).await;
    tokio::time::sleep(settings.pause).await;
    let repaired = storage.repair().await.unwrap();
    assert_eq!(repaired.refilled, 1, "{repaired:?}");
    assert!(repaired.records > 5 && repaired.contents > 0, "{repaired:?}");

    // Another one, while log is stored. It comes back with what it had.
    azure_fuse.arm(Operation::Put, "/logs/", 0, kill(&azure));
    blown(&azure_fuse, "a log backup").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ledger = load.stop().await;
    stand.wait_all_archived().await;
    assert!(storage.behind() > 0);
    revive(&azure).await;
    tokio::time::sleep(settings.pause).await;
    let caught_up = storage.catch_up().await.unwrap();
    assert!(caught_up.records > 0 && storage.behind() == 0, "{caught_up:?}");

    // The nearest one, while a pack is read: the rest comes from another.
    s3_fuse.arm(Operation::Get, "/pack-", 0, kill(&s3));
    let restored = stand.restore(&RestoreRequest::new(Target::Latest)).await;
    assert!(s3_fuse.has_blown(), "nothing was read from the nearest zone");
    assert_eq!(restored.plan.snapshot().id, snapshot.id);
    assert_eq!(ledger::rows(&restored.client().await).await, ledger);
    restored.discard().await;
    stand.stop_archiving().await;
    assert_eq!(stand.faults().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_15_outlives_the_loss_of_zones() {
    zones_are_lost(15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_18_outlives_the_loss_of_zones() {
    zones_are_lost(18).await;
}
