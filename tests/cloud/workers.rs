//! Workers that meet in a store, by its own conditional writes and versions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pitr::adapter::{
    CloudStorage, LocalStorage, MemoryKey, RetryPolicy, RetryStorage, Zone, ZoneSettings, ZoneStorage, system,
};
use pitr::engine::{Repository, ServerLease, Worker, WorkerSettings};
use pitr::format::seal::WrappingKey;
use pitr::model::{PostgresMajor, Role, ServerName, ServerSpec, WorkerId};
use pitr::port::Storage;
use tokio::task::JoinHandle;

use super::stores::{Kind, Store};

const LEASE: Duration = Duration::from_secs(3);
/// Here everything is slow, as many tests run at once.
const SOON: Duration = Duration::from_secs(60);
const SERVERS: usize = 8;

/// Who tends what.
type Tended = Arc<Mutex<BTreeMap<ServerName, WorkerId>>>;

async fn join(repository: &Repository, tended: &Tended) -> (WorkerId, JoinHandle<()>) {
    let settings = WorkerSettings::default().lease(LEASE);
    let worker = Worker::join(repository, Role::Sweeper, settings).await.unwrap();
    let (id, own, tended) = (worker.id().clone(), worker.id().clone(), Arc::clone(tended));
    let work = move |lease: ServerLease| {
        tended.lock().unwrap().insert(lease.server().name().clone(), own.clone());
        lease.ended()
    };
    let tending = tokio::spawn(async move { drop(worker.tend(work, std::future::pending()).await) });
    (id, tending)
}

async fn wait_for(tended: &Tended, counts: &[(&WorkerId, usize)]) {
    let (begun, wanted): (_, BTreeMap<_, _>) =
        (Instant::now(), counts.iter().map(|(id, count)| ((*id).clone(), *count)).collect());
    loop {
        let mut found = BTreeMap::new();
        for id in tended.lock().unwrap().values() {
            *found.entry(id.clone()).or_insert(0) += 1;
        }
        if found == wanted {
            return;
        }
        assert!(begun.elapsed() < SOON, "{found:?} instead of {wanted:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn share_and_take_over(storage: Arc<dyn Storage>) {
    let environment = system();
    let keys = MemoryKey::new(WrappingKey::new([7; 32]), Arc::clone(&environment.entropy));
    let repository = Repository::new(storage, Arc::new(keys), environment);
    for number in 0..SERVERS {
        let spec = ServerSpec::new(format!("server-{number}").parse().unwrap(), PostgresMajor::MIN);
        repository.create_server(spec).await.unwrap();
    }
    let tended = Tended::default();
    let (first, tending) = join(&repository, &tended).await;
    wait_for(&tended, &[(&first, SERVERS)]).await;
    let (second, other) = join(&repository, &tended).await;
    wait_for(&tended, &[(&first, SERVERS / 2), (&second, SERVERS / 2)]).await;
    tending.abort();
    wait_for(&tended, &[(&second, SERVERS)]).await;
    other.abort();
}

/// Stores may be unable to answer while an object is overwritten, as each heartbeat does.
fn retried(storage: CloudStorage) -> Arc<dyn Storage> {
    Arc::new(RetryStorage::new(Arc::new(storage), RetryPolicy::default(), system()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_meet_in_s3() {
    let s3 = Store::start(Kind::S3);
    share_and_take_over(retried(s3.storage("/repository"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_meet_in_azure() {
    let azure = Store::start(Kind::Azure);
    share_and_take_over(retried(azure.storage("/repository"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_meet_in_a_directory_and_in_zones() {
    let directories = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let mut storages = Vec::new();
    for directory in &directories {
        let storage = LocalStorage::open(directory.path(), system().executor).await.unwrap();
        storages.push(Arc::new(storage) as Arc<dyn Storage>);
    }
    share_and_take_over(storages.remove(0)).await;
    let zones = ["a", "b", "c"].into_iter().zip(storages).map(|(name, storage)| Zone::new(name, storage).unwrap());
    let zones = ZoneStorage::open(zones, ZoneSettings::default(), system()).await.unwrap();
    share_and_take_over(Arc::new(zones)).await;
}
