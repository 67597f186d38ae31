//! Snapshots: streams a base backup into the repository.

mod blocks;
mod pack;

use std::sync::Arc;

use self::blocks::{BlockReader, Piece};
use self::pack::PackWriter;
use super::error::{Context, Error, ErrorKind, Result};
use super::progress::{Observer, Progress};
use super::repository::ServerRepository;
use super::vault::VaultWriter;
use crate::format::block::Compression;
use crate::format::manifest::{BlockRef, ManifestError, ManifestFile, ManifestHead, ManifestWriter};
use crate::model::{Snapshot, SnapshotId, StoredObject, Timestamp, WalRange};
use crate::port::{SnapshotEnd, SnapshotSource, SnapshotStart};

/// How snapshots are taken.
#[derive(Clone, Debug, Default)]
pub struct SnapshotSettings {
    compression: Compression,
    observer: Observer<Progress>,
}

impl SnapshotSettings {
    /// How blocks are compressed.
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// Who is told of progress.
    #[must_use]
    pub fn observer(self, observer: Observer<Progress>) -> Self {
        Self { observer, ..self }
    }
}

/// A snapshot that was taken, and what was noticed on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotReport {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// How many pages the server found to have a wrong checksum. They were stored as they are.
    pub checksum_failures: u64,
}

/// Takes snapshots of one server.
#[derive(Debug)]
pub struct Snapshotter {
    server: ServerRepository,
    source: Arc<dyn SnapshotSource>,
    settings: SnapshotSettings,
}

impl Snapshotter {
    /// Takes snapshots of `server`, as `source` gives it.
    #[must_use]
    pub fn new(server: &ServerRepository, source: Arc<dyn SnapshotSource>) -> Self {
        Self { server: server.clone(), source, settings: SnapshotSettings::default() }
    }

    /// With these settings.
    #[must_use]
    pub fn settings(self, settings: SnapshotSettings) -> Self {
        Self { settings, ..self }
    }

    /// Takes a full snapshot.
    ///
    /// It is in the catalog when this returns, and not before. It can be restored from once the log from its start to its
    /// end is archived too, which is the [`Archiver`](super::Archiver)'s part. Memory is bounded, whatever the server's
    /// size.
    ///
    /// # Errors
    /// Then there is no snapshot; packs that were finished stay behind, unreferenced. Only where the answer to the very last
    /// write was lost, the snapshot may be there after all, whole. [`ErrorKind::InvalidInput`] if the
    /// source is another server, or changed its timeline meanwhile.
    pub async fn take(&self) -> Result<SnapshotReport> {
        let id = self.new_id()?;
        let stream = self.source.begin(&format!("pitr {id}")).await.context(|| "beginning a base backup")?;
        let start = stream.start().clone();
        self.server.admit(start.incarnation).await?;
        let executor = Arc::clone(&self.server.vault.executor);
        let reader = BlockReader::new(stream, executor, self.settings.compression);
        let written = Writing::begin(self, &id, &start).await?.run(reader).await?;
        self.record(id, &start, written).await
    }

    /// Puts the snapshot into the catalog.
    async fn record(&self, id: SnapshotId, start: &SnapshotStart, written: Written) -> Result<SnapshotReport> {
        let Written { wal, end, manifest, logical_bytes, pack_bytes } = written;
        let stored_bytes = pack_bytes + manifest.bytes;
        let SnapshotStart { incarnation, segment_size, role, .. } = *start;
        let mut snapshot = Snapshot::full(id, incarnation, wal, segment_size, end.at, manifest);
        (snapshot.role, snapshot.logical_bytes, snapshot.stored_bytes) = (role, logical_bytes, stored_bytes);
        let name = self.server.layout.snapshot(incarnation, &snapshot.id);
        self.server.write_record(&name, &snapshot).await?;
        Ok(SnapshotReport { snapshot, checksum_failures: end.checksum_failures })
    }

