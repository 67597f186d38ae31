//! Cuts the files of a base backup into blocks, compressed and digested off the caller's thread.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt};

use crate::engine::error::{Context, Error, ErrorKind, Result};
use crate::format::block::{self, BlockError, Compression, EncodedBlock};
use crate::format::digest::Digest;
use crate::model::FileEntry;
use crate::port::{Executor, ExecutorExt, PortError, SnapshotEnd, SnapshotEvent, SnapshotStream};

/// The bytes of a file in one block: long enough to compress well, short enough to be read alone.
const BLOCK_BYTES: usize = 1 << 20;

/// What a base backup consists of, in the order in which it was read.
pub(super) enum Piece {
    Directory(FileEntry),
    /// A block of the file that comes next.
    Block(EncodedBlock, Digest),
    /// The file of all blocks since the last one.
    File(FileEntry),
    End(SnapshotEnd),
}

/// What PostgreSQL calls the list of files and checksums that it makes of a base backup.
const BACKUP_MANIFEST: &str = "backup_manifest";

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
    /// The current file, and its bytes that are still to come.
    file: Option<(FileEntry, u64)>,
    /// How many bytes of the server's own manifest there were.
    manifest_bytes: Option<u64>,
    block: BytesMut,
    slots: VecDeque<Slot>,
    ended: bool,
}

impl BlockReader {
    pub(super) fn new(stream: Box<dyn SnapshotStream>, executor: Arc<dyn Executor>, compression: Compression) -> Self {
        let (block, slots) = (BytesMut::new(), VecDeque::new());
        Self { stream, executor, compression, file: None, manifest_bytes: None, block, slots, ended: false }
    }

    /// The next piece; [`Piece::End`] is the last.
    pub(super) async fn next(&mut self) -> Result<Piece> {
        let ahead = self.executor.parallelism().get() * 2;
        while !self.ended && self.slots.len() < ahead {
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

    async fn read(&mut self) -> Result<()> {
        let event = self.stream.next().await.context(|| "receiving the base backup")?;
        match event.ok_or_else(|| broken("it ended without its end"))? {
            SnapshotEvent::Directory(entry) => self.ready(Piece::Directory(entry)),
            SnapshotEvent::File(entry) => self.begin(entry),
            SnapshotEvent::Data(bytes) => self.data(bytes),
            SnapshotEvent::Manifest(bytes) => {
                *self.manifest_bytes.get_or_insert_default() += bytes.len() as u64;
                self.cut(bytes);
                Ok(())
            }
            SnapshotEvent::End(end) => {
                self.ended = true;
                self.end_manifest();
                self.ready(Piece::End(end))
            }
        }
    }

    fn ready(&mut self, piece: Piece) -> Result<()> {
        if self.file.is_some() {
            return Err(broken("a file is too short"));
        }
        self.slots.push_back(Slot::Ready(piece));
        Ok(())
    }

    fn begin(&mut self, entry: FileEntry) -> Result<()> {
        if entry.bytes == 0 {
            return self.ready(Piece::File(entry));
        }
        let bytes = entry.bytes;
        match self.file.replace((entry, bytes)) {
            None => Ok(()),
            Some(_) => Err(broken("a file is too short")),
        }
    }

    fn data(&mut self, bytes: Bytes) -> Result<()> {
        let (entry, missing) = self.file.take().ok_or_else(|| broken("data belong to no file"))?;
        let missing = missing.checked_sub(bytes.len() as u64).ok_or_else(|| broken("a file is too long"))?;
        self.cut(bytes);
        if missing > 0 {
            self.file = Some((entry, missing));
            return Ok(());
        }
        self.flush();
        self.ready(Piece::File(entry))
    }

    /// The server's manifest becomes a file like any other; its length is known only now.
    fn end_manifest(&mut self) {
        if let Some(bytes) = self.manifest_bytes.take() {
            self.flush();
            self.slots.push_back(Slot::Ready(Piece::File(FileEntry::new(BACKUP_MANIFEST, bytes, 0o600, 0))));
        }
    }

    fn cut(&mut self, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(BLOCK_BYTES - self.block.len()));
            self.block.extend_from_slice(&part);
            if self.block.len() == BLOCK_BYTES {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        if !self.block.is_empty() {
            self.work();
        }
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
