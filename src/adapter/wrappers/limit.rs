//! A storage that is not asked for too much at a time.

use std::collections::VecDeque;
use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::channel::oneshot;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use crate::adapter::pace::Pace;
use crate::model::ObjectKey;
use crate::port::{Clock, ObjectMeta, ObjectRead, PortError, PutMode, Storage, Upload, Version};

/// How much a storage is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Limits {
    /// How many requests may be under way at a time. A read, a listing or an upload counts while somebody waits for its next piece:
    /// whoever holds one may ask for something else.
    pub requests_in_flight_max: Option<NonZeroUsize>,
    /// How many bytes a second are written and read, in all.
    pub bytes_per_second_max: Option<NonZeroU64>,
}

impl Limits {
    /// No limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// At most `max` requests at a time.
    #[must_use]
    pub fn requests_in_flight(self, max: NonZeroUsize) -> Self {
        Self { requests_in_flight_max: Some(max), ..self }
    }

    /// At most `max` bytes a second.
    #[must_use]
    pub fn bytes_per_second(self, max: NonZeroU64) -> Self {
        Self { bytes_per_second_max: Some(max), ..self }
    }
}

/// A storage around another one that keeps within [`Limits`]: whoever wants more waits, in the order in which they came. Clones share
/// the limits.
#[derive(Clone, Debug)]
pub struct LimitStorage {
    inner: Arc<dyn Storage>,
    gate: Arc<Gate>,
    pace: Arc<Pace>,
}

impl LimitStorage {
    /// Asks `inner` for no more than `limits`, by `clock`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let free = limits.requests_in_flight_max.map_or(usize::MAX, NonZeroUsize::get);
        let pace = Arc::new(Pace::new(limits.bytes_per_second_max.map(NonZeroU64::get), clock));
        Self { inner, gate: Arc::new(Gate(Mutex::new(Waiting { free, queue: VecDeque::new() }))), pace }
    }

    async fn enter(&self) -> Entry {
        Gate::enter(&self.gate).await
    }

    /// `pieces`, each of which waits for its turn, and is paid for by its bytes.
    fn admitted<'a, T: Send + 'a>(
        self,
        pieces: BoxStream<'a, Result<T, PortError>>,
        bytes: fn(&T) -> usize,
    ) -> BoxStream<'a, Result<T, PortError>> {
        let next = move |(mut pieces, storage): (BoxStream<'a, Result<T, PortError>>, Self)| async move {
            let entry = storage.enter().await;
            let Some(piece) = pieces.try_next().await? else { return Ok(None) };
            drop(entry);
            storage.pace.wait(bytes(&piece)).await;
            Ok(Some((piece, (pieces, storage))))
        };
        stream::try_unfold((pieces, self), next).boxed()
    }
}

/// Where requests wait for each other.
#[derive(Debug)]
struct Gate(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    free: usize,
    queue: VecDeque<oneshot::Sender<Entry>>,
}

/// The right to one request.
#[derive(Debug)]
struct Entry(Option<Arc<Gate>>);

impl Gate {
    async fn enter(gate: &Arc<Self>) -> Entry {
        let Some(turn) = gate.queue_up() else { return Entry(Some(Arc::clone(gate))) };
        // Nobody leaves the queue without a turn, as long as there is a gate.
        turn.await.unwrap_or(Entry(None))
    }

    /// Who must wait is told when it is its turn.
    fn queue_up(&self) -> Option<oneshot::Receiver<Entry>> {
        let mut waiting = self.waiting();
        if let Some(left) = waiting.free.checked_sub(1) {
            waiting.free = left;
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        waiting.queue.push_back(sender);
        Some(receiver)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    /// Lets the next one in that still waits.
    fn drop(&mut self) {
        let Some(gate) = self.0.take() else { return };
        loop {
            let next = {
                let mut waiting = gate.waiting();
                let next = waiting.queue.pop_front();
                if next.is_none() {
                    waiting.free += 1;
                }
                next
            };
            let Some(next) = next else { return };
            match next.send(Self(Some(Arc::clone(&gate)))) {
                Ok(()) => return,
                // It has gone away: its entry is not used, nor given back twice.
                Err(mut entry) => entry.0 = None,
            }
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for LimitStorage {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        let _entry = self.enter().await;
        self.pace.wait(bytes.len()).await;
        self.inner.put(key, bytes, mode).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        let _entry = self.enter().await;
        let inner = self.inner.upload(key).await?;
        Ok(Box::new(LimitUpload { storage: self.clone(), inner }))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        let _entry = self.enter().await;
        let ObjectRead { meta, body } = self.inner.get(key, range).await?;
        Ok(ObjectRead::new(meta, self.clone().admitted(body, |chunk| chunk.len())))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        let _entry = self.enter().await;
        self.inner.head(key).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        self.clone().admitted(self.inner.list(directory, after), |_| 0)
    }

    fn list_directories(&self, directory: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, PortError>> {
        self.clone().admitted(self.inner.list_directories(directory), |_| 0)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        let _entry = self.enter().await;
        self.inner.delete(key).await
    }

    async fn delete_all(&self, keys: &[ObjectKey]) -> Result<(), PortError> {
        let _entry = self.enter().await;
        self.inner.delete_all(keys).await
    }

    fn immutable_for(&self) -> Option<Duration> {
        self.inner.immutable_for()
    }

    async fn renew(&self, key: &ObjectKey) -> Result<(), PortError> {
        let _entry = self.enter().await;
        self.inner.renew(key).await
    }
}

impl fmt::Display for LimitStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[derive(Debug)]
struct LimitUpload {
    storage: LimitStorage,
    inner: Box<dyn Upload>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Upload for LimitUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        let _entry = self.storage.enter().await;
        self.storage.pace.wait(bytes.len()).await;
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        let _entry = self.storage.enter().await;
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        let _entry = self.storage.enter().await;
        self.inner.abort().await
    }
}
