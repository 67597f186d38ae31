//! The manifest of a snapshot: every file of the server, and where its blocks are stored (docs/FORMAT.md).
//!
//! JSON, one line an entry, so that it is written and read as a stream: the head, then directories and files in the order in
//! which they were read, then the end with the counts. It is stored sealed; its blocks are those of [`log`](super::log)'s kind.

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::block::{BLOCK_BYTES_MAX, Codec};
use super::digest::Digest;
use crate::model::{FileEntry, Incarnation, SnapshotId, Tablespace};

/// The version that this pitr writes.
const VERSION: u32 = 1;
/// The longest line, without its end. A relation segment of 1 GiB in blocks of 4 KiB would fit.
const LINE_BYTES_MAX: usize = 64 << 20;
/// The last line is shorter: it has a few numbers.
pub const END_BYTES_MAX: u64 = 512;

/// The first line of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManifestHead {
    version: u32,
    /// Which life of the server it is of.
    pub incarnation: Incarnation,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The tablespaces outside the data directory.
    pub tablespaces: Vec<Tablespace>,
}

impl ManifestHead {
    /// The head of the manifest of `snapshot`, of the server in its life `incarnation`.
    #[must_use]
    pub const fn new(incarnation: Incarnation, snapshot: SnapshotId, tablespaces: Vec<Tablespace>) -> Self {
        Self { version: VERSION, incarnation, snapshot, tablespaces }
    }
}

/// A file and its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManifestFile {
    /// Its name, length, mode and time.
    #[serde(flatten)]
    pub entry: FileEntry,
    /// Its content, in order.
    pub blocks: Vec<BlockRef>,
}

impl ManifestFile {
    /// The file `entry`, made of `blocks`.
    #[must_use]
    pub const fn new(entry: FileEntry, blocks: Vec<BlockRef>) -> Self {
        Self { entry, blocks }
    }
}

/// Where a block is stored, and what it must turn out to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(from = "(u32, u64, u32, u32, Codec, Digest)", into = "(u32, u64, u32, u32, Codec, Digest)")]
pub struct BlockRef {
    /// The number of the pack of this snapshot that holds it.
    pub pack: u32,
    /// Where it begins in the pack's plaintext.
    pub offset: u64,
    /// Its length there.
    pub stored_bytes: u32,
    /// Its length in the file.
    pub plain_bytes: u32,
    /// How it is stored.
    pub codec: Codec,
    /// The SHA-256 of its bytes in the file.
    pub digest: Digest,
}

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
}

impl From<(u32, u64, u32, u32, Codec, Digest)> for BlockRef {
    fn from((pack, offset, stored_bytes, plain_bytes, codec, digest): (u32, u64, u32, u32, Codec, Digest)) -> Self {
        Self { pack, offset, stored_bytes, plain_bytes, codec, digest }
    }
}

impl From<BlockRef> for (u32, u64, u32, u32, Codec, Digest) {
    fn from(block: BlockRef) -> Self {
        (block.pack, block.offset, block.stored_bytes, block.plain_bytes, block.codec, block.digest)
    }
}

/// The last line of a manifest: counts of what came before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManifestEnd {
    /// Directories.
    pub directories: u64,
    /// Files.
    pub files: u64,
    /// The bytes of all files.
    pub bytes: u64,
    /// The packs that hold them: those with the numbers from 0 up to this one.
    pub packs: u64,
}

impl ManifestEnd {
    fn count(&mut self, line: &ManifestLine) {
        match line {
            ManifestLine::Directory(_) => self.directories += 1,
            ManifestLine::File(file) => {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(file.entry.bytes);
                let packs = file.blocks.iter().map(|block| u64::from(block.pack) + 1).max();
                self.packs = self.packs.max(packs.unwrap_or(0));
            }
            ManifestLine::Head(_) | ManifestLine::End(_) => {}
        }
    }
}

/// One line of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ManifestLine {
    /// What it is the manifest of.
    Head(ManifestHead),
    /// A directory.
    Directory(FileEntry),
    /// A file.
    File(ManifestFile),
    /// The counts.
    End(ManifestEnd),
}

impl ManifestLine {
    /// What the line is of, for people.
    fn subject(&self) -> String {
        match self {
            Self::Head(_) => "its head".to_owned(),
            Self::Directory(entry) | Self::File(ManifestFile { entry, .. }) => format!("{:?}", entry.path),
            Self::End(_) => "its end".to_owned(),
        }
    }
}

