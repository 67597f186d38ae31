//! The `backup_label` file: where the recovery of a base backup begins.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::model::{Lsn, ParseError, SegmentNumber, SegmentSize, TimelineId};

/// What PostgreSQL 15 to 18 write into `backup_label` (`build_backup_content` of
/// `src/backend/access/transam/xlogbackup.c`).
///
/// The method of the backup is always `streamed` and therefore not a field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupLabel {
    /// The redo point of the backup's first checkpoint: replay begins here.
    pub start_lsn: Lsn,
    /// The WAL file that holds `start_lsn`: 24 hexadecimal digits that agree with it and with `start_timeline`.
    pub start_file: String,
    /// The record of that checkpoint.
    pub checkpoint_lsn: Lsn,
    /// What the server was while it was backed up.
    pub origin: BackupOrigin,
    /// When the backup began, in the server's `log_timezone`, whose abbreviation need not be unique: only to be shown.
    pub start_time: String,
    /// The name that was given to the backup: any bytes but NUL, new lines among them.
    pub label: Bytes,
    /// The timeline that the backup began on.
    pub start_timeline: TimelineId,
    /// For an incremental backup of PostgreSQL 17 or later: what it builds on.
    pub incremental_from: Option<IncrementalFrom>,
}

/// What a server was while it was backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackupOrigin {
    /// It was accepting writes.
    Primary,
    /// It was in recovery. Replay then ends the backup where `pg_control` says, not at an end-of-backup record.
    Standby,
}

/// The start of the backup that an incremental backup builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncrementalFrom {
    /// Its start position.
    pub lsn: Lsn,
    /// Its start timeline.
    pub timeline: TimelineId,
}

/// A text that is no `backup_label`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackupLabelError {
    /// PostgreSQL never writes one as long as this.
    #[error("a backup label has at most {} bytes, not {bytes}", BackupLabel::LENGTH_MAX)]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// A line is not what it should be.
    #[error("line {line} of the backup label: {problem}")]
    Line {
        /// Which line, from 1; the lines of the label count.
        line: usize,
        /// What was read and what was expected.
        problem: ParseError,
    },
}

const START: &str = "START WAL LOCATION: ";
const CHECKPOINT: &str = "CHECKPOINT LOCATION: ";
const METHOD: &str = "BACKUP METHOD: ";
const ORIGIN: &str = "BACKUP FROM: ";
const TIME: &str = "START TIME: ";
const LABEL: &str = "LABEL: ";
const TIMELINE: &str = "START TIMELINE: ";
const INCREMENTAL_LSN: &str = "INCREMENTAL FROM LSN: ";
const INCREMENTAL_TIMELINE: &str = "INCREMENTAL FROM TLI: ";

impl BackupLabel {
    /// The longest file that is read, in bytes. PostgreSQL keeps to 1024 for the label and 127 for the time.
    pub const LENGTH_MAX: usize = 2048;

    /// Reads the contents of the file.
    ///
    /// # Errors
    /// If it is not what PostgreSQL 15 to 18 write; the error names the line and what was expected there.
    pub fn parse(file: &[u8]) -> Result<Self, BackupLabelError> {
        if file.len() > Self::LENGTH_MAX {
            return Err(BackupLabelError::TooLong { bytes: file.len() });
        }
        let mut lines = Lines { rest: file, line: 0 };
        lines.parse().map_err(|problem| BackupLabelError::Line { line: lines.line, problem })
    }

    /// The contents of the file, as PostgreSQL writes them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { start_lsn, start_file, checkpoint_lsn, origin, start_time, .. } = self;
        let mut file = format!(
            "{START}{start_lsn} (file {start_file})\n{CHECKPOINT}{checkpoint_lsn}\n{METHOD}streamed\n{ORIGIN}{origin}\n\
             {TIME}{start_time}\n{LABEL}"
        )
        .into_bytes();
        file.extend_from_slice(&self.label);
        file.extend_from_slice(format!("\n{TIMELINE}{}\n", self.start_timeline).as_bytes());
        if let Some(IncrementalFrom { lsn, timeline }) = self.incremental_from {
            let lines = format!("{INCREMENTAL_LSN}{lsn}\n{INCREMENTAL_TIMELINE}{timeline}\n");
            file.extend_from_slice(lines.as_bytes());
        }
        file
    }
}

/// Prints the word that `backup_label` uses.
impl fmt::Display for BackupOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
        })
    }
}

impl FromStr for BackupOrigin {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let known = [Self::Primary, Self::Standby].into_iter().find(|origin| origin.to_string() == text);
        known.ok_or_else(|| ParseError::new("origin of a backup", text, "primary or standby"))
    }
}

/// The lines that are still to be read, and the number of the last one that was.
struct Lines<'a> {
    rest: &'a [u8],
    line: usize,
}

