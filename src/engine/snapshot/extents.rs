//! Cuts the files of a base backup into extents, digested, compared and compressed off the caller's thread.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt};

use super::SnapshotSettings;
use super::base::Base;
use super::cutter::Cutter;
use super::findings::Findings;
use super::workshop::{ReadExtent, Workshop};
use crate::engine::error::{Context, Error, ErrorKind, Result};
use crate::engine::vault::Vault;
use crate::format::manifest::{EXTENT_BYTES, Extent};
use crate::model::FileEntry;
use crate::port::{ExecutorExt, FileReader, PortError, SnapshotEnd, SnapshotEvent, SnapshotStream};

/// The extents that are worked on at a time, for each thread.
const EXTENTS_AHEAD: usize = 16;
/// And in all, however many threads there are: each may keep a file open, of which a process may have 1024 by default.
const EXTENTS_AHEAD_MAX: usize = 256;
/// And how many bytes they may have, for each thread, and in all.
const BYTES_AHEAD: usize = 8 * EXTENT_BYTES;
const BYTES_AHEAD_MAX: usize = 8 * BYTES_AHEAD;

/// What a base backup consists of, in the order in which it was read.
pub(super) enum Piece {
    Directory(FileEntry),
    /// An extent of the file that comes next, and what was noticed when it was read.
    Extent(ReadExtent, Findings),
    /// The file of all extents since the last one.
    File(FileEntry),
    End(SnapshotEnd),
}

/// What PostgreSQL calls the list of files and checksums that it makes of a base backup.
const BACKUP_MANIFEST: &str = "backup_manifest";

/// A piece, or an extent that is still being worked on.
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
    /// Its stamp says that nothing has changed.
    is_stamped: bool,
}

/// Reads a base backup ahead of whoever takes its pieces.
pub(super) struct ExtentReader {
    /// `None` once it has ended.
    stream: Option<Box<dyn SnapshotStream>>,
    vault: Vault,
    settings: SnapshotSettings,
    base: Base,
    file: Option<OpenFile>,
    reading: Option<Reading>,
    /// How many bytes of the server's own manifest there were.
    manifest_bytes: Option<u64>,
    /// What is known of the extents of the file that are to come.
    known: std::vec::IntoIter<Extent>,
    cutter: Cutter,
    /// What is ahead, each with the bytes that are worked on.
    slots: VecDeque<(usize, Slot)>,
    bytes_ahead: usize,
    /// Everything has come.
    is_complete: bool,
}

impl ExtentReader {
    pub(super) fn new(stream: Box<dyn SnapshotStream>, vault: Vault, settings: &SnapshotSettings, base: Base) -> Self {
        Self {
            stream: Some(stream),
            vault,
            settings: settings.clone(),
            base,
            file: None,
            reading: None,
            manifest_bytes: None,
            known: Vec::new().into_iter(),
            cutter: Cutter::default(),
            slots: VecDeque::new(),
            bytes_ahead: 0,
            is_complete: false,
        }
    }

    /// The next piece; [`Piece::End`] is the last.
    pub(super) async fn next(&mut self) -> Result<Piece> {
        loop {
            while !self.is_complete && self.has_room() {
                self.read().await?;
            }
            let Some((bytes, slot)) = self.slots.pop_front() else {
                self.end().await?;
                continue;
            };
            self.bytes_ahead -= bytes;
            return match slot {
                Slot::Ready(piece) => Ok(piece),
                Slot::Working(job) => job.await?,
            };
        }
    }

    fn has_room(&self) -> bool {
        let threads = self.vault.executor.parallelism().get();
        let extents = threads.saturating_mul(EXTENTS_AHEAD).min(EXTENTS_AHEAD_MAX);
        let bytes = threads.saturating_mul(BYTES_AHEAD).min(BYTES_AHEAD_MAX);
        self.slots.len() < extents && self.bytes_ahead < bytes
    }

    async fn read(&mut self) -> Result<()> {
        if let Some(reading) = self.reading.take() {
            return self.read_extent(reading).await;
        }
        let stream = self.stream.as_mut().ok_or_else(|| broken("it goes on after its end"))?;
        match stream.next().await.context(|| "receiving the base backup")? {
            Some(SnapshotEvent::Directory(entry)) => self.ready(Piece::Directory(entry)),
            Some(SnapshotEvent::Readable(entry, file)) => self.begin_reading(entry, file).await,
            Some(SnapshotEvent::File(entry)) => self.begin(entry).await,
            Some(SnapshotEvent::Data(bytes)) => self.data(bytes).await,
            Some(SnapshotEvent::Manifest(bytes)) => self.manifest(bytes).await,
            None => {
                self.is_complete = true;
                self.end_manifest().await
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
                self.data(content).await?;
            }
        }
        self.ready(Piece::End(end))
    }

