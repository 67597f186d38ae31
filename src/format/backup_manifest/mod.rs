//! The `backup_manifest` file: what a base backup holds, and how to check it.

mod checksum;
mod line;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use self::checksum::{ChecksumAlgorithm, ChecksumHasher, FileChecksum};
pub use self::line::ManifestFile;

use super::input;
use crate::model::{ParseError, SystemId, WalRange};

/// What stands next in a manifest. There is one `Start`, then the files, then the ranges of log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManifestEvent {
    /// The manifest begins.
    #[non_exhaustive]
    Start {
        /// The version of its format.
        version: ManifestVersion,
        /// Which server it is of; PostgreSQL 15 and 16 do not say.
        system_id: Option<SystemId>,
    },
    /// A file of the backup.
    File(ManifestFile),
    /// Log that must be replayed; the newest timeline comes first.
    WalRange(WalRange),
}

/// A version of the manifest's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ManifestVersion {
    /// PostgreSQL 13 to 16.
    V1,
    /// PostgreSQL 17 and later: says which server it is of.
    V2,
}

/// A manifest that cannot be relied on. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// A line is not what it should be.
    #[error("line {line} of the backup manifest: {problem}")]
    Line {
        /// Which line.
        line: u64,
        /// What was read and what was expected.
        problem: ParseError,
    },
    /// No file has a path that long.
    #[error("line {line} of the backup manifest is longer than {} bytes", ManifestReader::LINE_BYTES_MAX)]
    LineTooLong {
        /// Which line.
        line: u64,
    },
    /// The manifest was written by a later PostgreSQL than pitr knows.
    #[error("the backup manifest has version {version}: expected 1 or 2")]
    UnsupportedVersion {
        /// The version that it states.
        version: u64,
    },
    /// The manifest was changed after it was written.
    #[error("the backup manifest has the checksum {computed}, but states {stated}")]
    Checksum {
        /// The SHA-256 that it states, in hexadecimal digits.
        stated: String,
        /// The one that it has.
        computed: String,
    },
    /// The manifest stops before its end.
    #[error("the backup manifest is cut off after line {lines}")]
    Truncated {
        /// How many whole lines it has.
        lines: u64,
    },
}

/// Reads a manifest, fed in chunks of any size.
///
/// PostgreSQL writes one file a line (`src/backend/backup/backup_manifest.c`; so does `pg_combinebackup`), so no more
/// than a line is held: memory does not grow with the manifest. Its checksum stands in its last line: **what was read is
/// certain only once [`ManifestReader::finish`] has returned `Ok`**. After an error nothing more is read, and `finish`
/// repeats the error.
///
/// # Example: the size of a backup
/// ```
/// use pitr::format::backup_manifest::{ManifestError, ManifestEvent, ManifestReader};
///
/// fn bytes(manifest: Vec<u8>) -> Result<u64, ManifestError> {
///     let mut reader = ManifestReader::new();
///     let mut bytes = 0;
///     for event in reader.feed(manifest.into()) {
///         if let ManifestEvent::File(file) = event? {
///             bytes += file.size;
///         }
///     }
///     reader.finish()?;
///     Ok(bytes)
/// }
/// assert_eq!(bytes(Vec::new()), Err(ManifestError::Truncated { lines: 0 }));
/// ```
#[derive(Debug)]
pub struct ManifestReader {
    input: Bytes,
    /// The beginning of a line whose end was not fed yet.
    partial: Vec<u8>,
    /// How many whole lines were read.
    lines: u64,
    hash: ChecksumHasher,
    state: State,
}

#[derive(Debug)]
enum State {
    Reading(Expected),
    End,
    Failed(ManifestError),
}

/// What the next line should be.
#[derive(Clone, Copy, Debug)]
enum Expected {
    Version,
    SystemId,
    Files,
    File(Item),
    WalRanges,
    WalRange(Item),
    Checksum,
}

/// What a line says, and what should come next where that does not depend on more than the line.
enum Line {
    Version(u64),
    Opening(Expected),
    Event(Expected, ManifestEvent),
    Checksum(FileChecksum),
}

/// What may follow in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    First,
    Next,
    None,
}

impl Default for ManifestReader {
    fn default() -> Self {
        Self::new()
    }
}

impl ManifestReader {
    /// The longest line that is read, in bytes: a path of PostgreSQL's `MAXPGPATH` with every byte escaped, and more.
    pub const LINE_BYTES_MAX: usize = 16 << 10;

    /// A reader at the start of a manifest.
    #[must_use]
    pub fn new() -> Self {
        let hash = ChecksumHasher::new(ChecksumAlgorithm::Sha256);
        Self { input: Bytes::new(), partial: Vec::new(), lines: 0, hash, state: State::Reading(Expected::Version) }
    }

