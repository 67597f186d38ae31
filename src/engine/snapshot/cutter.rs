//! Where files are cut into extents.

use bytes::{Bytes, BytesMut};

use crate::format::manifest::EXTENT_BYTES;

/// Cuts what arrives in pieces into extents: aligned, so that what does not move need not be stored again.
#[derive(Default)]
pub(super) struct Cutter(BytesMut);

impl Cutter {
    /// Takes the next whole extent off `bytes`; `None` if more must come: then all of `bytes` was taken.
    pub(super) fn next(&mut self, bytes: &mut Bytes) -> Option<Bytes> {
        let missing = EXTENT_BYTES - self.0.len();
        if self.0.is_empty() && bytes.len() >= missing {
            return Some(bytes.split_to(missing));
        }
        let part = bytes.split_to(bytes.len().min(missing));
        self.0.extend_from_slice(&part);
        if self.0.len() == EXTENT_BYTES { self.rest() } else { None }
    }

    /// The last extent of a file, if anything is left for it.
    pub(super) fn rest(&mut self) -> Option<Bytes> {
        (!self.0.is_empty()).then(|| self.0.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the extents that a file of so many bytes is cut into, which comes in pieces.
    fn cut(bytes: usize, piece: usize) -> Vec<usize> {
        let (mut cutter, mut extents) = (Cutter::default(), Vec::new());
        let mut rest = Bytes::from(vec![7; bytes]);
        while !rest.is_empty() {
            let mut piece = rest.split_to(rest.len().min(piece));
            extents.extend(std::iter::from_fn(|| cutter.next(&mut piece)));
            assert!(piece.is_empty());
        }
        extents.extend(cutter.rest());
        assert!(cutter.rest().is_none());
        extents.iter().map(Bytes::len).collect()
    }

    #[test]
    fn a_file_is_cut_in_the_same_places_however_it_arrives() {
        let whole = EXTENT_BYTES;
        for piece in [1, 8191, whole - 1, whole, whole + 1, 3 * whole] {
            assert_eq!(cut(2 * whole + 5, piece), [whole, whole, 5], "in pieces of {piece}");
            assert_eq!(cut(whole, piece), [whole], "in pieces of {piece}");
        }
        assert_eq!(cut(7, 100), [7]);
    }
}
