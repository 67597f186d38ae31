//! Putting extents together from the blocks of their layers.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::buffers::{Buffer, Buffers};
use super::{DecodeError, Packs, RUN_BYTES, runs, stored_block};
use crate::engine::error::{Error, Result};
use crate::format::block::{self, Codec};
use crate::format::digest::{Digest, DigestKey, page_range};
use crate::format::manifest::{BlockRef, Extent};
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

/// Why extents cannot be put together.
#[derive(Debug, thiserror::Error)]
enum AssemblyError {
    /// The block of this pack is not what it should be.
    #[error("a block is damaged")]
    Block(u32, #[source] DecodeError),
    /// An extent is not what the manifest says, though its blocks are.
    #[error("an extent of {bytes} bytes should have the digest {expected}, its layers have {found}")]
    Extent { bytes: u32, expected: Digest, found: Digest },
}

impl Packs {
    /// Reads `extents`, in order: opened, decompressed, put together, and compared with their digests.
    pub(in crate::engine) async fn fetch_extents(&self, extents: Vec<Extent>) -> Result<Vec<Bytes>> {
        let stored = self.fetch_stored(&extents).await?;
        let assembly = Assembly { key: self.server.vault.digests.clone(), buffers: self.buffers.clone(), stored };
        let assemble = move || extents.iter().map(|extent| assembly.extent(extent)).collect();
        let assembled: Result<_, AssemblyError> = self.server.vault.executor.run(assemble).await?;
        assembled.map_err(|error| match error {
            AssemblyError::Block(pack, error) => Error::corrupt(self.key(pack), error),
            error => Error::corrupt("the manifest of the snapshot", error),
        })
    }

    /// Reads what is stored of the blocks that `extents` need, each once.
    async fn fetch_stored(&self, extents: &[Extent]) -> Result<Blocks<Bytes>> {
        let needed: Blocks<_> = extents.iter().flat_map(needed).map(|block| (place(block), block)).collect();
        let fetched = stream::iter(runs(needed.into_values())).map(async |run| {
            let stored = self.open(run.pack).await?.read(run.range.clone(), |stored| stored).await?;
            let block = |block| (place(block), stored_block(&stored, run.range.start, block));
            Ok::<_, Error>(run.blocks.iter().map(block).collect::<Vec<_>>())
        });
        let blocks: Vec<_> = fetched.buffered(RUNS_IN_FLIGHT).try_collect().await?;
        Ok(blocks.into_iter().flatten().collect())
    }
}

/// Puts extents together.
struct Assembly {
    key: DigestKey,
    buffers: Buffers,
    stored: Blocks<Bytes>,
}

impl Assembly {
    fn extent(&self, extent: &Extent) -> Result<Bytes, AssemblyError> {
        let plain = match extent.as_whole() {
            Some(block) => self.whole(block)?,
            None => self.layered(extent)?,
        };
        let (bytes, expected, found) = (extent.bytes, extent.digest, self.key.digest(&plain));
        if found == expected {
            return Ok(plain);
        }
        self.blame(extent)?;
        Err(AssemblyError::Extent { bytes, expected, found })
    }

    /// What is stored as it is, is not copied.
    fn whole(&self, block: &BlockRef) -> Result<Bytes, AssemblyError> {
        if block.codec == Codec::Stored && block.stored_bytes == block.plain_bytes {
            return Ok(self.stored.get(&place(block)).cloned().unwrap_or_default());
        }
        let mut plain = self.buffers.take();
        self.decode(block, &mut plain)?;
        Ok(plain.freeze())
    }

    /// Lays the pages of all layers over each other: of each, those that count.
    fn layered(&self, extent: &Extent) -> Result<Bytes, AssemblyError> {
        let (mut plain, mut decoded) = (self.buffers.take(), self.buffers.take());
        plain.bytes.resize(extent.bytes as usize, 0);
        let sources = extent.sources().unwrap_or_default();
        for (number, layer) in extent.layers.iter().enumerate() {
            let mut shown = sources.iter().enumerate().filter(|(_, source)| source.layer == number).peekable();
            if shown.peek().is_some() {
                self.decode(&layer.block, &mut decoded)?;
            }
            for (page, source) in shown {
                let from = decoded.bytes.get(page_range(source.place, layer.block.plain_bytes));
                let to = plain.bytes.get_mut(page_range(page, extent.bytes));
                // What does not fit has no digest that does.
                if let (Some(from), Some(to)) = (from, to)
                    && from.len() == to.len()
                {
                    to.copy_from_slice(from);
                }
            }
        }
        Ok(plain.freeze())
    }

    fn decode(&self, block: &BlockRef, into: &mut Buffer) -> Result<(), AssemblyError> {
        let BlockRef { pack, offset, codec, plain_bytes, .. } = *block;
        let stored = self.stored.get(&place(block)).map_or(&[][..], |stored| stored);
        let decoded = block::decode_into(codec, plain_bytes.into(), stored, &mut into.bytes);
        decoded.map_err(|source| AssemblyError::Block(pack, DecodeError::Block { offset, source }))
    }

    /// Says which block is to blame for an extent that is not what it should be, if one is.
    fn blame(&self, extent: &Extent) -> Result<(), AssemblyError> {
        let mut decoded = self.buffers.take();
        for block in needed(extent) {
            self.decode(block, &mut decoded)?;
            let sound = DecodeError::of(&self.key, block, &decoded.bytes);
            sound.map_err(|error| AssemblyError::Block(block.pack, error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::format::digest::PAGE_BYTES;
    use crate::format::manifest::{Layer, PageSet};

    const PAGES: u32 = 8192;

    fn key() -> DigestKey {
        DigestKey::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]))
    }

    /// A block at `offset` that holds these pages, of which each is full of its number; the last one has only `rest` bytes.
    fn block(offset: u64, pages: &[u8], rest: usize) -> (BlockRef, Bytes) {
        let mut plain: Vec<_> = pages.iter().flat_map(|page| [*page; PAGE_BYTES]).collect();
        plain.truncate(plain.len() - PAGE_BYTES + rest);
        let (bytes, pages) = (u32::try_from(plain.len()).unwrap(), key().pages(&plain));
        let block = BlockRef::new(0, offset, bytes, bytes, Codec::Stored, key().of_pages(&pages));
        (block, plain.into())
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
        let stored = blocks.into_iter().map(|(block, stored)| (place(&block), stored)).collect();
        let mut assembly = Assembly { key: key(), buffers: Buffers::default(), stored };
        assert_eq!(assembly.extent(&extent).unwrap(), content);
        assert!(matches!(assembly.extent(&wrong), Err(AssemblyError::Extent { .. })), "the manifest is to blame");
        assembly.stored.insert((0, 20), Bytes::from_static(b"wrong"));
        let error = assembly.extent(&extent).unwrap_err();
        assert!(matches!(error, AssemblyError::Block(0, DecodeError::Digest { offset: 20, .. })), "{error:?}");
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
