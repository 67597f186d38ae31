//! A storage that takes its time.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use pitr::adapter::MemoryStorage;
use pitr::model::{ObjectKey, Timestamp};
use pitr::port::{Clock, ObjectMeta, ObjectRead, PortError, PutMode, Storage, Upload, Version};
use pitr::testing::ManualClock;

/// A storage in memory that answers each time after the next of its delays, and at once when there are none left.
#[derive(Clone, Debug)]
pub(crate) struct Slow {
    inner: MemoryStorage,
    pub(crate) clock: ManualClock,
    delays: Arc<Mutex<VecDeque<Duration>>>,
    under_way: Arc<AtomicUsize>,
    pub(crate) most_under_way: Arc<AtomicUsize>,
    pub(crate) asked: Arc<AtomicUsize>,
}

impl Slow {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let inner = MemoryStorage::new(Arc::new(clock.clone()));
        let (delays, under_way, most_under_way, asked) = Default::default();
        Self { inner, clock, delays, under_way, most_under_way, asked }
    }

    pub(crate) fn delay(&self, seconds: impl IntoIterator<Item = u64>) {
        self.delays.lock().unwrap().extend(seconds.into_iter().map(Duration::from_secs));
    }

    /// What `future` gives, where time passes as soon as everybody waits for it.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.clock.run(future)
    }

    async fn wait(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let delay = self.delays.lock().unwrap().pop_front();
        let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_under_way.fetch_max(under_way, Ordering::Relaxed);
        let _end = End(&self.under_way);
        if let Some(delay) = delay {
            self.clock.sleep(delay).await;
        }
    }
}

/// Whoever is given up has ended as well.
struct End<'a>(&'a AtomicUsize);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Storage for Slow {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        self.wait().await;
        self.inner.put(key, bytes, mode).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        self.wait().await;
        let inner = self.inner.upload(key).await?;
        Ok(Box::new(SlowUpload { storage: self.clone(), inner }))
    }

    /// In pieces of a thousand bytes, each after a delay.
    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        self.wait().await;
        let read = self.inner.get(key, range).await?;
        let meta = read.meta.clone();
        let bytes = read.collect(usize::MAX).await?;
        let pieces = stream::iter(bytes.chunks(1000).map(Bytes::copy_from_slice).collect::<Vec<_>>());
        let storage = self.clone();
        let slowly = move |piece| {
            let storage = storage.clone();
            async move {
                storage.wait().await;
                Ok(piece)
            }
        };
        Ok(ObjectRead::new(meta, pieces.then(slowly).boxed()))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.wait().await;
        self.inner.head(key).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        let listed = self.inner.list(directory, after);
        stream::once(self.wait()).flat_map(|()| stream::empty()).chain(listed).boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.wait().await;
        self.inner.delete(key).await
    }
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("slow memory")
    }
}

#[derive(Debug)]
struct SlowUpload {
    storage: Slow,
    inner: Box<dyn Upload>,
}

#[async_trait]
impl Upload for SlowUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.storage.wait().await;
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        self.storage.wait().await;
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        self.storage.wait().await;
        self.inner.abort().await
    }
}
