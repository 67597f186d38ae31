//! The write-ahead log: pages, records, and a streaming decoder.
//!
//! [`WalDecoder`] is fed the log's bytes as they arrive, in chunks of any length, and hands out a [`WalRecord`] for each
//! whole record. On the way it checks everything that PostgreSQL itself would check before it replays them, so that damaged
//! or foreign log is refused at the door, and a little more: bytes that PostgreSQL leaves zero must be zero.
//!
//! The reference is PostgreSQL's `src/backend/access/transam/xlogreader.c`; the layout of pages and records is that of
//! `src/include/access/xlog_internal.h` and `xlogrecord.h`. The log of a little-endian server is expected.
//!
//! # What is checked
//! - of a page: magic number (which tells the major version), flags, timeline, address, length of the continued record,
//!   padding; on a segment's first page also system identifier, segment size and block size;
//! - of a record: length, resource manager, link to the record before it, CRC-32C, padding behind it;
//! - that nothing follows zeros that end the log.
//!
//! A record whose length was damaged may seem unfinished up to the end of its page; the next page's header shows it.
//!
//! Two things carry nothing and cannot be checked: the bit `XLP_BKP_REMOVABLE` of a page's flags, which PostgreSQL sets
//! while no base backup runs and never reads; and the rest of a segment after a switch, of which the bytes that are not
//! zero are counted as [unverified](WalDecoder::unverified_bytes).
//!
//! # Example: finding the commits in a stretch of log
//! ```
//! use pitr::format::wal::{WalDecoder, WalError, WalIdentity, WalRecordDetail};
//! use pitr::model::{Lsn, Timestamp};
//!
//! fn last_commit(identity: WalIdentity, start: Lsn, log: &[u8]) -> Result<Option<Timestamp>, WalError> {
//!     let mut last = None;
//!     WalDecoder::new(identity, start).feed(log, |record| {
//!         if let WalRecordDetail::Commit { time, .. } = record.detail {
//!             last = Some(time);
//!         }
//!     })?;
//!     Ok(last)
//! }
//! ```

mod decoder;
mod detail;
#[cfg(any(feature = "zstd", test))]
pub(in crate::format) mod differences;
mod error;
mod fields;
mod gather;
mod page;
mod partial;
mod record;
mod xact;
mod xlog;

#[cfg(test)]
#[path = "../../testing/synthetic_wal.rs"]
#[allow(
    clippy::duplicate_mod,
    unreachable_pub,
    dead_code,
    reason = "pure code cannot name `testing`, which has it too"
)]
mod synthetic_wal;
#[cfg(test)]
mod tests;

pub use decoder::WalDecoder;
pub use error::{WalError, WalErrorKind};
pub use page::WalIdentity;
pub use record::{ResourceManager, WalRecord, WalRecordDetail};
