//! A log backup of a catalog, without a copy of it.

use super::Branch;
use super::log_rows::LogRows;
use crate::model::{CommitIndex, IndexedCommit, LogBackup, Lsn, ObjectKey, TimelineId, Timestamp, WalRange};

/// One log backup of a catalog.
#[derive(Clone, Copy, Debug)]
pub struct LogRef<'a> {
    rows: &'a LogRows,
    row: usize,
}

impl<'a> LogRef<'a> {
    pub(super) const fn of(rows: &'a LogRows, row: usize) -> Self {
        Self { rows, row }
    }

    /// The branch that it is of.
    #[must_use]
    pub fn branch(self) -> Branch {
        self.rows.branch
    }

    /// Its timeline.
    #[must_use]
    pub fn timeline(self) -> TimelineId {
        self.rows.branch.timeline
    }

    /// The bytes that it holds.
    #[must_use]
    pub fn wal(self) -> WalRange {
        WalRange { timeline: self.timeline(), start: self.start(), end: self.end() }
    }

    /// Its first byte.
    #[must_use]
    pub fn start(self) -> Lsn {
        self.rows.start(self.row)
    }

    /// The first byte after it.
    #[must_use]
    pub fn end(self) -> Lsn {
        self.rows.end(self.row)
    }

    /// [`LogBackup::max_commit_time`].
    #[must_use]
    pub fn max_commit_time(self) -> Option<Timestamp> {
        self.rows.max_commit_time(self.row)
    }

    /// [`LogBackup::complete_through`].
    #[must_use]
    pub fn complete_through(self) -> Option<Timestamp> {
        self.rows.complete_through(self.row)
    }

    /// The last time that is known of it: the server's clock at its end, or else its latest commit.
    #[must_use]
    pub fn last_seen(self) -> Option<Timestamp> {
        self.complete_through().or_else(|| self.max_commit_time())
    }

    /// The size of its object as stored, in bytes.
    #[must_use]
    pub fn stored_bytes(self) -> u64 {
        self.rows.stored_bytes(self.row)
    }

    /// How many named restore points it holds.
    #[must_use]
    pub fn restore_points(self) -> u32 {
        self.rows.restore_points(self.row)
    }

    /// What lies where inside, if that was read.
    #[must_use]
    pub fn index(self) -> Option<&'a CommitIndex> {
        self.rows.index_of(self.row)
    }

    /// The log backup in full.
    #[must_use]
    pub fn to_backup(self) -> LogBackup {
        self.rows.backup(self.row)
    }

    /// Its object's key.
    #[must_use]
    pub fn key(self) -> ObjectKey {
        self.to_backup().key()
    }

    /// The sparse running maximum of its commit times; empty if its index was not read.
    pub(crate) fn commits(self) -> &'a [IndexedCommit] {
        self.index().map_or(&[], |index| &index.commits)
    }
}
