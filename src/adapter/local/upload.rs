//! Objects on their way into the store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

use super::temporary::Temporary;
use super::{LocalStorage, publish, start};
use crate::model::ObjectKey;
use crate::port::{PortError, PortErrorKind, PutMode, Upload, Version};

/// A temporary file that grows, one piece being written while the next is prepared.
pub(super) struct LocalUpload {
    storage: LocalStorage,
    key: ObjectKey,
    /// `None` once a write has failed: what would follow must not close the gap.
    temporary: Option<Arc<Temporary>>,
    writing: Option<BoxFuture<'static, Result<(), PortError>>>,
}

impl LocalUpload {
    pub(super) fn new(storage: LocalStorage, key: ObjectKey, temporary: Temporary) -> Self {
        Self { storage, key, temporary: Some(Arc::new(temporary)), writing: None }
    }

    /// Waits until nothing is being written.
    async fn settle(&mut self) -> Result<(), PortError> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let written = writing.await;
        self.writing = None;
        if written.is_err() {
            self.discard();
        }
        written
    }

    /// Removes the file on the executor: that of a large one takes its time.
    fn discard(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            self.storage.executor.execute(Box::new(move || drop(temporary)));
        }
    }

    fn failed(&self) -> PortError {
        PortError::new(PortErrorKind::Invalid, format!("the upload of {} has failed before", self.key))
    }
}

#[async_trait]
impl Upload for LocalUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.settle().await?;
        let temporary = Arc::clone(self.temporary.as_ref().ok_or_else(|| self.failed())?);
        self.writing = Some(start(&*self.storage.executor, move || temporary.write(&bytes)));
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Version, PortError> {
        self.settle().await?;
        let temporary = self.temporary.take().ok_or_else(|| self.failed())?;
        self.storage.with(&self.key, move |root, key| publish::publish(root, &temporary, key, &PutMode::Create)).await
    }

    async fn abort(mut self: Box<Self>) -> Result<(), PortError> {
        // What a failed write left behind goes with the file.
        let _ = self.settle().await;
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        start(&*self.storage.executor, move || temporary.remove()).await
    }
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        self.discard();
    }
}

impl fmt::Debug for LocalUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalUpload").field("key", &self.key).finish_non_exhaustive()
    }
}
