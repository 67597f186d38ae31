//! Pure nouns: what a backup of a PostgreSQL server is made of.
//!
//! Nothing here does I/O, reads a clock or draws a random number. Every value that exists is well-formed: constructors and
//! parsers refuse the rest.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod catalog;
mod change;
mod commit_index;
mod error;
mod file;
mod hold;
mod lease;
mod lock;
mod log_backup;
mod long_term;
mod lsn;
mod names;
mod object;
mod parameters;
mod post_restore;
mod restore_order;
mod restore_proof;
mod schedule_settings;
mod seconds;
mod segment;
mod server;
mod server_config;
mod snapshot;
mod spec;
mod target;
mod task;
mod time;
mod time_of_day;
mod timeline;
mod usage;
mod worker;
mod xid;

pub use catalog::{Artifact, Branch, Catalog, CatalogError, LogRef, StoredHistory, Unusable};
pub(crate) use catalog::{BranchRecord, Chain, Cover, Linked, Load, Piece, TimelineLog, Tip, Tips};
pub use change::{Caller, Change, ConfigChange, ConfigUpdate};
pub use commit_index::{CommitIndex, IndexedCommit, RestorePoint, TransactionEnd, XidRange};
pub use error::ParseError;
pub use file::{FileEntry, FileStamp, Tablespace};
pub use hold::Hold;
pub use lease::Lease;
pub use lock::{Lock, LockKind};
pub use log_backup::LogBackup;
pub use long_term::{LongTermRetention, Period, SparseTier};
pub use lsn::Lsn;
pub use names::{LockName, RequestId, SnapshotId, WorkerId};
pub use object::{ObjectKey, StoredObject};
pub use parameters::Parameters;
pub use post_restore::{Changed, PostRestoreTask, SpecDifference};
pub use restore_order::{FollowUp, NewServer, OrderPhase, RestoreOrder, RestoreOutcome, RestoreRun, RestoreSpec};
pub use restore_proof::{Proven, RestoreProof, RestoreRates, RestoreRoute, Trial};
pub use schedule_settings::ScheduleSettings;
pub use segment::{SegmentNumber, SegmentSize};
pub use server::{Incarnation, PostgresMajor, ServerName, SystemId};
pub use server_config::{Deletion, ServerConfig};
pub use snapshot::{ServerRole, SharedPacks, Snapshot, SnapshotKind, SnapshotTrigger};
pub use spec::{Redundancy, RetentionDays, ServerSpec};
pub use target::{Target, TimelineChoice};
pub use task::{Task, TaskFacts, TaskRun};
pub use time::Timestamp;
pub use time_of_day::TimeOfDay;
pub use timeline::{TimelineHistory, TimelineHistoryError, TimelineId, TimelineSwitch};
pub use usage::{DayUsage, Usage, UsageLog};
pub use worker::Role;
pub use xid::Xid;

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// A stretch of log on one timeline: from `start` to `end`, which is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WalRange {
    /// The timeline that the bytes were written on.
    pub timeline: TimelineId,
    /// The first byte.
    pub start: Lsn,
    /// The first byte after it.
    pub end: Lsn,
}

impl WalRange {
    /// The bytes from `start` to `end` of `timeline`.
    ///
    /// # Errors
    /// If `end` lies before `start`.
    pub fn new(timeline: TimelineId, start: Lsn, end: Lsn) -> Result<Self, ParseError> {
        let range = Self { timeline, start, end };
        if start <= end {
            Ok(range)
        } else {
            Err(ParseError::new("WAL range", range, "an end that is not before its start"))
        }
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.end.bytes_since(self.start)
    }
}

impl std::fmt::Display for WalRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{} on timeline {}", self.start, self.end, self.timeline)
    }
}

/// A hexadecimal number without sign, prefix or surroundings, of so many digits, either case.
pub(crate) fn hex_u64(digits: &str, length: RangeInclusive<usize>) -> Option<u64> {
    let well_formed = length.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    well_formed.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// Serializes a type as the text that it prints, and reads it back by parsing.
macro_rules! text_serde {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use text_serde;
