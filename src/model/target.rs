//! What somebody wants back.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Lsn, SnapshotId, TimelineId, Timestamp, Xid};

/// The point to restore to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Target {
    /// The first snapshot that can be restored, as of the moment when it is consistent.
    Earliest,
    /// The end of the log, as far as it can be reached without a hole.
    Latest,
    /// The state at an instant.
    #[non_exhaustive]
    Time {
        /// The instant.
        at: Timestamp,
        /// Whether what was committed in that very microsecond is part of it.
        inclusive: bool,
    },
    /// Everything whose record ends at or before this position, and nothing after.
    Lsn(Lsn),
    /// The state when a transaction ended. Transactions end in the order of their commit and abort records, not of their IDs:
    /// what had ended before is part of it, whatever its ID.
    #[non_exhaustive]
    Xid {
        /// The transaction, without its subtransactions.
        xid: Xid,
        /// Whether the transaction itself is part of it.
        inclusive: bool,
    },
    /// The state when `pg_create_restore_point` was called with this name.
    RestorePoint(String),
    /// One snapshot as of the moment when it is consistent: no log but its own is needed.
    Snapshot(SnapshotId),
}

impl Target {
    /// The state at `at`, with what was committed in that very microsecond.
    #[must_use]
    pub const fn time(at: Timestamp) -> Self {
        Self::Time { at, inclusive: true }
    }

    /// The state just before `at`, without what was committed in that very microsecond.
    #[must_use]
    pub const fn just_before(at: Timestamp) -> Self {
        Self::Time { at, inclusive: false }
    }

    /// The state when the transaction `xid` had ended.
    #[must_use]
    pub const fn xid(xid: Xid) -> Self {
        Self::Xid { xid, inclusive: true }
    }

    /// The state just before the transaction `xid` ended: as if it had never been committed.
    #[must_use]
    pub const fn just_before_xid(xid: Xid) -> Self {
        Self::Xid { xid, inclusive: false }
    }
}

/// The timeline whose past the target lies in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TimelineChoice {
    /// The one that the server was on last; for a snapshot, its own.
    #[default]
    Current,
    /// This one.
    Id(TimelineId),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("the earliest restorable point"),
            Self::Latest => f.write_str("the latest restorable point"),
            Self::Time { at, inclusive: true } => write!(f, "{at}"),
            Self::Time { at, inclusive: false } => write!(f, "just before {at}"),
            Self::Lsn(lsn) => write!(f, "position {lsn}"),
            Self::Xid { xid, inclusive: true } => write!(f, "the end of transaction {xid}"),
            Self::Xid { xid, inclusive: false } => write!(f, "just before the end of transaction {xid}"),
            Self::RestorePoint(name) => write!(f, "restore point {name:?}"),
            Self::Snapshot(id) => write!(f, "snapshot {id} itself"),
        }
    }
}
