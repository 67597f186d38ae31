//! Bodies and listings that go on where they broke off.

use std::ops::Range;

use bytes::Bytes;
use futures::future;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::RetryStorage;
use crate::model::ObjectKey;
use crate::port::{ObjectMeta, ObjectRead, PortError, PortErrorKind};

struct Body {
    storage: RetryStorage,
    meta: ObjectMeta,
    inner: BoxStream<'static, Result<Bytes, PortError>>,
    /// What is still to come.
    range: Range<u64>,
}

/// The bytes `range` of the object `meta`, of which `inner` gives as many as it can.
pub(super) fn body(
    storage: RetryStorage,
    meta: ObjectMeta,
    inner: BoxStream<'static, Result<Bytes, PortError>>,
    range: Range<u64>,
) -> BoxStream<'static, Result<Bytes, PortError>> {
    let body = Body { storage, meta, inner, range };
    stream::try_unfold(body, Body::step).boxed()
}

impl Body {
    async fn step(mut self) -> Result<Option<(Bytes, Self)>, PortError> {
        Ok(self.next().await?.map(|chunk| (chunk, self)))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, PortError> {
        let storage = self.storage.clone();
        let mut attempts = storage.retrier.begin();
        loop {
            match self.attempt().await {
                Ok(chunk) => return Ok(chunk),
                Err(error) => attempts.after(error).await?,
            }
        }
    }

    /// The next chunk; or an error, after which the next attempt reads anew from where this one was.
    async fn attempt(&mut self) -> Result<Option<Bytes>, PortError> {
        let chunk = match self.inner.try_next().await {
            Err(error) => {
                self.inner = reopened(self.storage.clone(), self.meta.clone(), self.range.clone());
                return Err(error);
            }
            Ok(chunk) => chunk,
        };
        self.range.start += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Ok(chunk)
    }
}

/// The rest of a body: read once it is asked for.
fn reopened(
    storage: RetryStorage,
    meta: ObjectMeta,
    range: Range<u64>,
) -> BoxStream<'static, Result<Bytes, PortError>> {
    let open = async move {
        let read = storage.inner.get(&meta.key, Some(range)).await?;
        if read.meta == meta { Ok(read.body) } else { Err(changed(&read)) }
    };
    stream::once(open).try_flatten().boxed()
}

fn changed(read: &ObjectRead) -> PortError {
    PortError::new(PortErrorKind::Conflict, format!("{} was overwritten while it was read", read.meta.key))
}

type Items<'a, T> = BoxStream<'a, Result<T, PortError>>;
type ItemsAfter<'a, T> = Box<dyn Fn(Option<&T>) -> Items<'a, T> + Send + 'a>;

/// Items that come in order, and how to go on after one.
struct Listing<'a, T> {
    storage: &'a RetryStorage,
    list: ItemsAfter<'a, T>,
    last: Option<T>,
    inner: Items<'a, T>,
}

/// What lies below `directory` after `after`.
pub(super) fn listing(
    storage: &RetryStorage,
    directory: Option<ObjectKey>,
    after: Option<ObjectKey>,
) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
    let list = move |last: Option<&ObjectMeta>| {
        storage.inner.list(directory.as_ref(), last.map(|last| &last.key).or(after.as_ref()))
    };
    Listing::stream(storage, list)
}

/// The directories directly below `directory`. Those that are listed once more are passed over.
pub(super) fn directories(
    storage: &RetryStorage,
    directory: Option<ObjectKey>,
) -> BoxStream<'_, Result<ObjectKey, PortError>> {
    let list = move |last: Option<&ObjectKey>| {
        let passed = last.map(|last| format!("{last}/"));
        let is_new = move |found: &ObjectKey| passed.as_ref().is_none_or(|passed| format!("{found}/") > *passed);
        let listed = storage.inner.list_directories(directory.as_ref());
        listed.try_filter(move |found| future::ready(is_new(found))).boxed()
    };
    Listing::stream(storage, list)
}

impl<'a, T: Clone + Send + Sync + 'a> Listing<'a, T> {
    fn stream(storage: &'a RetryStorage, list: impl Fn(Option<&T>) -> Items<'a, T> + Send + 'a) -> Items<'a, T> {
        let inner = list(None);
        stream::try_unfold(Self { storage, list: Box::new(list), last: None, inner }, Self::step).boxed()
    }

    async fn step(mut self) -> Result<Option<(T, Self)>, PortError> {
        Ok(self.next().await?.map(|item| (item, self)))
    }

    async fn next(&mut self) -> Result<Option<T>, PortError> {
        let mut attempts = self.storage.retrier.begin();
        loop {
            match self.inner.try_next().await {
                Ok(item) => {
                    self.last = item.clone().or_else(|| self.last.take());
                    return Ok(item);
                }
                Err(error) => {
                    attempts.after(error).await?;
                    self.inner = (self.list)(self.last.as_ref());
                }
            }
        }
    }
}
