//! A storage that fails when it is told to.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use super::entropy::SplitMix64;
use crate::model::ObjectKey;
use crate::port::{
    ObjectMeta, ObjectRead, Operation, PortError, PortErrorKind, PutMode, Storage, Upload, Version, delete_each,
};

/// A storage around another one that fails when it is told to, and counts what is asked of it.
///
/// Its failures are [`Unavailable`](PortErrorKind::Unavailable). Clones share counts and faults, so that a test can keep one
/// and give another away.
#[derive(Clone, Debug)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    faults: Faults,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing happens but the error.
    Before,
    /// What was asked for happens, and the answer is an error all the same. A read or listing breaks off after its first piece.
    After,
}

impl FaultyStorage {
    /// A storage that does what `inner` does, until it is told otherwise.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, faults: Faults::default() }
    }

    /// Lets the next `operation` meet `fault`.
    pub fn fail_next(&self, operation: Operation, fault: Fault) {
        self.fail_nth(NonZeroU64::MIN, operation, fault);
    }

    /// Lets the `nth` `operation` from now on meet `fault`: 1 is the next one.
    pub fn fail_nth(&self, nth: NonZeroU64, operation: Operation, fault: Fault) {
        let mut state = self.faults.state();
        let number = state.count(operation).saturating_add(nth.get());
        state.planned.insert((operation, number), fault);
    }

    /// Lets one operation in `one_in` fail from now on, before or after its effect. The same seed, the same fate.
    pub fn fail_at_random(&self, seed: u64, one_in: NonZeroU64) {
        self.faults.state().random = Some((SplitMix64::new(seed), one_in));
    }

    /// Lets everything fail after this many more operations, as if the machine had stopped there.
    pub fn crash_after(&self, operations: u64) {
        self.faults.state().until_crash = Some(operations);
    }

    /// Lets everything work again that is begun from now on, as if the machine had been started again.
    pub fn heal(&self) {
        let mut state = self.faults.state();
        *state = State { counts: std::mem::take(&mut state.counts), ..State::default() };
    }

    /// How often `operation` was asked for, failed or not.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.faults.state().count(operation)
    }

    /// How many operations were asked for, failed or not.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.faults.state().counts.values().sum()
    }
}

#[derive(Clone, Debug, Default)]
struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    counts: BTreeMap<Operation, u64>,
    planned: BTreeMap<(Operation, u64), Fault>,
    random: Option<(SplitMix64, NonZeroU64)>,
    until_crash: Option<u64>,
}

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what `effect` does, or fails as planned.
    async fn apply<T>(
        &self,
        operation: Operation,
        effect: impl Future<Output = Result<T, PortError>> + Send,
    ) -> Result<T, PortError> {
        let fault = self.state().meet(operation);
        match fault {
            None => effect.await,
            Some(Fault::Before) => Err(failure(operation)),
            Some(Fault::After) => effect.await.and_then(|_| Err(failure(operation))),
        }
    }
}

impl State {
    fn count(&self, operation: Operation) -> u64 {
        self.counts.get(&operation).copied().unwrap_or_default()
    }

    /// Counts one more `operation`, and decides on its fate.
    fn meet(&mut self, operation: Operation) -> Option<Fault> {
        let number = self.count(operation).saturating_add(1);
        self.counts.insert(operation, number);
        let planned = self.planned.remove(&(operation, number));
        let by_chance = self.random.as_mut().and_then(|(numbers, one_in)| chance(numbers, *one_in));
        match self.until_crash.as_mut() {
            Some(0) => return Some(Fault::Before),
            Some(left) => *left -= 1,
            None => {}
        }
        planned.or(by_chance)
    }
}

fn chance(numbers: &mut SplitMix64, one_in: NonZeroU64) -> Option<Fault> {
    let fault = if numbers.next() & 1 == 0 { Fault::Before } else { Fault::After };
    (numbers.next() % one_in == 0).then_some(fault)
}

fn failure(operation: Operation) -> PortError {
    PortError::new(PortErrorKind::Unavailable, format!("{operation:?} was told to fail"))
}

/// `items` as they are, or as much of them as `fault` lets through.
fn broken<'a, T: Send + 'a>(
    items: BoxStream<'a, Result<T, PortError>>,
    operation: Operation,
    fault: Option<Fault>,
) -> BoxStream<'a, Result<T, PortError>> {
    let end = stream::once(async move { Err(failure(operation)) });
    match fault {
        None => items,
        Some(Fault::Before) => end.boxed(),
        Some(Fault::After) => items.take(1).chain(end).boxed(),
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for FaultyStorage {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        self.faults.apply(Operation::Put, self.inner.put(key, bytes, mode)).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        let inner = self.faults.apply(Operation::Upload, self.inner.upload(key)).await?;
        Ok(Box::new(FaultyUpload { inner, faults: self.faults.clone() }))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        let fault = self.faults.state().meet(Operation::Get);
        if fault == Some(Fault::Before) {
            return Err(failure(Operation::Get));
        }
        let read = self.inner.get(key, range).await?;
        Ok(ObjectRead::new(read.meta, broken(read.body, Operation::Get, fault)))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.faults.apply(Operation::Head, self.inner.head(key)).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        let fault = self.faults.state().meet(Operation::List);
        broken(self.inner.list(directory, after), Operation::List, fault)
    }

    fn list_directories(&self, directory: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, PortError>> {
        let fault = self.faults.state().meet(Operation::List);
        broken(self.inner.list_directories(directory), Operation::List, fault)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.faults.apply(Operation::Delete, self.inner.delete(key)).await
    }

    /// Each may meet a fault of its own.
    async fn delete_all(&self, keys: &[ObjectKey]) -> Result<(), PortError> {
        delete_each(self, keys).await
    }

    fn immutable_for(&self) -> Option<Duration> {
        self.inner.immutable_for()
    }

    async fn renew(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.faults.apply(Operation::Renew, self.inner.renew(key)).await
    }
}

impl fmt::Display for FaultyStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn Upload>,
    faults: Faults,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Upload for FaultyUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.faults.apply(Operation::Write, self.inner.write(bytes)).await
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        self.faults.apply(Operation::Finish, self.inner.finish()).await
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        self.faults.apply(Operation::Abort, self.inner.abort()).await
    }
}
