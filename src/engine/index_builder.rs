//! What is learnt of a stretch of log while it passes.

use std::time::Duration;

use crate::format::wal::{WalDecoder, WalError, WalRecord, WalRecordDetail};
use crate::model::{CommitIndex, IndexedCommit, Lsn, RestorePoint, Timestamp, Xid, XidRange};

/// An index has at most one commit for so much commit time …
const SPACING_TIME: Duration = Duration::from_secs(1);
/// … and for so much log.
const SPACING_BYTES: u64 = 1 << 20;
/// A log backup is cut before its index outgrows what a reader accepts.
const RESTORE_POINTS_MAX: usize = 10_000;

/// Records that passed a decoder.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Those that tell something: one in many.
    telling: Vec<WalRecord>,
    others: u64,
}

impl Passed {
    /// Those that `bytes` complete.
    pub(super) fn of(decoder: &mut WalDecoder, bytes: &[u8]) -> Result<Self, WalError> {
        let mut passed = Self::default();
        decoder.feed(bytes, |record| passed.add(record))?;
        Ok(passed)
    }

    fn add(&mut self, record: WalRecord) {
        match record.detail {
            WalRecordDetail::Other => self.others += 1,
            _ => self.telling.push(record),
        }
    }

    pub(super) fn telling(&self) -> &[WalRecord] {
        &self.telling
    }
}

/// Builds the commit index of one log backup.
#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    index: CommitIndex,
    max: Option<IndexedCommit>,
    records: u64,
}

impl IndexBuilder {
    /// Takes note of records that end in the log backup.
    pub(super) fn add_all(&mut self, passed: Passed) {
        self.records += passed.others;
        passed.telling.into_iter().for_each(|record| self.add(record));
    }

    /// Takes note of the next one.
    pub(super) fn add(&mut self, record: WalRecord) {
        self.records += 1;
        match record.detail {
            WalRecordDetail::Commit { xid, time } | WalRecordDetail::Abort { xid, time } => {
                self.end(record.end_lsn, time);
                self.transaction(xid);
            }
            WalRecordDetail::RestorePoint { name, time } => {
                self.index.restore_points.push(RestorePoint::new(record.end_lsn, time, name));
            }
            _ => {}
        }
    }

    /// Whether the log backup must be cut for the index's sake.
    pub(super) fn is_full(&self) -> bool {
        self.index.restore_points.len() >= RESTORE_POINTS_MAX
    }

    /// The latest commit or abort time so far.
    pub(super) fn max_time(&self) -> Option<Timestamp> {
        self.max.map(|max| max.max_time)
    }

    /// How many restore points there were so far.
    pub(super) fn restore_points(&self) -> u32 {
        u32::try_from(self.index.restore_points.len()).unwrap_or(u32::MAX)
    }

    /// How many records there were, and the index.
    pub(super) fn finish(mut self) -> (u64, CommitIndex) {
        if self.max != self.index.commits.last().copied() {
            self.index.commits.extend(self.max);
        }
        (self.records, self.index)
    }

    fn transaction(&mut self, xid: u32) {
        let xids = self.index.xids;
        let with = |xid| xids.map_or_else(|| XidRange::of(xid), |xids| xids.with(xid));
        self.index.xids = Xid::new(xid).map(with).or(xids);
    }

    /// A transaction ended at `lsn`. Only what raises the maximum can be where a time is passed first.
    fn end(&mut self, lsn: Lsn, time: Timestamp) {
        if self.max.is_some_and(|max| time <= max.max_time) {
            return;
        }
        let commit = IndexedCommit::new(lsn, time);
        self.max = Some(commit);
        let spaced = |last: &IndexedCommit| {
            time.duration_since(last.max_time) >= SPACING_TIME && lsn.bytes_since(last.end_lsn) >= SPACING_BYTES
        };
        if self.index.commits.last().is_none_or(spaced) {
            self.index.commits.push(commit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_micros(seconds * 1_000_000).unwrap()
    }

    fn index(ends: &[(u64, i64)]) -> Vec<(u64, i64)> {
        let mut builder = IndexBuilder::default();
        for (lsn, seconds) in ends {
            builder.end(Lsn::new(*lsn), at(*seconds));
        }
        let commits = builder.finish().1.commits.into_iter();
        commits.map(|commit| (commit.end_lsn.as_u64(), commit.max_time.as_unix_micros() / 1_000_000)).collect()
    }

    #[test]
    fn the_index_is_sparse_in_time_and_in_log_and_ends_with_the_maximum() {
        const MIB: u64 = 1 << 20;
        assert_eq!(index(&[]), []);
        assert_eq!(index(&[(8, 5)]), [(8, 5)]);
        assert_eq!(index(&[(8, 1), (16, 2), (24, 3)]), [(8, 1), (24, 3)], "too little log between them");
        assert_eq!(index(&[(MIB, 1), (3 * MIB, 2), (4 * MIB, 3)]), [(MIB, 1), (3 * MIB, 2), (4 * MIB, 3)]);
    }

    #[test]
    fn a_clock_that_stepped_back_does_not_lower_the_maximum() {
        assert_eq!(index(&[(8, 9), (16, 3), (24, 9)]), [(8, 9)]);
    }
}
