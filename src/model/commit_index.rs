//! What lies where inside a log backup.

use serde::{Deserialize, Serialize};

use super::{Lsn, Timestamp, Xid};

/// What lies where inside a log backup: narrows a time, and resolves a name or a transaction, to a position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CommitIndex {
    /// A sparse running maximum of the commit times: positions and times both increase. At most one entry a second of
    /// commit time and one a MiB of log, and always one for the maximum.
    pub commits: Vec<IndexedCommit>,
    /// Every named restore point, in log order.
    pub restore_points: Vec<RestorePoint>,
    /// Between which IDs the transactions are that end in the log backup; `None` if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xids: Option<XidRange>,
    /// Every transaction that ends in the log backup, in log order, if they were read out of the log itself: they are too many
    /// to be stored beside it.
    #[serde(skip)]
    pub transactions: Option<Vec<TransactionEnd>>,
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

/// Transactions from one ID to another, both included, as the counter goes round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct XidRange {
    /// The one that was assigned first.
    pub oldest: Xid,
    /// The one that was assigned last.
    pub newest: Xid,
}

impl XidRange {
    /// The one transaction `xid`.
    #[must_use]
    pub const fn of(xid: Xid) -> Self {
        Self { oldest: xid, newest: xid }
    }

    /// The least range that holds `xid` too.
    #[must_use]
    pub const fn with(self, xid: Xid) -> Self {
        let Self { oldest, newest } = self;
        Self {
            oldest: if xid.precedes(oldest) { xid } else { oldest },
            newest: if newest.precedes(xid) { xid } else { newest },
        }
    }

    /// Whether `xid` lies between the ends.
    #[must_use]
    pub const fn contains(self, xid: Xid) -> bool {
        !xid.precedes(self.oldest) && !self.newest.precedes(xid)
    }
}

/// Where a transaction was committed or rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransactionEnd {
    /// The transaction.
    pub xid: Xid,
    /// The end of its commit or abort record.
    pub end_lsn: Lsn,
    /// That record's time.
    pub time: Timestamp,
}

impl TransactionEnd {
    /// The transaction `xid` ended at `time`, with a record that ends at `end_lsn`.
    #[must_use]
    pub const fn new(xid: Xid, end_lsn: Lsn, time: Timestamp) -> Self {
        Self { xid, end_lsn, time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_transactions_goes_round() {
        let xid = |id| Xid::new(id).unwrap();
        let range = XidRange::of(xid(u32::MAX)).with(xid(5)).with(xid(u32::MAX - 2));
        assert_eq!((range.oldest, range.newest), (xid(u32::MAX - 2), xid(5)));
        assert!(range.contains(xid(u32::MAX)) && range.contains(xid(3)) && range.contains(xid(5)));
        assert!(!range.contains(xid(6)) && !range.contains(xid(u32::MAX - 3)));
    }
}
