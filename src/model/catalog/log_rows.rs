//! Log backups, packed: what is known of each in 56 bytes.
//!
//! A busy server has millions of them. What many share, the directory of their objects, stands aside, as does what few have, an
//! index.

use std::sync::Arc;

use super::Branch;
use crate::model::{CommitIndex, LogBackup, Lsn, ObjectKey, Timestamp, WalRange};

/// No index was read.
const NO_INDEX: u32 = u32::MAX;

/// The log backups of one timeline.
#[derive(Clone, Debug)]
pub(super) struct LogRows {
    pub(super) branch: Branch,
    rows: Vec<LogRow>,
    directories: Vec<ObjectKey>,
    indexes: Vec<Arc<CommitIndex>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LogRow {
    start: Lsn,
    end: Lsn,
    max_commit_time: PackedTime,
    complete_through: PackedTime,
    stored_bytes: u64,
    restore_points: u32,
    directory: u32,
    index: u32,
}

/// A time that may be unknown, in eight bytes. No instant is as early as what stands for an unknown one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PackedTime(i64);

impl From<Option<Timestamp>> for PackedTime {
    fn from(time: Option<Timestamp>) -> Self {
        Self(time.map_or(i64::MIN, Timestamp::as_unix_micros))
    }
}

impl From<PackedTime> for Option<Timestamp> {
    fn from(time: PackedTime) -> Self {
        Timestamp::from_unix_micros(time.0)
    }
}

impl LogRows {
    pub(super) const fn new(branch: Branch) -> Self {
        Self { branch, rows: Vec::new(), directories: Vec::new(), indexes: Vec::new() }
    }

    /// Takes a log backup of this timeline.
    pub(super) fn push(&mut self, log: LogBackup) {
        let directory = self.directory(log.directory);
        let index = log.index.map_or(NO_INDEX, |index| self.index(index));
        self.rows.push(LogRow {
            start: log.wal.start,
            end: log.wal.end,
            max_commit_time: log.max_commit_time.into(),
            complete_through: log.complete_through.into(),
            stored_bytes: log.stored_bytes,
            restore_points: log.restore_points,
            directory,
            index,
        });
    }

    /// Puts the rows into order: by start, then end, then what else their names say. Of rows with one name, which are one object,
    /// only the first stays: the smallest, and of equal ones one with an index.
    pub(super) fn sort(&mut self) {
        let directories = &self.directories;
        let key = |row: &LogRow| {
            let LogRow { start, end, max_commit_time, complete_through, .. } = *row;
            (start, end, max_commit_time, complete_through)
        };
        let rest = |row: &LogRow| (row.restore_points, &directories[row.directory as usize]);
        let order = |a: &LogRow, b: &LogRow| key(a).cmp(&key(b)).then_with(|| rest(a).cmp(&rest(b)));
        // A listing brings them in order, most of the time, and each once.
        if !self.rows.is_sorted_by(|a, b| order(a, b).is_lt()) {
            let size = |row: &LogRow| (row.stored_bytes, row.index);
            self.rows.sort_unstable_by(|a, b| order(a, b).then_with(|| size(a).cmp(&size(b))));
            self.rows.dedup_by(|later, kept| order(later, kept).is_eq());
        }
        self.rows.shrink_to_fit();
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn start(&self, row: usize) -> Lsn {
        self.rows[row].start
    }

    pub(super) fn end(&self, row: usize) -> Lsn {
        self.rows[row].end
    }

    pub(super) fn max_commit_time(&self, row: usize) -> Option<Timestamp> {
        self.rows[row].max_commit_time.into()
    }

    pub(super) fn complete_through(&self, row: usize) -> Option<Timestamp> {
        self.rows[row].complete_through.into()
    }

    pub(super) fn stored_bytes(&self, row: usize) -> u64 {
        self.rows[row].stored_bytes
    }

    pub(super) fn restore_points(&self, row: usize) -> u32 {
        self.rows[row].restore_points
    }

    pub(super) fn index_of(&self, row: usize) -> Option<&CommitIndex> {
        self.indexes.get(self.rows[row].index as usize).map(Arc::as_ref)
    }

    /// The number of rows that begin at or before `lsn`.
    pub(super) fn begun_by(&self, lsn: Lsn) -> usize {
        self.rows.partition_point(|row| row.start <= lsn)
    }

    /// The log backup in full.
    pub(super) fn backup(&self, row: usize) -> LogBackup {
        let LogRow { start, end, stored_bytes, restore_points, directory, index, .. } = self.rows[row];
        let wal = WalRange { timeline: self.branch.timeline, start, end };
        let directory = self.directories[directory as usize].clone();
        let mut log = LogBackup::new(self.branch.incarnation, wal, directory, stored_bytes);
        (log.max_commit_time, log.complete_through) = (self.max_commit_time(row), self.complete_through(row));
        log.restore_points = restore_points;
        log.index = self.indexes.get(index as usize).map(Arc::clone);
        log
    }

    /// Notes the index of a log backup, and gives its row; `None` if it is not there.
    pub(super) fn load(&mut self, log: &LogBackup, index: Arc<CommitIndex>) -> Option<usize> {
        let begun = self.rows.partition_point(|row| row.start < log.wal.start);
        let same =
            |row: &usize| LogBackup { index: None, ..self.backup(*row) } == LogBackup { index: None, ..log.clone() };
        let row = (begun..self.begun_by(log.wal.start)).find(same)?;
        match self.indexes.get_mut(self.rows[row].index as usize) {
            Some(known) => *known = index,
            None => self.rows[row].index = self.index(index),
        }
        Some(row)
    }

    fn directory(&mut self, directory: ObjectKey) -> u32 {
        // Nearly always it is that of the one before.
        let known = self.directories.iter().rposition(|known| *known == directory);
        let number = known.unwrap_or_else(|| {
            self.directories.push(directory);
            self.directories.len() - 1
        });
        u32::try_from(number).expect("memory does not hold so many log backups")
    }

    fn index(&mut self, index: Arc<CommitIndex>) -> u32 {
        self.indexes.push(index);
        u32::try_from(self.indexes.len() - 1).expect("memory does not hold so many indexes")
    }
}