    /// Takes the next bytes of the manifest and gives what they complete.
    ///
    /// Events that are not taken from the iterator come first the next time.
    ///
    /// # Errors
    /// Each item may be one, and is then the last.
    pub fn feed(&mut self, chunk: Bytes) -> impl Iterator<Item = Result<ManifestEvent, ManifestError>> + '_ {
        input::append(&mut self.input, chunk);
        std::iter::from_fn(move || self.next_event().transpose())
    }

    /// Ends the manifest, all of whose events were taken.
    ///
    /// # Errors
    /// If it is not complete, its checksum is wrong, or it could not be read.
    pub fn finish(self) -> Result<(), ManifestError> {
        match self.state {
            State::Failed(error) => Err(error),
            State::End if self.input.is_empty() => Ok(()),
            State::Reading(_) | State::End => Err(ManifestError::Truncated { lines: self.lines }),
        }
    }

    fn next_event(&mut self) -> Result<Option<ManifestEvent>, ManifestError> {
        let event = self.advance();
        if let Err(error) = &event {
            self.state = State::Failed(error.clone());
        }
        event
    }

    /// Goes on until there is something to tell or no whole line is left.
    fn advance(&mut self) -> Result<Option<ManifestEvent>, ManifestError> {
        loop {
            let expected = match self.state {
                State::Reading(expected) => expected,
                State::End if self.input.is_empty() => return Ok(None),
                State::End => return Err(self.after_end()),
                State::Failed(_) => {
                    self.input.clear();
                    return Ok(None);
                }
            };
            let Some(line) = self.next_line()? else { return Ok(None) };
            if let Some(event) = self.read(expected, &line)? {
                return Ok(Some(event));
            }
        }
    }

    /// The next line, with its line feed; `None` if its end was not fed yet.
    fn next_line(&mut self) -> Result<Option<Bytes>, ManifestError> {
        let end = self.input.iter().position(|&byte| byte == b'\n');
        let piece = self.input.split_to(end.map_or(self.input.len(), |end| end.saturating_add(1)));
        if self.partial.len().saturating_add(piece.len()) > Self::LINE_BYTES_MAX {
            return Err(ManifestError::LineTooLong { line: self.line_number() });
        }
        if end.is_some() && self.partial.is_empty() {
            return Ok(Some(piece));
        }
        self.partial.extend_from_slice(&piece);
        Ok(end.map(|_| std::mem::take(&mut self.partial).into()))
    }

    fn read(&mut self, expected: Expected, line: &[u8]) -> Result<Option<ManifestEvent>, ManifestError> {
        let said = expected.read(line).map_err(|problem| self.at_next_line(problem))?;
        let (next, event) = match said {
            Line::Version(version) => self::version(version)?,
            Line::Opening(next) => (State::Reading(next), None),
            Line::Event(next, event) => (State::Reading(next), Some(event)),
            Line::Checksum(stated) => (self.check(stated)?, None),
        };
        self.hash.update(line);
        self.lines = self.line_number();
        self.state = next;
        Ok(event)
    }

    /// Compares what the last line states with the checksum of all lines before it.
    fn check(&self, stated: FileChecksum) -> Result<State, ManifestError> {
        let computed = self.hash.clone().finish();
        if stated == computed {
            return Ok(State::End);
        }
        Err(ManifestError::Checksum { stated: stated.to_string(), computed: computed.to_string() })
    }

    /// Shows a single byte: how many there are depends on how the manifest was cut.
    fn after_end(&self) -> ManifestError {
        let byte = self.input.get(..1).unwrap_or_default();
        self.at_next_line(line::unexpected(byte, "the end of the file"))
    }

    fn line_number(&self) -> u64 {
        self.lines.saturating_add(1)
    }

    fn at_next_line(&self, problem: ParseError) -> ManifestError {
        ManifestError::Line { line: self.line_number(), problem }
    }
}

fn version(version: u64) -> Result<(State, Option<ManifestEvent>), ManifestError> {
    let start = ManifestEvent::Start { version: ManifestVersion::V1, system_id: None };
    match version {
        1 => Ok((State::Reading(Expected::Files), Some(start))),
        2 => Ok((State::Reading(Expected::SystemId), None)),
        version => Err(ManifestError::UnsupportedVersion { version }),
    }
}

impl Expected {
    fn read(self, line: &[u8]) -> Result<Line, ParseError> {
        Ok(match self {
            Self::Version => Line::Version(line::version(line)?),
            Self::SystemId => {
                let system_id = Some(line::system_id(line)?);
                Line::Event(Self::Files, ManifestEvent::Start { version: ManifestVersion::V2, system_id })
            }
            Self::Files => line::literal(line, "\"Files\": [\n").map(|()| Line::Opening(Self::File(Item::First)))?,
            Self::File(item) => match line::item(line, item)? {
                None => Line::Opening(Self::WalRanges),
                Some((json, next)) => Line::Event(Self::File(next), ManifestEvent::File(line::file(json)?)),
            },
            Self::WalRanges => {
                line::literal(line, "\"WAL-Ranges\": [\n").map(|()| Line::Opening(Self::WalRange(Item::First)))?
            }
            Self::WalRange(item) => match line::item(line, item)? {
                None => Line::Opening(Self::Checksum),
                Some((json, next)) => {
                    Line::Event(Self::WalRange(next), ManifestEvent::WalRange(line::wal_range(json)?))
                }
            },
            Self::Checksum => Line::Checksum(line::checksum(line)?),
        })
    }
}
