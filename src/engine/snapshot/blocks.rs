//! Cuts the files of a base backup into blocks, digested, compared and compressed off the caller's thread.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt};

use super::base::Base;
use crate::engine::error::{Context, Error, ErrorKind, Result};
use crate::engine::vault::Vault;
use crate::format::block::{self, BLOCK_BYTES_MAX, BlockError, Compression, EncodedBlock};
use crate::format::digest::Digest;
use crate::format::manifest::BlockRef;
use crate::model::FileEntry;
use crate::port::{ExecutorExt, PortError, SnapshotEnd, SnapshotEvent, SnapshotStream};

/// How files are cut, but for those that were cut otherwise before: aligned, so that what does not move need not be stored again.
///
/// Shorter blocks compress worse and make manifests longer; of longer ones more is stored again where little has changed.
const BLOCK_BYTES: usize = 128 << 10;
/// The blocks that are worked on at a time, for each thread.
const BLOCKS_AHEAD: usize = 16;

/// What a base backup consists of, in the order in which it was read.
pub(super) enum Piece {
    Directory(FileEntry),
    /// A block of the file that comes next.
    Block(Block),
    /// The file of all blocks since the last one.
    File(FileEntry),
    End(SnapshotEnd),
}

/// A block of a file.
pub(super) enum Block {
    New(EncodedBlock, Digest),
    /// What is at this place in the packs of earlier snapshots.
    Known(BlockRef),
}

impl Block {
    /// Its length before compression.
    pub(super) const fn plain_bytes(&self) -> u32 {
        match self {
            Self::New(block, _) => block.plain_bytes,
            Self::Known(place) => place.plain_bytes,
        }
    }
}

/// What PostgreSQL calls the list of files and checksums that it makes of a base backup.
const BACKUP_MANIFEST: &str = "backup_manifest";

type Job = BoxFuture<'static, Result<Result<Block, BlockError>, PortError>>;

/// A piece, or one that is still being worked on.
enum Slot {
    Ready(Piece),
    Working(Job),
}

/// A file that is being read.
struct OpenFile {
    entry: FileEntry,
    /// The bytes that are still to come.
    missing: u64,
}

/// Reads a base backup ahead of whoever takes its pieces.
pub(super) struct BlockReader {
    stream: Box<dyn SnapshotStream>,
    vault: Vault,
    compression: Compression,
    base: Base,
    file: Option<OpenFile>,
    /// How many bytes of the server's own manifest there were.
    manifest_bytes: Option<u64>,
    cutter: Cutter,
    slots: VecDeque<Slot>,
    ended: bool,
}

impl BlockReader {
    pub(super) fn new(stream: Box<dyn SnapshotStream>, vault: Vault, compression: Compression, base: Base) -> Self {
        let (cutter, slots) = (Cutter::new(Vec::new()), VecDeque::new());
        Self { stream, vault, compression, base, file: None, manifest_bytes: None, cutter, slots, ended: false }
    }

    /// The next piece; [`Piece::End`] is the last.
    pub(super) async fn next(&mut self) -> Result<Piece> {
        let ahead = self.vault.executor.parallelism().get() * BLOCKS_AHEAD;
        while !self.ended && self.slots.len() < ahead {
            self.read().await?;
        }
        match self.slots.pop_front() {
            Some(Slot::Ready(piece)) => Ok(piece),
            Some(Slot::Working(job)) => Ok(Piece::Block(job.await?.map_err(|error| Error::corrupt("a block", error))?)),
            None => Err(broken("it ended twice")),
        }
    }

