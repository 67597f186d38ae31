//! Files of a server, as a base backup names them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ParseError;

/// A file or directory of a base backup.
///
/// `path` is relative to the data directory, with `/`, and without `.`, `..` and empty parts. What lies in a tablespace is
/// named as PostgreSQL sees it: `pg_tblspc/16385/PG_15_202209061/5/16386`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileEntry {
    /// Where it stands.
    pub path: String,
    /// Its length; 0 for a directory.
    pub bytes: u64,
    /// Its permission bits.
    pub mode: u32,
    /// When it was last modified, in seconds since 1970.
    pub modified: i64,
    /// What tells that it has not changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<FileStamp>,
}

impl FileEntry {
    /// The file or directory at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, bytes: u64, mode: u32, modified: i64) -> Self {
        Self { path: path.into(), bytes, mode, modified, stamp: None }
    }
}

/// What a source gives a file of which it can tell whether it changed: a file of the same path and length with the same stamp has
/// the same content. Which state it stands for, the source alone knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileStamp([u8; 8]);

impl FileStamp {
    /// The stamp with these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for FileStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl FromStr for FileStamp {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let digits = Some(text).filter(|text| text.len() == 16 && text.bytes().all(is_digit));
        let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        number
            .map(|number| Self(number.to_be_bytes()))
            .ok_or_else(|| ParseError::new("file stamp", text, "16 hexadecimal digits"))
    }
}

impl TryFrom<String> for FileStamp {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<FileStamp> for String {
    fn from(stamp: FileStamp) -> Self {
        stamp.to_string()
    }
}

/// A tablespace outside the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tablespace {
    /// Its object identifier.
    pub oid: u32,
    /// The directory that it stood in on the server.
    pub path: String,
}

impl Tablespace {
    /// The tablespace `oid` in the directory `path`.
    #[must_use]
    pub fn new(oid: u32, path: impl Into<String>) -> Self {
        Self { oid, path: path.into() }
    }
}
