//! Objects on their way into all zones.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};

use super::answers::{Answer, gather, given, too_few};
use super::record::{Content, Id};
use super::zone::{HERE_BYTES_MAX, content_key};
use super::{Proposal, ZoneStorage};
use crate::model::ObjectKey;
use crate::port::{PortError, PortErrorKind, PutMode, Storage, Upload, Version};

/// An object that grows: in memory while it is short enough for a record, and then in every zone.
#[derive(Debug)]
pub(super) struct ZoneUpload {
    storage: ZoneStorage,
    key: ObjectKey,
    id: Id,
    gathered: BytesMut,
    apart: Option<ApartUpload>,
}

/// A content that grows in every zone, apart from the record of its object.
#[derive(Debug)]
pub(super) struct ApartUpload {
    storage: ZoneStorage,
    key: ObjectKey,
    id: Id,
    bytes: u64,
    begun: Duration,
    uploads: Vec<(usize, Box<dyn Upload>)>,
}

/// As much as a zone may still have to send of a content. It is waited for as if it sent a megabyte a second at least.
const UNSENT_BYTES_MAX: u64 = 64 << 20;

impl ZoneUpload {
    pub(super) fn new(storage: ZoneStorage, key: ObjectKey, id: Id) -> Self {
        Self { storage, key, id, gathered: BytesMut::new(), apart: None }
    }
}

#[async_trait]
impl Upload for ZoneUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        let apart = match &mut self.apart {
            Some(apart) => apart,
            None if self.gathered.len().saturating_add(bytes.len()) <= HERE_BYTES_MAX => {
                self.gathered.extend_from_slice(&bytes);
                return Ok(());
            }
            none => none.insert(ApartUpload::begin(&self.storage, &self.key, self.id).await?),
        };
        if !self.gathered.is_empty() {
            apart.write(self.gathered.split().freeze()).await?;
        }
        apart.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        match self.apart {
            Some(apart) => apart.finish(PutMode::Create).await?,
            None => {
                let content = Content::Here(self.gathered.len() as u64);
                let proposal = Proposal::put(self.id, content, self.gathered.freeze(), PutMode::Create);
                self.storage.change(&self.key, proposal).await?;
            }
        }
        Ok(Version::new(self.id.hex()))
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        match self.apart {
            Some(apart) => apart.abort().await,
            None => Ok(()),
        }
    }
}

impl ApartUpload {
    /// Begins the content `id` of the object `key`.
    pub(super) async fn begin(storage: &ZoneStorage, key: &ObjectKey, id: Id) -> Result<Self, PortError> {
        let zones = &storage.zones;
        let content = content_key(key, id)?;
        let ready = zones.ready().await?;
        let begin = |_, zone: &super::Zone| {
            let (contents, content) = (zone.contents.clone(), content.clone());
            async move { contents.upload(&content).await }.boxed()
        };
        let answers = zones.ask(ready, zones.quorum(), |_| false, begin).await;
        let begun = zones.environment.clock.elapsed();
        let mut upload = Self { storage: storage.clone(), key: key.clone(), id, bytes: 0, begun, uploads: Vec::new() };
        upload.uploads = upload.kept(answers)?;
        Ok(upload)
    }

    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let write = |mut upload: Box<dyn Upload>| {
            let bytes = bytes.clone();
            async move { upload.write(bytes).await.map(|()| upload) }.boxed()
        };
        self.uploads = self.each(write).await?;
        Ok(())
    }

    /// Ends the content, and makes it that of its object.
    pub(super) async fn finish(mut self, mode: PutMode) -> Result<(), PortError> {
        self.each(|upload| upload.finish().boxed()).await?;
        self.check_age()?;
        let proposal = Proposal::put(self.id, Content::Apart(self.bytes), Bytes::new(), mode);
        let value = proposal.value;
        let changed = self.storage.change(&self.key, proposal).await;
        if changed.as_ref().is_err_and(|error| error.kind() == PortErrorKind::Conflict) {
            self.storage.zones.discard(&self.key, &value).await;
        }
        changed
    }

    /// # Errors
    /// If a repair may take the content for one that nobody wants any more.
    fn check_age(&self) -> Result<(), PortError> {
        let zones = &self.storage.zones;
        let age = zones.environment.clock.elapsed().saturating_sub(self.begun);
        if age < zones.settings.memory / 2 {
            return Ok(());
        }
        let context = format!("storing {} took so long that it may have been taken for given up", self.key);
        Err(PortError::new(PortErrorKind::Unavailable, context))
    }

    async fn abort(self) -> Result<(), PortError> {
        join_all(self.uploads.into_iter().map(|(_, upload)| upload.abort())).await.into_iter().collect()
    }

    /// What `step` makes of the upload of each zone. Those where it fails, or takes too long, are given up, as long as a quorum is left.
    async fn each<T: Send>(
        &mut self,
        step: impl Fn(Box<dyn Upload>) -> BoxFuture<'static, Result<T, PortError>> + Send,
    ) -> Result<Vec<(usize, T)>, PortError> {
        let zones = &self.storage.zones;
        let uploads = std::mem::take(&mut self.uploads);
        let asked: Vec<usize> = uploads.iter().map(|(zone, _)| *zone).collect();
        let questions: Vec<_> = uploads.into_iter().map(|(zone, upload)| (zone, step(upload))).collect();
        // Zones have links of different speeds, and parts before this one may still be under way.
        let unsent = Duration::from_micros(self.bytes.min(UNSENT_BYTES_MAX));
        let (clock, patience) = (&*zones.environment.clock, zones.settings.patience.saturating_add(unsent));
        let answers = gather(questions, zones.quorum(), patience, clock, |_| false).await;
        zones.blame(asked, &answers);
        self.kept(answers)
    }

    fn kept<T>(&self, answers: Vec<Answer<T>>) -> Result<Vec<(usize, T)>, PortError> {
        let zones = &self.storage.zones;
        if given(&answers).count() < zones.quorum() {
            return Err(too_few(format_args!("cannot store {}", self.key), zones.zones.len(), answers));
        }
        if given(&answers).count() < zones.zones.len() {
            zones.behind.add(&self.key);
        }
        Ok(answers.into_iter().filter_map(|answer| Some((answer.zone, answer.result.ok()?))).collect())
    }
}
