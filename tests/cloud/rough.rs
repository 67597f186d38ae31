//! Stores that are hard to reach: nothing is lost, nothing is corrupt, and it ends.

use std::sync::Arc;
use std::time::Duration;

use pitr::adapter::{CloudStorage, RetryPolicy, RetryStorage, system};
use pitr::port::{PortErrorKind, PutMode, Storage, StorageExt};
use pitr::testing::conformance::storage as suite;

use super::rough_road::{ALL, Fault, RoughRoad};
use super::stores::{Kind, Store};

/// Tries again sooner than anybody should, as often as it takes.
fn patient() -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    (policy.attempts_max, policy.budget) = (50, 100_000);
    (policy.pause, policy.pause_max) = (Duration::from_millis(1), Duration::from_millis(20));
    policy
}

fn over(store: &Store, road: &RoughRoad, policy: RetryPolicy) -> RetryStorage {
    let options = store.options(road.address).retry(policy);
    let storage = CloudStorage::open(&store.url(""), &options, &system()).unwrap();
    RetryStorage::new(Arc::new(storage), policy, system())
}

/// The suite of storages, but for what takes thousands of requests.
pub(crate) async fn check(storage: &dyn Storage) {
    suite::put_get(storage).await;
    suite::large_object(storage).await;
    suite::ranges(storage).await;
    suite::missing_is_not_found(storage).await;
    suite::delete_missing_is_fine(storage).await;
    suite::overwrite_is_atomic(storage).await;
    suite::read_while_overwritten(storage).await;
    suite::create_keeps_what_exists(storage).await;
    suite::update_needs_the_version(storage).await;
    suite::create_race(storage).await;
    suite::update_race(storage).await;
    suite::upload_is_invisible_until_finish(storage).await;
    suite::upload_keeps_what_exists(storage).await;
    suite::finish_decides(storage).await;
    suite::aborted_upload_leaves_nothing(storage).await;
    suite::list_order(storage).await;
    suite::list_follows_writes(storage).await;
    suite::list_directories(storage).await;
}

async fn conforms(kind: Kind, faults: &[Fault], one_in: u64) {
    let store = Store::start(kind);
    let road = RoughRoad::start(store.address, faults, one_in, Duration::ZERO);
    check(&over(&store, &road, patient())).await;
    assert!(road.met() > 0, "no request met a fault");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_conforms_though_1_in_100_fails() {
    conforms(Kind::S3, &ALL, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_conforms_though_1_in_10_fails() {
    conforms(Kind::S3, &ALL[..4], 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_conforms_though_1_in_2_fails() {
    conforms(Kind::S3, &ALL[..4], 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_conforms_though_1_in_2_fails() {
    conforms(Kind::Azure, &ALL[..4], 2).await;
}

/// Every answer takes a tenth of a second, and some never come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_far_away() {
    let store = Store::start(Kind::S3);
    let road = RoughRoad::start(store.address, &ALL[..4], 20, Duration::from_millis(100));
    let storage = over(&store, &road, patient());
    suite::put_get(&storage).await;
    suite::large_object(&storage).await;
    suite::finish_decides(&storage).await;
    suite::create_race(&storage).await;
    suite::list_directories(&storage).await;
    assert!(road.met() > 0, "no request met a fault");
}

/// A store that is down: an end within the deadline, and an error that says how hard it was tried.
#[tokio::test]
async fn a_storm_has_an_end() {
    let store = Store::start(Kind::S3);
    let road = RoughRoad::start(store.address, &[Fault::SlowDown], 1, Duration::ZERO);
    let mut policy = patient();
    policy.deadline = Duration::from_secs(3);
    let storage = over(&store, &road, policy);
    let key = "object".parse().unwrap();
    let begun = std::time::Instant::now();
    let error = storage.put(&key, "content".into(), PutMode::Create).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(error.kind(), PortErrorKind::Unavailable);
    let told = super::refusals::chain(&error);
    assert!(told.starts_with("gave up after ") && told.contains("SlowDown"), "{told}");
    // It asked for a second each time.
    assert!((2..=4).contains(&road.met()), "{} attempts", road.met());
    road.set(0);
    assert!(storage.find(&key, 100).await.unwrap().is_none(), "nothing was stored");
}

/// An object that seems to have changed in the middle of a read is not pieced together.
#[tokio::test]
async fn versions_that_lie_are_noticed() {
    let store = Store::start(Kind::S3);
    let road = RoughRoad::start(store.address, &[Fault::WrongETag], 0, Duration::ZERO);
    let storage = over(&store, &road, patient());
    let key = "object".parse().unwrap();
    let version = storage.put(&key, "first".into(), PutMode::Create).await.unwrap();
    road.set(1);
    let lie = storage.head(&key).await.unwrap().version.unwrap();
    assert_ne!(lie, version);
    let update = storage.put(&key, "second".into(), PutMode::Update(lie)).await.unwrap_err();
    assert_eq!(update.kind(), PortErrorKind::Conflict);
    road.set(0);
    assert_eq!(storage.find(&key, 100).await.unwrap().unwrap().0, "first");
    storage.put(&key, "second".into(), PutMode::Update(version)).await.unwrap();
}