impl<'a> Lines<'a> {
    fn parse(&mut self) -> Result<BackupLabel, ParseError> {
        let (start_lsn, start_file) = start_location(self.field(START)?)?;
        let checkpoint_lsn = self.field(CHECKPOINT)?.parse()?;
        method(self.field(METHOD)?)?;
        let origin = self.field(ORIGIN)?.parse()?;
        let start_time = self.field(TIME)?.to_owned();
        let label = self.label()?;
        let start_timeline = self.field(TIMELINE)?.parse()?;
        check_file(start_file, start_lsn, start_timeline)?;
        let incremental_from = self.incremental()?;
        let start_file = start_file.to_owned();
        Ok(BackupLabel {
            start_lsn,
            start_file,
            checkpoint_lsn,
            origin,
            start_time,
            label,
            start_timeline,
            incremental_from,
        })
    }

    /// The value of the next line, which is to begin with `name`.
    fn field(&mut self, name: &'static str) -> Result<&'a str, ParseError> {
        self.line += 1;
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let (line, rest) =
            end.and_then(|end| self.rest.split_at_checked(end)).ok_or_else(|| not_line(self.rest, name))?;
        self.rest = rest.get(1..).unwrap_or_default();
        line.strip_prefix(name.as_bytes())
            .and_then(|value| std::str::from_utf8(value).ok())
            .ok_or_else(|| not_line(line, name))
    }

    /// The label, which may itself contain any line: it ends at the last line that can follow it.
    fn label(&mut self) -> Result<Bytes, ParseError> {
        self.line += 1;
        let label = self.rest.strip_prefix(LABEL.as_bytes()).ok_or_else(|| not_line(self.rest, LABEL))?;
        let next = |window: &[u8]| window.starts_with(b"\n") && window.ends_with(TIMELINE.as_bytes());
        let end = label.windows(TIMELINE.len() + 1).rposition(next);
        let (label, rest) = end.and_then(|end| label.split_at_checked(end)).ok_or_else(|| not_line(label, TIMELINE))?;
        if label.contains(&0) {
            return Err(ParseError::new("label of a backup", String::from_utf8_lossy(label), "no NUL byte"));
        }
        self.line += label.iter().filter(|&&byte| byte == b'\n').count();
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(Bytes::copy_from_slice(label))
    }

    /// The two lines of an incremental backup, or the end of the file.
    fn incremental(&mut self) -> Result<Option<IncrementalFrom>, ParseError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let lsn = self.field(INCREMENTAL_LSN)?.parse()?;
        let timeline = self.field(INCREMENTAL_TIMELINE)?.parse()?;
        if self.rest.is_empty() { Ok(Some(IncrementalFrom { lsn, timeline })) } else { Err(self.not_end()) }
    }

    fn not_end(&mut self) -> ParseError {
        self.line += 1;
        not_line(self.rest, "the end of the file")
    }
}

fn not_line(found: &[u8], expected: &'static str) -> ParseError {
    ParseError::new("line", String::from_utf8_lossy(found), expected)
}

fn method(text: &str) -> Result<(), ParseError> {
    let expected = "streamed, the only method of PostgreSQL 15 and later";
    if text == "streamed" { Ok(()) } else { Err(ParseError::new("method of a backup", text, expected)) }
}

/// `16/B374D848 (file 0000000100000016000000B3)`.
fn start_location(text: &str) -> Result<(Lsn, &str), ParseError> {
    let parts = text.strip_suffix(')').and_then(|text| text.split_once(" (file "));
    let expected = "an LSN and a file, as in 16/B374D848 (file 0000000100000016000000B3)";
    let (lsn, file) = parts.ok_or_else(|| ParseError::new("start location", text, expected))?;
    Ok((lsn.parse()?, file))
}

/// The name must be the one of `lsn` on `timeline` for some size of segments; the file does not say which.
fn check_file(file: &str, lsn: Lsn, timeline: TimelineId) -> Result<(), ParseError> {
    let sizes = (20..=30).filter_map(|log2| SegmentSize::new(1 << log2).ok());
    let mut names = sizes.map(|size| file_name(lsn, timeline, size));
    let expected = "the file of the start location on the start timeline";
    if names.any(|name| name == file) { Ok(()) } else { Err(ParseError::new("WAL file name", file, expected)) }
}

fn file_name(lsn: Lsn, timeline: TimelineId, size: SegmentSize) -> String {
    let log = lsn.as_u64() >> 32;
    let segment = SegmentNumber::containing(Lsn::new(lsn.as_u64() & 0xFFFF_FFFF), size);
    format!("{:08X}{log:08X}{:08X}", timeline.as_u32(), segment.as_u64())
}

#[cfg(test)]
mod tests;
