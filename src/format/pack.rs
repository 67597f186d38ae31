//! Packs: blocks one after another, then an index of them (docs/FORMAT.md).
//!
//! ```text
//! block    stored, repeated
//! entry    bytes: u32 | stored bytes: u32 | codec: u8 | content: u8 | digest of each page: 8 bytes, repeated
//! trailer  bytes of all entries: u32 | "PACK"
//! ```
//!
//! Numbers are little-endian. A pack can be verified by itself, and what an interrupted snapshot stored can be found again. And whoever
//! has to store what became of a block, finds here which of its pages have changed.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::block::{BLOCK_BYTES_MAX, BlockError, Codec};
use super::digest::{PageDigest, pages_in};

/// The most blocks that a writer puts into a pack.
const BLOCKS_MAX: usize = 1 << 16;
/// And the most pages, but for those of the last block: many blocks of few stored bytes would make an index of any length.
const PAGES_MAX: usize = 1 << 19;
/// The longest index, in bytes without the trailer.
pub const INDEX_BYTES_MAX: u32 = 8 << 20;
/// The bytes that the trailer takes.
pub const TRAILER_BYTES: u64 = 8;
/// What an entry takes but for the digests.
const ENTRY_BYTES: usize = 10;
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
    /// Where it begins in the pack.
    pub offset: u64,
    /// Its length before compression.
    pub plain_bytes: u32,
    /// Its length in the pack.
    pub stored_bytes: u32,
    /// How it is stored.
    pub codec: Codec,
    /// What it is a piece of.
    pub content: Content,
    /// The place of its first page's digest among all.
    first_page: usize,
}

/// The blocks of a pack, in order and without anything between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackIndex {
    entries: Vec<PackEntry>,
    pages: Vec<PageDigest>,
    blocks_bytes: u64,
}

/// Why bytes are no pack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// It does not end as a pack does.
    #[error("it does not end with the index of a pack")]
    Trailer,
    /// A longer index than any writer makes.
    #[error("its index claims {bytes} bytes, {INDEX_BYTES_MAX} are allowed")]
    TooLong {
        /// What is claimed.
        bytes: u32,
    },
    /// The index ends in the middle of an entry.
    #[error("block {number} of its index is cut off")]
    Truncated {
        /// Counted from 0.
        number: usize,
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
    /// Appends a block of `plain_bytes` bytes, stored as `stored_bytes` bytes, which has these `pages`.
    pub fn push(
        &mut self,
        content: Content,
        plain_bytes: u32,
        stored_bytes: u32,
        codec: Codec,
        pages: impl IntoIterator<Item = PageDigest>,
    ) {
        let (offset, first_page) = (self.blocks_bytes, self.pages.len());
        self.entries.push(PackEntry { offset, plain_bytes, stored_bytes, codec, content, first_page });
        self.pages.extend(pages);
        self.blocks_bytes += u64::from(stored_bytes);
    }

    /// Whether a pack takes no more blocks.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.entries.len() >= BLOCKS_MAX || self.pages.len() >= PAGES_MAX
    }

    /// The bytes of all blocks as stored: where the next one would begin.
    #[must_use]
    pub const fn blocks_bytes(&self) -> u64 {
        self.blocks_bytes
    }

    /// The blocks in order.
    #[must_use]
    pub fn entries(&self) -> &[PackEntry] {
        &self.entries
    }

    /// The block that begins at `offset`.
    #[must_use]
    pub fn find(&self, offset: u64) -> Option<&PackEntry> {
        let found = self.entries.binary_search_by_key(&offset, |entry| entry.offset);
        found.ok().map(|place| &self.entries[place])
    }

    /// The digests of the pages of the block `entry` of this index.
    #[must_use]
    pub fn pages(&self, entry: &PackEntry) -> &[PageDigest] {
        self.pages.get(entry.first_page..entry.first_page + pages_in(entry.plain_bytes)).unwrap_or_default()
    }

    /// What it takes in memory, in bytes.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.entries.len() * size_of::<PackEntry>() + self.pages.len() * PageDigest::BYTES
    }

    /// What follows the blocks.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        for entry in &self.entries {
            bytes.put_u32_le(entry.plain_bytes);
            bytes.put_u32_le(entry.stored_bytes);
            bytes.put_u8(entry.codec.into());
            bytes.put_u8(entry.content as u8);
            self.pages(entry).iter().for_each(|page| bytes.put_slice(page.as_bytes()));
        }
        bytes.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
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
        let (mut entries, _) =
            tail[begin.ok_or(PackError::Trailer)?..].split_last_chunk::<8>().ok_or(PackError::Trailer)?;
        let mut index = Self::default();
        while !entries.is_empty() {
            index.parse_entry(&mut entries)?;
        }
        let expected = index.blocks_bytes + length;
        if expected == pack_bytes { Ok(index) } else { Err(PackError::Length { expected, found: pack_bytes }) }
    }

    /// Appends the entry at the beginning of `bytes`, and takes it off.
    fn parse_entry(&mut self, bytes: &mut &[u8]) -> Result<(), PackError> {
        let number = self.entries.len();
        let mut head = bytes.split_off(..ENTRY_BYTES).ok_or(PackError::Truncated { number })?;
        let (plain_bytes, stored_bytes) = (head.get_u32_le(), head.get_u32_le());
        let (codec, content) = (head.get_u8(), head.get_u8());
        let is_block = plain_bytes as usize <= BLOCK_BYTES_MAX && (1..=plain_bytes).contains(&stored_bytes);
        let wrong = PackError::Entry { number, plain_bytes, stored_bytes, content };
        let content = Content::of(content).filter(|_| is_block).ok_or(wrong)?;
        let digests = bytes.split_off(..pages_in(plain_bytes) * PageDigest::BYTES);
        let (digests, _) = digests.ok_or(PackError::Truncated { number })?.as_chunks();
        self.push(
            content,
            plain_bytes,
            stored_bytes,
            Codec::try_from(codec)?,
            digests.iter().copied().map(PageDigest::new),
        );
        Ok(())
    }
}

