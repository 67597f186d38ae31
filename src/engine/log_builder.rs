//! A log backup in the making.

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};

use super::error::{Context, Error, ErrorKind, Result};
use super::index_builder::{IndexBuilder, Passed};
use super::log_stream;
use super::server::ServerRepository;
use crate::format::block::{self, BlockError, Compression, EncodedBlock};
use crate::format::log::{self, LOG_BLOCK_BYTES, LogFooter};
use crate::format::wal::WalDecoder;
use crate::model::{Incarnation, LogBackup, Lsn, ObjectKey, SegmentSize, TimelineId, Timestamp, WalRange};
use crate::port::{ExecutorExt, PortError, PutMode};

/// Log that was received and verified, but is not stored yet.
///
/// It is copied out of the buffers that it came in: many small messages, each of which keeps a large buffer alive, would
/// take a multiple of their size. What fills a block is compressed while more comes: once the last log is there, little is
/// left to do until it is stored.
pub(super) struct LogBuilder {
    server: ServerRepository,
    format: LogFormat,
    timeline: TimelineId,
    start: Lsn,
    /// Under way.
    blocks: Vec<BoxFuture<'static, Result<Result<EncodedBlock, BlockError>, PortError>>>,
    block: BytesMut,
    bytes: u64,
    index: IndexBuilder,
}

/// What is known of the log at the end of a log backup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knowledge {
    pub(super) resume_lsn: Option<Lsn>,
    pub(super) last_record_lsn: Option<Lsn>,
    pub(super) complete_through: Option<Timestamp>,
}

/// Whose log it is, and how it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogFormat {
    pub(super) incarnation: Incarnation,
    pub(super) segment_size: SegmentSize,
    pub(super) compression: Compression,
}

impl Knowledge {
    pub(super) fn of(decoder: &WalDecoder, complete_through: Option<Timestamp>) -> Self {
        let (resume_lsn, last_record_lsn) = (decoder.resume_point(), decoder.last_record());
        Self { resume_lsn, last_record_lsn, complete_through }
    }
}

impl LogBuilder {
    /// A log backup of `server`'s log of `timeline` from `start` on.
    pub(super) fn new(server: ServerRepository, format: LogFormat, timeline: TimelineId, start: Lsn) -> Self {
        let (blocks, block) = (Vec::new(), BytesMut::new());
        Self { server, format, timeline, start, blocks, block, bytes: 0, index: IndexBuilder::default() }
    }

    /// Takes log, and the records that end in it.
    pub(super) fn push(&mut self, mut bytes: &[u8], passed: Passed) {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(bytes.len().min(LOG_BLOCK_BYTES - self.block.len()));
            self.block.extend_from_slice(part);
            bytes = rest;
            if self.block.len() == LOG_BLOCK_BYTES {
                self.compress();
                self.block.reserve(LOG_BLOCK_BYTES);
            }
        }
        self.index.add_all(passed);
    }

    fn compress(&mut self) {
        let (plain, compression) = (self.block.split().freeze(), self.format.compression);
        let compressed = self.server.vault.executor.run(move || block::encode(plain, compression));
        self.blocks.push(compressed.boxed());
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether its index has as much as a log backup takes.
    pub(super) fn index_is_full(&self) -> bool {
        self.index.is_full()
    }

    /// The one after it.
    pub(super) fn next(&self) -> Self {
        Self::new(self.server.clone(), self.format, self.timeline, self.end())
    }

    /// Where it ends so far.
    pub(super) fn end(&self) -> Lsn {
        self.start.saturating_add(self.bytes)
    }

    /// What it is called, if its log is known to be complete through this instant.
    pub(super) fn describe(&self, complete_through: Option<Timestamp>) -> LogBackup {
        let incarnation = self.format.incarnation;
        let wal = WalRange::new(self.timeline, self.start, self.end()).expect("bytes are not negative");
        let mut log = LogBackup::new(incarnation, wal, self.server.layout.logs(incarnation, self.timeline), 0);
        (log.max_commit_time, log.complete_through) = (self.index.max_time(), complete_through);
        log.restore_points = self.index.restore_points();
        log
    }

    /// Stores the log, which goes on where the log backup `previous` ends.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "store_log", skip_all, fields(server = %self.server.name())))]
    pub(super) async fn store(mut self, knowledge: Knowledge, previous: Option<ObjectKey>) -> Result<LogBackup> {
        let log = self.describe(knowledge.complete_through);
        if !self.block.is_empty() {
            self.compress();
        }
        let Self { server, format, blocks, index, .. } = self;
        let mut footer = LogFooter::new(log.wal, format.segment_size);
        (footer.previous, footer.resume_lsn, footer.last_record_lsn) =
            (previous, knowledge.resume_lsn, knowledge.last_record_lsn);
        (footer.records, footer.index) = index.finish();
        let blocks = try_join_all(blocks).await?;
        let encode = move || log::encode(&blocks.into_iter().collect::<Result<Vec<_>, _>>()?, &footer);
        let plain = server.vault.executor.run(encode).await?.map_err(|error| Error::corrupt(log.key(), error))?;
        put(&server, log, plain).await
    }
}

/// Stores a log backup, or finds that it is stored: a predecessor that was cut off may have come that far.
async fn put(server: &ServerRepository, mut log: LogBackup, plain: Bytes) -> Result<LogBackup> {
    let name = log.key();
    match server.vault.put(&name, plain, PutMode::Create).await {
        Ok((object, _)) => log.stored_bytes = object.bytes,
        Err(error) if error.kind() == ErrorKind::Conflict => {
            let meta = server.vault.storage.head(&name).await.context(|| format!("looking up {name}"))?;
            log.stored_bytes = meta.bytes;
            log_stream::read_footer(server, &log).await?;
        }
        Err(error) => return Err(error),
    }
    Ok(log)
}