/// Why bytes are no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Written by a newer pitr.
    #[error("snapshot manifest of version {version}, this pitr reads up to {VERSION}: upgrade it")]
    FutureVersion {
        /// The version found.
        version: u32,
    },
    /// A line that does not parse, or stands in a wrong place.
    #[error("malformed line {line} of the snapshot manifest: {reason}")]
    Malformed {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A line that no reader would take: of a file with hundreds of thousands of blocks, which is none of PostgreSQL's.
    #[error(
        "the line of {what} in the snapshot manifest has {bytes} bytes, {LINE_BYTES_MAX} are allowed: \
         keep such large files out of the data directory"
    )]
    TooLong {
        /// What the line is of.
        what: String,
        /// The line's length.
        bytes: u64,
    },
    /// A block that no writer makes. Its reader would have to allocate whatever it claims.
    #[error(
        "a block of {path:?} has {plain_bytes} bytes, stored as {stored_bytes}: {BLOCK_BYTES_MAX} are allowed, \
         and it must not grow"
    )]
    Block {
        /// The file.
        path: String,
        /// The length that is claimed in the file.
        plain_bytes: u32,
        /// The length that is claimed in the pack.
        stored_bytes: u32,
    },
    /// The blocks of a file do not add up to it.
    #[error("the blocks of {path:?} hold {found} bytes, the file has {expected}")]
    Blocks {
        /// The file.
        path: String,
        /// The file's length.
        expected: u64,
        /// That of its blocks.
        found: u64,
    },
    /// The counts are not those of the lines.
    #[error("the snapshot manifest lists {found:?}, its end says {expected:?}")]
    Counts {
        /// What the end says.
        expected: ManifestEnd,
        /// What was listed.
        found: ManifestEnd,
    },
    /// It ends before its end.
    #[error("the snapshot manifest ends in the middle")]
    Truncated,
    /// Something follows its end.
    #[error("something follows the end of the snapshot manifest")]
    Extended,
}

/// Prints a manifest, line by line.
#[derive(Debug, Default)]
pub struct ManifestWriter {
    counts: ManifestEnd,
}

impl ManifestWriter {
    /// A writer, and the head's line.
    ///
    /// # Errors
    /// [`ManifestError::TooLong`] if there are more tablespaces than a line holds.
    pub fn begin(head: ManifestHead) -> Result<(Self, Bytes), ManifestError> {
        let line = print(&ManifestLine::Head(head))?;
        Ok((Self::default(), line))
    }

    /// The line of a directory.
    ///
    /// # Errors
    /// [`ManifestError::TooLong`] if its name is longer than a line.
    pub fn directory(&mut self, entry: FileEntry) -> Result<Bytes, ManifestError> {
        self.line(&ManifestLine::Directory(entry))
    }

    /// The line of a file.
    ///
    /// # Errors
    /// If [`ManifestReader`] would refuse it: the line would be too long, or the blocks are not those of the file.
    pub fn file(&mut self, file: ManifestFile) -> Result<Bytes, ManifestError> {
        check_blocks(&file)?;
        self.line(&ManifestLine::File(file))
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> ManifestEnd {
        self.counts
    }

    /// The last line.
    #[must_use]
    pub fn end(self) -> Bytes {
        print(&ManifestLine::End(self.counts)).expect("a few numbers fit in a line")
    }

    fn line(&mut self, line: &ManifestLine) -> Result<Bytes, ManifestError> {
        let text = print(line)?;
        self.counts.count(line);
        Ok(text)
    }
}

fn print(line: &ManifestLine) -> Result<Bytes, ManifestError> {
    let mut text = serde_json::to_vec(line).expect("lines of a manifest hold nothing that JSON cannot");
    if text.len() > LINE_BYTES_MAX {
        return Err(ManifestError::TooLong { what: line.subject(), bytes: text.len() as u64 });
    }
    text.push(b'\n');
    Ok(text.into())
}

/// The counts of a manifest, of which `tail` is the end.
///
/// # Errors
/// If they do not stand there: [`END_BYTES_MAX`] bytes are enough.
pub fn end(tail: &[u8]) -> Result<ManifestEnd, ManifestError> {
    let text = tail.strip_suffix(b"\n").ok_or(ManifestError::Truncated)?;
    let last = text.rsplit(|byte| *byte == b'\n').next().unwrap_or(text);
    match serde_json::from_slice(last) {
        Ok(ManifestLine::End(end)) => Ok(end),
        _ => Err(ManifestError::Truncated),
    }
}

/// Reads a manifest as it arrives. Keeps at most one line.
#[derive(Debug, Default)]
pub struct ManifestReader {
    buffered: BytesMut,
    lines: u64,
    counts: ManifestEnd,
    ended: bool,
}

impl ManifestReader {
    /// A reader at the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and gives the lines that are now complete, in order.
    ///
    /// # Errors
    /// If they are not those of a manifest. Then the reader is of no further use.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<ManifestLine>, ManifestError> {
        let mut lines = Vec::new();
        let mut rest = bytes;
        while let Some(newline) = rest.iter().position(|byte| *byte == b'\n') {
            self.buffered.extend_from_slice(&rest[..newline]);
            rest.advance(newline + 1);
            let line = self.buffered.split();
            self.check_length(&line)?;
            lines.push(self.line(&line)?);
        }
        self.buffered.extend_from_slice(rest);
        self.check_length(&self.buffered)?;
        Ok(lines)
    }

