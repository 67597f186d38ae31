//! A log backup in the making.

use bytes::Bytes;

use super::index::IndexBuilder;
use super::position::Position;
use crate::engine::error::{Error, Result};
use crate::engine::repository::ServerRepository;
use crate::format::block::Compression;
use crate::format::log::{self, LogFooter};
use crate::format::wal::WalRecord;
use crate::model::{Incarnation, LogBackup, Lsn, SegmentSize, Timestamp, WalRange};
use crate::port::{ExecutorExt, PutMode};

/// Log that was received and verified, but is not stored yet.
#[derive(Debug)]
pub(super) struct Pending {
    start: Position,
    chunks: Vec<Bytes>,
    bytes: u64,
    index: IndexBuilder,
}

/// Whose log it is, and how it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogFormat {
    pub(super) incarnation: Incarnation,
    pub(super) segment_size: SegmentSize,
    pub(super) compression: Compression,
}

impl Pending {
    pub(super) fn new(start: Position) -> Self {
        Self { start, chunks: Vec::new(), bytes: 0, index: IndexBuilder::default() }
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.bytes += bytes.len() as u64;
        self.chunks.push(bytes);
    }

    pub(super) fn note(&mut self, record: WalRecord) {
        self.index.add(record);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn end(&self) -> Position {
        Position { lsn: self.start.lsn.saturating_add(self.bytes), ..self.start }
    }

    /// Stores the log, which is complete through `complete_through`, and of which decoding goes on at `resume_lsn`.
    pub(super) async fn store(
        self,
        server: ServerRepository,
        format: LogFormat,
        resume_lsn: Option<Lsn>,
        complete_through: Option<Timestamp>,
    ) -> Result<LogBackup> {
        let LogFormat { incarnation, segment_size, compression } = format;
        let wal = WalRange::new(self.start.timeline, self.start.lsn, self.end().lsn).expect("bytes are not negative");
        let max_commit_time = self.index.max_time();
        let name = server.layout.log(incarnation, wal, max_commit_time, complete_through);
        let mut footer = LogFooter::new(wal, segment_size);
        footer.resume_lsn = resume_lsn;
        (footer.records, footer.index) = self.index.finish();
        let chunks = self.chunks;
        let encode = move || log::encode(&chunks, &footer, compression);
        let plain = server.vault.executor.run(encode).await?.map_err(|error| Error::corrupt(&name, error))?;
        let (object, _) = server.vault.put(&name, plain, PutMode::Create).await?;
        let mut log = LogBackup::new(incarnation, wal, object);
        (log.max_commit_time, log.complete_through) = (max_commit_time, complete_through);
        Ok(log)
    }
}
