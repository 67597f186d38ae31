//! Where the files of a server come from.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{FileReader, PortError, SourceIdentity};
use crate::model::{
    FileEntry, Incarnation, Lsn, Parameters, SegmentSize, ServerRole, Tablespace, TimelineId, Timestamp,
};

/// A server of which a base backup can be taken.
#[async_trait]
pub trait SnapshotSource: Debug + Send + Sync + 'static {
    /// Says who the server is and where it stands.
    ///
    /// # Errors
    /// If it cannot be asked.
    async fn identify(&self) -> Result<SourceIdentity, PortError>;

    /// Begins a base backup, labelled `label`. Dropping the stream ends it on the server.
    ///
    /// # Errors
    /// If the server does not begin one.
    async fn begin(&self, label: &str) -> Result<Box<dyn SnapshotStream>, PortError>;

    /// The parameters that its owner has set, but for those that say where it is: to be offered after a restore. `None` if they cannot be
    /// told, as by default.
    ///
    /// # Errors
    /// If it cannot be asked.
    async fn parameters(&self) -> Result<Option<Parameters>, PortError> {
        Ok(None)
    }
}

/// A base backup that is being taken: directories and files one after another, then the end.
#[async_trait]
pub trait SnapshotStream: Debug + Send {
    /// How the backup began.
    fn start(&self) -> &SnapshotStart;

    /// Waits for what comes next; `None` once there is nothing more.
    ///
    /// # Errors
    /// After one the backup has failed and nothing of it may be used.
    async fn next(&mut self) -> Result<Option<SnapshotEvent>, PortError>;

    /// Ends the backup, of which everything has come and everything has been read.
    ///
    /// # Errors
    /// If the backup has failed: nothing of it may be used.
    async fn end(self: Box<Self>) -> Result<SnapshotEnd, PortError>;
}

/// How a base backup began.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotStart {
    /// Whose backup it is: asked on the very connection that brings it, as another may lead to another server.
    pub incarnation: Incarnation,
    /// The size of its WAL segments.
    pub segment_size: SegmentSize,
    /// The redo point of its starting checkpoint.
    pub lsn: Lsn,
    /// The timeline then.
    pub timeline: TimelineId,
    /// Whether the server writes its log itself, or replays another's: then its clock is not that of the commits. A source that
    /// cannot tell says that it is a standby, of which less is believed.
    pub role: ServerRole,
    /// The tablespaces outside the data directory.
    pub tablespaces: Vec<Tablespace>,
    /// The server's estimate of all bytes to come; 0 if it gave none.
    pub bytes_estimate: u64,
}

impl SnapshotStart {
    /// A backup that begins at `lsn` of `timeline`, of a primary that has segments of this size.
    #[must_use]
    pub const fn new(incarnation: Incarnation, segment_size: SegmentSize, timeline: TimelineId, lsn: Lsn) -> Self {
        let role = ServerRole::Primary;
        Self { incarnation, segment_size, lsn, timeline, role, tablespaces: Vec::new(), bytes_estimate: 0 }
    }
}

/// What a [`SnapshotStream`] brings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SnapshotEvent {
    /// A directory.
    Directory(FileEntry),
    /// A file that can be read: now, later, or not at all if an earlier snapshot has it already.
    Readable(FileEntry, Arc<dyn FileReader>),
    /// A file; its data follow at once, `bytes` in all.
    File(FileEntry),
    /// The next bytes of the file that began last.
    Data(Bytes),
    /// The next bytes of the manifest that the server made of the backup, if it made one: it comes after all files, and how
    /// long it will be is not known before its end.
    Manifest(Bytes),
}

/// How a base backup ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotEnd {
    /// Where the log must be replayed to for consistency.
    pub lsn: Lsn,
    /// The timeline then.
    pub timeline: TimelineId,
    /// The server's clock at some moment after the backup was complete.
    pub at: Timestamp,
    /// Small files that could not be known earlier.
    pub files: Vec<(FileEntry, Bytes)>,
    /// How many pages the server found to have a wrong checksum, beside those that [`FileReader::read_at`] told of; 0 if it does
    /// not check.
    pub checksum_failures: u64,
    /// What was left out because it is neither a file nor a directory.
    pub skipped: Vec<String>,
}

impl SnapshotEnd {
    /// A backup that ended at `lsn` of `timeline`, by `at` at the latest.
    #[must_use]
    pub const fn new(lsn: Lsn, timeline: TimelineId, at: Timestamp) -> Self {
        Self { lsn, timeline, at, files: Vec::new(), checksum_failures: 0, skipped: Vec::new() }
    }
}
