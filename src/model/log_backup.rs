//! Log backups: contiguous stretches of the write-ahead log.

use serde::{Deserialize, Serialize};

use super::{Incarnation, Lsn, StoredObject, Timestamp, WalRange};

/// A contiguous range of log on one timeline, and what was learnt by decoding it.
///
/// A commit belongs to the log backup in which its record *ends*. An empty range is a log backup too: it says that up to
/// `complete_through` the server wrote nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogBackup {
    /// Which life of the server it is of.
    pub incarnation: Incarnation,
    /// The bytes that it holds.
    pub wal: WalRange,
    /// The latest time of a commit or abort record that ends in the range; `None` if none does.
    ///
    /// Commit times are not monotonic in the log, so this need not be the time of the last one.
    pub max_commit_time: Option<Timestamp>,
    /// The server's own clock at a moment when its flush LSN was not beyond the range's end. `None` if the clock was not
    /// observed.
    pub complete_through: Option<Timestamp>,
    /// Where it is stored.
    pub object: StoredObject,
    /// The commits inside, if the index was read; empty otherwise.
    #[serde(default, skip_serializing_if = "CommitIndex::is_empty")]
    pub index: CommitIndex,
}

impl LogBackup {
    /// A log backup of `wal` of which nothing else is known.
    #[must_use]
    pub const fn new(incarnation: Incarnation, wal: WalRange, object: StoredObject) -> Self {
        let index = CommitIndex { commits: Vec::new(), restore_points: Vec::new() };
        Self { incarnation, wal, max_commit_time: None, complete_through: None, object, index }
    }
}

/// What lies where inside a log backup: narrows a time, and resolves a name, to a position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CommitIndex {
    /// A sparse running maximum of the commit times: positions and times both increase. At most one entry a second of
    /// commit time and one a MiB of log, and always one for the maximum.
    pub commits: Vec<IndexedCommit>,
    /// Every named restore point, in log order.
    pub restore_points: Vec<RestorePoint>,
}

impl CommitIndex {
    /// Whether nothing is indexed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.restore_points.is_empty()
    }
}

/// Up to `end_lsn`, no commit or abort of its log backup has a time after `max_time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IndexedCommit {
    /// The end of the commit or abort record that raised the maximum.
    pub end_lsn: Lsn,
    /// That record's time.
    pub max_time: Timestamp,
}

impl IndexedCommit {
    /// The running maximum `max_time` as of `end_lsn`.
    #[must_use]
    pub const fn new(end_lsn: Lsn, max_time: Timestamp) -> Self {
        Self { end_lsn, max_time }
    }
}

/// A restore point that `pg_create_restore_point` left in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestorePoint {
    /// The end of its record: where a restore to it stops.
    pub end_lsn: Lsn,
    /// The server's clock when it was made.
    pub time: Timestamp,
    /// Its name, which need not be unique.
    pub name: String,
}

impl RestorePoint {
    /// The restore point `name`, made at `time`, whose record ends at `end_lsn`.
    #[must_use]
    pub fn new(end_lsn: Lsn, time: Timestamp, name: impl Into<String>) -> Self {
        Self { end_lsn, time, name: name.into() }
    }
}
