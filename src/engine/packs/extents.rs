//! Putting extents together from the blocks of their layers.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::{DecodedBlock, Packs, RUN_BYTES, runs};
use crate::engine::error::{Error, Result};
use crate::format::digest::{Digest, DigestKey, PageDigest, page_range};
use crate::format::manifest::{BlockRef, Extent, PageSource};
use crate::port::ExecutorExt;

/// How many runs of blocks are fetched at a time for one batch of extents.
const RUNS_IN_FLIGHT: usize = 4;

/// Cuts `extents` into batches that are fetched together: of as many bytes as one run may have.
pub(in crate::engine) fn batches<'a>(extents: impl IntoIterator<Item = &'a Extent>) -> Vec<Vec<Extent>> {
    let (mut batches, mut room): (Vec<Vec<Extent>>, u64) = (Vec::new(), 0);
    for extent in extents {
        let bytes = needed(extent).map(|block| u64::from(block.plain_bytes)).sum();
        match batches.last_mut().filter(|_| bytes <= room) {
            Some(batch) => batch.push(extent.clone()),
            None => {
                batches.push(vec![extent.clone()]);
                room = RUN_BYTES;
            }
        }
        room = room.saturating_sub(bytes);
    }
    batches
}

/// The blocks that have a page of `extent` that no later layer has.
fn needed(extent: &Extent) -> impl Iterator<Item = &BlockRef> {
    let layers: BTreeSet<_> = extent.sources().into_iter().flatten().map(|source| source.layer).collect();
    extent.blocks().enumerate().filter(move |(layer, _)| layers.contains(layer)).map(|(_, block)| block)
}

/// Blocks, by where they are: those of one pack in its order.
type Blocks<B> = BTreeMap<(u32, u64), B>;

const fn place(block: &BlockRef) -> (u32, u64) {
    (block.pack, block.offset)
}

/// An extent that is not what the manifest says, though its blocks are.
#[derive(Debug, thiserror::Error)]
#[error("an extent of {bytes} bytes should have the digest {expected}, its layers have {found}")]
struct WrongExtent {
    bytes: u32,
    expected: Digest,
    found: Digest,
}

impl Packs {
    /// Reads `extents`, in order: opened, decompressed, put together, and compared with their digests.
    pub(in crate::engine) async fn fetch_extents(&self, extents: Vec<Extent>) -> Result<Vec<Bytes>> {
        let blocks = self.fetch_blocks(&extents).await?;
        let whole = |extent: &Extent| Some(blocks.get(&place(extent.as_whole()?))?.plain.clone());
        if let Some(whole) = extents.iter().map(whole).collect() {
            return Ok(whole);
        }
        let key = self.server.vault.digests.clone();
        let assemble = move || extents.iter().map(|extent| assemble(&key, extent, &blocks)).collect();
        let assembled: Result<_, WrongExtent> = self.server.vault.executor.run(assemble).await?;
        assembled.map_err(|error| Error::corrupt("the manifest of the snapshot", error))
    }

    /// Reads the blocks that `extents` need, each once.
    async fn fetch_blocks(&self, extents: &[Extent]) -> Result<Blocks<DecodedBlock>> {
        let needed: Blocks<_> = extents.iter().flat_map(needed).map(|block| (place(block), block)).collect();
        let places: Vec<_> = needed.keys().copied().collect();
        let fetched = stream::iter(runs(needed.into_values())).map(|run| self.fetch(run)).buffered(RUNS_IN_FLIGHT);
        let blocks: Vec<_> = fetched.try_collect().await?;
        Ok(places.into_iter().zip(blocks.into_iter().flatten()).collect())
    }
}

impl DecodedBlock {
    /// The page at this place, and its digest.
    fn page(&self, place: usize) -> Option<(&[u8], PageDigest)> {
        let bytes = u32::try_from(self.plain.len()).ok()?;
        Some((self.plain.get(page_range(place, bytes))?, *self.pages.get(place)?))
    }
}

