//! A build without Zstandard.

use super::{BlockError, Codec};

/// How blocks are compressed: not at all, in a build without the feature `zstd`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compression;

impl Compression {
    /// Blocks are stored as they are.
    #[must_use]
    pub const fn none() -> Self {
        Self
    }

    /// The same, in such a build.
    #[must_use]
    pub const fn pages() -> Self {
        Self
    }

    /// The same, in such a build.
    #[must_use]
    pub const fn log() -> Self {
        Self
    }

    pub(super) fn compress(self, _plain: &[u8]) -> Option<(Codec, Vec<u8>)> {
        None
    }
}

pub(super) fn decompress_into(_stored: &[u8], _plain_bytes: usize, _plain: &mut Vec<u8>) -> Result<(), BlockError> {
    Err(BlockError::ZstdMissing)
}

pub(super) fn decompress_differences_into(stored: &[u8], bytes: usize, plain: &mut Vec<u8>) -> Result<(), BlockError> {
    decompress_into(stored, bytes, plain)
}

pub(super) fn decompress_records_into(stored: &[u8], bytes: usize, plain: &mut Vec<u8>) -> Result<(), BlockError> {
    decompress_into(stored, bytes, plain)
}
