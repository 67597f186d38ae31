//! A storage that hesitates before everything that it does, so that whoever uses it can be stopped there.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use pitr::model::ObjectKey;
use pitr::port::{ObjectMeta, ObjectRead, PortError, PutMode, Storage, Upload, Version};

#[derive(Debug)]
pub(crate) struct Hesitant(pub(crate) Arc<dyn Storage>);

async fn hesitate() {
    let mut has = false;
    let hesitation = futures::future::poll_fn(|context| {
        if std::mem::replace(&mut has, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    });
    hesitation.await;
}

#[async_trait]
impl Storage for Hesitant {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        hesitate().await;
        self.0.put(key, bytes, mode).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        hesitate().await;
        Ok(Box::new(HesitantUpload(self.0.upload(key).await?)))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        hesitate().await;
        self.0.get(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        hesitate().await;
        self.0.head(key).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        let (directory, after) = (directory.cloned(), after.cloned());
        let listed = async move {
            hesitate().await;
            self.0.list(directory.as_ref(), after.as_ref())
        };
        futures::stream::once(listed).flatten().boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        hesitate().await;
        self.0.delete(key).await
    }
}

impl fmt::Display for Hesitant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug)]
struct HesitantUpload(Box<dyn Upload>);

#[async_trait]
impl Upload for HesitantUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        hesitate().await;
        self.0.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        hesitate().await;
        self.0.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        hesitate().await;
        self.0.abort().await
    }
}
