//! Verifying manifests: that they are whole, and that the blocks they name are those of the packs.

use futures::stream::{self, BoxStream, StreamExt};

use super::{Examined, Place, Verification, VerifyDepth};
use crate::engine::error::{Error, Result};
use crate::engine::inventory::blame;
use crate::engine::manifest;
use crate::engine::packs::Packs;
use crate::format::digest::Digest;
use crate::format::manifest::{BlockRef, Entry, Extent, Manifest, ManifestCounts, ManifestError, parse_part};
use crate::model::{Catalog, ObjectKey, Snapshot};
use crate::port::ExecutorExt;

/// How many manifests are read at a time.
const MANIFESTS_IN_FLIGHT: usize = 2;

/// A manifest that was verified.
pub(super) struct ReadManifest<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// What was found; `None` if it comes before where the verification begins.
    pub(super) examined: Option<Examined>,
    /// The manifest, if it is sound.
    pub(super) manifest: Option<Manifest>,
}

impl Verification {
    /// Verifies the manifests of all snapshots, in order.
    pub(super) fn manifests<'a>(&'a self, catalog: &'a Catalog) -> BoxStream<'a, Result<ReadManifest<'a>>> {
        let read = |snapshot| self.manifest(snapshot);
        stream::iter(catalog.snapshots()).map(read).buffered(MANIFESTS_IN_FLIGHT).boxed()
    }

    async fn manifest<'a>(&self, snapshot: &'a Snapshot) -> Result<ReadManifest<'a>> {
        let is_due = self.is_due(&Place::Manifest(snapshot.id.clone()));
        let read = match manifest::read(&self.server, snapshot).await {
            Ok(manifest) if is_due && self.depth == VerifyDepth::Full => {
                let check = Check::new(self, &snapshot.manifest.key, &manifest);
                check.run(&manifest).await.map(|()| manifest)
            }
            read => read,
        };
        let (examined, manifest) = Examined::of(snapshot.manifest.clone(), read)?;
        Ok(ReadManifest { snapshot, examined: is_due.then_some(examined), manifest })
    }
}

/// What a manifest says of a block is not what its pack says.
#[derive(Debug, thiserror::Error)]
#[error("a block of {what} should be at {offset} of {pack}, which has another one there")]
struct WrongPlace {
    what: String,
    offset: u64,
    pack: ObjectKey,
}

/// What a manifest says of an extent is not what its blocks make up.
#[derive(Debug, thiserror::Error)]
#[error("the blocks of an extent of {what} make up another one than its digest {digest} says")]
struct WrongExtent {
    what: String,
    digest: Digest,
}

/// Compares a manifest with the packs. Faults of packs are not its matter: these are verified for themselves.
struct Check<'a> {
    verification: &'a Verification,
    name: &'a ObjectKey,
    packs: Packs,
}

impl<'a> Check<'a> {
    fn new(verification: &'a Verification, name: &'a ObjectKey, manifest: &Manifest) -> Self {
        let packs = manifest::packs_of(&verification.server, manifest);
        Self { verification, name, packs }
    }

    async fn run(self, manifest: &Manifest) -> Result<()> {
        let (mut found, mut is_complete) = (ManifestCounts::default(), true);
        for (number, blocks) in manifest.parts.iter().enumerate() {
            for block in blocks {
                self.block(block, || format!("part {number} of the manifest")).await?;
            }
            match self.part(blocks).await? {
                Some(entries) => self.entries(&entries, &mut found).await?,
                None => is_complete = false,
            }
        }
        let expected = manifest.counts;
        if !is_complete || found == expected {
            return Ok(());
        }
        Err(Error::corrupt(self.name, ManifestError::Counts { expected, found }))
    }

    /// The entries of a part; `None` if its pack is damaged.
    async fn part(&self, blocks: &[BlockRef]) -> Result<Option<Vec<Entry>>> {
        let Ok(text) = blame(self.name.clone(), self.packs.fetch_whole(blocks).await)? else { return Ok(None) };
        let packs = self.packs.clone();
        let parsed = self.verification.server.vault.executor.run(move || parse_part(&text, packs.table())).await?;
        parsed.map(Some).map_err(|error| Error::corrupt(self.name, error))
    }

    async fn entries(&self, entries: &[Entry], found: &mut ManifestCounts) -> Result<()> {
        for entry in entries {
            found.add(entry);
            if let Entry::File(file) = entry {
                for extent in &file.extents {
                    self.extent(extent, || format!("{:?}", file.entry.path)).await?;
                }
            }
        }
        Ok(())
    }

    /// Of an extent that is one block, nothing more is to be known than that it is there.
    async fn extent(&self, extent: &Extent, what: impl Fn() -> String + Send + Sync) -> Result<()> {
        for layer in &extent.layers {
            self.block(&layer.block, &what).await?;
        }
        if extent.as_whole().is_some() {
            return Ok(());
        }
        let pages: Option<Vec<_>> = self.packs.page_digests(extent).await?.into_iter().collect();
        let digest = extent.digest;
        if pages.is_none_or(|pages| self.verification.server.vault.digests.of_pages(&pages) == digest) {
            return Ok(());
        }
        Err(Error::corrupt(self.name, WrongExtent { what: what(), digest }))
    }

    async fn block(&self, block: &BlockRef, what: impl Fn() -> String + Send) -> Result<()> {
        let Some(index) = self.packs.index(block.pack).await? else { return Ok(()) };
        let found = index.find(block.offset).map(|entry| self.packs.block(block.pack, &index, entry));
        if found == Some(*block) {
            return Ok(());
        }
        let (offset, pack) = (block.offset, self.packs.key(block.pack));
        Err(Error::corrupt(self.name, WrongPlace { what: what(), offset, pack }))
    }
}
