//! What of an extent is stored: the pages that have changed, as a layer over those that have not.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};

use crate::format::digest::{PageDigest, page_range, pages_in};
use crate::format::manifest::{Extent, LAYERS_MAX, Layer, PageSet};

/// An extent is stored as a whole if all of its layers would otherwise have more than so many times its bytes. So whoever restores it
/// reads no more than that, and no more is kept for it.
const TIMES_STORED_MAX: usize = 2;

/// An extent as an earlier snapshot has it.
#[derive(Debug)]
pub(super) struct KnownExtent {
    pub(super) extent: Extent,
    /// The digests of its pages; `None` for those that cannot be used, which count as changed.
    pub(super) pages: Vec<Option<PageDigest>>,
}

/// What an extent is to be made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layering {
    /// Layers that it has already.
    pub(super) kept: Vec<Layer>,
    /// The pages of the one that comes on top; it is none if there are none.
    pub(super) pages: PageSet,
}

impl Layering {
    /// That of an extent of `bytes` bytes, of which nothing can be used.
    pub(super) fn whole(bytes: u32) -> Self {
        Self { kept: Vec::new(), pages: PageSet::first(pages_in(bytes)) }
    }

    fn bytes(&self, bytes: u32) -> usize {
        let kept = self.kept.iter().map(|layer| layer.block.plain_bytes as usize);
        kept.sum::<usize>() + self.pages.iter().map(|page| page_range(page, bytes).len()).sum::<usize>()
    }

    /// The pages of the layer on top, of an extent that reads `plain`.
    pub(super) fn pick(&self, plain: Bytes) -> Bytes {
        let bytes = u32::try_from(plain.len()).unwrap_or(u32::MAX);
        if *self == Self::whole(bytes) {
            return plain;
        }
        let mut picked = BytesMut::new();
        self.pages.iter().for_each(|page| picked.extend_from_slice(&plain[page_range(page, bytes)]));
        picked.freeze()
    }
}

impl KnownExtent {
    /// What it is to be made of now that it has `bytes` bytes and these `pages`.
    pub(super) fn layering(&self, bytes: u32, pages: &[PageDigest]) -> Layering {
        let is_changed = |page: &usize| self.pages.get(*page).copied().flatten() != pages.get(*page).copied();
        let mut changed: PageSet = (0..pages.len()).filter(is_changed).collect();
        let mut kept = self.kept(pages.len(), changed);
        if kept.len() >= LAYERS_MAX
            && !changed.is_empty()
            && let Some(undermost) = kept.first().copied()
        {
            // All that lies above becomes one layer.
            let is_above = |page: &usize| self.layer(*page) != Some(undermost);
            changed = changed.and((0..pages.len()).filter(is_above).collect());
            kept = self.kept(pages.len(), changed);
        }
        let kept = kept.into_iter().filter_map(|layer| self.extent.layers.get(layer).copied()).collect();
        let layering = Layering { kept, pages: changed };
        let is_fit = layering.bytes(bytes) <= TIMES_STORED_MAX * bytes as usize;
        if is_fit { layering } else { Layering::whole(bytes) }
    }

    /// The layers that the first `pages` pages are in, but for those that are `changed`.
    fn kept(&self, pages: usize, changed: PageSet) -> BTreeSet<usize> {
        let same = (0..pages).filter(|page| changed.place(*page).is_none());
        same.filter_map(|page| self.layer(page)).collect()
    }

