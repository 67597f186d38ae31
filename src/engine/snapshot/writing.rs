//! Writing a snapshot: blocks into packs, their places into the manifest.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::base::BasePacks;
use super::extents::{ExtentReader, Piece};
use super::findings::{Findings, Noticed};
use super::pack_writer::PackWriter;
use super::running::RunningNote;
use super::workshop::{Block, ReadExtent, Workshop};
use super::{SnapshotSettings, unlisted};
use crate::engine::error::{Error, ErrorKind, Result};
use crate::engine::progress::Progress;
use crate::engine::server::ServerRepository;
use crate::format::manifest::{
    BlockRef, Entry, Extent, Layer, Manifest, ManifestFile, ManifestHead, PackTable, PartWriter,
};
use crate::format::pack::Content;
use crate::model::{FileEntry, SharedPacks, SnapshotId, StoredObject, WalRange};
use crate::port::{ExecutorExt, SnapshotEnd, SnapshotStart};

/// The parts of a manifest are cut into blocks of so many bytes.
const PART_BLOCK_BYTES: usize = 1 << 20;

/// A snapshot that was stored, but is not in the catalog yet.
pub(super) struct Written {
    pub(super) wal: WalRange,
    pub(super) end: SnapshotEnd,
    pub(super) noticed: Noticed,
    pub(super) manifest: StoredObject,
    pub(super) logical_bytes: u64,
    /// What its own packs take.
    pub(super) pack_bytes: u64,
    pub(super) shares: Vec<SharedPacks>,
}

/// A snapshot that is being written.
pub(super) struct Writing<'a> {
    server: &'a ServerRepository,
    id: SnapshotId,
    start: SnapshotStart,
    settings: &'a SnapshotSettings,
    base: Arc<BasePacks>,
    note: &'a mut RunningNote,
    packs: PackWriter,
    /// The packs that it uses, its own and those of others.
    table: PackTable,
    part: PartWriter,
    /// Where the parts that are complete are.
    parts: Vec<Vec<BlockRef>>,
    /// Of the file that is being written.
    extents: Vec<Extent>,
    findings: Findings,
    noticed: Noticed,
    progress: Progress,
}

impl<'a> Writing<'a> {
    pub(super) fn new(
        server: &'a ServerRepository,
        id: &SnapshotId,
        start: &SnapshotStart,
        settings: &'a SnapshotSettings,
        base: Arc<BasePacks>,
        note: &'a mut RunningNote,
    ) -> Self {
        Self {
            server,
            id: id.clone(),
            start: start.clone(),
            settings,
            base,
            note,
            packs: PackWriter::new(server.clone(), id.clone()),
            table: PackTable::default(),
            part: PartWriter::default(),
            parts: Vec::new(),
            extents: Vec::new(),
            findings: Findings::default(),
            noticed: Noticed::default(),
            progress: Progress { bytes_total: start.bytes_estimate, ..Progress::default() },
        }
    }

    pub(super) async fn run(mut self, mut pieces: ExtentReader) -> Result<Written> {
        loop {
            match pieces.next().await? {
                Piece::Directory(entry) => self.entry(Entry::Directory(entry)).await?,
                Piece::Extent(extent, findings) => {
                    self.findings.add(findings);
                    self.progress.bytes += u64::from(extent.bytes);
                    self.extent(extent).await?;
                    self.settings.observer.tell(&self.progress);
                }
                Piece::File(entry) => self.file(entry).await?,
                Piece::End(end) => return self.end(end).await,
            }
            self.note.renew().await?;
        }
    }

    /// A file in which something was noticed is read again next time, whatever its stamp says.
    async fn file(&mut self, mut entry: FileEntry) -> Result<()> {
        let findings = std::mem::take(&mut self.findings);
        entry.stamp = entry.stamp.filter(|_| findings.is_empty());
        self.noticed.add(&entry.path, findings);
        if self.settings.refuses_damaged_pages {
            self.noticed.require_sound_pages()?;
        }
        let file = ManifestFile::new(entry, std::mem::take(&mut self.extents));
        self.entry(Entry::File(file)).await?;
        self.progress.files += 1;
        Ok(())
    }

    async fn extent(&mut self, ReadExtent { bytes, digest, kept, top }: ReadExtent) -> Result<()> {
        let mut layers: Vec<_> =
            kept.into_iter().map(|Layer { pages, block, .. }| Layer::new(pages, self.known(block))).collect();
        if let Some((pages, block)) = top {
            layers.push(Layer::new(pages, self.place(Content::File, block).await?));
        }
        self.extents.push(Extent::new(bytes, digest, layers));
        Ok(())
    }

