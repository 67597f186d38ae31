//! Verifying manifests: that they are whole, and that the blocks they name are those of the packs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};

use super::{Examined, Place, Verification, VerifyDepth};
use crate::engine::error::{Error, Result};
use crate::engine::inventory::blame;
use crate::engine::manifest;
use crate::engine::packs::Packs;
use crate::format::manifest::{BlockRef, Entry, Manifest, ManifestCounts, ManifestError, parse_part};
use crate::format::pack::PackEntry;
use crate::model::{Catalog, ObjectKey, Snapshot};
use crate::port::ExecutorExt;

/// How many manifests are read at a time.
const MANIFESTS_IN_FLIGHT: usize = 2;
/// How many packs' indexes are remembered: files that follow each other are mostly in few packs.
const INDEXES_REMEMBERED: usize = 128;

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

/// Compares a manifest with the packs. Faults of packs are not its matter: these are verified for themselves.
struct Check<'a> {
    verification: &'a Verification,
    name: &'a ObjectKey,
    packs: Packs,
    /// The one that was used last comes last; `None` for packs that cannot be read.
    indexes: VecDeque<(u32, Option<Arc<Index>>)>,
}

/// The blocks of a pack, by where they begin.
type Index = BTreeMap<u64, PackEntry>;

impl<'a> Check<'a> {
    fn new(verification: &'a Verification, name: &'a ObjectKey, manifest: &Manifest) -> Self {
        let packs = manifest::packs_of(&verification.server, manifest);
        Self { verification, name, packs, indexes: VecDeque::new() }
    }

    async fn run(mut self, manifest: &Manifest) -> Result<()> {
        let (mut found, mut is_complete) = (ManifestCounts::default(), true);
        for (number, blocks) in manifest.parts.iter().enumerate() {
            self.blocks(blocks, || format!("part {number} of the manifest")).await?;
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

    async fn entries(&mut self, entries: &[Entry], found: &mut ManifestCounts) -> Result<()> {
        for entry in entries {
            found.add(entry);
            if let Entry::File(file) = entry {
                self.blocks(&file.blocks, || format!("{:?}", file.entry.path)).await?;
            }
        }
        Ok(())
    }

    async fn blocks(&mut self, blocks: &[BlockRef], what: impl Fn() -> String) -> Result<()> {
        for block in blocks {
            let index = self.index(block.pack).await?;
            if index.is_some_and(|index| !has(&index, block)) {
                let (offset, pack) = (block.offset, self.packs.key(block.pack));
                return Err(Error::corrupt(self.name, WrongPlace { what: what(), offset, pack }));
            }
        }
        Ok(())
    }

    async fn index(&mut self, pack: u32) -> Result<Option<Arc<Index>>> {
        let found = self.indexes.iter().rposition(|(known, _)| *known == pack);
        let index = match found.and_then(|place| self.indexes.remove(place)) {
            Some((_, index)) => index,
            None => self.read_index(pack).await?,
        };
        if self.indexes.len() >= INDEXES_REMEMBERED {
            self.indexes.pop_front();
        }
        self.indexes.push_back((pack, index.clone()));
        Ok(index)
    }

    async fn read_index(&self, pack: u32) -> Result<Option<Arc<Index>>> {
        let read = blame(self.packs.key(pack), self.packs.index(pack).await)?;
        Ok(read.ok().map(|index| Arc::new(index.blocks().map(|(offset, entry)| (offset, *entry)).collect())))
    }
}

fn has(index: &Index, block: &BlockRef) -> bool {
    index.get(&block.offset).is_some_and(|entry| BlockRef::of_entry(block.pack, block.offset, entry) == *block)
}
