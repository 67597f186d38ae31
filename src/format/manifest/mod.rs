//! The manifest of a snapshot: every file of the server, and where its blocks are stored (docs/FORMAT.md).
//!
//! It has two levels. The list of [entries](Entry) is cut into parts of about 1 MiB, which are stored like files: as blocks in
//! packs. A part that is the same as in the snapshot before is not stored again. The [manifest](Manifest) itself, an object of its own,
//! says where the parts are and which packs the snapshot uses, and so what must be kept for it.

mod extent;
mod lines;
mod packs;
mod page_set;
mod part;
mod root;

use serde::{Deserialize, Serialize};

pub use self::extent::{EXTENT_BYTES, Extent, LAYERS_MAX, Layer, PageSource};
pub use self::packs::{PackId, PackTable, PackUse};
pub use self::page_set::PageSet;
pub use self::part::{Entry, ManifestFile, PartWriter, parse_part};
pub use self::root::{Manifest, ManifestHead, ManifestReader};
use super::block::{BLOCK_BYTES_MAX, Codec};
use super::digest::Digest;
use super::pack::PackEntry;

/// Where a block is stored, and what it must turn out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(from = "BlockRow", into = "BlockRow")]
pub struct BlockRef {
    /// The pack that holds it, by its place in a [`PackTable`].
    pub pack: u32,
    /// Where it begins in the pack.
    pub offset: u64,
    /// Its length there.
    pub stored_bytes: u32,
    /// Its length before compression.
    pub plain_bytes: u32,
    /// How it is stored.
    pub codec: Codec,
    /// The digest of its bytes before compression.
    pub digest: Digest,
}

/// A block as it is written: short, as there are many.
type BlockRow = (u32, u64, u32, u32, Codec, Digest);

impl BlockRef {
    /// A block of `plain_bytes` bytes with this `digest`, stored as `stored_bytes` bytes at `offset` of `pack`.
    #[must_use]
    pub const fn new(
        pack: u32,
        offset: u64,
        stored_bytes: u32,
        plain_bytes: u32,
        codec: Codec,
        digest: Digest,
    ) -> Self {
        Self { pack, offset, stored_bytes, plain_bytes, codec, digest }
    }

    /// The block of `pack` of which the pack's index says `entry`, and that it has this `digest`.
    #[must_use]
    pub const fn of_entry(pack: u32, entry: &PackEntry, digest: Digest) -> Self {
        let PackEntry { offset, plain_bytes, stored_bytes, codec, .. } = *entry;
        Self { pack, offset, stored_bytes, plain_bytes, codec, digest }
    }

    /// The same block of the pack that has the place `pack` in another table.
    #[must_use]
    pub const fn of_pack(self, pack: u32) -> Self {
        Self { pack, ..self }
    }

    /// Whether it holds the `plain_bytes` bytes that have this `digest`.
    #[must_use]
    pub fn is_of(&self, digest: Digest, plain_bytes: usize) -> bool {
        self.digest == digest && self.plain_bytes as usize == plain_bytes
    }

    /// Where it ends in the pack.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.offset.saturating_add(self.stored_bytes as u64)
    }

    /// Whether a writer makes such blocks. Whoever fetches one reserves what is claimed here.
    const fn is_possible(&self) -> bool {
        self.plain_bytes as usize <= BLOCK_BYTES_MAX && 0 < self.stored_bytes && self.stored_bytes <= self.plain_bytes
    }
}

impl From<BlockRow> for BlockRef {
    fn from((pack, offset, stored_bytes, plain_bytes, codec, digest): BlockRow) -> Self {
        Self { pack, offset, stored_bytes, plain_bytes, codec, digest }
    }
}

impl From<BlockRef> for BlockRow {
    fn from(block: BlockRef) -> Self {
        (block.pack, block.offset, block.stored_bytes, block.plain_bytes, block.codec, block.digest)
    }
}

/// What a manifest lists, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManifestCounts {
    /// Directories.
    pub directories: u64,
    /// Files.
    pub files: u64,
    /// The bytes of all files.
    pub bytes: u64,
}

impl ManifestCounts {
    /// Counts `entry` too.
    pub fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Directory(_) => self.directories += 1,
            Entry::File(file) => {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(file.entry.bytes);
            }
        }
    }
}

/// Why bytes are no manifest, or no part of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Written by a newer pitr.
    #[error("snapshot manifest of version {version}, this pitr reads up to {VERSION}: upgrade it", VERSION = root::VERSION)]
    FutureVersion {
        /// The version found.
        version: u32,
    },
    /// A line that does not parse, or stands in a wrong place.
    #[error("malformed line {line} of the snapshot manifest: {reason}")]
    Malformed {
        /// Counted from 1, in the manifest or in its part.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A line that no reader would take: of a file with hundreds of thousands of blocks, which is none of PostgreSQL's.
    #[error(
        "the line of {what} in the snapshot manifest has {bytes} bytes, {LINE_BYTES_MAX} are allowed: \
         keep such large files out of the data directory",
        LINE_BYTES_MAX = lines::LINE_BYTES_MAX
    )]
    TooLong {
        /// What the line is of.
        what: String,
        /// The line's length.
        bytes: u64,
    },
    /// A block that no writer makes. Its reader would have to allocate whatever it claims.
    #[error(
        "a block of {what} has {plain_bytes} bytes, stored as {stored_bytes}: {BLOCK_BYTES_MAX} are allowed, \
         and it must not grow"
    )]
    Block {
        /// What it is a block of.
        what: String,
        /// The length that is claimed before compression.
        plain_bytes: u32,
        /// The length that is claimed in the pack.
        stored_bytes: u32,
    },
    /// An extent that no writer makes: too long, or of layers that do not have all of its pages.
    #[error("the layers of an extent of {path:?} do not make up its {bytes} bytes")]
    Extent {
        /// The file.
        path: String,
        /// The extent's length.
        bytes: u32,
    },
    /// A block in a pack that is not listed.
    #[error("a block of {what} is in a pack that the snapshot manifest does not list")]
    UnknownPack {
        /// What it is a block of.
        what: String,
    },
    /// The extents of a file do not add up to it.
    #[error("the extents of {path:?} hold {found} bytes, the file has {expected}")]
    Extents {
        /// The file.
        path: String,
        /// The file's length.
        expected: u64,
        /// That of its extents.
        found: u64,
    },
    /// The counts are not those of what is listed.
    #[error("the snapshot manifest lists {found:?}, its end says {expected:?}")]
    Counts {
        /// What the end says.
        expected: ManifestCounts,
        /// What was listed.
        found: ManifestCounts,
    },
    /// It ends before its end.
    #[error("the snapshot manifest ends in the middle")]
    Truncated,
    /// Something follows its end.
    #[error("something follows the end of the snapshot manifest")]
    Extended,
}

/// Whether `blocks`, of `what`, are such as a writer makes, in packs that a table of `packs` has.
fn check_blocks<'a>(
    blocks: impl IntoIterator<Item = &'a BlockRef>,
    packs: usize,
    what: impl Fn() -> String,
) -> Result<(), ManifestError> {
    for block in blocks {
        if !block.is_possible() {
            let BlockRef { plain_bytes, stored_bytes, .. } = *block;
            return Err(ManifestError::Block { what: what(), plain_bytes, stored_bytes });
        }
        if block.pack as usize >= packs {
            return Err(ManifestError::UnknownPack { what: what() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
