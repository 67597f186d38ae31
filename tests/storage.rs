//! Every storage that pitr brings passes the suite that it offers to others, and the suite fails those that are broken.
#![allow(clippy::unwrap_used, reason = "a test may end at whatever it does not expect")]
#![allow(clippy::print_stderr, reason = "a child process reports to the test that started it")]

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use pitr::adapter::{LocalStorage, MemoryStorage, SystemClock, ThreadPool};
use pitr::port::{PutMode, Storage};
use pitr::testing::FaultyStorage;
use pitr::testing::conformance::storage::run_all;

#[path = "storage/addresses.rs"]
mod addresses;
#[path = "storage/broken.rs"]
mod broken;
#[path = "storage/faulty.rs"]
mod faulty;
#[path = "storage/local.rs"]
mod local;
#[path = "storage/processes.rs"]
mod processes;
#[path = "storage/retry.rs"]
mod retry;
#[path = "storage/slow.rs"]
mod slow;
#[path = "storage/wrappers.rs"]
mod wrappers;

fn memory() -> MemoryStorage {
    MemoryStorage::new(Arc::new(SystemClock::new()))
}

async fn directory(root: impl AsRef<Path>) -> LocalStorage {
    LocalStorage::open(root, Arc::new(ThreadPool::default())).await.unwrap()
}

#[tokio::test]
async fn memory_storage_conforms() {
    run_all(&memory()).await;
}

#[tokio::test]
async fn local_storage_conforms() {
    let root = tempfile::tempdir().unwrap();
    run_all(&directory(root.path()).await).await;
    let left: Vec<_> = std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".pitr"], "empty directories must not be left behind");
}

#[tokio::test]
async fn local_storage_conforms_with_one_thread() {
    let root = tempfile::tempdir().unwrap();
    let pool = ThreadPool::new(NonZeroUsize::MIN);
    run_all(&LocalStorage::open(root.path(), Arc::new(pool)).await.unwrap()).await;
}

#[tokio::test]
async fn faulty_storage_without_faults_conforms() {
    let root = tempfile::tempdir().unwrap();
    run_all(&FaultyStorage::new(Arc::new(memory()))).await;
    run_all(&FaultyStorage::new(Arc::new(directory(root.path()).await))).await;
}

#[tokio::test]
async fn a_used_store_conforms_again() {
    let (memory, other) = (memory(), "other/object".parse().unwrap());
    memory.put(&other, "untouched".into(), PutMode::Create).await.unwrap();
    run_all(&memory).await;
    run_all(&memory).await;
    assert_eq!(memory.head(&other).await.unwrap().bytes, 9);
}
