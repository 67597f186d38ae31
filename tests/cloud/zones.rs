//! Three clouds of different kinds as one storage.

use std::sync::{Arc, Mutex};

use pitr::adapter::{LocalStorage, Zone, ZoneSettings, ZoneStorage, system};
use pitr::port::{Operation, Storage};
use pitr::testing::conformance::storage as suite;

use super::fuse::Fuse;
use super::stores::{Kind, Store};

/// What does not take a thousand requests of the suite.
async fn check(storage: &dyn Storage) {
    suite::put_get(storage).await;
    suite::large_object(storage).await;
    suite::ranges(storage).await;
    suite::missing_is_not_found(storage).await;
    suite::read_while_deleted(storage).await;
    suite::create_race(storage).await;
    suite::update_race(storage).await;
    suite::upload_is_invisible_until_finish(storage).await;
    suite::finish_decides(storage).await;
    suite::list_order(storage).await;
    suite::list_directories(storage).await;
}

/// S3, Azure and a directory, of which the first is lost on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zones_of_different_kinds_conform() {
    let directory = tempfile::tempdir().unwrap();
    let (s3, azure) = (Store::start(Kind::S3), Store::start(Kind::Azure));
    let fuse = Fuse::new(Arc::new(s3.storage("/zone")));
    let storages: [(&str, Arc<dyn Storage>); 3] = [
        ("s3", Arc::new(fuse.clone())),
        ("azure", Arc::new(azure.storage("/zone"))),
        ("directory", Arc::new(LocalStorage::open(directory.path(), system().executor).await.unwrap())),
    ];
    let zones = storages.map(|(name, storage)| Zone::new(name, storage).unwrap());
    let storage = ZoneStorage::open(zones, ZoneSettings::default(), system()).await.unwrap();
    check(&storage).await;
    // Whoever lost a race has seen a zone that did not take what it wrote.
    storage.catch_up().await.unwrap();
    assert_eq!(storage.behind(), 0, "all zones are there");
    let s3 = Mutex::new(s3);
    fuse.arm(Operation::Put, "create_race", 3, move || s3.lock().unwrap().kill());
    check(&storage).await;
    assert!(fuse.has_blown() && storage.behind() > 0);
}