/// Puts `extent` together.
fn assemble(key: &DigestKey, extent: &Extent, blocks: &Blocks<DecodedBlock>) -> Result<Bytes, WrongExtent> {
    let layers: Vec<_> = extent.blocks().map(|block| blocks.get(&place(block))).collect();
    let page = |source: PageSource| layers.get(source.layer).copied().flatten()?.page(source.place);
    let (mut plain, mut pages) = (BytesMut::with_capacity(extent.bytes as usize), Vec::new());
    for (page, digest) in extent.sources().into_iter().flatten().filter_map(page) {
        plain.extend_from_slice(page);
        pages.push(digest);
    }
    let (bytes, expected, found) = (extent.bytes, extent.digest, key.of_pages(&pages));
    if found == expected { Ok(plain.freeze()) } else { Err(WrongExtent { bytes, expected, found }) }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::format::block::Codec;
    use crate::format::digest::PAGE_BYTES;
    use crate::format::manifest::{Layer, PageSet};

    const PAGES: u32 = 8192;

    fn key() -> DigestKey {
        DigestKey::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]))
    }

    /// A block at `offset` that holds these pages, of which each is full of its number; the last one has only `rest` bytes.
    fn block(offset: u64, pages: &[u8], rest: usize) -> (BlockRef, DecodedBlock) {
        let mut plain: Vec<_> = pages.iter().flat_map(|page| [*page; PAGE_BYTES]).collect();
        plain.truncate(plain.len() - PAGE_BYTES + rest);
        let (bytes, pages) = (u32::try_from(plain.len()).unwrap(), key().pages(&plain));
        let block = BlockRef::new(0, offset, bytes, bytes, Codec::Stored, key().of_pages(&pages));
        (block, DecodedBlock { plain: plain.into(), pages })
    }

    fn extent(content: &[u8], layers: Vec<Layer>) -> Extent {
        Extent::new(u32::try_from(content.len()).unwrap(), key().digest(content), layers)
    }

    #[test]
    fn the_uppermost_layer_that_has_a_page_counts() {
        let blocks = [block(0, &[1, 2, 3], 100), block(9, &[7, 8], PAGE_BYTES), block(20, &[9], 5)];
        let layers = vec![
            Layer::new(PageSet::first(3), blocks[0].0),
            Layer::new([1, 2].into_iter().collect(), blocks[1].0),
            Layer::new([3].into_iter().collect(), blocks[2].0),
        ];
        let content = [vec![1; PAGE_BYTES], vec![7; PAGE_BYTES], vec![8; PAGE_BYTES], vec![9; 5]].concat();
        let (extent, wrong) = (extent(&content, layers.clone()), extent(&content[1..], layers));
        assert_eq!(needed(&extent).count(), 3);
        let blocks = blocks.into_iter().map(|(block, decoded)| (place(&block), decoded)).collect();
        assert_eq!(assemble(&key(), &extent, &blocks).unwrap(), content);
        assert!(assemble(&key(), &wrong, &blocks).is_err());
    }

    #[test]
    fn what_lies_beneath_others_is_not_fetched() {
        let whole = Layer::new(PageSet::first(2), block(0, &[1, 2], PAGE_BYTES).0);
        let layers = vec![whole, Layer::new(PageSet::first(2), block(9, &[3, 4], PAGE_BYTES).0)];
        let extent = extent(&[[3; PAGE_BYTES], [4; PAGE_BYTES]].concat(), layers);
        assert_eq!(needed(&extent).map(|block| block.offset).collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn a_batch_has_as_many_bytes_as_a_run() {
        let one = |pages: u32| Extent::whole(BlockRef::new(0, 0, 1, pages * PAGES, Codec::Zstd, Digest::new([0; 16])));
        let extents: Vec<_> = std::iter::repeat_n(one(128), 17).chain([one(1)]).collect();
        let batches: Vec<_> = batches(&extents).iter().map(Vec::len).collect();
        assert_eq!(batches, [8, 8, 2]);
    }
}
