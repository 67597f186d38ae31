//! Extents: stretches of files, and the layers of pages that they are made of.

use serde::{Deserialize, Serialize};

use super::page_set::PageSet;
use super::{BlockRef, BlockRow};
use crate::format::block::{BLOCK_BYTES_MAX, Codec};
use crate::format::digest::{Digest, PAGE_BYTES, page_range, pages_in};

/// The longest extent, in bytes: all of a file are as long, but for the last.
pub const EXTENT_BYTES: usize = PageSet::PAGES_MAX * PAGE_BYTES;
const _: () = assert!(EXTENT_BYTES <= BLOCK_BYTES_MAX, "an extent is stored as one block at first");

/// The most layers that an extent has.
pub const LAYERS_MAX: usize = 8;

/// A stretch of a file. What its blocks hold lies over each other in layers: of a page that several have, the last one counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(from = "ExtentRow", into = "ExtentRow")]
pub struct Extent {
    /// Its length.
    pub bytes: u32,
    /// The digest of its bytes.
    pub digest: Digest,
    /// What it is made of, the first one undermost.
    pub layers: Vec<Layer>,
}

/// Some of the pages of an extent, stored together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layer {
    /// Which pages the block holds, in order.
    pub pages: PageSet,
    /// Where they are.
    pub block: BlockRef,
}

/// Where a page of an extent is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageSource {
    /// The layer, counted from 0.
    pub layer: usize,
    /// Which page of the layer's block it is, counted from 0.
    pub place: usize,
}

impl Layer {
    /// The `pages` of an extent that `block` holds.
    #[must_use]
    pub const fn new(pages: PageSet, block: BlockRef) -> Self {
        Self { pages, block }
    }

    /// The same in the pack that has the place `pack` in another table.
    #[must_use]
    pub const fn of_pack(self, pack: u32) -> Self {
        Self { block: self.block.of_pack(pack), ..self }
    }
}

impl Extent {
    /// `bytes` bytes that have this `digest`, made of `layers`.
    #[must_use]
    pub const fn new(bytes: u32, digest: Digest, layers: Vec<Layer>) -> Self {
        Self { bytes, digest, layers }
    }

    /// An extent that is stored as one block.
    #[must_use]
    pub fn whole(block: BlockRef) -> Self {
        let pages = PageSet::first(pages_in(block.plain_bytes));
        Self::new(block.plain_bytes, block.digest, vec![Layer::new(pages, block)])
    }

    /// Its only block, if there are no others.
    #[must_use]
    pub fn as_whole(&self) -> Option<&BlockRef> {
        match &self.layers[..] {
            [Layer { block, .. }] if block.is_of(self.digest, self.bytes as usize) => Some(block),
            _ => None,
        }
    }

    /// Whether it has these `bytes` bytes, of this `digest`.
    #[must_use]
    pub fn is_of(&self, digest: Digest, bytes: usize) -> bool {
        self.digest == digest && self.bytes as usize == bytes
    }

    /// How many pages it has.
    #[must_use]
    pub const fn pages(&self) -> usize {
        pages_in(self.bytes)
    }

    /// Where its page `page` is; `None` if no layer has it.
    #[must_use]
    pub fn source(&self, page: usize) -> Option<PageSource> {
        let layers = self.layers.iter().enumerate().rev();
        layers.filter_map(|(layer, Layer { pages, .. })| Some(PageSource { layer, place: pages.place(page)? })).next()
    }

    /// Where each of its pages is, in order, if all are somewhere.
    #[must_use]
    pub fn sources(&self) -> Option<Vec<PageSource>> {
        (0..self.pages()).map(|page| self.source(page)).collect()
    }

    /// The blocks of its layers, in order.
    pub fn blocks(&self) -> impl Iterator<Item = &BlockRef> {
        self.layers.iter().map(|layer| &layer.block)
    }

    /// The same in other packs.
    pub(super) fn place(&mut self, mut place: impl FnMut(u32) -> u32) {
        for layer in &mut self.layers {
            *layer = layer.of_pack(place(layer.block.pack));
        }
    }

    /// Whether a writer makes such extents, of blocks that are possible: each page is found in a layer, as long as it must be.
    pub(super) fn is_possible(&self) -> bool {
        let is_fit = self.bytes as usize <= EXTENT_BYTES && self.layers.len() <= LAYERS_MAX;
        let are_whole = self.layers.iter().all(|layer| layer.pages.len() == pages_in(layer.block.plain_bytes));
        let is_page = |page| self.source(page).is_some_and(|source| self.has_length(page, source));
        is_fit && are_whole && (0..self.pages()).all(is_page)
    }

    fn has_length(&self, page: usize, source: PageSource) -> bool {
        let stored = self.layers[source.layer].block.plain_bytes;
        page_range(source.place, stored).len() == page_range(page, self.bytes).len()
    }
}

/// An extent as it is written: short where it is one block, as nearly all are.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ExtentRow {
    Whole(BlockRow),
    Layers { bytes: u32, digest: Digest, layers: Vec<LayerRow> },
}

type LayerRow = (PageSet, u32, u64, u32, u32, Codec, Digest);

impl From<ExtentRow> for Extent {
    fn from(row: ExtentRow) -> Self {
        match row {
            ExtentRow::Whole(row) => Self::whole(row.into()),
            ExtentRow::Layers { bytes, digest, layers } => {
                let layer = |(pages, pack, offset, stored, plain, codec, digest)| {
                    Layer::new(pages, BlockRef::new(pack, offset, stored, plain, codec, digest))
                };
                Self::new(bytes, digest, layers.into_iter().map(layer).collect())
            }
        }
    }
}

impl From<Extent> for ExtentRow {
    fn from(extent: Extent) -> Self {
        if let Some(block) = extent.as_whole() {
            return Self::Whole((*block).into());
        }
        let layer = |Layer { pages, block }: Layer| {
            let (pack, offset, stored, plain, codec, digest) = block.into();
            (pages, pack, offset, stored, plain, codec, digest)
        };
        let Extent { bytes, digest, layers } = extent;
        Self::Layers { bytes, digest, layers: layers.into_iter().map(layer).collect() }
    }
}
