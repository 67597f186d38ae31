//! A storage that hesitates before everything that it does, so that whoever uses it can be stopped there.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryFutureExt;
use futures::stream::{BoxStream, StreamExt};
use pitr::model::ObjectKey;
use pitr::port::{ExecutorExt, ObjectMeta, ObjectRead, PortError, PutMode, Storage, Upload, Version};
use pitr::testing::ManualExecutor;

#[derive(Clone, Debug)]
pub(crate) struct Hesitant<S> {
    inner: S,
    executor: ManualExecutor,
}

impl Hesitant<Arc<dyn Storage>> {
    pub(crate) fn new(inner: Arc<dyn Storage>, executor: &ManualExecutor) -> Self {
        Self { inner, executor: executor.clone() }
    }
}

/// Waits for a job that does nothing.
async fn hesitate(executor: &ManualExecutor) -> Result<(), PortError> {
    executor.run(|| ()).await
}

#[async_trait]
impl Storage for Hesitant<Arc<dyn Storage>> {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        hesitate(&self.executor).await?;
        self.inner.put(key, bytes, mode).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        hesitate(&self.executor).await?;
        let inner = self.inner.upload(key).await?;
        Ok(Box::new(Hesitant { inner, executor: self.executor.clone() }))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        hesitate(&self.executor).await?;
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        hesitate(&self.executor).await?;
        self.inner.head(key).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        let (directory, after) = (directory.cloned(), after.cloned());
        let listed = async move {
            hesitate(&self.executor).await?;
            Ok(self.inner.list(directory.as_ref(), after.as_ref()))
        };
        listed.try_flatten_stream().boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        hesitate(&self.executor).await?;
        self.inner.delete(key).await
    }
}

impl fmt::Display for Hesitant<Arc<dyn Storage>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Upload for Hesitant<Box<dyn Upload>> {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        hesitate(&self.executor).await?;
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        hesitate(&self.executor).await?;
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        hesitate(&self.executor).await?;
        self.inner.abort().await
    }
}
