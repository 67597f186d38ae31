//! Cuts the files of a base backup into blocks, digested, compared and compressed off the caller's thread.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt};

use super::SnapshotSettings;
use super::base::Base;
use super::cutter::{Cutter, block_bytes};
use super::findings::Findings;
use crate::engine::error::{Context, Error, ErrorKind, Result};
use crate::engine::vault::Vault;
use crate::format::block::{self, EncodedBlock};
use crate::format::digest::Digest;
use crate::format::manifest::BlockRef;
use crate::model::FileEntry;
use crate::port::{ExecutorExt, FileReader, PortError, SnapshotEnd, SnapshotEvent, SnapshotStream};

/// The blocks that are worked on at a time, for each thread.
const BLOCKS_AHEAD: usize = 16;
/// And in all, however many threads there are: each block may keep a file open, of which a process may have 1024 by default.
const BLOCKS_AHEAD_MAX: usize = 256;

/// What a base backup consists of, in the order in which it was read.
pub(super) enum Piece {
    Directory(FileEntry),
    /// A block of the file that comes next, and what was noticed when it was read.
    Block(Block, Findings),
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

/// A piece, or a block that is still being worked on.
enum Slot {
    Ready(Piece),
    Working(BoxFuture<'static, Result<Result<Piece>, PortError>>),
}

/// A file whose content arrives.
struct OpenFile {
    entry: FileEntry,
    /// The bytes that are still to come.
    missing: u64,
}

/// A file that is read where it lies.
struct Reading {
    entry: FileEntry,
    file: Arc<dyn FileReader>,
    /// What was read, or is being read.
    offset: u64,
    block_bytes: usize,
    known: std::vec::IntoIter<BlockRef>,
    /// Its stamp says that nothing has changed.
    is_stamped: bool,
}

/// Reads a base backup ahead of whoever takes its pieces.
pub(super) struct BlockReader {
    /// `None` once it has ended.
    stream: Option<Box<dyn SnapshotStream>>,
    vault: Vault,
    settings: SnapshotSettings,
    base: Base,
    file: Option<OpenFile>,
    reading: Option<Reading>,
    /// How many bytes of the server's own manifest there were.
    manifest_bytes: Option<u64>,
    cutter: Cutter,
    slots: VecDeque<Slot>,
    /// Everything has come.
    is_complete: bool,
}

impl BlockReader {
    pub(super) fn new(stream: Box<dyn SnapshotStream>, vault: Vault, settings: &SnapshotSettings, base: Base) -> Self {
        Self {
            stream: Some(stream),
            vault,
            settings: settings.clone(),
            base,
            file: None,
            reading: None,
            manifest_bytes: None,
            cutter: Cutter::new(Vec::new()),
            slots: VecDeque::new(),
            is_complete: false,
        }
    }

    /// The next piece; [`Piece::End`] is the last.
    pub(super) async fn next(&mut self) -> Result<Piece> {
        let ahead = (self.vault.executor.parallelism().get() * BLOCKS_AHEAD).min(BLOCKS_AHEAD_MAX);
        loop {
            while !self.is_complete && self.slots.len() < ahead {
                self.read().await?;
            }
            match self.slots.pop_front() {
                Some(Slot::Ready(piece)) => return Ok(piece),
                Some(Slot::Working(job)) => return job.await?,
                None => self.end().await?,
            }
        }
    }

    async fn read(&mut self) -> Result<()> {
        if let Some(reading) = self.reading.take() {
            return self.read_block(reading).await;
        }
        let stream = self.stream.as_mut().ok_or_else(|| broken("it goes on after its end"))?;
        match stream.next().await.context(|| "receiving the base backup")? {
            Some(SnapshotEvent::Directory(entry)) => self.ready(Piece::Directory(entry)),
            Some(SnapshotEvent::Readable(entry, file)) => self.begin_reading(entry, file).await,
            Some(SnapshotEvent::File(entry)) => self.begin(entry).await,
            Some(SnapshotEvent::Data(bytes)) => self.data(bytes),
            Some(SnapshotEvent::Manifest(bytes)) => self.manifest(bytes).await,
            None => {
                self.is_complete = true;
                self.end_manifest()
            }
        }
    }

    /// Ends the backup: everything was read, as all that was being worked on is done.
    async fn end(&mut self) -> Result<()> {
        let stream = self.stream.take().ok_or_else(|| broken("it ended twice"))?;
        let mut end = stream.end().await.context(|| "ending the base backup")?;
        for (entry, content) in std::mem::take(&mut end.files) {
            self.begin(entry).await?;
            if !content.is_empty() {
                self.data(content)?;
            }
        }
        self.ready(Piece::End(end))
    }

    fn ready(&mut self, piece: Piece) -> Result<()> {
        self.require_whole_file()?;
        self.slots.push_back(Slot::Ready(piece));
        Ok(())
    }

