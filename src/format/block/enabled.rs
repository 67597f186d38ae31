//! Zstandard, built in.

use std::cell::RefCell;

use ::zstd::bulk::{Compressor, Decompressor};
use ::zstd::zstd_safe::{CParameter, compress_bound};

use super::deltas::Stride;
use super::{BlockError, Codec};
use crate::format::page::is_of_table;
use crate::format::wal::differences::{FirstPage, Scratch};

thread_local! {
    static COMPRESSORS: RefCell<Compressors> = RefCell::default();
    static SCRATCH: RefCell<Scratch> = RefCell::default();
    static DIFFERENCES_READ: RefCell<Vec<u8>> = RefCell::default();
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// What compresses, by how it does. What that takes, up to a megabyte of tables and another of results, would be too much to be made anew for
/// every block.
#[derive(Default)]
struct Compressors {
    kept: Vec<(Method, Compressor<'static>)>,
    frame: Vec<u8>,
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
/// And so it is in differences of tuples.
const DIFFERENCES: Method = TABLE;
/// Entries of indexes are short. What is alike lies near, so smaller tables find as much, and stay in a core's cache.
const INDEX: Method = (3, &[CParameter::WindowLog(20), CParameter::HashLog(14), CParameter::ChainLog(14)]);
/// What is new in records of log is short: matches of 6 bytes count, where level 1 looks for 7.
const LOG: Method = (1, &[CParameter::WindowLog(20), CParameter::HashLog(14), CParameter::MinMatch(6)]);

/// What is compressed of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Tuples(Stride),
    Records(FirstPage),
}

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

    /// Mostly much smaller than with Zstandard's level 3, and faster, where log is compressed: as differences of its records.
    #[must_use]
    pub const fn log() -> Self {
        Self { choice: Choice::Log }
    }

    /// `None` if it cannot: that costs only space.
    pub(super) fn compress(self, plain: &[u8]) -> Option<(Codec, Vec<u8>)> {
        let (method, form) = self.method(plain)?;
        Some(match form {
            Form::Plain => (Codec::Zstd, compress(&[], plain, method)?),
            Form::Tuples(stride) => {
                (Codec::ZstdOfDifferences, compress(&[stride.as_u8()], &stride.differences(plain), method)?)
            }
            Form::Records(page) => {
                let records = |scratch: &mut Scratch| {
                    compress(&page.at().to_le_bytes(), page.differences(plain, scratch), method)
                };
                (Codec::ZstdOfRecords, SCRATCH.with_borrow_mut(records)?)
            }
        })
    }

    /// How, and what is made of the block before.
    fn method(self, plain: &[u8]) -> Option<(Method, Form)> {
        match self.choice {
            Choice::None => None,
            Choice::Level(level) => Some(((level, &[]), Form::Plain)),
            Choice::Log => Some((LOG, FirstPage::of(plain).map_or(Form::Plain, Form::Records))),
            Choice::Pages if is_of_table(plain) => Some((TABLE, Form::Plain)),
            Choice::Pages => match stride_that_saves(plain) {
                Some(stride) => Some((DIFFERENCES, Form::Tuples(stride))),
                None => Some((INDEX, Form::Plain)),
            },
        }
    }
}

/// Whether differences take less, is tried with one page.
fn stride_that_saves(plain: &[u8]) -> Option<Stride> {
    let (stride, page) = Stride::of(plain)?;
    let differences = compress(&[], &stride.differences(page), DIFFERENCES)?;
    (differences.len() < compress(&[], page, INDEX)?.len()).then_some(stride)
}

/// `prefix`, and a frame of `plain`.
fn compress(prefix: &[u8], plain: &[u8], method: Method) -> Option<Vec<u8>> {
    COMPRESSORS.with_borrow_mut(|Compressors { kept, frame }| {
        let compressor = match kept.iter().position(|(known, _)| *known == method) {
            Some(place) => &mut kept[place].1,
            None => {
                kept.truncate(COMPRESSORS_MAX - 1);
                kept.insert(0, (method, compressor(method)?));
                &mut kept[0].1
            }
        };
        frame.clear();
        frame.reserve(compress_bound(plain.len()));
        compressor.compress_to_buffer(plain, frame).ok()?;
        Some([prefix, frame].concat())
    })
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

/// The same of what is stored as differences.
pub(super) fn decompress_differences_into(
    stored: &[u8],
    plain_bytes: usize,
    plain: &mut Vec<u8>,
) -> Result<(), BlockError> {
    let corrupt = || BlockError::Corrupt { bytes: plain_bytes as u64 };
    let (stride, frame) = stored.split_first().ok_or_else(corrupt)?;
    let stride = Stride::new(*stride).ok_or_else(corrupt)?;
    decompress_into(frame, plain_bytes, plain)?;
    stride.undo(plain);
    Ok(())
}

/// The same of what is stored as differences of records.
pub(super) fn decompress_records_into(
    stored: &[u8],
    plain_bytes: usize,
    plain: &mut Vec<u8>,
) -> Result<(), BlockError> {
    let corrupt = || BlockError::Corrupt { bytes: plain_bytes as u64 };
    let (at, frame) = stored.split_first_chunk().ok_or_else(corrupt)?;
    DIFFERENCES_READ.with_borrow_mut(|differences| {
        differences.clear();
        decompress_into(frame, plain_bytes, differences)?;
        let first_page = FirstPage::new(u16::from_le_bytes(*at), differences.len()).ok_or_else(corrupt)?;
        plain.reserve_exact(plain_bytes);
        first_page.undo(differences, plain);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::page::tests::of_tuples;

    #[test]
    fn tables_and_indexes_are_compressed_differently() {
        let page = |special: u16| [&[0; 16][..], &special.to_le_bytes(), &[4, 32], &[0; 100]].concat();
        assert_eq!(Compression::pages().method(&page(8192)), Some((TABLE, Form::Plain)));
        assert_eq!(Compression::pages().method(&page(8176)), Some((INDEX, Form::Plain)));
        assert_eq!(Compression::log().method(&page(8192)), Some((LOG, Form::Plain)));
        assert_eq!(Compression::none().method(&page(8192)), None);
    }

    #[test]
    fn differences_are_compressed_where_that_saves() {
        let counting = of_tuples(16, |_| 0);
        let (codec, compressed) = Compression::pages().compress(&counting).unwrap();
        assert_eq!((codec, compressed[0]), (Codec::ZstdOfDifferences, 16));
        assert!(compressed.len() * 4 < compress(&[], &counting, INDEX).unwrap().len());
        let mut plain = Vec::new();
        decompress_differences_into(&compressed, counting.len(), &mut plain).unwrap();
        assert_eq!(plain, counting);
        // Each digit takes four bits, and what is left of one without another more.
        let (mut digits, mut state) = (of_tuples(48, |_| 0), 1u32);
        for byte in &mut digits[24 + 156 * 4..] {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = b"0123456789abcdef"[(state >> 28) as usize];
        }
        assert_eq!(Compression::pages().compress(&digits).unwrap().0, Codec::Zstd);
    }

    #[test]
    fn records_of_log_are_stored_as_differences() {
        let page = [&0xD110_u16.to_le_bytes()[..], &[0; 22]].concat();
        let log = [&[1; 77][..], &page, &[3; 1000]].concat();
        let (codec, compressed) = Compression::log().compress(&log).unwrap();
        assert_eq!((codec, &compressed[..2]), (Codec::ZstdOfRecords, &[77, 0][..]));
        let decompressed = |stored: &[u8]| {
            let mut plain = Vec::new();
            super::super::decode_into(Codec::ZstdOfRecords, log.len() as u64, stored, &mut plain).map(|()| plain)
        };
        assert_eq!(decompressed(&compressed), Ok(log.clone()));
        let corrupt = Err(BlockError::Corrupt { bytes: log.len() as u64 });
        let late = u16::try_from(log.len() - 23).unwrap();
        let elsewhere = [&late.to_le_bytes()[..], &compressed[2..]].concat();
        for stored in [&[][..], &[0], &compressed[..2], &compressed[..20], &elsewhere] {
            assert_eq!(decompressed(stored), corrupt, "{stored:?}");
        }
    }

    #[test]
    fn differences_that_are_damaged_are_noticed() {
        let frame = compress(&[], &[0; 100], TABLE).unwrap();
        let stored = |stride: u8| [&[stride][..], &frame].concat();
        let decompressed =
            |stored: &[u8], bytes| super::super::decode_into(Codec::ZstdOfDifferences, bytes, stored, &mut Vec::new());
        for stride in [1, 100, 101, 255] {
            assert_eq!(decompressed(&stored(stride), 100), Ok(()));
        }
        let corrupt = Err(BlockError::Corrupt { bytes: 100 });
        for stored in [&[][..], &[8], &stored(0), &stored(8)[..9], &[8, 1, 2, 3]] {
            assert_eq!(decompressed(stored, 100), corrupt, "{stored:?}");
        }
    }

    #[test]
    fn a_thread_keeps_few_compressors() {
        let plain = [7; 1000];
        let sizes: Vec<_> = (1..=19).map(|level| Compression::zstd(level).compress(&plain).unwrap().1.len()).collect();
        assert!(sizes.iter().all(|bytes| *bytes < 100), "{sizes:?}");
        assert!(Compression::log().compress(&plain).unwrap().1.len() < 100);
        COMPRESSORS.with_borrow(|Compressors { kept, .. }| {
            let levels: Vec<_> = kept.iter().map(|(method, _)| *method).collect();
            assert_eq!(levels, [LOG, (19, &[][..]), (18, &[])], "the latest ones");
        });
    }
}
