//! A storage that is written to under a lease.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::pulse::Pulse;
use crate::model::ObjectKey;
use crate::port::{ObjectMeta, ObjectRead, PortError, PortErrorKind, PutMode, Storage, Upload, Version};

/// What a worker has of a server.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) pulse: Arc<Pulse>,
    released: AtomicBool,
}

impl Hold {
    pub(super) const fn new(pulse: Arc<Pulse>) -> Self {
        Self { pulse, released: AtomicBool::new(false) }
    }

    pub(super) fn is_released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }

    /// Nothing is done under it from now on.
    pub(super) fn release(&self) {
        self.released.store(true, Ordering::Release);
    }

    async fn ensure(&self) -> Result<(), PortError> {
        if self.is_released() {
            return Err(PortError::new(PortErrorKind::Fenced, "the lease was given back"));
        }
        self.pulse.ensure().await
    }
}

/// A storage in which nothing is changed but by who holds a lease. Before each change that is made sure.
#[derive(Clone, Debug)]
pub(super) struct FencedStorage {
    inner: Arc<dyn Storage>,
    hold: Arc<Hold>,
}

impl FencedStorage {
    pub(super) const fn new(inner: Arc<dyn Storage>, hold: Arc<Hold>) -> Self {
        Self { inner, hold }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for FencedStorage {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        self.hold.ensure().await?;
        self.inner.put(key, bytes, mode).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        self.hold.ensure().await?;
        let (inner, hold) = (self.inner.upload(key).await?, Arc::clone(&self.hold));
        Ok(Box::new(FencedUpload { inner, hold }))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.inner.head(key).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        self.inner.list(directory, after)
    }

    fn list_directories(&self, directory: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, PortError>> {
        self.inner.list_directories(directory)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.hold.ensure().await?;
        self.inner.delete(key).await
    }

    async fn delete_all(&self, keys: &[ObjectKey]) -> Result<(), PortError> {
        self.hold.ensure().await?;
        self.inner.delete_all(keys).await
    }

    fn immutable_for(&self) -> Option<Duration> {
        self.inner.immutable_for()
    }

    async fn renew(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.hold.ensure().await?;
        self.inner.renew(key).await
    }
}

impl fmt::Display for FencedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[derive(Debug)]
struct FencedUpload {
    inner: Box<dyn Upload>,
    hold: Arc<Hold>,
}

#[async_trait]
impl Upload for FencedUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        self.hold.ensure().await?;
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        self.inner.abort().await
    }
}
