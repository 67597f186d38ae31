//! Where files are cut into blocks.

use bytes::{Bytes, BytesMut};

use crate::format::block::BLOCK_BYTES_MAX;
use crate::format::manifest::BlockRef;

/// How files are cut, but for those that were cut otherwise before: aligned, so that what does not move need not be stored again.
///
/// Shorter blocks compress worse and make manifests longer; of longer ones more is stored again where little has changed.
const BLOCK_BYTES: usize = 128 << 10;
/// Cuts a file at the places at which it was cut before.
pub(super) struct Cutter {
    known: std::vec::IntoIter<BlockRef>,
    block_bytes: usize,
    block: BytesMut,
}

impl Cutter {
    /// Cuts a file that consisted of these blocks.
    pub(super) fn new(known: Vec<BlockRef>) -> Self {
        Self { block_bytes: block_bytes(&known), known: known.into_iter(), block: BytesMut::new() }
    }

    /// Takes the next whole block off `bytes`, and says which it was; `None` if more must come: then all of `bytes` was taken.
    pub(super) fn next(&mut self, bytes: &mut Bytes) -> Option<(Bytes, Option<BlockRef>)> {
        let missing = self.block_bytes - self.block.len();
        if self.block.is_empty() && bytes.len() >= missing {
            return Some((bytes.split_to(missing), self.known.next()));
        }
        let part = bytes.split_to(bytes.len().min(missing));
        self.block.extend_from_slice(&part);
        if self.block.len() == self.block_bytes { self.rest() } else { None }
    }

    /// The last block, if anything is left for it.
    pub(super) fn rest(&mut self) -> Option<(Bytes, Option<BlockRef>)> {
        let rest = (!self.block.is_empty()).then(|| self.block.split().freeze());
        rest.map(|plain| (plain, self.known.next()))
    }
}

/// How long the blocks of a file are that consisted of `known`: as long as they were, if that can be told.
pub(super) fn block_bytes(known: &[BlockRef]) -> usize {
    match known {
        [first, _, ..] if first.plain_bytes > 0 => (first.plain_bytes as usize).min(BLOCK_BYTES_MAX),
        _ => BLOCK_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::block::Codec;
    use crate::format::digest::Digest;

    fn known(plain_bytes: u32, offset: u64) -> BlockRef {
        BlockRef::new(0, offset, 1, plain_bytes, Codec::Stored, Digest::new([0; 16]))
    }

    /// The blocks that a file of so many bytes is cut into, which come in pieces: how long, and which they were.
    fn cut(mut cutter: Cutter, bytes: usize, piece: usize) -> Vec<(usize, Option<u64>)> {
        let mut blocks = Vec::new();
        let mut rest = Bytes::from(vec![7; bytes]);
        while !rest.is_empty() {
            let mut piece = rest.split_to(rest.len().min(piece));
            blocks.extend(std::iter::from_fn(|| cutter.next(&mut piece)));
            assert!(piece.is_empty());
        }
        blocks.extend(cutter.rest());
        blocks.into_iter().map(|(plain, known)| (plain.len(), known.map(|known| known.offset))).collect()
    }

    #[test]
    fn a_file_is_cut_as_before_however_it_arrives() {
        for piece in [1, 3, 9, 10, 11, 25, 40] {
            let cutter = Cutter::new(vec![known(10, 0), known(10, 1), known(4, 2)]);
            let expected = [(10, Some(0)), (10, Some(1)), (10, Some(2)), (5, None)];
            assert_eq!(cut(cutter, 35, piece), expected, "it grew");
            let cutter = Cutter::new(vec![known(10, 0), known(10, 1), known(4, 2)]);
            assert_eq!(cut(cutter, 7, piece), [(7, Some(0))], "it was truncated");
        }
    }

    #[test]
    fn what_was_in_one_block_says_nothing_of_how_to_cut() {
        assert_eq!(block_bytes(&[known(10, 0)]), BLOCK_BYTES);
        assert_eq!(block_bytes(&[known(0, 0), known(0, 0)]), BLOCK_BYTES, "no writer makes such");
        let long = BLOCK_BYTES + 1;
        assert_eq!(cut(Cutter::new(Vec::new()), long, 1 << 20), [(BLOCK_BYTES, None), (1, None)]);
    }
}
