//! Where a restored server is written.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{FileReader, FileWriter, PortError};
use crate::model::{FileEntry, Incarnation, SegmentSize, Tablespace, TimelineId};
use crate::plan::RecoveryTarget;

/// What is to be restored, before any of it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreOutline {
    /// The server.
    pub incarnation: Incarnation,
    /// Its tablespaces.
    pub tablespaces: Vec<Tablespace>,
    /// The bytes of its files.
    pub file_bytes: u64,
    /// The bytes of log that recovery will replay.
    pub log_bytes: u64,
}

impl RestoreOutline {
    /// The server `incarnation` with these tablespaces, of which no more is known.
    #[must_use]
    pub fn new(incarnation: Incarnation, tablespaces: impl Into<Vec<Tablespace>>) -> Self {
        Self { incarnation, tablespaces: tablespaces.into(), file_bytes: 0, log_bytes: 0 }
    }
}

/// A place where a server can be restored: a data directory, and the log that its recovery asks for.
///
/// Called in this order: [`prepare`](Self::prepare), any number of directories and files (several at a time), history files,
/// [`commit`](Self::commit), then segments in log order, [`end_of_wal`](Self::end_of_wal). From `commit` on the server may be
/// started; before it, what was written cannot start: `global/pg_control` is put in place last.
#[async_trait]
pub trait RestoreTarget: Debug + Send + Sync + 'static {
    /// Takes possession of the place, also for each tablespace, to restore the server that `outline` is of. It must be empty or absent;
    /// or, if the target is one that restores over what it finds, hold that server.
    ///
    /// # Errors
    /// [`Conflict`](super::PortErrorKind::Conflict) if something else is there already; nothing was touched then.
    async fn prepare(&self, outline: &RestoreOutline) -> Result<(), PortError>;

    /// Makes a directory. Its parent was made before.
    ///
    /// # Errors
    /// [`Invalid`](super::PortErrorKind::Invalid) if the path is no relative path inside the data directory.
    async fn directory(&self, entry: &FileEntry) -> Result<(), PortError>;

    /// What stands in the place of the file `entry` already, of any length, to be compared with it; `None` if nothing does, as where
    /// the place was empty. What lies beyond its end cannot be read: that is an error of the [reader](FileReader::read_at).
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    async fn standing(&self, entry: &FileEntry) -> Result<Option<Arc<dyn FileReader>>, PortError>;

    /// Begins to write a file, of which exactly `entry.bytes` bytes will follow. Its directory was made before.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    async fn file(&self, entry: &FileEntry) -> Result<Box<dyn FileWriter>, PortError>;

    /// Stages the history file of `timeline`.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn history(&self, timeline: TimelineId, content: Bytes) -> Result<(), PortError>;

    /// Makes everything durable, removes whatever was there and is not part of what was restored, writes the recovery settings, and puts `global/pg_control` in place as the very last.
    ///
    /// # Errors
    /// After one the server must not be started.
    async fn commit(&self, recovery: &RecoverySettings) -> Result<(), PortError>;

    /// Begins to stage a WAL segment under the name `name`; it is whole when the writer has finished. Waits while enough
    /// segments are staged that recovery has not taken yet, so that disk use stays bounded. `None` if recovery has ended and
    /// wants no more.
    ///
    /// # Errors
    /// If it cannot be staged, or recovery has failed: [`Unavailable`](super::PortErrorKind::Unavailable) if the server has
    /// ended before it had recovered.
    async fn segment(&self, name: &str) -> Result<Option<Box<dyn FileWriter>>, PortError>;

    /// Says that no further segment comes: whoever asks for one now has reached the end of the log.
    ///
    /// # Errors
    /// If it cannot be said; recovery then keeps waiting.
    async fn end_of_wal(&self) -> Result<(), PortError>;

    /// Says that the log will not be completed: recovery fails instead of waiting or taking it for the end of the log.
    /// Without effect after [`end_of_wal`](Self::end_of_wal).
    fn abandon(&self);
}

/// What the restored server must be told for its recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoverySettings {
    /// Where to stop.
    pub target: RecoveryTarget,
    /// The timeline to recover along.
    pub timeline: TimelineId,
    /// The size of its WAL segments.
    pub segment_size: SegmentSize,
    /// The names of all segments that will be staged, in log order: recovery waits for these, and for no others.
    pub segments: Vec<String>,
    /// Whether recovery goes on where the log changes a page that is not there, or is nothing but zeros, instead of failing: when
    /// pages were left out on purpose.
    pub ignores_invalid_pages: bool,
}

impl RecoverySettings {
    /// Recovery along `timeline` to `target`, by `segments`.
    #[must_use]
    pub const fn new(
        target: RecoveryTarget,
        timeline: TimelineId,
        segment_size: SegmentSize,
        segments: Vec<String>,
    ) -> Self {
        Self { target, timeline, segment_size, segments, ignores_invalid_pages: false }
    }

    /// Whether recovery goes on where the log changes a page that is not there, or is nothing but zeros.
    #[must_use]
    pub fn ignore_invalid_pages(self, ignores_invalid_pages: bool) -> Self {
        Self { ignores_invalid_pages, ..self }
    }
}
