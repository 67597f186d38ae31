//! Packs: blocks one after another, then an index of them (docs/FORMAT.md).
//!
//! ```text
//! block    stored, repeated
//! entry    bytes: u32 | stored bytes: u32 | codec: u8 | content: u8 | digest: 16 bytes, repeated
//! trailer  entries: u32 | "PACK"
//! ```
//!
//! Numbers are little-endian. A pack can be verified by itself, and what an interrupted snapshot stored can be found again.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::block::{BLOCK_BYTES_MAX, BlockError, Codec};
use super::digest::Digest;

/// The most blocks that a pack has.
pub const ENTRIES_MAX: usize = 1 << 16;
/// The bytes that the trailer takes.
pub const TRAILER_BYTES: u64 = 8;
const ENTRY_BYTES: u64 = 10 + Digest::BYTES as u64;
const TRAILER_MAGIC: &[u8; 4] = b"PACK";

/// What a block is a piece of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// A file of the server.
    File,
    /// A part of the manifest, which begins with it.
    Part,
    /// A part of the manifest, which goes on with it.
    PartRest,
}

impl Content {
    const ALL: [Self; 3] = [Self::File, Self::Part, Self::PartRest];

    fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// A block of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackEntry {
    /// Its length before compression.
    pub plain_bytes: u32,
    /// Its length in the pack.
    pub stored_bytes: u32,
    /// How it is stored.
    pub codec: Codec,
    /// What it is a piece of.
    pub content: Content,
    /// The digest of its bytes before compression.
    pub digest: Digest,
}

impl PackEntry {
    /// A block of `plain_bytes` bytes with this `digest`, stored as `stored_bytes` bytes.
    #[must_use]
    pub const fn new(content: Content, plain_bytes: u32, stored_bytes: u32, codec: Codec, digest: Digest) -> Self {
        Self { plain_bytes, stored_bytes, codec, content, digest }
    }
}

/// The blocks of a pack, in order and without anything between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackIndex {
    entries: Vec<PackEntry>,
    bytes: u64,
}

/// Why bytes are no pack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// It does not end as a pack does.
    #[error("it does not end with the index of a pack")]
    Trailer,
    /// More blocks than a pack may have.
    #[error("its index claims {entries} blocks, {ENTRIES_MAX} are allowed")]
    TooMany {
        /// How many are claimed.
        entries: u32,
    },
    /// A block that no writer makes.
    #[error("block {number} of its index has {plain_bytes} bytes, stored as {stored_bytes}, of content {content}")]
    Entry {
        /// Counted from 0.
        number: usize,
        /// The length that is claimed before compression.
        plain_bytes: u32,
        /// The length that is claimed in the pack.
        stored_bytes: u32,
        /// The number of what it is a piece of.
        content: u8,
    },
    /// A block in a codec that this pitr does not know.
    #[error("a block of its index cannot be read")]
    Codec(#[from] BlockError),
    /// The blocks are not as long as the pack.
    #[error("it has {found} bytes, its blocks and their index {expected}")]
    Length {
        /// What the index says.
        expected: u64,
        /// How long the pack is.
        found: u64,
    },
}

impl PackIndex {
    /// Appends a block.
    pub fn push(&mut self, entry: PackEntry) {
        self.bytes += u64::from(entry.stored_bytes);
        self.entries.push(entry);
    }

    /// Whether a pack takes no more blocks.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.entries.len() >= ENTRIES_MAX
    }

    /// The bytes of all blocks as stored: where the next one would begin.
    #[must_use]
    pub const fn blocks_bytes(&self) -> u64 {
        self.bytes
    }

    /// The blocks in order, each with the offset at which it begins.
    pub fn blocks(&self) -> impl Iterator<Item = (u64, &PackEntry)> {
        let mut offset = 0;
        self.entries.iter().map(move |entry| {
            let begin = offset;
            offset += u64::from(entry.stored_bytes);
            (begin, entry)
        })
    }

    /// What follows the blocks.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        for PackEntry { plain_bytes, stored_bytes, codec, content, digest } in &self.entries {
            bytes.put_u32_le(*plain_bytes);
            bytes.put_u32_le(*stored_bytes);
            bytes.put_u8((*codec).into());
            bytes.put_u8(*content as u8);
            bytes.put_slice(digest.as_bytes());
        }
        bytes.put_u32_le(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        bytes.put_slice(TRAILER_MAGIC);
        bytes.freeze()
    }

    /// The index of a pack of `pack_bytes` bytes, of which `tail` is the end, [`index_bytes`] at least.
    ///
    /// # Errors
    /// If no index stands there, or that of another pack.
    pub fn parse(pack_bytes: u64, tail: &[u8]) -> Result<Self, PackError> {
        let length = index_bytes(tail)?;
        let begin = usize::try_from(length).ok().and_then(|length| tail.len().checked_sub(length));
        let mut rest = &tail[begin.ok_or(PackError::Trailer)?..];
        let mut index = Self::default();
        while rest.len() as u64 > TRAILER_BYTES {
            index.push(entry(&mut rest, index.entries.len())?);
        }
        let expected = index.bytes + length;
        if expected == pack_bytes { Ok(index) } else { Err(PackError::Length { expected, found: pack_bytes }) }
    }
}

