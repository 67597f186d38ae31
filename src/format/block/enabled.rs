//! Zstandard, built in.

use std::cell::RefCell;

use ::zstd::bulk::{Compressor, Decompressor};
use ::zstd::zstd_safe::{CParameter, Strategy};

use super::BlockError;

thread_local! {
    /// How it compresses, and what does so: its tables take a megabyte, too much to be made anew for every block.
    static COMPRESSOR: RefCell<Option<(Method, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// How blocks are compressed: with Zstandard, by default as [suits pages](Self::pages).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    method: Method,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    None,
    Level(i32),
    Pages,
    Log,
}

/// Level 3 with tables that fit in a core's cache: what is near in a table or an index is alike.
const PAGES: &[CParameter] = &[CParameter::WindowLog(20), CParameter::HashLog(14), CParameter::ChainLog(14)];
/// Records of log are alike, but short. So it pays to look for matches of 5 bytes, where level 1 looks for 7, and no longer ones.
const LOG: &[CParameter] = &[
    CParameter::WindowLog(20),
    CParameter::Strategy(Strategy::ZSTD_fast),
    CParameter::HashLog(14),
    CParameter::MinMatch(5),
];

impl Compression {
    /// Blocks are stored as they are.
    #[must_use]
    pub const fn none() -> Self {
        Self { method: Method::None }
    }

    /// Zstandard at `level`, from 1 (fast) to 19 (small); what lies outside counts as the nearest.
    #[must_use]
    pub fn zstd(level: i32) -> Self {
        Self { method: Method::Level(level.clamp(1, 19)) }
    }

    /// As small as with Zstandard's level 3, and faster, where pages of tables and indexes are compressed.
    #[must_use]
    pub const fn pages() -> Self {
        Self { method: Method::Pages }
    }

    /// As small as with Zstandard's level 3, and faster, where log is compressed.
    #[must_use]
    pub const fn log() -> Self {
        Self { method: Method::Log }
    }

    pub(super) fn compress(self, plain: &[u8]) -> Option<Vec<u8>> {
        COMPRESSOR.with_borrow_mut(|compressor| {
            // A failure of the compressor costs only space: the block is stored as it is.
            if compressor.as_ref().is_none_or(|(method, _)| *method != self.method) {
                *compressor = Some((self.method, self.method.compressor()?));
            }
            compressor.as_mut()?.1.compress(plain).ok()
        })
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::pages()
    }
}

impl Method {
    fn compressor(self) -> Option<Compressor<'static>> {
        let (level, parameters) = match self {
            Self::None => return None,
            Self::Level(level) => (level, &[][..]),
            Self::Pages => (3, PAGES),
            Self::Log => (3, LOG),
        };
        let mut compressor = Compressor::new(level).ok()?;
        parameters.iter().try_for_each(|parameter| compressor.set_parameter(*parameter)).ok()?;
        Some(compressor)
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
