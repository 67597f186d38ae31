//! The content of a log backup: blocks of log, then a footer with what was learnt from it (docs/FORMAT.md).
//!
//! ```text
//! block    codec: u8 | bytes: u32 | stored bytes: u32 | stored
//! footer   0xFF      | bytes: u32 | JSON
//! trailer  bytes of the JSON: u32 | "PLOG"
//! ```
//!
//! Numbers are little-endian. The trailer lets a reader that wants only the footer begin at the end.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::block::{self, BLOCK_BYTES_MAX, BlockError, Codec, EncodedBlock};
use crate::model::{CommitIndex, Lsn, ObjectKey, SegmentSize, WalRange};

/// The bytes of log that a writer puts into one block.
pub const LOG_BLOCK_BYTES: usize = 1 << 20;
/// The version of the footer that this pitr writes.
const VERSION: u32 = 1;
const FOOTER_MARK: u8 = 0xFF;
const BLOCK_HEADER_BYTES: usize = 9;
const FOOTER_HEADER_BYTES: usize = 5;
const TRAILER_MAGIC: &[u8; 4] = b"PLOG";
const TRAILER_BYTES: usize = 8;
/// A footer indexes at most one commit a second or MiB: this is months of log.
const FOOTER_BYTES_MAX: usize = 64 << 20;

/// What a log backup says of itself behind its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogFooter {
    version: u32,
    /// The log that it holds.
    pub wal: WalRange,
    /// The size of the server's WAL segments.
    pub segment_size: SegmentSize,
    /// The log backup that ends where this one begins, if there was one that could be read when this one was begun: should it be
    /// lost, its name is still known, and with it what it held.
    pub previous: Option<ObjectKey>,
    /// Where the record begins that the end of the range cuts; the end itself if it cuts none. Decoding goes on from here.
    /// `None` if no record's start was found yet.
    pub resume_lsn: Option<Lsn>,
    /// Where the last whole record begins, of this log backup or one before it; the record after it names this position.
    /// `None` if none was found yet.
    pub last_record_lsn: Option<Lsn>,
    /// How many records end in the range.
    pub records: u64,
    /// The commits and restore points.
    pub index: CommitIndex,
}

impl LogFooter {
    /// The footer of a log backup of `wal` in which no record ends and which cuts none.
    #[must_use]
    pub fn new(wal: WalRange, segment_size: SegmentSize) -> Self {
        let index = CommitIndex::default();
        Self {
            version: VERSION,
            wal,
            segment_size,
            previous: None,
            resume_lsn: Some(wal.end),
            last_record_lsn: None,
            records: 0,
            index,
        }
    }
}

/// How many bytes the footer and the trailer take at the end of a log backup, of which `tail` is the end.
///
/// # Errors
/// If it does not end with a trailer.
pub fn footer_bytes(tail: &[u8]) -> Result<usize, LogError> {
    let (rest, magic) = tail.split_last_chunk::<4>().ok_or(LogError::Truncated)?;
    let (_, length) = rest.split_last_chunk::<4>().ok_or(LogError::Truncated)?;
    if magic != TRAILER_MAGIC {
        return Err(LogError::Footer { reason: "its trailer is missing".to_owned() });
    }
    let json = checked_footer_length(u32::from_le_bytes(*length))?;
    Ok(FOOTER_HEADER_BYTES + json + TRAILER_BYTES)
}

/// The footer of a log backup of which `tail` is the end, [`footer_bytes`] at least.
///
/// # Errors
/// If no footer stands there.
pub fn footer(tail: &[u8]) -> Result<LogFooter, LogError> {
    let begin = tail.len().checked_sub(footer_bytes(tail)?).ok_or(LogError::Truncated)?;
    let mut reader = LogReader::new();
    reader.feed(&tail[begin..]);
    reader.read()?;
    reader.footer.ok_or_else(|| LogError::Footer { reason: "it does not begin where it should".to_owned() })
}