    async fn read(&mut self) -> Result<()> {
        let event = self.stream.next().await.context(|| "receiving the base backup")?;
        match event.ok_or_else(|| broken("it ended without its end"))? {
            SnapshotEvent::Directory(entry) => self.ready(Piece::Directory(entry)),
            SnapshotEvent::File(entry) => self.begin(entry).await,
            SnapshotEvent::Data(bytes) => self.data(bytes),
            SnapshotEvent::Manifest(bytes) => {
                if self.manifest_bytes.is_none() {
                    self.cutter = self.cutter(BACKUP_MANIFEST).await?;
                }
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

    async fn begin(&mut self, entry: FileEntry) -> Result<()> {
        if entry.bytes == 0 {
            return self.ready(Piece::File(entry));
        }
        if self.file.is_some() {
            return Err(broken("a file is too short"));
        }
        self.cutter = self.cutter(&entry.path).await?;
        self.file = Some(OpenFile { missing: entry.bytes, entry });
        Ok(())
    }

    fn data(&mut self, bytes: Bytes) -> Result<()> {
        let OpenFile { entry, missing } = self.file.take().ok_or_else(|| broken("data belong to no file"))?;
        let missing = missing.checked_sub(bytes.len() as u64).ok_or_else(|| broken("a file is too long"))?;
        self.cut(bytes);
        if missing > 0 {
            self.file = Some(OpenFile { entry, missing });
            return Ok(());
        }
        self.end_file();
        self.ready(Piece::File(entry))
    }

    /// The server's manifest becomes a file like any other; its length is known only now.
    fn end_manifest(&mut self) {
        if let Some(bytes) = self.manifest_bytes.take() {
            self.end_file();
            self.slots.push_back(Slot::Ready(Piece::File(FileEntry::new(BACKUP_MANIFEST, bytes, 0o600, 0))));
        }
    }

    /// How the file `path` is cut.
    async fn cutter(&mut self, path: &str) -> Result<Cutter> {
        Ok(Cutter::new(self.base.file(path).await?))
    }

    fn cut(&mut self, mut bytes: Bytes) {
        while let Some((plain, known)) = self.cutter.next(&mut bytes) {
            self.work(plain, known);
        }
    }

    fn end_file(&mut self) {
        if let Some((plain, known)) = self.cutter.rest() {
            self.work(plain, known);
        }
    }

    /// Of a block that may be `known`, it is found out whether it still is.
    fn work(&mut self, plain: Bytes, known: Option<BlockRef>) {
        let (digests, compression) = (self.vault.digests.clone(), self.compression);
        let packs = Arc::clone(&self.base.packs);
        let job = self.vault.executor.run(move || {
            let digest = digests.digest(&plain);
            match packs.find(digest, plain.len(), known) {
                Some(known) => Ok(Block::Known(known)),
                None => block::encode(plain, compression).map(|block| Block::New(block, digest)),
            }
        });
        self.slots.push_back(Slot::Working(job.boxed()));
    }
}

/// Cuts a file at the places at which it was cut before.
struct Cutter {
    known: std::vec::IntoIter<BlockRef>,
    block_bytes: usize,
    block: BytesMut,
}

impl Cutter {
    /// Cuts a file that consisted of these blocks.
    fn new(known: Vec<BlockRef>) -> Self {
        Self { block_bytes: block_bytes(&known), known: known.into_iter(), block: BytesMut::new() }
    }

    /// Takes the next whole block off `bytes`, and says which it was; `None` if more must come: then all of `bytes` was taken.
    fn next(&mut self, bytes: &mut Bytes) -> Option<(Bytes, Option<BlockRef>)> {
        let missing = self.block_bytes - self.block.len();
        if self.block.is_empty() && bytes.len() >= missing {
            return Some((bytes.split_to(missing), self.known.next()));
        }
        let part = bytes.split_to(bytes.len().min(missing));
        self.block.extend_from_slice(&part);
        if self.block.len() == self.block_bytes { self.rest() } else { None }
    }

    /// The last block, if anything is left for it.
    fn rest(&mut self) -> Option<(Bytes, Option<BlockRef>)> {
        let rest = (!self.block.is_empty()).then(|| self.block.split().freeze());
        rest.map(|plain| (plain, self.known.next()))
    }
}

/// How long the blocks of a file are that consisted of `known`: as long as they were, if that can be told.
fn block_bytes(known: &[BlockRef]) -> usize {
    match known {
        [first, _, ..] if first.plain_bytes > 0 => (first.plain_bytes as usize).min(BLOCK_BYTES_MAX),
        _ => BLOCK_BYTES,
    }
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the base backup is broken: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::block::Codec;

    fn known(plain_bytes: u32, offset: u64) -> BlockRef {
        BlockRef::new(0, offset, 1, plain_bytes, Codec::Stored, Digest::new([0; 16]))
    }

    /// The blocks that a file of so many bytes is cut into, which come in pieces: how long, and which they were.
    fn cut(mut cutter: Cutter, bytes: usize, piece: usize) -> Vec<(usize, Option<u64>)> {
        let mut blocks = Vec::new();
        let mut rest = Bytes::from(vec![7; bytes]);
        while !rest.is_empty() {
            let mut piece = rest.split_to(rest.len().min(piece));
            blocks.extend(std::iter::from_fn(|| cutter.next(&mut piece)));
            assert!(piece.is_empty());
        }
        blocks.extend(cutter.rest());
        blocks.into_iter().map(|(plain, known)| (plain.len(), known.map(|known| known.offset))).collect()
    }

    #[test]
    fn a_file_is_cut_as_before_however_it_arrives() {
        for piece in [1, 3, 9, 10, 11, 25, 40] {
            let cutter = Cutter::new(vec![known(10, 0), known(10, 1), known(4, 2)]);
            let expected = [(10, Some(0)), (10, Some(1)), (10, Some(2)), (5, None)];
            assert_eq!(cut(cutter, 35, piece), expected, "it grew");
            let cutter = Cutter::new(vec![known(10, 0), known(10, 1), known(4, 2)]);
            assert_eq!(cut(cutter, 7, piece), [(7, Some(0))], "it was truncated");
        }
    }

    #[test]
    fn what_was_in_one_block_says_nothing_of_how_to_cut() {
        assert_eq!(block_bytes(&[known(10, 0)]), BLOCK_BYTES);
        assert_eq!(block_bytes(&[known(0, 0), known(0, 0)]), BLOCK_BYTES, "no writer makes such");
        let long = BLOCK_BYTES + 1;
        assert_eq!(cut(Cutter::new(Vec::new()), long, 1 << 20), [(BLOCK_BYTES, None), (1, None)]);
    }
}
