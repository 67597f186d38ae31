//! Files of a server, as a base backup names them.

use serde::{Deserialize, Serialize};

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
}

impl FileEntry {
    /// The file or directory at `path`.
    #[must_use]
    pub fn new(path: impl Into<String>, bytes: u64, mode: u32, modified: i64) -> Self {
        Self { path: path.into(), bytes, mode, modified }
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