    /// A name that begins with the time, so that names sort by age, and ends at random.
    fn new_id(&self) -> Result<SnapshotId> {
        let mut random = [0; 4];
        self.server.vault.entropy.fill(&mut random).context(|| "drawing a name")?;
        let time = compact(self.server.clock.now());
        let text = format!("{time}-{:08x}", u32::from_be_bytes(random));
        Ok(text.parse().expect("digits and letters joined by a dash are a snapshot ID"))
    }
}

/// `2026-11-23T21:09:08.000001Z` as `20261123T210908Z`.
fn compact(time: Timestamp) -> String {
    let text = time.to_string();
    let whole = text.split('.').next().unwrap_or_default();
    format!("{}Z", whole.replace(['-', ':'], ""))
}

/// A snapshot that was stored, but is not in the catalog yet.
struct Written {
    wal: WalRange,
    end: SnapshotEnd,
    manifest: StoredObject,
    logical_bytes: u64,
    pack_bytes: u64,
}

/// A snapshot that is being written: blocks into packs, their places into the manifest.
struct Writing {
    start: SnapshotStart,
    packs: PackWriter,
    lines: ManifestWriter,
    manifest: VaultWriter,
    /// Of the file that is being written.
    blocks: Vec<BlockRef>,
    observer: Observer<Progress>,
    progress: Progress,
}

impl Writing {
    async fn begin(snapshotter: &Snapshotter, id: &SnapshotId, start: &SnapshotStart) -> Result<Self> {
        let Snapshotter { server, settings, .. } = snapshotter;
        let head = ManifestHead::new(start.incarnation, id.clone(), start.tablespaces.clone());
        let (lines, head) = ManifestWriter::begin(head).map_err(unlisted)?;
        let manifest = server.vault.create(&server.layout.manifest(id)).await?.write(&head).await?;
        let packs = PackWriter::new(server.clone(), id.clone());
        let progress = Progress { bytes_total: start.bytes_estimate, ..Progress::default() };
        let (start, observer) = (start.clone(), settings.observer.clone());
        Ok(Self { start, packs, lines, manifest, blocks: Vec::new(), observer, progress })
    }

    async fn run(mut self, mut pieces: BlockReader) -> Result<Written> {
        loop {
            match pieces.next().await? {
                Piece::Directory(entry) => {
                    let line = self.lines.directory(entry).map_err(unlisted)?;
                    self.manifest = self.manifest.write(&line).await?;
                }
                Piece::Block(block, digest) => {
                    self.progress.bytes += u64::from(block.plain_bytes);
                    self.blocks.push(self.packs.append(block, digest).await?);
                    self.observer.tell(&self.progress);
                }
                Piece::File(entry) => {
                    let file = ManifestFile::new(entry, std::mem::take(&mut self.blocks));
                    let line = self.lines.file(file).map_err(unlisted)?;
                    self.manifest = self.manifest.write(&line).await?;
                    self.progress.files += 1;
                }
                Piece::End(end) => return self.end(end).await,
            }
        }
    }

    /// The packs first: a manifest never names what is not there. And only a snapshot that can be recorded gets one.
    async fn end(self, end: SnapshotEnd) -> Result<Written> {
        let wal = wal(&self.start, &end)?;
        let pack_bytes = self.packs.finish().await?;
        let logical_bytes = self.lines.counts().bytes;
        let manifest = self.manifest.write(&self.lines.end()).await?.finish().await?;
        Ok(Written { wal, end, manifest, logical_bytes, pack_bytes })
    }
}

/// The log that makes the snapshot consistent.
fn wal(start: &SnapshotStart, end: &SnapshotEnd) -> Result<WalRange> {
    if end.timeline != start.timeline {
        let context =
            format!("the server moved from timeline {} to {} meanwhile: try again", start.timeline, end.timeline);
        return Err(Error::new(ErrorKind::InvalidInput, context));
    }
    WalRange::new(start.timeline, start.lsn, end.lsn).map_err(|error| Error::corrupt("the base backup", error))
}

/// The server holds something that no manifest can tell.
fn unlisted(error: ManifestError) -> Error {
    Error::new(ErrorKind::InvalidInput, "listing the files of the snapshot").caused_by(error)
}
