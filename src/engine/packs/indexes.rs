//! The indexes of packs, of which those that were used last are remembered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::Packs;
use crate::engine::error::{Error, Result};
use crate::engine::inventory::blame;
use crate::format::digest::PageDigest;
use crate::format::manifest::{BlockRef, Extent};
use crate::format::pack::{self, PackIndex};

/// The end of a pack that is read first: the index of all but those with very many pages.
const TAIL_BYTES: u64 = 64 << 10;
/// What all indexes that are remembered may take, in bytes. What follows each other in a manifest is in few packs.
const MEMORY_BYTES: usize = 32 << 20;

/// The indexes of some packs, by the places of these; the one that was used last comes last.
#[derive(Debug, Default)]
pub(super) struct Indexes(Mutex<VecDeque<(u32, Known)>>);

/// An index; `None` if it cannot be read.
type Known = Option<Arc<PackIndex>>;

impl Indexes {
    fn find(&self, place: u32) -> Option<Known> {
        let mut indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = indexes.iter().rposition(|(known, _)| *known == place)?;
        let found = indexes.remove(found)?;
        indexes.push_back(found.clone());
        Some(found.1)
    }

    fn remember(&self, place: u32, index: Known) {
        let mut indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.push_back((place, index));
        let mut memory: usize = indexes.iter().map(|(_, index)| memory_bytes(index)).sum();
        while memory > MEMORY_BYTES
            && indexes.len() > 1
            && let Some((_, oldest)) = indexes.pop_front()
        {
            memory -= memory_bytes(&oldest);
        }
    }
}

fn memory_bytes(index: &Known) -> usize {
    size_of::<(u32, Known)>() + index.as_ref().map_or(0, |index| index.memory_bytes())
}

impl Packs {
    /// What the index of the pack at `place` says of its blocks.
    pub(in crate::engine) async fn read_index(&self, place: u32) -> Result<PackIndex> {
        let reader = self.open(place).await?;
        let bytes = reader.bytes();
        let tail = |length: u64| bytes.saturating_sub(length)..bytes;
        let damaged = |error| Error::corrupt(self.key(place), error);
        let end = reader.read(tail(TAIL_BYTES), |end| end).await?;
        let length = pack::index_bytes(&end).map_err(damaged)?;
        let end = if length <= end.len() as u64 { end } else { reader.read(tail(length), |end| end).await? };
        PackIndex::parse(bytes, &end).map_err(damaged)
    }

    /// The same, remembered; `None` if the pack is damaged or missing.
    pub(in crate::engine) async fn index(&self, place: u32) -> Result<Option<Arc<PackIndex>>> {
        if let Some(known) = self.indexes.find(place) {
            return Ok(known);
        }
        let index = blame(self.key(place), self.read_index(place).await)?.ok().map(Arc::new);
        self.indexes.remember(place, index.clone());
        Ok(index)
    }

    /// The block of the pack at `place` that has the digests `pages`, of which its index says `entry`.
    pub(in crate::engine) fn block(&self, place: u32, index: &PackIndex, entry: &pack::PackEntry) -> BlockRef {
        BlockRef::of_entry(place, entry, self.server.vault.digests.of_pages(index.pages(entry)))
    }

    /// The digests of the pages of `extent`, by the indexes of its packs: `None` for pages of which these do not tell.
    pub(in crate::engine) async fn page_digests(&self, extent: &Extent) -> Result<Vec<Option<PageDigest>>> {
        let mut layers = Vec::with_capacity(extent.layers.len());
        for block in extent.blocks() {
            layers.push(self.index(block.pack).await?.map(|index| (index, block.offset)));
        }
        let digest = |page| {
            let source = extent.source(page)?;
            let (index, offset) = layers.get(source.layer)?.as_ref()?;
            index.pages(index.find(*offset)?).get(source.place).copied()
        };
        Ok((0..extent.pages()).map(digest).collect())
    }
}
