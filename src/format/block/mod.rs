//! Blocks: stretches of a file or of the log, each compressed by itself.
//!
//! A block can be read without any other. Its codec, its length and its length as stored stand beside it, in a manifest or a
//! block header, so the bytes carry nothing else.

#[cfg(feature = "zstd")]
mod deltas;
#[cfg_attr(feature = "zstd", path = "enabled.rs")]
#[cfg_attr(not(feature = "zstd"), path = "disabled.rs")]
mod zstd;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::zstd::Compression;

/// The longest block, in bytes before compression.
pub const BLOCK_BYTES_MAX: usize = 1 << 20;

/// How a block is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
#[non_exhaustive]
pub enum Codec {
    /// As it is.
    Stored,
    /// As one Zstandard frame (RFC 8878).
    Zstd,
    /// As a byte `s`, and one Zstandard frame of what is left of each byte without the one `s` before it in its page.
    ZstdOfDifferences,
    /// As the place of the first page, and one Zstandard frame of what is left of records of log without what is like in others.
    ZstdOfRecords,
}

impl From<Codec> for u8 {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::Stored => 0,
            Codec::Zstd => 1,
            Codec::ZstdOfDifferences => 2,
            Codec::ZstdOfRecords => 3,
        }
    }
}

impl TryFrom<u8> for Codec {
    type Error = BlockError;

    fn try_from(codec: u8) -> Result<Self, BlockError> {
        match codec {
            0 => Ok(Self::Stored),
            1 => Ok(Self::Zstd),
            2 => Ok(Self::ZstdOfDifferences),
            3 => Ok(Self::ZstdOfRecords),
            _ => Err(BlockError::UnknownCodec { codec }),
        }
    }
}

/// A block that is not what its description says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// Written by a newer pitr.
    #[error("unknown block codec {codec}: written by a newer version of pitr, upgrade to read it")]
    UnknownCodec {
        /// The codec's number.
        codec: u8,
    },
    /// This build cannot decompress.
    #[error("the block is compressed by Zstandard: build pitr with the feature `zstd` to read it")]
    ZstdMissing,
    /// No writer makes such long blocks.
    #[error("a block of {bytes} bytes is longer than the {BLOCK_BYTES_MAX} bytes that a block may have")]
    TooLong {
        /// The length that was claimed, before compression.
        bytes: u64,
    },
    /// The bytes do not decompress to what was promised.
    #[error("the block does not decompress to its {bytes} bytes")]
    Corrupt {
        /// The length that was promised.
        bytes: u64,
    },
}

/// A block ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodedBlock {
    /// How it is stored.
    pub codec: Codec,
    /// Its length before compression.
    pub plain_bytes: u32,
    /// What is to be stored.
    pub stored: Bytes,
}

/// Compresses `plain`, or leaves it as it is where that saves nothing.
///
/// # Errors
/// [`BlockError::TooLong`] beyond [`BLOCK_BYTES_MAX`].
pub fn encode(plain: Bytes, compression: Compression) -> Result<EncodedBlock, BlockError> {
    let plain_bytes = checked_length(plain.len() as u64)?;
    let compressed = compression.compress(&plain).filter(|(_, compressed)| compressed.len() < plain.len());
    let (codec, stored) = match compressed {
        Some((codec, compressed)) => (codec, compressed.into()),
        None => (Codec::Stored, plain),
    };
    Ok(EncodedBlock { codec, plain_bytes, stored })
}

/// The block of `plain_bytes` bytes that is stored as `stored`.
///
/// # Errors
/// If `stored` does not decompress to exactly `plain_bytes` bytes, or this build cannot tell.
pub fn decode(codec: Codec, plain_bytes: u64, stored: Bytes) -> Result<Bytes, BlockError> {
    checked_length(plain_bytes)?;
    if codec == Codec::Stored && stored.len() as u64 == plain_bytes {
        return Ok(stored);
    }
    let mut plain = Vec::new();
    decode_into(codec, plain_bytes, &stored, &mut plain).map(|()| plain.into())
}

/// The same, into `plain` in place of what is in it: for memory that is used again and again.
///
/// # Errors
/// As [`decode`]. What is in `plain` then, says nothing.
pub fn decode_into(codec: Codec, plain_bytes: u64, stored: &[u8], plain: &mut Vec<u8>) -> Result<(), BlockError> {
    let length = checked_length(plain_bytes)? as usize;
    plain.clear();
    match codec {
        Codec::Stored => plain.extend_from_slice(stored),
        Codec::Zstd => zstd::decompress_into(stored, length, plain)?,
        Codec::ZstdOfDifferences => zstd::decompress_differences_into(stored, length, plain)?,
        Codec::ZstdOfRecords => zstd::decompress_records_into(stored, length, plain)?,
    }
    if plain.len() == length { Ok(()) } else { Err(BlockError::Corrupt { bytes: plain_bytes }) }
}

fn checked_length(bytes: u64) -> Result<u32, BlockError> {
    let allowed = u32::try_from(bytes).ok().filter(|length| *length as usize <= BLOCK_BYTES_MAX);
    allowed.ok_or(BlockError::TooLong { bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_survives() {
        for plain in [Bytes::new(), Bytes::from_static(b"x"), Bytes::from(vec![7; 100_000])] {
            let block = encode(plain.clone(), Compression::default()).unwrap();
            assert!(block.stored.len() <= plain.len());
            let mut decoded = vec![9; 7];
            decode_into(block.codec, block.plain_bytes.into(), &block.stored, &mut decoded).unwrap();
            assert_eq!(decoded, plain);
            assert_eq!(decode(block.codec, block.plain_bytes.into(), block.stored), Ok(plain));
        }
    }

    #[test]
    fn a_wrong_length_is_noticed_without_allocating_it() {
        let block = encode(Bytes::from(vec![7; 100_000]), Compression::default()).unwrap();
        for bytes in [0, 99_999, 100_001, BLOCK_BYTES_MAX as u64] {
            let corrupt = BlockError::Corrupt { bytes };
            let mut into = Vec::new();
            assert_eq!(decode_into(block.codec, bytes, &block.stored, &mut into), Err(corrupt.clone()));
            assert!(into.capacity() <= BLOCK_BYTES_MAX);
            assert_eq!(decode(block.codec, bytes, block.stored.clone()), Err(corrupt));
        }
        let bytes = u64::MAX;
        assert_eq!(decode(block.codec, bytes, block.stored), Err(BlockError::TooLong { bytes }));
        assert_eq!(Codec::try_from(9), Err(BlockError::UnknownCodec { codec: 9 }));
    }

    #[cfg(not(feature = "zstd"))]
    #[test]
    fn a_build_without_zstd_says_so() {
        assert_eq!(decode(Codec::Zstd, 1, Bytes::from_static(b"x")), Err(BlockError::ZstdMissing));
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn what_compresses_is_compressed() {
        // One thread compresses in every way, one after the other.
        for compression in [Compression::pages(), Compression::log(), Compression::zstd(1), Compression::zstd(19)] {
            let block = encode(Bytes::from(vec![7; 100_000]), compression).unwrap();
            assert_eq!(block.codec, Codec::Zstd);
            assert!(block.stored.len() < 1000);
        }
        assert_eq!(encode(Bytes::from(vec![7; 100_000]), Compression::none()).unwrap().codec, Codec::Stored);
        let garbage = Bytes::from_static(b"no frame of Zstandard");
        assert_eq!(decode(Codec::Zstd, 5, garbage), Err(BlockError::Corrupt { bytes: 5 }));
    }
}
