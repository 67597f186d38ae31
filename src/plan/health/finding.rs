//! What can be wrong.

use std::time::Duration;

use serde::Serialize;

use crate::model::{SnapshotId, Timestamp, Unusable};
use crate::plan::RestorableInterval;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// All is well.
    Green,
    /// Somebody should look at it in working hours.
    Amber,
    /// Somebody should look at it now.
    Red,
}

/// Something that is wrong with how a server is protected. Prints as one sentence; [`advice`](Self::advice) says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// No instant can be restored.
    NothingRestorable,
    /// The last instant that can be restored is long ago.
    #[non_exhaustive]
    RecoveryPointOld {
        /// The last instant.
        latest: Timestamp,
        /// How long ago it was.
        age: Duration,
        /// Whether that is too long by far.
        is_red: bool,
    },
    /// The last snapshot that can be restored is old: a restore replays the more log.
    #[non_exhaustive]
    SnapshotOld {
        /// When it was consistent.
        taken: Timestamp,
        /// How long ago that was.
        age: Duration,
        /// Whether that is too long by far.
        is_red: bool,
    },
    /// Within the window there are instants that cannot be restored.
    #[non_exhaustive]
    WindowHasHoles {
        /// From the last instant before to the first one after, of each.
        holes: Vec<RestorableInterval>,
        /// How long they are together.
        lost: Duration,
        /// When the last one has left the window.
        until: Timestamp,
    },
    /// The window begins later than it should by now.
    #[non_exhaustive]
    WindowShort {
        /// The first instant that can be restored.
        earliest: Timestamp,
        /// How much is missing of the retention.
        missing: Duration,
    },
    /// A snapshot cannot be restored, whatever log there is.
    #[non_exhaustive]
    SnapshotUnusable {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Why.
        reason: Unusable,
    },
    /// The last snapshot has pages of which the server's own checksum is wrong.
    #[non_exhaustive]
    PagesDamaged {
        /// The snapshot.
        snapshot: SnapshotId,
        /// How many.
        pages: u64,
    },
    /// The last verification found objects that are missing, damaged or foreign.
    #[non_exhaustive]
    Faults {
        /// How many.
        count: u64,
    },
    /// The last test restore failed.
    #[non_exhaustive]
    NotProven {
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
    },
    /// Nothing was restored on trial for long.
    #[non_exhaustive]
    ProofOld {
        /// When it last was.
        at: Timestamp,
        /// How long ago that was.
        age: Duration,
    },
    /// Nothing was ever restored on trial, though it should have been.
    #[non_exhaustive]
    NeverProven {
        /// Since when the server is protected.
        since: Timestamp,
    },
    /// The server's clock, or a commit's, is ahead of this one: what expires is judged by the server's.
    #[non_exhaustive]
    ClockAhead {
        /// By how much.
        by: Duration,
    },
}

impl Finding {
    /// How bad it is.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::NothingRestorable | Self::PagesDamaged { .. } | Self::Faults { .. } | Self::NotProven { .. } => {
                Status::Red
            }
            Self::RecoveryPointOld { is_red: true, .. } | Self::SnapshotOld { is_red: true, .. } => Status::Red,
            _ => Status::Amber,
        }
    }
}
