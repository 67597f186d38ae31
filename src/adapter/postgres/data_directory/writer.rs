//! Writers of restored files and of staged segments.

use std::fs;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;

use super::super::disk::{self, blocking};
use super::draft::Draft;
use super::staging::Slot;
use crate::port::{FileWriter, PortError, PortErrorKind};

/// A file of the data directory, or one that goes nowhere.
#[derive(Debug)]
pub(super) struct RestoredFile {
    name: String,
    bytes: u64,
    written: u64,
    draft: Option<Draft>,
}

impl RestoredFile {
    /// The file that the backup calls `name`, of which `bytes` bytes will come; without a draft, they are dropped.
    pub(super) fn new(name: String, bytes: u64, draft: Option<Draft>) -> Self {
        Self { name, bytes, written: 0, draft }
    }

    /// Goes on by `bytes` bytes, as `with` does.
    async fn grow(&mut self, bytes: u64, with: impl FnOnce(Draft) -> Draft + Send) -> Result<(), PortError> {
        self.written = self.written.saturating_add(bytes);
        if self.written > self.bytes {
            return Err(self.wrong_length());
        }
        if let Some(draft) = self.draft.take() {
            self.draft = Some(with(draft).flow().await?);
        }
        Ok(())
    }

    fn wrong_length(&self) -> PortError {
        let Self { name, bytes, written, .. } = self;
        let context = format!("{name} should have {bytes} bytes, but {written} were written");
        PortError::new(PortErrorKind::Invalid, context)
    }
}

#[async_trait]
impl FileWriter for RestoredFile {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.grow(bytes.len() as u64, |draft| draft.with(bytes)).await
    }

    async fn zeros(&mut self, bytes: u64) -> Result<(), PortError> {
        self.grow(bytes, |draft| draft.with_zeros(bytes)).await
    }

    async fn keep(&mut self, bytes: u64) -> Result<(), PortError> {
        self.grow(bytes, |draft| draft.with_kept(bytes)).await
    }

    async fn finish(mut self: Box<Self>) -> Result<(), PortError> {
        if self.written != self.bytes {
            return Err(self.wrong_length());
        }
        let bytes = self.bytes;
        match self.draft.take() {
            Some(draft) => blocking(move || draft.close(Some(bytes))).await,
            None => Ok(()),
        }
    }
}

/// A segment that is being staged: under a temporary name, until it is whole.
#[derive(Debug)]
pub(super) struct StagedSegment {
    draft: Option<Draft>,
    written: u64,
    segment_bytes: u64,
    places: Places,
    slot: Slot,
}

/// Where a segment lies.
#[derive(Debug)]
pub(super) struct Places {
    /// While it is written.
    pub(super) from: PathBuf,
    /// Until recovery has taken the next one.
    pub(super) kept: PathBuf,
    /// Until recovery takes it.
    pub(super) to: PathBuf,
}

impl StagedSegment {
    /// A segment of `segment_bytes` bytes, which `draft` writes; `slot` is its place among those that may be staged.
    pub(super) fn new(draft: Draft, segment_bytes: u64, places: Places, slot: Slot) -> Self {
        Self { draft: Some(draft), written: 0, segment_bytes, places, slot }
    }
}

impl StagedSegment {
    async fn grow(&mut self, bytes: u64, with: impl FnOnce(Draft) -> Draft + Send) -> Result<(), PortError> {
        self.written = self.written.saturating_add(bytes);
        if self.written > self.segment_bytes {
            let context = format!("more bytes came for {} than a segment has", self.places.to.display());
            return Err(PortError::new(PortErrorKind::Invalid, context));
        }
        let draft = self.draft.take().ok_or_else(|| failed_before(&self.places.to))?;
        self.draft = Some(with(draft).flow().await?);
        Ok(())
    }
}

#[async_trait]
impl FileWriter for StagedSegment {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.grow(bytes.len() as u64, |draft| draft.with(bytes)).await
    }

    async fn zeros(&mut self, bytes: u64) -> Result<(), PortError> {
        self.grow(bytes, |draft| draft.with_zeros(bytes)).await
    }

    async fn keep(&mut self, _bytes: u64) -> Result<(), PortError> {
        Err(PortError::new(PortErrorKind::Invalid, format!("nothing stands at {}", self.places.to.display())))
    }

    async fn finish(mut self: Box<Self>) -> Result<(), PortError> {
        let draft = self.draft.take().ok_or_else(|| failed_before(&self.places.to))?;
        let Self { segment_bytes, places: Places { from, kept, to }, slot, .. } = *self;
        blocking(move || {
            draft.close(Some(segment_bytes))?;
            // A file system without links costs a recovery that is interrupted that it can go on.
            let _ = fs::hard_link(&from, kept);
            disk::rename(&from, &to)?;
            // From here on the segment is counted where it lies.
            drop(slot);
            Ok(())
        })
        .await
    }
}

fn failed_before(path: &std::path::Path) -> PortError {
    PortError::new(PortErrorKind::Invalid, format!("{} is incomplete: a write to it failed", path.display()))
}
