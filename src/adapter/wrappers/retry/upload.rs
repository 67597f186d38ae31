//! Uploads whose end is looked after.

use async_trait::async_trait;
use bytes::Bytes;

use super::RetryStorage;
use super::trace::Trace;
use crate::model::ObjectKey;
use crate::port::{PortError, PutMode, Upload, Version};

#[derive(Debug)]
pub(super) struct RetryUpload {
    storage: RetryStorage,
    key: ObjectKey,
    inner: Box<dyn Upload>,
    trace: Trace,
}

impl RetryUpload {
    pub(super) fn new(storage: RetryStorage, key: ObjectKey, inner: Box<dyn Upload>) -> Self {
        Self { storage, key, inner, trace: Trace::default() }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Upload for RetryUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.trace.append(&bytes);
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        let Self { storage, key, inner, trace } = *self;
        let mut attempts = storage.retrier.begin();
        match inner.finish().await {
            Err(error) => storage.settle(&key, &trace, &PutMode::Create, &mut attempts, error).await,
            done => done,
        }
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        self.inner.abort().await
    }
}
