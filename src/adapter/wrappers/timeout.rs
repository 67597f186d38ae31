//! A storage that is not waited for without end.

use std::fmt;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{Either, select};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::budget::Budget;
use crate::model::ObjectKey;
use crate::port::{Clock, ObjectMeta, ObjectRead, PortError, PortErrorKind, PutMode, Storage, Upload, Version};

/// How long a storage is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// For an answer, and for each next piece of one.
    pub answer: Duration,
    /// As much longer as it takes to send what is written at this rate; of an upload also what was written before, of which a storage may
    /// have up to 64 MiB still to send.
    pub bytes_per_second_min: u32,
    /// Who has waited for a read this long asks once more, and takes the answer that comes first. Few answers of a store take very
    /// long, and seldom twice. At most one read in twenty is asked for twice.
    pub hedge: Option<Duration>,
}

impl Default for Timeouts {
    /// 30 s, and at least 100,000 bytes a second; no read is asked for twice.
    fn default() -> Self {
        Self { answer: Duration::from_secs(30), bytes_per_second_min: 100_000, hedge: None }
    }
}

/// So many reads pay for another one, of which there may be ten in a row.
const PRICE: u32 = 20;
const HEDGES: u32 = 10;

/// A storage around another one for whose answers nobody waits longer than its [`Timeouts`] say; what takes longer is given up, and
/// [`Unavailable`](PortErrorKind::Unavailable).
#[derive(Clone, Debug)]
pub struct TimeoutStorage {
    inner: Arc<dyn Storage>,
    timeouts: Timeouts,
    clock: Arc<dyn Clock>,
    hedges: Arc<Budget>,
}

impl TimeoutStorage {
    /// Waits for `inner` as long as `timeouts` say, by `clock`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, timeouts: Timeouts, clock: Arc<dyn Clock>) -> Self {
        Self { inner, timeouts, clock, hedges: Arc::new(Budget::new(HEDGES, PRICE)) }
    }

    /// What `answer` gives, if it comes in time for so many bytes that are sent.
    async fn in_time<T>(
        &self,
        bytes: usize,
        answer: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, PortError> {
        let sending = Duration::from_secs_f64(bytes as f64 / f64::from(self.timeouts.bytes_per_second_min.max(1)));
        let time = self.timeouts.answer.saturating_add(sending);
        match select(pin!(answer), self.clock.sleep(time)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                let context = format!("{} gave no answer within {:.1} s", self.inner, time.as_secs_f32());
                Err(PortError::new(PortErrorKind::Unavailable, context))
            }
        }
    }

    /// What `ask` gives; or what it gives when it is asked once more, if that comes sooner.
    async fn hedged<T, F: Future<Output = Result<T, PortError>>>(&self, ask: impl Fn() -> F) -> Result<T, PortError> {
        self.hedges.earn();
        let first = pin!(ask());
        let Some(patience) = self.timeouts.hedge else { return first.await };
        let first = match select(first, self.clock.sleep(patience)).await {
            Either::Left((answer, _)) => return answer,
            Either::Right((_, first)) => first,
        };
        if !self.hedges.pay() {
            return first.await;
        }
        match select(first, pin!(ask())).await {
            Either::Left((Err(error), second)) if error.kind() == PortErrorKind::Unavailable => second.await,
            Either::Right((Err(error), first)) if error.kind() == PortErrorKind::Unavailable => first.await,
            Either::Left((answer, _)) | Either::Right((answer, _)) => answer,
        }
    }

    /// `pieces`, each of which must come in time.
    fn timed<'a, T: Send + 'a>(
        self,
        pieces: BoxStream<'a, Result<T, PortError>>,
    ) -> BoxStream<'a, Result<T, PortError>> {
        let next = |(mut pieces, storage): (BoxStream<'a, Result<T, PortError>>, Self)| async move {
            let piece = storage.in_time(0, pieces.try_next()).await?;
            Ok(piece.map(|piece| (piece, (pieces, storage))))
        };
        stream::try_unfold((pieces, self), next).boxed()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for TimeoutStorage {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        self.in_time(bytes.len(), self.inner.put(key, bytes, mode)).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        let inner = self.in_time(0, self.inner.upload(key)).await?;
        Ok(Box::new(TimeoutUpload { storage: self.clone(), inner, unsent: 0 }))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        let read = self.in_time(0, self.hedged(|| self.inner.get(key, range.clone()))).await?;
        Ok(ObjectRead::new(read.meta, self.clone().timed(read.body)))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.in_time(0, self.hedged(|| self.inner.head(key))).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        self.clone().timed(self.inner.list(directory, after))
    }

    fn list_directories(&self, directory: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, PortError>> {
        self.clone().timed(self.inner.list_directories(directory))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.in_time(0, self.inner.delete(key)).await
    }

    async fn delete_all(&self, keys: &[ObjectKey]) -> Result<(), PortError> {
        self.in_time(0, self.inner.delete_all(keys)).await
    }

    fn immutable_for(&self) -> Option<Duration> {
        self.inner.immutable_for()
    }

    async fn renew(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.in_time(0, self.inner.renew(key)).await
    }
}

impl fmt::Display for TimeoutStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[derive(Debug)]
struct TimeoutUpload {
    storage: TimeoutStorage,
    inner: Box<dyn Upload>,
    /// What the storage may still have to send of it.
    unsent: usize,
}

/// As much as a storage keeps of an upload before it lets its writer wait.
const UNSENT_BYTES_MAX: usize = 64 << 20;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Upload for TimeoutUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.unsent = self.unsent.saturating_add(bytes.len()).min(UNSENT_BYTES_MAX.max(bytes.len()));
        self.storage.in_time(self.unsent, self.inner.write(bytes)).await
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        let Self { storage, inner, unsent } = *self;
        storage.in_time(unsent, inner.finish()).await
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        let Self { storage, inner, .. } = *self;
        storage.in_time(0, inner.abort()).await
    }
}