fn checked_footer_length(bytes: u32) -> Result<usize, LogError> {
    let length = bytes as usize;
    let reason = || format!("{length} bytes are too long for a footer");
    if length <= FOOTER_BYTES_MAX { Ok(length) } else { Err(LogError::Footer { reason: reason() }) }
}

/// Why bytes are no log backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A block is not what its header says.
    #[error("a block of log is damaged")]
    Block(#[from] BlockError),
    /// Written by a newer pitr.
    #[error("log backup of version {version}, this pitr reads up to {VERSION}: upgrade it")]
    FutureVersion {
        /// The version found.
        version: u32,
    },
    /// The footer does not parse.
    #[error("the footer of the log backup is malformed: {reason}")]
    Footer {
        /// What is wrong with it.
        reason: String,
    },
    /// The log is longer or shorter than the footer says.
    #[error("the log backup holds {found} bytes of log, its footer says {expected}")]
    Length {
        /// The bytes that the footer promises.
        expected: u64,
        /// The bytes that were there.
        found: u64,
    },
    /// The bytes end too soon.
    #[error("the log backup ends in the middle")]
    Truncated,
    /// Something follows the trailer.
    #[error("something follows the end of the log backup")]
    Extended,
}

/// Encodes a log backup: `blocks` of log, then `footer`. What comes out is to be sealed.
///
/// # Errors
/// [`LogError::Length`] if the log is not as long as the footer says, and [`LogError::Footer`] if the footer is longer than a
/// reader accepts.
pub fn encode(blocks: &[EncodedBlock], footer: &LogFooter) -> Result<Bytes, LogError> {
    check_length(footer, blocks.iter().map(|block| u64::from(block.plain_bytes)).sum())?;
    let mut object = BytesMut::with_capacity(blocks.iter().map(|block| BLOCK_HEADER_BYTES + block.stored.len()).sum());
    blocks.iter().for_each(|block| put_block(&mut object, block));
    let json = serde_json::to_vec(footer).map_err(|error| LogError::Footer { reason: error.to_string() })?;
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
    checked_footer_length(length)?;
    object.put_u8(FOOTER_MARK);
    object.put_u32_le(length);
    object.extend_from_slice(&json);
    object.put_u32_le(length);
    object.extend_from_slice(TRAILER_MAGIC);
    Ok(object.freeze())
}

fn put_block(object: &mut BytesMut, block: &EncodedBlock) {
    object.put_u8(block.codec.into());
    object.put_u32_le(block.plain_bytes);
    // The stored form is never longer than the plain one.
    object.put_u32_le(u32::try_from(block.stored.len()).unwrap_or(u32::MAX));
    object.extend_from_slice(&block.stored);
}

fn check_length(footer: &LogFooter, found: u64) -> Result<(), LogError> {
    let expected = footer.wal.bytes();
    if found == expected { Ok(()) } else { Err(LogError::Length { expected, found }) }
}

/// Reads a log backup as it arrives, in chunks of any length. Keeps what was fed and not read yet.
#[derive(Debug, Default)]
pub struct LogReader {
    buffered: BytesMut,
    wal_bytes: u64,
    footer: Option<LogFooter>,
    trailer_seen: bool,
}

