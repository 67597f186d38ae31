//! Bodies and listings that go on where they broke off.

use std::ops::Range;

use bytes::Bytes;
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

struct Listing<'a> {
    storage: &'a RetryStorage,
    directory: Option<ObjectKey>,
    after: Option<ObjectKey>,
    inner: BoxStream<'a, Result<ObjectMeta, PortError>>,
}

/// What lies below `directory` after `after`.
pub(super) fn listing(
    storage: &RetryStorage,
    directory: Option<ObjectKey>,
    after: Option<ObjectKey>,
) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
    let inner = storage.inner.list(directory.as_ref(), after.as_ref());
    let listing = Listing { storage, directory, after, inner };
    stream::try_unfold(listing, Listing::step).boxed()
}

impl Listing<'_> {
    async fn step(mut self) -> Result<Option<(ObjectMeta, Self)>, PortError> {
        Ok(self.next().await?.map(|meta| (meta, self)))
    }

    async fn next(&mut self) -> Result<Option<ObjectMeta>, PortError> {
        let mut attempts = self.storage.retrier.begin();
        loop {
            match self.inner.try_next().await {
                Ok(meta) => {
                    if let Some(meta) = &meta {
                        self.after = Some(meta.key.clone());
                    }
                    return Ok(meta);
                }
                Err(error) => {
                    attempts.after(error).await?;
                    self.inner = self.storage.inner.list(self.directory.as_ref(), self.after.as_ref());
                }
            }
        }
    }
}