/// How many bytes follow the blocks of a pack, of which `tail` is the end, [`TRAILER_BYTES`] at least.
///
/// # Errors
/// If it does not end with a trailer.
pub fn index_bytes(tail: &[u8]) -> Result<u64, PackError> {
    let (rest, magic) = tail.split_last_chunk::<4>().ok_or(PackError::Trailer)?;
    let (_, entries) = rest.split_last_chunk::<4>().ok_or(PackError::Trailer)?;
    if magic != TRAILER_MAGIC {
        return Err(PackError::Trailer);
    }
    let entries = u32::from_le_bytes(*entries);
    if entries as usize > ENTRIES_MAX {
        return Err(PackError::TooMany { entries });
    }
    Ok(u64::from(entries) * ENTRY_BYTES + TRAILER_BYTES)
}

/// Takes the entry `number` from `bytes`, which hold one.
fn entry(bytes: &mut &[u8], number: usize) -> Result<PackEntry, PackError> {
    let (plain_bytes, stored_bytes) = (bytes.get_u32_le(), bytes.get_u32_le());
    let (codec, content) = (bytes.get_u8(), bytes.get_u8());
    let mut digest = [0; Digest::BYTES];
    bytes.copy_to_slice(&mut digest);
    let is_block = plain_bytes as usize <= BLOCK_BYTES_MAX && stored_bytes <= plain_bytes;
    let wrong = PackError::Entry { number, plain_bytes, stored_bytes, content };
    let content = Content::of(content).filter(|_| is_block).ok_or(wrong)?;
    Ok(PackEntry::new(content, plain_bytes, stored_bytes, Codec::try_from(codec)?, Digest::new(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> PackIndex {
        let mut index = PackIndex::default();
        index.push(PackEntry::new(Content::File, 1 << 16, 70, Codec::Zstd, Digest::new([0xAB; 16])));
        index.push(PackEntry::new(Content::Part, 24, 24, Codec::Stored, Digest::new([0xCD; 16])));
        index
    }

    /// The bytes of version 1: they must stay readable for ever.
    #[test]
    fn the_bytes_are_those_that_are_documented() {
        let first = [&[0, 0, 1, 0, 70, 0, 0, 0, 1, 0][..], &[0xAB; 16]].concat();
        let second = [&[24, 0, 0, 0, 24, 0, 0, 0, 0, 1][..], &[0xCD; 16]].concat();
        let expected = [&first[..], &second, &[2, 0, 0, 0], b"PACK"].concat();
        assert_eq!(index().to_bytes(), expected);
        assert_eq!(index_bytes(&expected[52..]), Ok(60));
        assert_eq!(index().blocks().map(|(offset, _)| offset).collect::<Vec<_>>(), [0, 70]);
    }

    #[test]
    fn an_index_is_read_from_the_end_of_its_pack_and_of_no_other() {
        let index = index();
        let tail = [&[9; 100][..], &index.to_bytes()].concat();
        assert_eq!(PackIndex::parse(94 + 60, &tail), Ok(index.clone()));
        assert_eq!(PackIndex::parse(155, &tail), Err(PackError::Length { expected: 154, found: 155 }));
        for cut in [0, 3, 7, 8, 30, 59] {
            let tail = &index.to_bytes()[60 - cut..];
            assert_eq!(PackIndex::parse(154, tail), Err(PackError::Trailer), "the last {cut} bytes");
        }
        let empty = PackIndex::default();
        assert_eq!(PackIndex::parse(8, &empty.to_bytes()), Ok(empty));
    }

    #[test]
    fn what_no_writer_makes_is_refused() {
        let bytes = index().to_bytes();
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.to_vec();
            bytes[at] = byte;
            PackIndex::parse(154, &bytes).unwrap_err()
        };
        assert_eq!(with(56, b'p'), PackError::Trailer);
        assert_eq!(with(54, 1), PackError::TooMany { entries: 2 + (1 << 16) });
        let entry =
            |plain_bytes, stored_bytes, content| PackError::Entry { number: 0, plain_bytes, stored_bytes, content };
        assert_eq!(with(3, 1), entry((1 << 24) + (1 << 16), 70, 0));
        assert_eq!(with(6, 2), entry(1 << 16, 70 + (2 << 16), 0));
        assert_eq!(with(9, 3), entry(1 << 16, 70, 3));
        assert_eq!(with(8, 9), PackError::Codec(BlockError::UnknownCodec { codec: 9 }));
    }
}