impl LogReader {
    /// A reader at the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes, to be [read](Self::read).
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffered.extend_from_slice(bytes);
    }

    /// The next block of log, if all of it was fed: a MiB at most, of which a thousandth may have been stored.
    ///
    /// # Errors
    /// If what was fed is no log backup. Then the reader is of no further use.
    pub fn read(&mut self) -> Result<Option<Bytes>, LogError> {
        while let Some(plain) = self.step()? {
            if !plain.is_empty() {
                self.wal_bytes = self.wal_bytes.saturating_add(plain.len() as u64);
                return Ok(Some(plain));
            }
        }
        Ok(None)
    }

    /// The footer, once everything was fed and read.
    ///
    /// # Errors
    /// If the log backup is incomplete, or its log is not as long as the footer says.
    pub fn finish(self) -> Result<LogFooter, LogError> {
        let footer = self.footer.filter(|_| self.trailer_seen).ok_or(LogError::Truncated)?;
        check_length(&footer, self.wal_bytes)?;
        Ok(footer)
    }

    /// Takes one complete piece from the buffer; gives it if it is a block, an empty one if it is something else.
    fn step(&mut self) -> Result<Option<Bytes>, LogError> {
        match (&self.footer, self.buffered.first().copied()) {
            (_, None) => Ok(None),
            (Some(_), _) => self.take_trailer(),
            (None, Some(FOOTER_MARK)) => self.take_footer(),
            (None, Some(codec)) => self.take_block(codec),
        }
    }

    fn take_block(&mut self, codec: u8) -> Result<Option<Bytes>, LogError> {
        let codec = Codec::try_from(codec)?;
        let (Some(plain_bytes), Some(stored_bytes)) = (self.u32_at(1), self.u32_at(5)) else { return Ok(None) };
        if stored_bytes as usize > BLOCK_BYTES_MAX {
            return Err(BlockError::TooLong { bytes: stored_bytes.into() }.into());
        }
        let Some(stored) = self.take(BLOCK_HEADER_BYTES, stored_bytes as usize) else { return Ok(None) };
        Ok(Some(block::decode(codec, plain_bytes.into(), stored)?))
    }

    fn take_footer(&mut self) -> Result<Option<Bytes>, LogError> {
        let Some(length) = self.u32_at(1) else { return Ok(None) };
        let Some(json) = self.take(FOOTER_HEADER_BYTES, checked_footer_length(length)?) else { return Ok(None) };
        self.footer = Some(parse_footer(&json)?);
        Ok(Some(Bytes::new()))
    }

    fn take_trailer(&mut self) -> Result<Option<Bytes>, LogError> {
        if self.trailer_seen || self.buffered.len() > TRAILER_BYTES {
            return Err(LogError::Extended);
        }
        let Some(trailer) = self.take(0, TRAILER_BYTES) else { return Ok(None) };
        if !trailer.ends_with(TRAILER_MAGIC) {
            return Err(LogError::Footer { reason: "its trailer is missing".to_owned() });
        }
        self.trailer_seen = true;
        Ok(Some(Bytes::new()))
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        self.buffered.get(at..at + 4).map(|mut bytes| bytes.get_u32_le())
    }

    /// The `length` bytes after a header of `header` bytes, if they are all there.
    fn take(&mut self, header: usize, length: usize) -> Option<Bytes> {
        if self.buffered.len() < header + length {
            return None;
        }
        self.buffered.advance(header);
        Some(self.buffered.split_to(length).freeze())
    }
}

