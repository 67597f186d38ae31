//! The lines of a manifest.

use serde::Deserialize;

use super::{ChecksumAlgorithm, FileChecksum, Item};
use crate::format::relative_path::RelativePath;
use crate::model::{Lsn, ParseError, SystemId, TimelineId, Timestamp, WalRange};

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManifestFile {
    /// Where it is, below the data directory; files of a tablespace are below `pg_tblspc/` and its OID.
    pub path: RelativePath,
    /// Its size, in bytes.
    pub size: u64,
    /// When the server had last modified it, in whole seconds. Nothing relies on this.
    pub last_modified: Timestamp,
    /// The checksum of its contents.
    pub checksum: FileChecksum,
}

/// A line that is not what stands at its place.
pub(super) fn unexpected(line: &[u8], expected: &'static str) -> ParseError {
    ParseError::new("line", String::from_utf8_lossy(line), expected)
}

pub(super) fn literal(line: &[u8], expected: &'static str) -> Result<(), ParseError> {
    if line == expected.as_bytes() { Ok(()) } else { Err(unexpected(line, expected.trim_end())) }
}

/// The text between two fixed ones.
fn between<'a>(line: &'a [u8], before: &str, after: &str) -> Option<&'a str> {
    let value = line.strip_prefix(before.as_bytes())?.strip_suffix(after.as_bytes())?;
    std::str::from_utf8(value).ok()
}

pub(super) fn version(line: &[u8]) -> Result<u64, ParseError> {
    let version = between(line, "{ \"PostgreSQL-Backup-Manifest-Version\": ", ",\n");
    let digits = version.filter(|version| version.bytes().all(|byte| byte.is_ascii_digit()));
    let expected = "the opening of a backup manifest and its version";
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| unexpected(line, expected))
}

pub(super) fn system_id(line: &[u8]) -> Result<SystemId, ParseError> {
    let system_id = between(line, "\"System-Identifier\": ", ",\n");
    system_id.ok_or_else(|| unexpected(line, "\"System-Identifier\""))?.parse()
}

/// The checksum in the last line.
pub(super) fn checksum(line: &[u8]) -> Result<FileChecksum, ParseError> {
    let digits = between(line, "\"Manifest-Checksum\": \"", "\"}\n");
    FileChecksum::parse(ChecksumAlgorithm::Sha256, digits.ok_or_else(|| unexpected(line, "\"Manifest-Checksum\""))?)
}

/// The object in a line of a list, and what may follow it; `None` for the end of the list.
pub(super) fn item(line: &[u8], item: Item) -> Result<Option<(&[u8], Item)>, ParseError> {
    let object = |separator: &[u8]| line.strip_suffix(separator).filter(|object| object.ends_with(b"}"));
    match (item, line) {
        (Item::First | Item::None, b"],\n") => Ok(None),
        (Item::None, _) => Err(unexpected(line, "the end of the list, as there was no comma")),
        (Item::First | Item::Next, _) => object(b",\n")
            .map(|object| (object, Item::Next))
            .or_else(|| object(b"\n").map(|object| (object, Item::None)))
            .map(Some)
            .ok_or_else(|| unexpected(line, "an object")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileObject {
    #[serde(rename = "Path")]
    path: Option<String>,
    #[serde(rename = "Encoded-Path")]
    encoded_path: Option<String>,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Last-Modified")]
    last_modified: String,
    #[serde(rename = "Checksum-Algorithm")]
    algorithm: Option<String>,
    #[serde(rename = "Checksum")]
    checksum: Option<String>,
}

pub(super) fn file(json: &[u8]) -> Result<ManifestFile, ParseError> {
    let expected = "a file with its path, size, time of modification and checksum";
    let file: FileObject = serde_json::from_slice(json).map_err(|_| unexpected(json, expected))?;
    let path = match (file.path, file.encoded_path) {
        (Some(path), None) => RelativePath::new(path)?,
        (None, Some(digits)) => RelativePath::new(hex(&digits)?)?,
        _ => return Err(unexpected(json, "either Path or Encoded-Path")),
    };
    let checksum = match (file.algorithm, file.checksum) {
        (None, None) => FileChecksum::None,
        (Some(algorithm), Some(digits)) => FileChecksum::parse(algorithm.parse()?, &digits)?,
        _ => return Err(unexpected(json, "both Checksum-Algorithm and Checksum, or neither")),
    };
    Ok(ManifestFile { path, size: file.size, last_modified: last_modified(&file.last_modified)?, checksum })
}

/// `2026-11-23 21:09:08 GMT`.
fn last_modified(text: &str) -> Result<Timestamp, ParseError> {
    let rfc3339 =
        text.strip_suffix(" GMT").and_then(|at| at.split_once(' ')).map(|(day, time)| format!("{day}T{time}Z"));
    let expected = "a time in GMT, as in 2026-11-23 21:09:08 GMT";
    rfc3339.and_then(|at| at.parse().ok()).ok_or_else(|| ParseError::new("time of modification", text, expected))
}

fn hex(digits: &str) -> Result<Vec<u8>, ParseError> {
    from_hex(digits).ok_or_else(|| ParseError::new("encoded path", digits, "two hexadecimal digits a byte"))
}

/// Two digits a byte, either case.
pub(super) fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |&[high, low]: &[u8; 2]| u8::try_from(digit(high)? << 4 | digit(low)?).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WalRangeObject {
    #[serde(rename = "Timeline")]
    timeline: TimelineId,
    #[serde(rename = "Start-LSN")]
    start: Lsn,
    #[serde(rename = "End-LSN")]
    end: Lsn,
}

pub(super) fn wal_range(json: &[u8]) -> Result<WalRange, ParseError> {
    let expected = "a range of WAL with its timeline, start and end";
    let range: WalRangeObject = serde_json::from_slice(json).map_err(|_| unexpected(json, expected))?;
    WalRange::new(range.timeline, range.start, range.end)
}
