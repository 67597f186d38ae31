//! Zstandard, built in.

use std::cell::RefCell;

use ::zstd::bulk::{Compressor, Decompressor};
use ::zstd::zstd_safe::CParameter;

use super::BlockError;
use crate::format::page::is_of_table;

thread_local! {
    /// What compresses, by how it does: its tables take up to a megabyte, too much to be made anew for every block.
    static COMPRESSORS: RefCell<Vec<(Method, Compressor<'static>)>> = const { RefCell::new(Vec::new()) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// How many compressors a thread keeps: those for tables, indexes and log.
const COMPRESSORS_MAX: usize = 3;

/// How blocks are compressed: with Zstandard, by default as [suits pages](Self::pages).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    choice: Choice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    None,
    Level(i32),
    Pages,
    Log,
}

/// A level of Zstandard's, and what is changed of it.
type Method = (i32, &'static [CParameter]);

/// What is alike in tables is long.
const TABLE: Method = (1, &[]);
/// Entries of indexes are short. What is alike lies near, so smaller tables find as much, and stay in a core's cache.
const INDEX: Method = (3, &[CParameter::WindowLog(20), CParameter::HashLog(14), CParameter::ChainLog(14)]);
/// Records of log are alike, but short: matches of 5 bytes count, where level 1 looks for 7.
const LOG: Method = (1, &[CParameter::WindowLog(20), CParameter::HashLog(14), CParameter::MinMatch(5)]);

impl Compression {
    /// Blocks are stored as they are.
    #[must_use]
    pub const fn none() -> Self {
        Self { choice: Choice::None }
    }

    /// Zstandard at `level`, from 1 (fast) to 19 (small); what lies outside counts as the nearest.
    #[must_use]
    pub fn zstd(level: i32) -> Self {
        Self { choice: Choice::Level(level.clamp(1, 19)) }
    }

    /// About as small as with Zstandard's level 3, and faster, where pages of tables and indexes are compressed: these differently from those.
    #[must_use]
    pub const fn pages() -> Self {
        Self { choice: Choice::Pages }
    }

    /// About as small as with Zstandard's level 3, and faster, where log is compressed.
    #[must_use]
    pub const fn log() -> Self {
        Self { choice: Choice::Log }
    }

    pub(super) fn compress(self, plain: &[u8]) -> Option<Vec<u8>> {
        let method = self.method(plain)?;
        COMPRESSORS.with_borrow_mut(|kept| {
            if let Some((_, compressor)) = kept.iter_mut().find(|(known, _)| *known == method) {
                return compressor.compress(plain).ok();
            }
            // A failure of the compressor costs only space: the block is stored as it is.
            let mut compressor = compressor(method)?;
            let compressed = compressor.compress(plain).ok();
            kept.truncate(COMPRESSORS_MAX - 1);
            kept.insert(0, (method, compressor));
            compressed
        })
    }

    fn method(self, plain: &[u8]) -> Option<Method> {
        match self.choice {
            Choice::None => None,
            Choice::Level(level) => Some((level, &[])),
            Choice::Pages if is_of_table(plain) => Some(TABLE),
            Choice::Pages => Some(INDEX),
            Choice::Log => Some(LOG),
        }
    }
}

fn compressor((level, parameters): Method) -> Option<Compressor<'static>> {
    let mut compressor = Compressor::new(level).ok()?;
    parameters.iter().try_for_each(|parameter| compressor.set_parameter(*parameter)).ok()?;
    Some(compressor)
}

impl Default for Compression {
    fn default() -> Self {
        Self::pages()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_indexes_are_compressed_differently() {
        let page = |special: u16| [&[0; 16][..], &special.to_le_bytes(), &[4, 32], &[0; 100]].concat();
        assert_eq!(Compression::pages().method(&page(8192)), Some(TABLE));
        assert_eq!(Compression::pages().method(&page(8176)), Some(INDEX));
        assert_eq!(Compression::log().method(&page(8192)), Some(LOG));
        assert_eq!(Compression::none().method(&page(8192)), None);
    }

    #[test]
    fn a_thread_keeps_few_compressors() {
        let plain = [7; 1000];
        let sizes: Vec<_> = (1..=19).map(|level| Compression::zstd(level).compress(&plain).unwrap().len()).collect();
        assert!(sizes.iter().all(|bytes| *bytes < 100), "{sizes:?}");
        assert!(Compression::log().compress(&plain).unwrap().len() < 100);
        COMPRESSORS.with_borrow(|kept| {
            let levels: Vec<_> = kept.iter().map(|(method, _)| *method).collect();
            assert_eq!(levels, [LOG, (19, &[][..]), (18, &[])], "the latest ones");
        });
    }
}
