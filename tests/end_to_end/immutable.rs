//! A thief with all credentials of a worker, and a restore of what was there before.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pitr::adapter::postgres::InitOptions;
use pitr::adapter::{CloudStorage, Immutability, system};
use pitr::engine::ErrorKind;
use pitr::format::layout::{Permanence, ServerLayout, permanence_of};
use pitr::model::ObjectKey;
use pitr::plan::{RestoreRequest, Target};
use pitr::port::{PutMode, Storage, StorageExt};

use super::ledger::{self, Load};
use super::stand::{Stand, scratch};
use super::stores::Store;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Destroys whatever can be destroyed: each version of each object, and then what is left to be seen.
async fn destroy(store: &Store, storage: &CloudStorage) {
    let (mut destroyed, mut kept) = (0, 0);
    for (name, version, _) in store.versions() {
        let (status, body) = store.ask("DELETE", &format!("/{name}?versionId={version}"));
        let is_fact = permanence_of(&name.parse().unwrap()) != Permanence::Note;
        assert_eq!(status, if is_fact { 403 } else { 204 }, "{name}: {body}");
        if is_fact { kept += 1 } else { destroyed += 1 }
    }
    assert!(kept > 5 && destroyed > 0, "{kept} of {destroyed} are kept");
    let left: Vec<ObjectKey> = storage.list_all(None).await.unwrap().into_iter().map(|meta| meta.key).collect();
    storage.delete_all(&left).await.unwrap();
    let layout = ServerLayout::new(&"bank".parse().unwrap());
    for key in [layout.key(), layout.record()] {
        storage.put(&key, Bytes::from_static(b"nothing"), PutMode::Create).await.unwrap();
    }
}

async fn a_thief_takes_nothing(major: u32) {
    let (store, scratch) = (Store::start_with_object_lock(), scratch());
    let options = store.options(store.address).immutable(Immutability::compliance(14 * DAY));
    let storage = CloudStorage::open(&store.url("/platform"), &options, &system()).unwrap();
    let mut stand = Stand::over(Arc::new(storage.clone()), scratch, major, &InitOptions::default()).await;
    stand.client().await.batch_execute(ledger::TABLES).await.unwrap();
    stand.archive();
    let load = Load::start(&stand, 2).await;
    let snapshot = stand.snapshot().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ledger = load.stop().await;
    stand.wait_all_archived().await;
    stand.stop_archiving().await;

    // S3 tells the times of versions in whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let then = system().clock.now();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    destroy(&store, &storage).await;
    let name = stand.server.name().clone();
    assert_eq!(stand.repository.server(&name).await.unwrap_err().kind(), ErrorKind::Corrupt);

    stand.look_at(Arc::new(storage.as_of(then).unwrap())).await;
    assert_eq!(stand.faults().await, []);
    let restored = stand.restore(&RestoreRequest::new(Target::Latest)).await;
    assert_eq!(restored.plan.snapshot().id, snapshot.id);
    assert_eq!(ledger::rows(&restored.client().await).await, ledger);
    restored.discard().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thief_takes_nothing_from_postgres_15() {
    a_thief_takes_nothing(15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thief_takes_nothing_from_postgres_18() {
    a_thief_takes_nothing(18).await;
}