fn parse_footer(json: &[u8]) -> Result<LogFooter, LogError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let malformed = |error: serde_json::Error| LogError::Footer { reason: error.to_string() };
    let Versioned { version } = serde_json::from_slice(json).map_err(malformed)?;
    if version > VERSION {
        return Err(LogError::FutureVersion { version });
    }
    serde_json::from_slice(json).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::block::Compression;
    use crate::model::{IndexedCommit, RestorePoint, TimelineId, Timestamp};

    const START: u64 = 0x100_0000;

    fn footer(bytes: u64) -> LogFooter {
        let wal = WalRange::new(TimelineId::FIRST, Lsn::new(START), Lsn::new(START + bytes)).unwrap();
        let mut footer = LogFooter::new(wal, SegmentSize::DEFAULT);
        footer.index.commits.push(IndexedCommit::new(Lsn::new(START + 8), Timestamp::UNIX_EPOCH));
        footer
    }

    fn write(wal: &[u8], footer: &LogFooter, compression: Compression) -> Result<Bytes, LogError> {
        let encode_block = |block| block::encode(Bytes::copy_from_slice(block), compression).unwrap();
        encode(&wal.chunks(333_333).map(encode_block).collect::<Vec<_>>(), footer)
    }

    fn read(object: &[u8], chunk: usize) -> Result<(Vec<u8>, LogFooter), LogError> {
        let mut reader = LogReader::new();
        let mut wal = Vec::new();
        for bytes in object.chunks(chunk) {
            reader.feed(bytes);
            while let Some(block) = reader.read()? {
                wal.extend(block);
            }
        }
        Ok((wal, reader.finish()?))
    }

    #[test]
    fn what_was_written_is_read_in_any_chunks() {
        let wal: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 1000).to_le_bytes()[0]).collect();
        let footer = footer(wal.len() as u64);
        for compression in [Compression::none(), Compression::log()] {
            let object = write(&wal, &footer, compression).unwrap();
            for chunk in [1000, 100_000, object.len()] {
                assert_eq!(read(&object, chunk), Ok((wal.clone(), footer.clone())));
            }
        }
    }

    #[test]
    fn blocks_are_decoded_when_they_are_asked_for() {
        let footer = footer(1_000_000);
        let mut reader = LogReader::new();
        reader.feed(&write(&vec![7; 1_000_000], &footer, Compression::log()).unwrap());
        let lengths = std::iter::from_fn(|| reader.read().unwrap()).map(|block| block.len());
        assert_eq!(lengths.collect::<Vec<_>>(), [333_333, 333_333, 333_333, 1]);
        assert_eq!(reader.finish(), Ok(footer));
    }

    #[test]
    fn an_empty_log_backup_is_one() {
        let object = encode(&[], &footer(0)).unwrap();
        assert_eq!(read(&object, 3), Ok((Vec::new(), footer(0))));
    }

    #[test]
    fn the_footer_is_found_from_the_end() {
        let object = write(b"log", &footer(3), Compression::none()).unwrap();
        let length = footer_bytes(&object[object.len() - 8..]).unwrap();
        for tail in [&object[object.len() - length..], &object[..]] {
            assert_eq!(super::footer(tail), Ok(footer(3)));
        }
        assert_eq!(super::footer(&object[object.len() - length + 1..]), Err(LogError::Truncated));
        assert!(super::footer(&object[..object.len() - 1]).is_err());
    }

    #[test]
    fn every_truncation_and_extension_is_noticed() {
        let object = write(b"log", &footer(3), Compression::none()).unwrap();
        for length in 0..object.len() {
            assert_eq!(read(&object[..length], 7), Err(LogError::Truncated), "{length} of {} bytes", object.len());
        }
        let extended = [&object[..], b"x"].concat();
        assert_eq!(read(&extended, 7), Err(LogError::Extended));
        assert_eq!(read(&extended, extended.len()), Err(LogError::Extended));
    }

    #[test]
    fn a_footer_that_no_reader_accepts_is_not_written() {
        let mut footer = footer(0);
        let point = RestorePoint::new(Lsn::new(START), Timestamp::UNIX_EPOCH, "\u{1}".repeat(63));
        footer.index.restore_points = vec![point; 200_000];
        assert!(matches!(encode(&[], &footer), Err(LogError::Footer { .. })));
    }

    #[test]
    fn lengths_and_versions_are_checked() {
        let expected = LogError::Length { expected: 4, found: 3 };
        assert_eq!(write(b"log", &footer(4), Compression::none()), Err(expected));
        let newer = LogFooter { version: 2, ..footer(0) };
        let object = encode(&[], &newer).unwrap();
        assert_eq!(read(&object, 9), Err(LogError::FutureVersion { version: 2 }));
        let claim = [&[0][..], &u32::MAX.to_le_bytes(), &u32::MAX.to_le_bytes()].concat();
        assert_eq!(read(&claim, 9), Err(BlockError::TooLong { bytes: u32::MAX.into() }.into()));
    }
}