    /// Confirms that the manifest is complete.
    ///
    /// # Errors
    /// If it is not.
    pub fn finish(self) -> Result<ManifestEnd, ManifestError> {
        match (self.ended, self.buffered.is_empty()) {
            (true, true) => Ok(self.counts),
            (true, false) => Err(ManifestError::Extended),
            (false, _) => Err(ManifestError::Truncated),
        }
    }

    fn line(&mut self, text: &[u8]) -> Result<ManifestLine, ManifestError> {
        if self.ended {
            return Err(ManifestError::Extended);
        }
        self.lines += 1;
        if self.lines == 1 {
            check_version(text)?;
        }
        let line = serde_json::from_slice(text).map_err(|error| self.malformed(error))?;
        match &line {
            ManifestLine::Head(_) if self.lines > 1 => return Err(self.malformed("a second head")),
            ManifestLine::Head(_) => {}
            _ if self.lines == 1 => return Err(self.malformed("the head is missing")),
            ManifestLine::File(file) => check_blocks(file)?,
            ManifestLine::Directory(_) => {}
            ManifestLine::End(end) => {
                self.ended = true;
                check_counts(*end, self.counts)?;
            }
        }
        self.counts.count(&line);
        Ok(line)
    }

    /// Of a line, or of as much of it as arrived.
    fn check_length(&self, line: &[u8]) -> Result<(), ManifestError> {
        let within = line.len() <= LINE_BYTES_MAX;
        if within { Ok(()) } else { Err(self.malformed("it is too long")) }
    }

    fn malformed(&self, reason: impl std::fmt::Display) -> ManifestError {
        ManifestError::Malformed { line: self.lines, reason: reason.to_string() }
    }
}

fn check_version(head: &[u8]) -> Result<(), ManifestError> {
    #[derive(Deserialize)]
    struct Line {
        head: Version,
    }
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    match serde_json::from_slice(head) {
        Ok(Line { head: Version { version } }) if version > VERSION => Err(ManifestError::FutureVersion { version }),
        Ok(_) => Ok(()),
        Err(error) => Err(ManifestError::Malformed { line: 1, reason: error.to_string() }),
    }
}

fn check_blocks(file: &ManifestFile) -> Result<(), ManifestError> {
    let FileEntry { ref path, bytes: expected, .. } = file.entry;
    let wrong =
        |block: &&BlockRef| block.plain_bytes as usize > BLOCK_BYTES_MAX || block.stored_bytes > block.plain_bytes;
    if let Some(&BlockRef { plain_bytes, stored_bytes, .. }) = file.blocks.iter().find(wrong) {
        return Err(ManifestError::Block { path: path.clone(), plain_bytes, stored_bytes });
    }
    let found = file.blocks.iter().map(|block| u64::from(block.plain_bytes)).sum();
    if found == expected { Ok(()) } else { Err(ManifestError::Blocks { path: path.clone(), expected, found }) }
}

fn check_counts(expected: ManifestEnd, found: ManifestEnd) -> Result<(), ManifestError> {
    if found == expected { Ok(()) } else { Err(ManifestError::Counts { expected, found }) }
}

#[cfg(test)]
mod tests;