    /// Where `block` is among the snapshot's packs, of which one gets it if none has it.
    async fn place(&mut self, content: Content, block: Block) -> Result<BlockRef> {
        match block {
            Block::New(block) => {
                let place = self.packs.append(content, block, &mut self.table).await?;
                self.table.add_use(place.pack, place.stored_bytes.into());
                Ok(place)
            }
            Block::Known(known) => Ok(self.known(known)),
        }
    }

    /// Where a block of an earlier snapshot is among the packs of this one.
    fn known(&mut self, block: BlockRef) -> BlockRef {
        let place = block.of_pack(self.known_pack(block.pack));
        self.table.add_use(place.pack, place.stored_bytes.into());
        place
    }

    /// The place of a pack that has the place `pack` among those of earlier snapshots.
    fn known_pack(&mut self, pack: u32) -> u32 {
        let known = self.base.table.get(pack).expect("blocks that are known are in packs of earlier snapshots");
        self.table.place(&known.id)
    }

    async fn entry(&mut self, entry: Entry) -> Result<()> {
        self.part.write(entry, &self.table).map_err(unlisted)?;
        if self.part.is_complete() { self.end_part().await } else { Ok(()) }
    }

    /// A part is shared as a whole or not at all, so that an interrupted snapshot leaves no pieces of one.
    async fn end_part(&mut self) -> Result<()> {
        let Some(mut text) = self.part.take(&self.table).map_err(unlisted)? else { return Ok(()) };
        let pieces: Vec<_> =
            std::iter::from_fn(|| (!text.is_empty()).then(|| text.split_to(text.len().min(PART_BLOCK_BYTES))))
                .collect();
        let blocks = self.part_blocks(pieces).await?;
        let (mut places, mut content) = (Vec::new(), Content::Part);
        for block in blocks {
            places.push(self.place(content, block).await?);
            content = Content::PartRest;
        }
        self.parts.push(places);
        Ok(())
    }

    fn part_blocks(&self, pieces: Vec<Bytes>) -> impl Future<Output = Result<Vec<Block>>> + Send + use<> {
        let workshop = Workshop::new(&self.server.vault, self.settings, &self.base);
        let job = self.server.vault.executor.run(move || workshop.part(pieces));
        async move { job.await?.map_err(|error| Error::corrupt("a block", error)) }
    }

    /// The packs first: a manifest never names what is not there. And only a snapshot that can be recorded gets one.
    async fn end(mut self, end: SnapshotEnd) -> Result<Written> {
        let wal = wal(&self.start, &end)?;
        self.noticed.checksum_failures += end.checksum_failures;
        if self.settings.refuses_damaged_pages {
            self.noticed.require_sound_pages()?;
        }
        self.end_part().await?;
        let counts = self.part.counts();
        let pack_bytes = self.packs.finish().await?;
        let shares = shares(&self.id, &self.table, &self.base);
        let head = ManifestHead::new(self.start.incarnation, self.id.clone(), self.start.tablespaces.clone());
        let manifest = Manifest::new(head, self.table, self.parts, counts);
        // Whoever was swept away meanwhile leaves no manifest, which would look as if its record had been lost.
        self.note.confirm().await?;
        let manifest = write_manifest(self.server, &self.id, &manifest).await?;
        Ok(Written { wal, end, noticed: self.noticed, manifest, logical_bytes: counts.bytes, pack_bytes, shares })
    }
}

async fn write_manifest(server: &ServerRepository, id: &SnapshotId, manifest: &Manifest) -> Result<StoredObject> {
    let writer = server.vault.create(&server.layout.manifest(id)).await?;
    let lines = stream::iter(manifest.print()).map(|line| line.map_err(unlisted));
    let written = lines.try_fold(writer, async |writer, line| writer.write(&line).await);
    written.await?.finish().await
}

/// What the snapshot `id` uses of the packs of others.
fn shares(id: &SnapshotId, table: &PackTable, base: &BasePacks) -> Vec<SharedPacks> {
    let mut shares = BTreeMap::<_, (u64, u64)>::new();
    for pack in table.iter().filter(|pack| pack.id.snapshot != *id) {
        let (used, held) = shares.entry(&pack.id.snapshot).or_default();
        *used += pack.bytes;
        *held += base.size(&pack.id);
    }
    shares.into_iter().map(|(id, (used, held))| SharedPacks::new(id.clone(), used, held)).collect()
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
