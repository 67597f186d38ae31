//! Parts of a manifest: directories and files that follow each other.
//!
//! JSON, one line an entry, after a line with the packs that the part needs. So it stands for itself, and is the same in every
//! snapshot in which these files are.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::lines::{self, Lines};
use super::packs::{PackId, PackTable};
use super::{Extent, ManifestCounts, ManifestError, check_blocks};
use crate::model::FileEntry;

/// How long parts are on average.
const PART_BYTES: u64 = 1 << 20;
/// Shorter ones are not worth a request of their own.
const PART_BYTES_MIN: u64 = PART_BYTES / 4;
/// A part is ended when it has as much, wherever that is.
const PART_BYTES_MAX: u64 = PART_BYTES * 4;

/// A file and its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManifestFile {
    /// Its name, length, mode and time.
    #[serde(flatten)]
    pub entry: FileEntry,
    /// Its content, in order.
    pub extents: Vec<Extent>,
}

impl ManifestFile {
    /// The file `entry`, made of `extents`.
    #[must_use]
    pub const fn new(entry: FileEntry, extents: Vec<Extent>) -> Self {
        Self { entry, extents }
    }

    fn name(&self) -> String {
        format!("{:?}", self.entry.path)
    }

    /// Whether its extents are possible, in packs that are listed, and add up to it.
    fn check(&self, packs: usize) -> Result<(), ManifestError> {
        check_blocks(self.extents.iter().flat_map(Extent::blocks), packs, || self.name())?;
        let path = || self.entry.path.clone();
        if let Some(Extent { bytes, .. }) = self.extents.iter().find(|extent| !extent.is_possible()) {
            return Err(ManifestError::Extent { path: path(), bytes: *bytes });
        }
        let expected = self.entry.bytes;
        let found = self.extents.iter().map(|extent| u64::from(extent.bytes)).sum();
        if found == expected { Ok(()) } else { Err(ManifestError::Extents { path: path(), expected, found }) }
    }

    /// The same in other packs.
    fn place(&mut self, mut place: impl FnMut(u32) -> u32) {
        for extent in &mut self.extents {
            extent.place(&mut place);
        }
    }
}

/// What a manifest lists.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// A directory.
    Directory(FileEntry),
    /// A file.
    File(ManifestFile),
}

/// One line of a part.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Packs(Vec<PackId>),
    Directory(FileEntry),
    File(ManifestFile),
}

/// Prints the parts of a manifest, one after another.
#[derive(Debug, Default)]
pub struct PartWriter {
    /// The lines of the part that is being written.
    text: Vec<u8>,
    /// The packs that it needs, by their places in the table of the manifest; and what these are in this part.
    packs: Vec<u32>,
    places: BTreeMap<u32, u32>,
    is_complete: bool,
    counts: ManifestCounts,
}

impl PartWriter {
    /// Writes an entry, whose blocks are in packs of `table`.
    ///
    /// # Errors
    /// If [`parse_part`] would refuse it: its line would be too long, or the blocks are not those of the file.
    pub fn write(&mut self, entry: Entry, table: &PackTable) -> Result<(), ManifestError> {
        let begin = self.text.len();
        self.counts.add(&entry);
        let path = match entry {
            Entry::Directory(entry) => self.directory(entry)?,
            Entry::File(file) => {
                file.check(table.iter().len())?;
                self.file(file)?
            }
        };
        self.is_complete = self.is_complete || ends_part(&path, self.text.len() - begin, self.text.len());
        Ok(())
    }

    /// Whether the part is as long as it should be: time to [take](Self::take) it.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The text of the part; `None` if nothing was written since the last one.
    ///
    /// # Errors
    /// [`ManifestError::TooLong`] if it needs more packs than a line holds.
    pub fn take(&mut self, table: &PackTable) -> Result<Option<Bytes>, ManifestError> {
        let lines = std::mem::take(&mut self.text);
        let packs = std::mem::take(&mut self.packs);
        self.places.clear();
        self.is_complete = false;
        if lines.is_empty() {
            return Ok(None);
        }
        let ids = packs.into_iter().filter_map(|place| table.get(place)).map(|pack| pack.id.clone()).collect();
        let mut text = Vec::new();
        lines::print(&mut text, &Line::Packs(ids), || "the packs of a part".to_owned())?;
        text.extend_from_slice(&lines);
        Ok(Some(text.into()))
    }

    /// What was written so far, in all parts.
    #[must_use]
    pub const fn counts(&self) -> ManifestCounts {
        self.counts
    }

    fn directory(&mut self, entry: FileEntry) -> Result<String, ManifestError> {
        let path = entry.path.clone();
        lines::print(&mut self.text, &Line::Directory(entry), || format!("{path:?}"))?;
        Ok(path)
    }

    fn file(&mut self, mut file: ManifestFile) -> Result<String, ManifestError> {
        file.place(|pack| self.place(pack));
        let path = file.entry.path.clone();
        lines::print(&mut self.text, &Line::File(file), || format!("{path:?}"))?;
        Ok(path)
    }

    fn place(&mut self, pack: u32) -> u32 {
        let next = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        *self.places.entry(pack).or_insert_with(|| {
            self.packs.push(pack);
            next
        })
    }
}

/// Whether a part of `part_bytes` bytes ends with the line of `path`, which has `line_bytes` bytes.
///
/// Chosen by the name: where files come and go, the parts around stay as they are.
fn ends_part(path: &str, line_bytes: usize, part_bytes: usize) -> bool {
    let (line_bytes, part_bytes) = (line_bytes as u64, part_bytes as u64);
    let is_chosen = u64::from(crc32c::crc32c(path.as_bytes())) < (line_bytes << 32) / PART_BYTES;
    part_bytes >= PART_BYTES_MAX || part_bytes >= PART_BYTES_MIN && is_chosen
}

/// The entries of the part that reads `text`. The packs of its blocks are those of `table`, which has them all.
///
/// # Errors
/// If it is no part of such a manifest.
pub fn parse_part(text: &[u8], table: &PackTable) -> Result<Vec<Entry>, ManifestError> {
    let (mut lines, mut rest) = (Lines::default(), text);
    let (mut entries, mut packs) = (Vec::new(), None);
    while let Some(line) = lines.next(&mut rest)? {
        let line = serde_json::from_slice(&line).map_err(|error| lines.malformed(error))?;
        match (line, &packs) {
            (Line::Packs(ids), None) => packs = Some(places(&ids, table)?),
            (Line::Packs(_), Some(_)) => return Err(lines.malformed("a second list of packs")),
            (_, None) => return Err(lines.malformed("the list of packs is missing")),
            (Line::Directory(entry), Some(_)) => entries.push(Entry::Directory(entry)),
            (Line::File(file), Some(packs)) => entries.push(Entry::File(resolve(file, packs)?)),
        }
    }
    if lines.is_complete() && packs.is_some() { Ok(entries) } else { Err(ManifestError::Truncated) }
}

fn places(ids: &[PackId], table: &PackTable) -> Result<Vec<u32>, ManifestError> {
    let place = |id| table.find(id).ok_or_else(|| ManifestError::UnknownPack { what: "a part".to_owned() });
    ids.iter().map(place).collect()
}

fn resolve(mut file: ManifestFile, packs: &[u32]) -> Result<ManifestFile, ManifestError> {
    file.check(packs.len())?;
    file.place(|pack| packs[pack as usize]);
    Ok(file)
}
