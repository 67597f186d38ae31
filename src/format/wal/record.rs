//! Records of the log.
//!
//! See `XLogRecord` in PostgreSQL's `src/include/access/xlogrecord.h`, and `ValidXLogRecordHeader` and `ValidXLogRecord` in
//! `src/backend/access/transam/xlogreader.c`.

use std::fmt;

use crate::model::{Lsn, PostgresMajor, TimelineId, Timestamp};

use super::error::WalErrorKind;
use super::fields::Fields;

/// A whole, verified record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalRecord {
    /// Where its header starts: `ReadRecPtr` of PostgreSQL, the position that `pg_waldump` shows.
    pub lsn: Lsn,
    /// Where replay is after it: `EndRecPtr` of PostgreSQL, what `pg_current_wal_lsn` and a restore target mean.
    ///
    /// Its last byte rounded up to a multiple of 8. If that is the end of a page, the next record starts behind the next
    /// page's header. After a [`Switch`](WalRecordDetail::Switch) it is the end of the segment.
    pub end_lsn: Lsn,
    /// Who wrote it.
    pub rmid: ResourceManager,
    /// What it is, in the terms of the resource manager (the upper four bits), and flags of the record (the lower four).
    pub info: u8,
    /// The transaction that wrote it; 0 if none did.
    pub xid: u32,
    /// How many bytes it has, its header among them, page headers and padding not.
    pub total_len: u32,
    /// What it says.
    pub detail: WalRecordDetail,
}

/// What a record says, as far as a backup is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalRecordDetail {
    /// A transaction was committed, prepared ones among them.
    Commit {
        /// The transaction, without its subtransactions; of `COMMIT PREPARED` the one that was prepared.
        xid: u32,
        /// When, by the server's clock.
        time: Timestamp,
    },
    /// A transaction was rolled back, prepared ones among them.
    Abort {
        /// The transaction, without its subtransactions; of `ROLLBACK PREPARED` the one that was prepared.
        xid: u32,
        /// When, by the server's clock.
        time: Timestamp,
    },
    /// `pg_create_restore_point` was called.
    RestorePoint {
        /// The name that was given, as far as it is UTF-8.
        name: String,
        /// When, by the server's clock.
        time: Timestamp,
    },
    /// A checkpoint was completed.
    Checkpoint {
        /// Where recovery from it begins.
        redo: Lsn,
        /// Whether nothing was written while it ran: at a shutdown, or at the end of a crash recovery.
        shutdown: bool,
        /// The timeline that it is on.
        timeline: TimelineId,
        /// The timeline before, if this record begins a new one; otherwise the same.
        previous_timeline: TimelineId,
        /// When it began, by the server's clock, in whole seconds.
        time: Timestamp,
    },
    /// A server was promoted: the first record of its new timeline, unless a checkpoint took its place.
    EndOfRecovery {
        /// The timeline that begins.
        timeline: TimelineId,
        /// The timeline that was left.
        previous_timeline: TimelineId,
        /// When, by the server's clock.
        time: Timestamp,
    },
    /// The server crashed in the middle of a record and went on behind it (`XLOG_OVERWRITE_CONTRECORD`).
    Overwrite {
        /// Where the lost record began.
        lost: Lsn,
        /// When the server went on, by its clock.
        time: Timestamp,
    },
    /// A base backup of a primary ended: with the log up to here, it is consistent (`XLOG_BACKUP_END`).
    BackupEnd {
        /// Where recovery from it begins.
        redo: Lsn,
    },
    /// The rest of the segment is empty.
    Switch,
    /// Something else.
    Other,
}

/// The part of PostgreSQL that writes a kind of record and replays it.
///
/// Prints as `pg_waldump` names it. Numbers from 128 on belong to extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceManager(u8);

