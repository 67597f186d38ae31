//! A storage that is measured.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use crate::model::ObjectKey;
use crate::port::{
    Clock, ObjectMeta, ObjectRead, Operation, PortError, PortErrorKind, PutMode, Storage, Upload, Version,
};

/// A storage around another one that measures what is asked of it. Clones measure together.
#[derive(Clone, Debug)]
pub struct MetricsStorage {
    inner: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    measured: Arc<Mutex<BTreeMap<Operation, Measured>>>,
}

/// What was measured of one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Measured {
    /// How often it was asked for, and answered.
    pub count: u64,
    /// How many of these answers were failures, by their kind. Bodies and listings that break off count as well.
    pub failures: BTreeMap<PortErrorKind, u64>,
    /// How many bytes were written or read.
    pub bytes: u64,
    /// How long all answers took; of a read or listing, their first piece.
    pub took: Duration,
    /// How many answers took less than each of [`Measured::BOUNDS`] and no less than the one before; last, those that took longer.
    pub latencies: [u64; Self::BOUNDS.len() + 1],
}

impl Measured {
    /// Between which latencies is told apart.
    pub const BOUNDS: [Duration; 16] = bounds();

    /// The least of the bounds within which so many of all answers were, `part` being between 0 and 1; `None` if that was none, or
    /// there were none.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let wanted = (self.count as f64 * part).max(1.0);
        let sums = self.latencies.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        let mut reached = sums.zip(Self::BOUNDS).filter(|(sum, _)| *sum as f64 >= wanted);
        reached.next().map(|(_, bound)| bound)
    }

    fn note(&mut self, took: Duration) {
        self.count += 1;
        self.took = self.took.saturating_add(took);
        self.latencies[Self::BOUNDS.partition_point(|bound| *bound <= took)] += 1;
    }
}

/// From 1 ms to 32.768 s, each twice the one before.
const fn bounds() -> [Duration; 16] {
    let mut bounds = [Duration::from_millis(1); 16];
    let mut number = 1;
    while number < bounds.len() {
        bounds[number] = Duration::from_millis(1 << number);
        number += 1;
    }
    bounds
}

impl MetricsStorage {
    /// Measures what is asked of `inner`, by `clock`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock, measured: Arc::default() }
    }

    /// What was measured so far of each operation that was asked for.
    #[must_use]
    pub fn measured(&self) -> BTreeMap<Operation, Measured> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Operation, Measured>> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, operation: Operation, change: impl FnOnce(&mut Measured)) {
        change(self.lock().entry(operation).or_default());
    }

    fn note_failure(&self, operation: Operation, error: &PortError) {
        self.note(operation, |measured| *measured.failures.entry(error.kind()).or_default() += 1);
    }

    async fn measure<T>(
        &self,
        operation: Operation,
        answer: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, PortError> {
        let begun = self.clock.elapsed();
        let answer = answer.await;
        let took = self.clock.elapsed().saturating_sub(begun);
        self.note(operation, |measured| measured.note(took));
        answer.inspect_err(|error| self.note_failure(operation, error))
    }

    fn measure_listing<'a, T: Send + 'a>(
        &'a self,
        listed: BoxStream<'a, Result<T, PortError>>,
    ) -> BoxStream<'a, Result<T, PortError>> {
        let mut listed = listed.fuse();
        let first = async move {
            let first = self.measure(Operation::List, listed.try_next()).await.transpose();
            let rest = listed.inspect_err(|error| self.note_failure(Operation::List, error));
            stream::iter(first).chain(rest)
        };
        stream::once(first).flatten().boxed()
    }

    /// As [`measure`](Self::measure), of something that writes `bytes`.
    async fn measure_write<T>(
        &self,
        operation: Operation,
        bytes: usize,
        answer: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, PortError> {
        let answer = self.measure(operation, answer).await?;
        self.note(operation, |measured| measured.bytes += bytes as u64);
        Ok(answer)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for MetricsStorage {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        self.measure_write(Operation::Put, bytes.len(), self.inner.put(key, bytes, mode)).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        let inner = self.measure(Operation::Upload, self.inner.upload(key)).await?;
        Ok(Box::new(MetricsUpload { storage: self.clone(), inner }))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        let ObjectRead { meta, body } = self.measure(Operation::Get, self.inner.get(key, range)).await?;
        let (passing, failing) = (self.clone(), self.clone());
        let body = body.inspect_ok(move |chunk| {
            passing.note(Operation::Get, |measured| measured.bytes += chunk.len() as u64);
        });
        let body = body.inspect_err(move |error| failing.note_failure(Operation::Get, error));
        Ok(ObjectRead::new(meta, body.boxed()))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.measure(Operation::Head, self.inner.head(key)).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        self.measure_listing(self.inner.list(directory, after))
    }

    fn list_directories(&self, directory: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, PortError>> {
        self.measure_listing(self.inner.list_directories(directory))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.measure(Operation::Delete, self.inner.delete(key)).await
    }

    async fn delete_all(&self, keys: &[ObjectKey]) -> Result<(), PortError> {
        self.measure(Operation::Delete, self.inner.delete_all(keys)).await
    }

    fn immutable_for(&self) -> Option<Duration> {
        self.inner.immutable_for()
    }

    async fn renew(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.measure(Operation::Renew, self.inner.renew(key)).await
    }
}

impl fmt::Display for MetricsStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[derive(Debug)]
struct MetricsUpload {
    storage: MetricsStorage,
    inner: Box<dyn Upload>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Upload for MetricsUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.storage.measure_write(Operation::Write, bytes.len(), self.inner.write(bytes)).await
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        let Self { storage, inner } = *self;
        storage.measure(Operation::Finish, inner.finish()).await
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        let Self { storage, inner } = *self;
        storage.measure(Operation::Abort, inner.abort()).await
    }
}
