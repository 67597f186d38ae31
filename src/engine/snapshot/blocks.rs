//! Cuts the files of a base backup into blocks, compressed and digested off the caller's thread.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt};

use crate::engine::error::{Context, Error, ErrorKind, Result};
use crate::format::block::{self, BlockError, Compression, EncodedBlock};
use crate::format::manifest::Digest;
use crate::model::FileEntry;
use crate::port::{Executor, ExecutorExt, PortError, SnapshotEnd, SnapshotEvent, SnapshotStream};

/// The bytes of a file in one block: long enough to compress well, short enough to be read alone.
const BLOCK_BYTES: usize = 1 << 20;

/// What a base backup consists of, in the order in which it was read.
pub(super) enum Piece {
    Directory(FileEntry),
    /// A file, of which `blocks` blocks follow.
    File {
        entry: FileEntry,
        blocks: u64,
    },
    Block(EncodedBlock, Digest),
    End(SnapshotEnd),
}

type Job = BoxFuture<'static, Result<Result<(EncodedBlock, Digest), BlockError>, PortError>>;

/// A piece, or one that is still being worked on.
enum Slot {
    Ready(Piece),
    Working(Job),
}

/// Reads a base backup ahead of whoever takes its pieces.
pub(super) struct BlockReader {
    stream: Box<dyn SnapshotStream>,
    executor: Arc<dyn Executor>,
    compression: Compression,
    /// The bytes of the current file that are still to come.
    missing: u64,
    block: BytesMut,
    slots: VecDeque<Slot>,
    ended: bool,
}

impl BlockReader {
    pub(super) fn new(stream: Box<dyn SnapshotStream>, executor: Arc<dyn Executor>, compression: Compression) -> Self {
        let (missing, block, slots) = (0, BytesMut::new(), VecDeque::new());
        Self { stream, executor, compression, missing, block, slots, ended: false }
    }

    /// The next piece; [`Piece::End`] is the last.
    pub(super) async fn next(&mut self) -> Result<Piece> {
        let ahead = self.executor.parallelism().get() * 2;
        while !self.ended && self.working() < ahead {
            self.read().await?;
        }
        match self.slots.pop_front() {
            Some(Slot::Ready(piece)) => Ok(piece),
            Some(Slot::Working(job)) => {
                let (block, digest) = job.await?.map_err(|error| Error::corrupt("a block", error))?;
                Ok(Piece::Block(block, digest))
            }
            None => Err(broken("it ended twice")),
        }
    }

    /// Small files and directories make many slots and little work: bound both.
    fn working(&self) -> usize {
        self.slots.len()
    }

    async fn read(&mut self) -> Result<()> {
        let event = self.stream.next().await.context(|| "receiving the base backup")?;
        match event.ok_or_else(|| broken("it ended without its end"))? {
            SnapshotEvent::Directory(entry) => self.ready(Piece::Directory(entry)),
            SnapshotEvent::File(entry) => self.begin(entry),
            SnapshotEvent::Data(bytes) => self.data(bytes),
            SnapshotEvent::End(end) => {
                self.ended = true;
                self.ready(Piece::End(end))
            }
        }
    }

    fn ready(&mut self, piece: Piece) -> Result<()> {
        self.slots.push_back(Slot::Ready(piece));
        if self.missing == 0 { Ok(()) } else { Err(broken("a file is too short")) }
    }

    fn begin(&mut self, entry: FileEntry) -> Result<()> {
        let (bytes, blocks) = (entry.bytes, entry.bytes.div_ceil(BLOCK_BYTES as u64));
        self.ready(Piece::File { entry, blocks })?;
        self.missing = bytes;
        Ok(())
    }

    fn data(&mut self, mut bytes: Bytes) -> Result<()> {
        self.missing = self.missing.checked_sub(bytes.len() as u64).ok_or_else(|| broken("a file is too long"))?;
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(BLOCK_BYTES - self.block.len()));
            self.block.extend_from_slice(&part);
            if self.block.len() == BLOCK_BYTES || (bytes.is_empty() && self.missing == 0) {
                self.work();
            }
        }
        Ok(())
    }

    fn work(&mut self) {
        let (plain, compression) = (self.block.split().freeze(), self.compression);
        let job = self.executor.run(move || {
            let digest = Digest::of(&plain);
            block::encode(plain, compression).map(|block| (block, digest))
        });
        self.slots.push_back(Slot::Working(job.boxed()));
    }
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the base backup is broken: {what}"))
}
