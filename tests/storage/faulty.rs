//! The faulty storage fails as it is told to, and not otherwise.

use std::num::NonZeroU64;
use std::sync::Arc;

use futures::TryStreamExt;
use pitr::port::{Operation, PortErrorKind, PutMode, Storage, StorageExt};
use pitr::testing::{Fault, FaultyStorage};

use super::memory;

fn faulty() -> FaultyStorage {
    FaultyStorage::new(Arc::new(memory()))
}

async fn put(storage: &dyn Storage, key: &str) -> bool {
    let put = storage.put(&key.parse().unwrap(), "content".into(), PutMode::Create).await;
    put.inspect_err(|error| assert_eq!(error.kind(), PortErrorKind::Unavailable)).is_ok()
}

async fn exists(storage: &dyn Storage, key: &str) -> bool {
    storage.find(&key.parse().unwrap(), 100).await.unwrap().is_some()
}

#[tokio::test]
async fn fails_before_or_after_the_effect() {
    let storage = faulty();
    storage.fail_next(Operation::Put, Fault::Before);
    assert!(!put(&storage, "before").await);
    assert!(!exists(&storage, "before").await);
    storage.fail_next(Operation::Put, Fault::After);
    assert!(!put(&storage, "after").await);
    assert!(exists(&storage, "after").await);
    assert!(put(&storage, "before").await, "a fault is met once");
    assert_eq!((storage.count(Operation::Put), storage.count(Operation::Get), storage.operations()), (3, 2, 5));
}

#[tokio::test]
async fn fails_at_the_operation_that_was_named() {
    let storage = faulty();
    assert!(put(&storage, "zero").await);
    storage.fail_nth(NonZeroU64::new(2).unwrap(), Operation::Put, Fault::Before);
    let results = [put(&storage, "one").await, put(&storage, "two").await, put(&storage, "three").await];
    assert_eq!(results, [true, false, true]);
}

#[tokio::test]
async fn breaks_reads_and_listings_off() {
    let storage = faulty();
    assert!(put(&storage, "a").await && put(&storage, "b").await);
    storage.fail_next(Operation::List, Fault::After);
    let mut listing = storage.list(None, None);
    assert_eq!(listing.try_next().await.unwrap().unwrap().key.as_str(), "a");
    assert_eq!(listing.try_next().await.unwrap_err().kind(), PortErrorKind::Unavailable);
    storage.fail_next(Operation::Get, Fault::After);
    let mut read = storage.get(&"a".parse().unwrap(), None).await.unwrap();
    assert_eq!(read.body.try_next().await.unwrap().unwrap(), "content");
    assert_eq!(read.body.try_next().await.unwrap_err().kind(), PortErrorKind::Unavailable);
}

#[tokio::test]
async fn fails_uploads_at_each_step() {
    let storage = faulty();
    let key = "object".parse().unwrap();
    storage.fail_next(Operation::Write, Fault::Before);
    let mut upload = storage.upload(&key).await.unwrap();
    assert!(upload.write("content".into()).await.is_err());
    storage.fail_next(Operation::Finish, Fault::Before);
    assert!(storage.upload(&key).await.unwrap().finish().await.is_err());
    assert!(!exists(&storage, "object").await);
    storage.fail_next(Operation::Finish, Fault::After);
    assert!(storage.upload(&key).await.unwrap().finish().await.is_err());
    assert!(exists(&storage, "object").await);
}

#[tokio::test]
async fn a_crash_ends_everything_until_it_is_healed() {
    let storage = faulty();
    let upload = storage.upload(&"uploaded".parse().unwrap()).await.unwrap();
    storage.crash_after(2);
    assert!(put(&storage, "one").await && put(&storage, "two").await);
    assert!(!put(&storage, "three").await && !put(&storage, "four").await);
    assert!(upload.finish().await.is_err());
    assert!(storage.list_all(None).await.is_err());
    storage.heal();
    assert!(exists(&storage, "two").await && !exists(&storage, "three").await && !exists(&storage, "uploaded").await);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_fate() {
    let fate = async |seed: u64| {
        let storage = faulty();
        storage.fail_at_random(seed, NonZeroU64::new(3).unwrap());
        let mut fate = Vec::new();
        for n in 0..200 {
            fate.push(put(&storage, &n.to_string()).await);
        }
        fate
    };
    let failed = fate(1).await.iter().filter(|put| !**put).count();
    assert!((40..95).contains(&failed), "{failed} of 200 failed, where one in three should");
    assert_eq!(fate(1).await, fate(1).await);
    assert_ne!(fate(1).await, fate(2).await);
}
