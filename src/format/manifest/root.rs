//! The manifest itself: which packs a snapshot uses, and where the parts of the list of its files are.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::lines::{self, LINE_BYTES_MAX, Lines};
use super::packs::{PackId, PackTable, PackUse};
use super::{BlockRef, ManifestCounts, ManifestError, check_blocks};
use crate::model::{Incarnation, SnapshotId, Tablespace};

/// The version that this pitr writes.
pub(super) const VERSION: u32 = 1;
/// The most packs that one line lists.
const LINE_PACKS_MAX: usize = 1 << 16;
/// The longest part: what ends one, a line that was begun before, and that of its packs.
const PART_BYTES_MAX: u64 = 3 * LINE_BYTES_MAX as u64;

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

/// Consecutive packs of one snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct PackRun {
    snapshot: SnapshotId,
    first: u32,
    /// The bytes that are used of each.
    used: Vec<u64>,
}

/// One line of a manifest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Head(ManifestHead),
    Packs(PackRun),
    Part(Vec<BlockRef>),
    End(End),
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    #[serde(flatten)]
    counts: ManifestCounts,
    parts: u64,
}

/// A manifest without the text of its parts. Takes a few dozen bytes a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// What it is the manifest of.
    pub head: ManifestHead,
    /// The packs that hold its files and parts, in order of their names.
    pub packs: PackTable,
    /// Where the text of each part is, in order.
    pub parts: Vec<Vec<BlockRef>>,
    /// What is listed in all parts.
    pub counts: ManifestCounts,
}

impl Manifest {
    /// The manifest of a snapshot that uses `packs`, of which blocks hold the text of its `parts`.
    #[must_use]
    pub fn new(head: ManifestHead, packs: PackTable, mut parts: Vec<Vec<BlockRef>>, counts: ManifestCounts) -> Self {
        let (packs, places) = packs.sorted();
        for block in parts.iter_mut().flatten() {
            *block = block.of_pack(places[block.pack as usize]);
        }
        Self { head, packs, parts, counts }
    }

    /// Its text, a piece after another.
    ///
    /// # Errors
    /// [`ManifestError::TooLong`] if there are more tablespaces than a line holds.
    pub fn print(&self) -> impl Iterator<Item = Result<Bytes, ManifestError>> + '_ {
        let head = std::iter::once(Line::Head(self.head.clone()));
        let packs = PackRuns { packs: &self.packs, next: 0 }.map(Line::Packs);
        let parts = self.parts.iter().map(|blocks| Line::Part(blocks.clone()));
        let end = std::iter::once(Line::End(End { counts: self.counts, parts: self.parts.len() as u64 }));
        head.chain(packs).chain(parts).chain(end).map(|line| {
            let mut text = Vec::new();
            lines::print(&mut text, &line, || "the manifest itself".to_owned())?;
            Ok(text.into())
        })
    }
}

/// Cuts packs into runs.
struct PackRuns<'a> {
    packs: &'a PackTable,
    next: u32,
}

impl Iterator for PackRuns<'_> {
    type Item = PackRun;

    fn next(&mut self) -> Option<PackRun> {
        let PackUse { id: PackId { snapshot, number: first }, bytes } = self.packs.get(self.next)?;
        let mut run = PackRun { snapshot: snapshot.clone(), first: *first, used: vec![*bytes] };
        self.next += 1;
        while let Some(PackUse { bytes, .. }) = self.packs.get(self.next).filter(|pack| run.is_joined_by(&pack.id)) {
            run.used.push(*bytes);
            self.next += 1;
        }
        Some(run)
    }
}

impl PackRun {
    fn is_joined_by(&self, id: &PackId) -> bool {
        let length = u32::try_from(self.used.len()).unwrap_or(u32::MAX);
        let is_next = self.snapshot == id.snapshot && self.first.checked_add(length) == Some(id.number);
        is_next && self.used.len() < LINE_PACKS_MAX
    }