    fn layer(&self, page: usize) -> Option<usize> {
        self.extent.source(page).map(|source| source.layer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::block::Codec;
    use crate::format::digest::{Digest, PAGE_BYTES};
    use crate::format::manifest::BlockRef;

    const PAGE: u32 = 8192;

    fn pages(numbers: impl IntoIterator<Item = u8>) -> Vec<PageDigest> {
        numbers.into_iter().map(|number| PageDigest::new([number; 8])).collect()
    }

    fn set(pages: impl IntoIterator<Item = usize>) -> PageSet {
        pages.into_iter().collect()
    }

    /// An extent of `count` pages, each known by its number, with these pages in layers over the first.
    fn known(count: u8, layers: &[PageSet]) -> KnownExtent {
        let all = PageSet::first(count.into());
        let layer = |(place, pages): (usize, &PageSet)| {
            let bytes = u32::try_from(pages.len()).unwrap() * PAGE;
            Layer::new(*pages, BlockRef::new(0, place as u64, 1, bytes, Codec::Zstd, Digest::new([0; 16])))
        };
        let layers = [&[all][..], layers].concat().iter().enumerate().map(layer).collect();
        let extent = Extent::new(u32::from(count) * PAGE, Digest::new([0; 16]), layers);
        KnownExtent { extent, pages: pages(0..count).into_iter().map(Some).collect() }
    }

    /// Which layers are kept, and which pages are stored, once these pages of `known` are others.
    fn changed(known: &KnownExtent, changed: &[usize]) -> (Vec<u64>, PageSet) {
        let mut now: Vec<_> = known.pages.iter().map(|page| page.unwrap_or(PageDigest::new([254; 8]))).collect();
        changed.iter().for_each(|page| now[*page] = PageDigest::new([255; 8]));
        layering(known, &now)
    }

    fn layering(known: &KnownExtent, now: &[PageDigest]) -> (Vec<u64>, PageSet) {
        let bytes = u32::try_from(now.len()).unwrap() * PAGE;
        let Layering { kept, pages } = known.layering(bytes, now);
        (kept.iter().map(|layer| layer.block.offset).collect(), pages)
    }

    #[test]
    fn only_what_has_changed_is_stored() {
        let known = known(128, &[]);
        assert_eq!(changed(&known, &[]), (vec![0], set([])));
        assert_eq!(changed(&known, &[3, 127]), (vec![0], set([3, 127])));
        let all: Vec<_> = (0..128).collect();
        assert_eq!(changed(&known, &all[1..]), (vec![0], set(1..128)));
        assert_eq!(changed(&known, &all), (vec![], PageSet::first(128)));
    }

    #[test]
    fn what_can_no_longer_be_used_counts_as_changed() {
        let mut known = known(10, &[set([4, 5])]);
        (known.pages[4], known.pages[5]) = (None, None);
        assert_eq!(changed(&known, &[9]), (vec![0], set([4, 5, 9])));
        known.pages.fill(None);
        assert_eq!(changed(&known, &[9]), (vec![], PageSet::first(10)));
    }

    #[test]
    fn a_layer_that_no_page_is_left_of_is_dropped() {
        let known = known(10, &[set([4, 5]), set([5])]);
        assert_eq!(changed(&known, &[4]), (vec![0, 2], set([4])));
        assert_eq!(changed(&known, &[5]), (vec![0, 1], set([5])));
    }

    #[test]
    fn no_more_than_twice_its_bytes_are_kept() {
        let known = known(100, &[set(0..50)]);
        let second: Vec<_> = (50..100).collect();
        assert_eq!(changed(&known, &second[..49]), (vec![0, 1], set(50..99)));
        assert_eq!(changed(&known, &second), (vec![1], set(50..100)), "nothing is left of the first");
        let mixed: Vec<_> = (25..76).collect();
        assert_eq!(changed(&known, &mixed), (vec![], PageSet::first(100)));
    }

    #[test]
    fn many_small_layers_become_one() {
        let known = known(128, &(1..8).map(|page| set([page])).collect::<Vec<_>>());
        assert_eq!(changed(&known, &[]).0.len(), 8, "nothing changes, nothing is stored");
        assert_eq!(changed(&known, &[100]), (vec![0], set([1, 2, 3, 4, 5, 6, 7, 100])));
    }

    #[test]
    fn a_file_grows_and_is_truncated() {
        let known = known(10, &[set([9])]);
        assert_eq!(layering(&known, &pages(0..12)), (vec![0, 1], set([10, 11])));
        assert_eq!(layering(&known, &pages(0..8)), (vec![0], set([])));
        assert_eq!(layering(&known, &pages(0..2)), (vec![], set([0, 1])), "too much would be kept");
    }

    #[test]
    fn the_pages_of_a_layer_follow_each_other() {
        let plain: Bytes = [vec![1; PAGE_BYTES], vec![2; PAGE_BYTES], vec![3; 5]].concat().into();
        let layering = |pages| Layering { kept: Vec::new(), pages };
        assert_eq!(layering(set([0, 2])).pick(plain.clone()), [vec![1; PAGE_BYTES], vec![3; 5]].concat());
        assert_eq!(layering(PageSet::first(3)).pick(plain.clone()), plain);
    }
}