    fn ready(&mut self, piece: Piece) -> Result<()> {
        self.require_whole_file()?;
        self.slots.push_back((0, Slot::Ready(piece)));
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
        let known = known.map(|known| known.extents).unwrap_or_default();
        if is_stamped && !self.settings.reads_all && self.base.packs.has_all(known.iter().flat_map(Extent::blocks)) {
            return self.unchanged(entry, known);
        }
        if entry.bytes == 0 {
            return self.ready(Piece::File(entry));
        }
        self.known = known.into_iter();
        self.reading = Some(Reading { entry, file, offset: 0, is_stamped });
        Ok(())
    }

    fn unchanged(&mut self, entry: FileEntry, known: Vec<Extent>) -> Result<()> {
        for Extent { bytes, digest, layers, .. } in known {
            let extent = ReadExtent { bytes, digest, kept: layers, top: None };
            self.ready(Piece::Extent(extent, Findings::default()))?;
        }
        self.ready(Piece::File(entry))
    }

    /// Begins to read the next extent, and is not done before the last one.
    async fn read_extent(&mut self, mut reading: Reading) -> Result<()> {
        let missing = usize::try_from(reading.entry.bytes - reading.offset).unwrap_or(usize::MAX);
        let (file, offset, bytes) = (Arc::clone(&reading.file), reading.offset, missing.min(EXTENT_BYTES));
        file.admit(bytes).await;
        let read = move || {
            let mut plain = BytesMut::zeroed(bytes);
            let damaged = file.read_at(offset, &mut plain)?;
            Ok((plain.freeze(), damaged))
        };
        self.work(bytes, read, reading.is_stamped).await?;
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
        self.expect(&entry.path).await?;
        self.file = Some(OpenFile { missing: entry.bytes, entry });
        Ok(())
    }

    async fn data(&mut self, bytes: Bytes) -> Result<()> {
        let OpenFile { entry, missing } = self.file.take().ok_or_else(|| broken("data belong to no file"))?;
        let missing = missing.checked_sub(bytes.len() as u64).ok_or_else(|| broken("a file is too long"))?;
        self.cut(bytes).await?;
        if missing > 0 {
            self.file = Some(OpenFile { entry, missing });
            return Ok(());
        }
        self.end_file().await?;
        self.ready(Piece::File(entry))
    }

    async fn manifest(&mut self, bytes: Bytes) -> Result<()> {
        if self.manifest_bytes.is_none() {
            self.expect(BACKUP_MANIFEST).await?;
        }
        *self.manifest_bytes.get_or_insert_default() += bytes.len() as u64;
        self.cut(bytes).await
    }

    /// The server's manifest becomes a file like any other; its length is known only now.
    async fn end_manifest(&mut self) -> Result<()> {
        let Some(bytes) = self.manifest_bytes.take() else { return Ok(()) };
        self.end_file().await?;
        self.ready(Piece::File(FileEntry::new(BACKUP_MANIFEST, bytes, 0o600, 0)))
    }

    /// The content of the file `path` comes next.
    async fn expect(&mut self, path: &str) -> Result<()> {
        let known = self.base.file(path).await?;
        self.known = known.map(|known| known.extents).unwrap_or_default().into_iter();
        Ok(())
    }

    async fn cut(&mut self, mut bytes: Bytes) -> Result<()> {
        while let Some(plain) = self.cutter.next(&mut bytes) {
            self.received(plain).await?;
        }
        Ok(())
    }

    async fn end_file(&mut self) -> Result<()> {
        match self.cutter.rest() {
            Some(plain) => self.received(plain).await,
            None => Ok(()),
        }
    }

    async fn received(&mut self, plain: Bytes) -> Result<()> {
        self.work(plain.len(), || Ok((plain, Vec::new())), false).await
    }

    /// Begins to work on the next extent of the file. Of one that may be known, it is found out whether it still is; if it must be,
    /// whether it is not.
    async fn work(
        &mut self,
        bytes: usize,
        read: impl FnOnce() -> Result<(Bytes, Vec<u32>), PortError> + Send + 'static,
        must_be_known: bool,
    ) -> Result<()> {
        let known = match self.known.next() {
            Some(extent) => Some(self.base.known(extent).await?),
            None => None,
        };
        let workshop = Workshop::new(&self.vault, &self.settings, &self.base.packs);
        let job = self.vault.executor.run(move || {
            let (plain, damaged_pages) = read().context(|| "reading a file of the server")?;
            let bytes = plain.len();
            let extent = workshop.extent(plain, known.as_ref()).map_err(|error| Error::corrupt("a block", error))?;
            let is_known = known.is_some_and(|known| known.extent.is_of(extent.digest, bytes));
            Ok(Piece::Extent(extent, Findings { damaged_pages, contradicts: must_be_known && !is_known }))
        });
        self.bytes_ahead += bytes;
        self.slots.push_back((bytes, Slot::Working(job.boxed())));
        Ok(())
    }
}

/// Whether `now` is the file that was `then`, and has its content.
fn is_same(then: &FileEntry, now: &FileEntry) -> bool {
    now.stamp.is_some() && (then.stamp, then.bytes) == (now.stamp, now.bytes)
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the base backup is broken: {what}"))
}