/// How many bytes follow the blocks of a pack, of which `tail` is the end, [`TRAILER_BYTES`] at least.
///
/// # Errors
/// If it does not end with a trailer.
pub fn index_bytes(tail: &[u8]) -> Result<u64, PackError> {
    let (rest, magic) = tail.split_last_chunk::<4>().ok_or(PackError::Trailer)?;
    let (_, bytes) = rest.split_last_chunk::<4>().ok_or(PackError::Trailer)?;
    if magic != TRAILER_MAGIC {
        return Err(PackError::Trailer);
    }
    match u32::from_le_bytes(*bytes) {
        bytes if bytes > INDEX_BYTES_MAX => Err(PackError::TooLong { bytes }),
        bytes => Ok(u64::from(bytes) + TRAILER_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(byte: u8) -> PageDigest {
        PageDigest::new([byte; 8])
    }

    fn index() -> PackIndex {
        let mut index = PackIndex::default();
        index.push(Content::File, 2 * 8192 + 1, 70, Codec::Zstd, [page(0xA0), page(0xA1), page(0xA2)]);
        index.push(Content::Part, 24, 24, Codec::Stored, [page(0xCD)]);
        index
    }

    /// The bytes of version 1: they must stay readable for ever.
    #[test]
    fn the_bytes_are_those_that_are_documented() {
        let first = [&[1, 0x40, 0, 0, 70, 0, 0, 0, 1, 0][..], &[0xA0; 8], &[0xA1; 8], &[0xA2; 8]].concat();
        let second = [&[24, 0, 0, 0, 24, 0, 0, 0, 0, 1][..], &[0xCD; 8]].concat();
        let expected = [&first[..], &second, &[52, 0, 0, 0], b"PACK"].concat();
        assert_eq!(index().to_bytes(), expected);
        assert_eq!(index_bytes(&expected[52..]), Ok(60));
        assert_eq!(index().entries().iter().map(|entry| entry.offset).collect::<Vec<_>>(), [0, 70]);
    }

    #[test]
    fn a_block_is_found_by_where_it_begins() {
        let index = index();
        let pages = |offset| Some(index.pages(index.find(offset)?));
        assert_eq!(pages(0), Some(&[page(0xA0), page(0xA1), page(0xA2)][..]));
        assert_eq!(pages(70), Some(&[page(0xCD)][..]));
        assert_eq!((pages(1), pages(94)), (None, None));
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
        assert_eq!(with(55, 1), PackError::TooLong { bytes: 52 + (1 << 24) });
        let entry =
            |plain_bytes, stored_bytes, content| PackError::Entry { number: 0, plain_bytes, stored_bytes, content };
        assert_eq!(with(3, 1), entry((1 << 24) + 16_385, 70, 0));
        assert_eq!(with(6, 2), entry(16_385, 70 + (2 << 16), 0));
        assert_eq!(with(4, 0), entry(16_385, 0, 0));
        assert_eq!(with(9, 3), entry(16_385, 70, 3));
        assert_eq!(with(8, 9), PackError::Codec(BlockError::UnknownCodec { codec: 9 }));
        assert_eq!(with(35, 0x40), PackError::Truncated { number: 1 }, "two pages more than there are");
    }

    #[test]
    fn many_pages_of_few_bytes_fill_a_pack_too() {
        let mut index = PackIndex::default();
        while !index.is_full() {
            index.push(Content::File, 1 << 20, 60, Codec::Zstd, vec![page(0); 128]);
        }
        assert_eq!(index.entries().len(), 1 << 12);
        let bytes = index.to_bytes();
        assert_eq!(PackIndex::parse(60 * (1 << 12) + bytes.len() as u64, &bytes), Ok(index));
    }
}