    fn require_whole_file(&self) -> Result<()> {
        if self.file.is_some() { Err(broken("a file is too short")) } else { Ok(()) }
    }

    /// Of a file that has not changed, nothing is read.
    async fn begin_reading(&mut self, entry: FileEntry, file: Arc<dyn FileReader>) -> Result<()> {
        self.require_whole_file()?;
        let known = self.base.file(&entry.path).await?;
        let is_stamped = known.as_ref().is_some_and(|known| is_same(&known.entry, &entry));
        let known = known.map(|known| known.blocks).unwrap_or_default();
        if is_stamped && !self.settings.reads_all && self.base.packs.has_all(&known) {
            return self.unchanged(entry, known);
        }
        if entry.bytes == 0 {
            return self.ready(Piece::File(entry));
        }
        let block_bytes = block_bytes(&known);
        self.reading = Some(Reading { entry, file, offset: 0, block_bytes, known: known.into_iter(), is_stamped });
        Ok(())
    }

    fn unchanged(&mut self, entry: FileEntry, known: Vec<BlockRef>) -> Result<()> {
        for block in known {
            self.ready(Piece::Block(Block::Known(block), Findings::default()))?;
        }
        self.ready(Piece::File(entry))
    }

    /// Begins to read the next block, and is not done before the last one.
    async fn read_block(&mut self, mut reading: Reading) -> Result<()> {
        let missing = usize::try_from(reading.entry.bytes - reading.offset).unwrap_or(usize::MAX);
        let (file, offset, bytes) = (Arc::clone(&reading.file), reading.offset, missing.min(reading.block_bytes));
        file.admit(bytes).await;
        let read = move || {
            let mut plain = BytesMut::zeroed(bytes);
            let damaged = file.read_at(offset, &mut plain)?;
            Ok((plain.freeze(), damaged))
        };
        self.work(read, reading.known.next(), reading.is_stamped);
        if bytes == missing {
            return self.ready(Piece::File(reading.entry));
        }
        reading.offset += bytes as u64;
        self.reading = Some(reading);
        Ok(())
    }

    async fn begin(&mut self, entry: FileEntry) -> Result<()> {
        if entry.bytes == 0 {
            return self.ready(Piece::File(entry));
        }
        self.require_whole_file()?;
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

    async fn manifest(&mut self, bytes: Bytes) -> Result<()> {
        if self.manifest_bytes.is_none() {
            self.cutter = self.cutter(BACKUP_MANIFEST).await?;
        }
        *self.manifest_bytes.get_or_insert_default() += bytes.len() as u64;
        self.cut(bytes);
        Ok(())
    }

    /// The server's manifest becomes a file like any other; its length is known only now.
    fn end_manifest(&mut self) -> Result<()> {
        let Some(bytes) = self.manifest_bytes.take() else { return Ok(()) };
        self.end_file();
        self.ready(Piece::File(FileEntry::new(BACKUP_MANIFEST, bytes, 0o600, 0)))
    }

    /// How the file `path` is cut.
    async fn cutter(&mut self, path: &str) -> Result<Cutter> {
        let known = self.base.file(path).await?;
        Ok(Cutter::new(known.map(|known| known.blocks).unwrap_or_default()))
    }

    fn cut(&mut self, mut bytes: Bytes) {
        while let Some((plain, known)) = self.cutter.next(&mut bytes) {
            self.work(|| Ok((plain, Vec::new())), known, false);
        }
    }

    fn end_file(&mut self) {
        if let Some((plain, known)) = self.cutter.rest() {
            self.work(|| Ok((plain, Vec::new())), known, false);
        }
    }

    /// Of a block that may be `known`, it is found out whether it still is; if it must be, whether it is not.
    fn work(
        &mut self,
        read: impl FnOnce() -> Result<(Bytes, Vec<u32>), PortError> + Send + 'static,
        known: Option<BlockRef>,
        must_be_known: bool,
    ) {
        let (digests, compression) = (self.vault.digests.clone(), self.settings.compression);
        let packs = Arc::clone(&self.base.packs);
        let job = self.vault.executor.run(move || {
            let (plain, damaged_pages) = read().context(|| "reading a file of the server")?;
            let digest = digests.digest(&plain);
            let is_known = known.is_some_and(|known| known.is_of(digest, plain.len()));
            let block = match packs.find(digest, plain.len(), known) {
                Some(known) => Block::Known(known),
                None => Block::New(
                    block::encode(plain, compression).map_err(|error| Error::corrupt("a block", error))?,
                    digest,
                ),
            };
            Ok(Piece::Block(block, Findings { damaged_pages, contradicts: must_be_known && !is_known }))
        });
        self.slots.push_back(Slot::Working(job.boxed()));
    }
}

/// Whether `now` is the file that was `then`, and has its content.
fn is_same(then: &FileEntry, now: &FileEntry) -> bool {
    now.stamp.is_some() && (then.stamp, then.bytes) == (now.stamp, now.bytes)
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the base backup is broken: {what}"))
}
