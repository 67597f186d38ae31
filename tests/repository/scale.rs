//! How many requests it takes to open a server grows with what that server has, not with what the repository holds.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use pitr::adapter::{MemoryKey, MemoryStorage, SystemClock, system};
use pitr::engine::Repository;
use pitr::format::layout::ServerLayout;
use pitr::format::seal::WrappingKey;
use pitr::model::{
    Incarnation, LogBackup, Lsn, ObjectKey, PostgresMajor, ServerName, ServerSpec, SystemId, TimelineId, Timestamp,
    WalRange,
};
use pitr::port::{ObjectMeta, ObjectRead, PortError, PutMode, Storage, Upload, Version};

/// Counts requests as a store in the cloud does, and takes as long: a listing is one for every thousand names.
#[derive(Clone, Debug)]
struct Paged {
    inner: MemoryStorage,
    requests: Arc<AtomicU64>,
}

const PAGE: usize = 1000;
const LATENCY: Duration = Duration::from_millis(20);

impl Paged {
    fn new() -> Self {
        Self { inner: MemoryStorage::new(Arc::new(SystemClock::new())), requests: Arc::default() }
    }

    async fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(LATENCY).await;
    }

    fn requests(&self) -> u64 {
        self.requests.swap(0, Ordering::Relaxed)
    }

    fn paged<'a, T: 'a + Send>(
        &'a self,
        listed: BoxStream<'a, Result<T, PortError>>,
    ) -> BoxStream<'a, Result<T, PortError>> {
        let numbered = listed.enumerate().then(async |(number, item)| {
            if number % PAGE == 0 {
                self.request().await;
            }
            item
        });
        numbered.boxed()
    }
}

#[async_trait]
impl Storage for Paged {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        self.request().await;
        self.inner.put(key, bytes, mode).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        self.inner.upload(key).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        self.request().await;
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.request().await;
        self.inner.head(key).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        self.paged(self.inner.list(directory, after))
    }

    fn list_directories(&self, directory: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, PortError>> {
        self.paged(self.inner.list_directories(directory))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.request().await;
        self.inner.delete(key).await
    }
}

impl fmt::Display for Paged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory, by pages")
    }
}

/// `count` log backups of five minutes each, as far as a listing shows them.
async fn log_backups(storage: &Paged, server: &ServerName, count: u32) {
    let incarnation = Incarnation::new(SystemId::new(7_301_234_567_890_123_456), PostgresMajor::MIN);
    let directory = ServerLayout::new(server).logs(incarnation, TimelineId::FIRST);
    let begun: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    for number in 0..u64::from(count) {
        let [start, end] = [number, number + 1].map(|number| Lsn::new((number + 1) << 24));
        let range = WalRange::new(TimelineId::FIRST, start, end).unwrap();
        let mut log = LogBackup::new(incarnation, range, directory.clone(), 0);
        log.complete_through = Some(begun.saturating_add(Duration::from_secs(300 * (number + 1))));
        storage.inner.put(&log.key(), Bytes::new(), PutMode::Create).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_among_a_million_objects() {
    let storage = Paged::new();
    let keys = MemoryKey::new(WrappingKey::new([8; 32]), system().entropy);
    let repository = Repository::new(Arc::new(storage.clone()), Arc::new(keys), system());
    let name: ServerName = "bank".parse().unwrap();
    repository.create_server(ServerSpec::new(name.clone(), PostgresMajor::MIN)).await.unwrap();
    // 35 days.
    log_backups(&storage, &name, 35 * 288).await;
    storage.requests();
    let open = async || {
        let begun = Instant::now();
        let inventory = repository.server(&name).await.unwrap().inventory().await.unwrap();
        assert_eq!(inventory.catalog.logs(inventory.catalog.current().unwrap()).count(), 35 * 288);
        println!("opened in {:.2} s", begun.elapsed().as_secs_f32());
        storage.requests()
    };
    let alone = open().await;
    assert!(alone <= 15, "{alone} requests for a catalog of {} facts", 35 * 288);

    for number in 0..999 {
        let other: ServerName = format!("server-{number:03}").parse().unwrap();
        let layout = ServerLayout::new(&other);
        for key in [layout.key(), layout.record()] {
            storage.inner.put(&key, Bytes::new(), PutMode::Create).await.unwrap();
        }
        log_backups(&storage, &other, 1000).await;
    }
    let objects = storage.inner.list(None, None).try_fold(0_u64, async |count, _| Ok(count + 1)).await.unwrap();
    assert!(objects > 1_000_000, "{objects}");
    assert_eq!(open().await, alone);
    let begun = Instant::now();
    assert_eq!(repository.servers().await.unwrap().len(), 1000);
    println!("listed in {:.2} s", begun.elapsed().as_secs_f32());
    let listed = storage.requests();
    assert!(listed <= 1002, "{listed} requests to list 1000 servers");
}