    fn numbers(&self) -> impl Iterator<Item = u32> {
        self.first..=u32::MAX
    }
}

/// Reads a manifest as it arrives.
#[derive(Debug, Default)]
pub struct ManifestReader {
    lines: Lines,
    head: Option<ManifestHead>,
    packs: PackTable,
    parts: Vec<Vec<BlockRef>>,
    end: Option<End>,
}

impl ManifestReader {
    /// A reader at the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// If they are not those of a manifest. Then the reader is of no further use.
    pub fn feed(&mut self, mut text: &[u8]) -> Result<(), ManifestError> {
        while let Some(line) = self.lines.next(&mut text)? {
            self.line(&line)?;
        }
        Ok(())
    }

    /// The manifest, which is complete.
    ///
    /// # Errors
    /// If it is not.
    pub fn finish(self) -> Result<Manifest, ManifestError> {
        let (Some(head), Some(end)) = (self.head, self.end) else { return Err(ManifestError::Truncated) };
        if !self.lines.is_complete() {
            return Err(ManifestError::Extended);
        }
        Ok(Manifest { head, packs: self.packs, parts: self.parts, counts: end.counts })
    }

    fn line(&mut self, text: &[u8]) -> Result<(), ManifestError> {
        if self.end.is_some() {
            return Err(ManifestError::Extended);
        }
        if self.head.is_none() {
            self.check_version(text)?;
        }
        match (serde_json::from_slice(text).map_err(|error| self.lines.malformed(error))?, &self.head) {
            (Line::Head(head), None) => self.head = Some(head),
            (Line::Head(_), Some(_)) => return Err(self.lines.malformed("a second head")),
            (_, None) => return Err(self.lines.malformed("the head is missing")),
            (Line::Packs(run), _) => self.run(&run)?,
            (Line::Part(blocks), _) => self.part(blocks)?,
            (Line::End(end), _) => self.end(end)?,
        }
        Ok(())
    }

    fn run(&mut self, run: &PackRun) -> Result<(), ManifestError> {
        if run.used.len() > LINE_PACKS_MAX {
            return Err(self.lines.malformed(format!("more than {LINE_PACKS_MAX} packs in one line")));
        }
        let mut numbers = run.numbers();
        for bytes in &run.used {
            let number = numbers.next().ok_or_else(|| self.lines.malformed("packs with numbers beyond 2^32"))?;
            let id = PackId::new(run.snapshot.clone(), number);
            if self.packs.find(&id).is_some() {
                return Err(self.lines.malformed("a pack is listed twice"));
            }
            let place = self.packs.place(&id);
            self.packs.add_use(place, *bytes);
        }
        Ok(())
    }

    fn part(&mut self, blocks: Vec<BlockRef>) -> Result<(), ManifestError> {
        check_blocks(&blocks, self.packs.iter().len(), || format!("part {}", self.parts.len()))?;
        if blocks.iter().map(|block| u64::from(block.plain_bytes)).sum::<u64>() > PART_BYTES_MAX {
            return Err(self.lines.malformed("a part is longer than any can be"));
        }
        self.parts.push(blocks);
        Ok(())
    }

    fn end(&mut self, end: End) -> Result<(), ManifestError> {
        let found = self.parts.len();
        if end.parts != found as u64 {
            return Err(self.lines.malformed(format!("{} parts were promised, {found} are there", end.parts)));
        }
        self.end = Some(end);
        Ok(())
    }

    fn check_version(&self, head: &[u8]) -> Result<(), ManifestError> {
        #[derive(Deserialize)]
        struct Line {
            head: Version,
        }
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        match serde_json::from_slice(head) {
            Ok(Line { head: Version { version } }) if version > VERSION => {
                Err(ManifestError::FutureVersion { version })
            }
            Ok(_) => Ok(()),
            Err(error) => Err(self.lines.malformed(error)),
        }
    }
}
