//! Differences between the tuples of a page, which compress better than the tuples.
//!
//! The tuples of an index lie next to each other, mostly of one length; those of a B-tree with their keys in order, and often with the
//! places that these point to. So a byte is much like that which stands a tuple's length before it. What is left when the one is
//! subtracted from the other, is mostly zeros: an index of a column that counts takes a fifteenth of what it takes as it is.

use std::num::NonZeroU8;

use crate::format::digest::PAGE_BYTES;
use crate::format::page;

/// How far apart two bytes are that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stride(NonZeroU8);

impl Stride {
    pub(super) fn new(bytes: u8) -> Option<Self> {
        NonZeroU8::new(bytes).map(Self)
    }

    pub(super) const fn as_u8(self) -> u8 {
        self.0.get()
    }

    fn bytes(self) -> usize {
        self.0.get().into()
    }

    /// The length of most tuples of `plain`, if one of its pages tells, and that page.
    pub(super) fn of(plain: &[u8]) -> Option<(Self, &[u8; PAGE_BYTES])> {
        let (pages, _) = plain.as_chunks::<PAGE_BYTES>();
        let places = [pages.len() / 2, pages.len() / 4, pages.len() * 3 / 4];
        places.iter().find_map(|place| {
            let page = pages.get(*place)?;
            let bytes = u8::try_from(page::tuple_bytes(page)?).ok()?;
            Some((Self::new(bytes)?, page))
        })
    }

    /// Each byte of `plain` without the one before it by this stride, page by page. The first of each page are as they are.
    pub(super) fn differences(self, plain: &[u8]) -> Vec<u8> {
        let mut differences = Vec::with_capacity(plain.len());
        for page in plain.chunks(PAGE_BYTES) {
            let first = self.bytes().min(page.len());
            differences.extend_from_slice(&page[..first]);
            differences.extend(page[first..].iter().zip(page).map(|(byte, before)| byte.wrapping_sub(*before)));
        }
        differences
    }

    /// What has these differences, in their place.
    pub(super) fn undo(self, differences: &mut [u8]) {
        let stride = self.bytes();
        for page in differences.chunks_mut(PAGE_BYTES) {
            for at in (stride..page.len()).step_by(stride) {
                let (before, rest) = page.split_at_mut(at);
                let sums = rest.iter_mut().zip(&before[at - stride..]);
                sums.for_each(|(byte, before)| *byte = byte.wrapping_add(*before));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_tuples_of_some_page_tell_the_stride() {
        let page = |bytes| page::tests::of_tuples(bytes, |_| 0);
        let stride = |plain: &[u8]| Stride::of(plain).map(|(stride, _)| stride);
        assert_eq!(stride(&page(16)), Stride::new(16));
        let two = [vec![0; PAGE_BYTES], page(24)].concat();
        assert_eq!(stride(&two), Stride::new(24), "the first page of an index is about the others");
        for other in [vec![0; PAGE_BYTES * 3], page(16)[1..].to_vec(), page(16)[..8000].to_vec(), vec![]] {
            assert_eq!(stride(&other), None);
        }
    }

    #[test]
    fn differences_are_undone() {
        let content: Vec<u8> = (0..PAGE_BYTES * 2 + 100).map(|at| (at * at / 7 % 251).to_le_bytes()[0]).collect();
        for stride in [1, 3, 8, 16, 255] {
            for bytes in [0, 1, 16, 200, PAGE_BYTES, content.len()] {
                let stride = Stride::new(stride).unwrap();
                let mut differences = stride.differences(&content[..bytes]);
                stride.undo(&mut differences);
                assert!(differences == content[..bytes], "{stride:?}, {bytes} bytes");
            }
        }
    }
}
