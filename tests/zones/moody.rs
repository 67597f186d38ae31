//! A storage that does not answer, or does not let itself be written to, when it is told so.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::pending;
use futures::stream::{self, BoxStream, StreamExt};
use pitr::model::ObjectKey;
use pitr::port::{ObjectMeta, ObjectRead, PortError, PortErrorKind, PutMode, Storage, Upload, Version};

#[derive(Clone, Debug)]
pub(crate) struct Moody {
    inner: Arc<dyn Storage>,
    is_mute: Arc<AtomicBool>,
    is_closed: Arc<AtomicBool>,
}

impl Moody {
    pub(crate) fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, is_mute: Arc::default(), is_closed: Arc::default() }
    }

    /// Lets nothing be answered any more, or everything again.
    pub(crate) fn mute(&self, is_mute: bool) {
        self.is_mute.store(is_mute, Ordering::Relaxed);
    }

    /// Lets nobody write any more.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    async fn answer(&self) {
        if self.is_mute.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }

    async fn write(&self) -> Result<(), PortError> {
        self.answer().await;
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(PortError::new(PortErrorKind::Denied, "it is closed"));
        }
        Ok(())
    }
}

#[async_trait]
impl Storage for Moody {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        self.write().await?;
        self.inner.put(key, bytes, mode).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        self.write().await?;
        Ok(Box::new(MoodyUpload { moody: self.clone(), inner: self.inner.upload(key).await? }))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        self.answer().await;
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.answer().await;
        self.inner.head(key).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        stream::once(self.answer()).flat_map(|()| stream::empty()).chain(self.inner.list(directory, after)).boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.write().await?;
        self.inner.delete(key).await
    }
}

impl fmt::Display for Moody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[derive(Debug)]
struct MoodyUpload {
    moody: Moody,
    inner: Box<dyn Upload>,
}

#[async_trait]
impl Upload for MoodyUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.moody.answer().await;
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        self.moody.answer().await;
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        self.inner.abort().await
    }
}
