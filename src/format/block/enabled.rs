//! Zstandard, built in.

use std::cell::RefCell;

use ::zstd::bulk::{Compressor, Decompressor};

use super::BlockError;

thread_local! {
    /// The level, and what compresses at it: its tables take a megabyte, too much to be made anew for every block.
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// How blocks are compressed: by default with Zstandard at level 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    level: Option<i32>,
}

impl Compression {
    /// Blocks are stored as they are.
    #[must_use]
    pub const fn none() -> Self {
        Self { level: None }
    }

    /// Zstandard at `level`, from 1 (fast) to 19 (small); what lies outside counts as the nearest.
    #[must_use]
    pub fn zstd(level: i32) -> Self {
        Self { level: Some(level.clamp(1, 19)) }
    }

    pub(super) fn compress(self, plain: &[u8]) -> Option<Vec<u8>> {
        let level = self.level?;
        COMPRESSOR.with_borrow_mut(|compressor| {
            // A failure of the compressor costs only space: the block is stored as it is.
            if compressor.as_ref().is_none_or(|(known, _)| *known != level) {
                *compressor = Some((level, Compressor::new(level).ok()?));
            }
            compressor.as_mut()?.1.compress(plain).ok()
        })
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::zstd(3)
    }
}

pub(super) fn decompress(stored: &[u8], plain_bytes: usize) -> Result<Vec<u8>, BlockError> {
    let mut plain = Vec::new();
    decompress_into(stored, plain_bytes, &mut plain).map(|()| plain)
}

/// Decompresses into `plain`, which is empty, as much as should be there at most.
pub(super) fn decompress_into(stored: &[u8], plain_bytes: usize, plain: &mut Vec<u8>) -> Result<(), BlockError> {
    plain.reserve_exact(plain_bytes);
    let decompressed = DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress_to_buffer(stored, plain)
    });
    decompressed.map(drop).map_err(|_| BlockError::Corrupt { bytes: plain_bytes as u64 })
}
