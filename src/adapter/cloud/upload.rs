//! Objects on their way into a store, part by part.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::PutPayload;
use tokio::runtime::Handle;

use super::Store;
use super::parts::Parts;
use crate::model::ObjectKey;
use crate::port::{PortError, PortErrorKind, PutMode, Upload, Version};

/// What is stored at a time. All parts but the last have as many bytes, as some of S3's kin demand.
const PART_BYTES: usize = 8 << 20;

/// An object that grows: in memory until it fills a part, and in the store from there on.
pub(super) struct CloudUpload {
    store: Arc<Store>,
    key: ObjectKey,
    pending: VecDeque<Bytes>,
    pending_bytes: usize,
    parts: Option<Parts>,
    has_failed: bool,
}

impl CloudUpload {
    pub(super) fn new(store: Arc<Store>, key: ObjectKey) -> Self {
        Self { store, key, pending: VecDeque::new(), pending_bytes: 0, parts: None, has_failed: false }
    }

    fn append(&mut self, bytes: Bytes) {
        self.pending_bytes += bytes.len();
        self.pending.extend((!bytes.is_empty()).then_some(bytes));
    }

    /// Takes `length` bytes of what is pending, which has as many.
    fn take(&mut self, length: usize) -> PutPayload {
        let mut taken = Vec::new();
        let mut missing = length;
        while missing > 0
            && let Some(mut next) = self.pending.pop_front()
        {
            let piece = next.split_to(next.len().min(missing));
            missing -= piece.len();
            taken.push(piece);
            if !next.is_empty() {
                self.pending.push_front(next);
            }
        }
        self.pending_bytes -= length;
        PutPayload::from_iter(taken)
    }

    async fn store_part(&mut self, length: usize) -> Result<(), PortError> {
        let payload = self.take(length);
        let parts = match &mut self.parts {
            Some(parts) => parts,
            none => none.insert(Parts::begin(&self.store, &self.key).await?),
        };
        parts.push(payload).await
    }

    /// Stores what is pending as the whole object.
    async fn put(&mut self) -> Result<Version, PortError> {
        let payload = self.take(self.pending_bytes);
        let put = || self.store.put(&self.key, payload.clone(), PutMode::Create);
        self.store.retrier.begin().run_once(put).await
    }

    async fn store_full_parts(&mut self) -> Result<(), PortError> {
        while self.pending_bytes >= PART_BYTES {
            self.store_part(PART_BYTES).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Upload for CloudUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        if self.has_failed {
            return Err(PortError::new(
                PortErrorKind::Invalid,
                format!("the upload of {} has failed before", self.key),
            ));
        }
        self.append(bytes);
        let stored = self.store_full_parts().await;
        self.has_failed = stored.is_err();
        stored
    }

    async fn finish(mut self: Box<Self>) -> Result<Version, PortError> {
        // Refuses what has failed before.
        self.write(Bytes::new()).await?;
        if self.parts.is_some() && self.pending_bytes > 0 {
            self.store_part(self.pending_bytes).await?;
        }
        let Some(parts) = &mut self.parts else { return self.put().await };
        let version = parts.complete().await?;
        self.parts = None;
        Ok(version)
    }

    async fn abort(mut self: Box<Self>) -> Result<(), PortError> {
        match self.parts.take() {
            Some(mut parts) => parts.abort().await,
            None => Ok(()),
        }
    }
}

impl Drop for CloudUpload {
    /// Whoever has failed, or was given up, does not wait until the store has freed what it holds.
    fn drop(&mut self) {
        if let (Some(mut parts), Ok(runtime)) = (self.parts.take(), Handle::try_current()) {
            runtime.spawn(async move { parts.abort().await });
        }
    }
}

impl fmt::Debug for CloudUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudUpload").field("key", &self.key).finish_non_exhaustive()
    }
}