/// In the order of PostgreSQL's `src/include/access/rmgrlist.h`, the same from 15 to 18.
const NAMES: [&str; 22] = [
    "XLOG",
    "Transaction",
    "Storage",
    "CLOG",
    "Database",
    "Tablespace",
    "MultiXact",
    "RelMap",
    "Standby",
    "Heap2",
    "Heap",
    "Btree",
    "Hash",
    "Gin",
    "Gist",
    "Sequence",
    "SPGist",
    "BRIN",
    "CommitTs",
    "ReplicationOrigin",
    "Generic",
    "LogicalMessage",
];

impl ResourceManager {
    /// The log itself: checkpoints, restore points, switches.
    pub const XLOG: Self = Self(0);
    /// Transactions: commits and aborts.
    pub const XACT: Self = Self(1);
    const CUSTOM_MIN: u8 = 128;

    /// The resource manager with this number, if there can be one.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        let exists = usize::from(number) < NAMES.len() || number >= Self::CUSTOM_MIN;
        exists.then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self.0
    }
}

impl fmt::Display for ResourceManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "custom{:03}", self.0),
        }
    }
}

/// Records start at multiples of this (`MAXALIGN`).
pub(super) const ALIGNMENT: u64 = 8;
/// How long a record's header is; records are aligned so that its first 8 bytes always stand on one page.
pub(super) const RECORD_HEADER_BYTES: usize = 24;
const SHORTEST: u32 = 24;
/// The part of the header that the checksum covers: all but itself.
pub(super) const CHECKED_BYTES: usize = 20;

/// The header of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordHeader {
    pub(super) total_len: u32,
    pub(super) xid: u32,
    pub(super) info: u8,
    pub(super) rmid: ResourceManager,
    crc: u32,
    checked: [u8; CHECKED_BYTES],
}

impl RecordHeader {
    /// Reads and checks the header of the record at `lsn`, which follows the one at `previous`, if that is known.
    #[inline]
    pub(super) fn parse(
        bytes: &[u8; RECORD_HEADER_BYTES],
        lsn: Lsn,
        previous: Option<Lsn>,
    ) -> Result<Self, WalErrorKind> {
        let mut fields = Fields::of(bytes);
        let (total_len, xid, link, info, number) = (fields.u32(), fields.u32(), fields.lsn(), fields.u8(), fields.u8());
        let rmid = ResourceManager::new(number).ok_or(WalErrorKind::BadResourceManager { found: number })?;
        if previous.map_or(link >= lsn, |previous| link != previous) {
            return Err(WalErrorKind::BadPrevLink { found: link, expected: previous });
        }
        let (mut whole, _padding) = (Fields::of(bytes), fields.u16());
        Ok(Self { total_len, xid, info, rmid, crc: fields.u32(), checked: whole.array() })
    }

    /// How much of the record follows the header, in bytes.
    pub(super) const fn body_len(&self) -> u32 {
        self.total_len.saturating_sub(SHORTEST)
    }

    /// Checks the checksum, given that of the body; the header goes in last.
    #[inline]
    pub(super) fn check_crc(&self, body: u32) -> Result<(), WalErrorKind> {
        let computed = crc32c::crc32c_append(body, &self.checked);
        if computed == self.crc { Ok(()) } else { Err(WalErrorKind::BadCrc { found: self.crc, computed }) }
    }

    /// What the record is, in the terms of its resource manager (`~XLR_INFO_MASK`).
    pub(super) const fn operation(&self) -> u8 {
        self.info & 0xF0
    }
}

/// Checks the length of a record, which is known before the rest of its header.
#[inline]
pub(super) fn check_length(total_len: u32, major: PostgresMajor) -> Result<(), WalErrorKind> {
    // `MaxAllocSize` bounded a record before `XLogRecordMaxSize` did.
    let longest = if major.as_u32() == 15 { 0x3FFF_FFFF } else { 1020 << 20 };
    if (SHORTEST..=longest).contains(&total_len) {
        Ok(())
    } else {
        Err(WalErrorKind::BadRecordLength { found: total_len })
    }
}
