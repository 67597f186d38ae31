//! Why log is refused.

use crate::model::{Lsn, PostgresMajor, SegmentSize, SystemId, TimelineId};

use super::page::major_of;

/// Log that is damaged, or not the log that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log refused at {at}: {kind}")]
#[non_exhaustive]
pub struct WalError {
    /// Where: the start of the page or record, or the byte that should be zero.
    pub at: Lsn,
    /// What is wrong there.
    pub kind: WalErrorKind,
}

impl WalError {
    pub(super) const fn new(at: Lsn, kind: WalErrorKind) -> Self {
        Self { at, kind }
    }
}

/// What is wrong with a page or record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalErrorKind {
    /// The page is of another version of PostgreSQL, or no page at all.
    #[error("page magic {found:#06X} {} instead of {expected:#06X} of PostgreSQL {major}", version(*.found))]
    BadMagic {
        /// The number that stands there.
        found: u16,
        /// The number of the version that the log should be of.
        expected: u16,
        /// The version that the log should be of.
        major: PostgresMajor,
    },
    /// The page's flags cannot stand there.
    #[error("page flags {found:#06X} cannot stand there")]
    BadPageFlags {
        /// The flags.
        found: u16,
    },
    /// The segment was written by another database cluster.
    #[error("the segment belongs to system {found}, not to {expected}")]
    ForeignSystem {
        /// The system identifier that stands there.
        found: SystemId,
        /// The server's.
        expected: SystemId,
    },
    /// The server's segments have another size.
    #[error("the segment says that segments have {found} bytes, not {expected}")]
    WrongSegmentSize {
        /// The size that stands there, in bytes.
        found: u32,
        /// The server's.
        expected: SegmentSize,
    },
    /// The server was compiled with another page size, which pitr cannot read.
    #[error("pages of {found} bytes are not supported, only of 8192 (the default of --with-wal-blocksize)")]
    WrongBlockSize {
        /// The size that stands there, in bytes.
        found: u32,
    },
    /// The page belongs elsewhere in the log: a recycled segment, or a lost write.
    #[error("the page says that it stands at {found}")]
    WrongPageAddress {
        /// The address that stands there.
        found: Lsn,
    },
    /// The page was written on a timeline that did not write there, by the history.
    #[error("the page is of timeline {found}, where the history says timeline {expected}")]
    WrongTimeline {
        /// The timeline that stands there.
        found: u32,
        /// The timeline that wrote there.
        expected: TimelineId,
    },
    /// A record goes on into the page, but the page does not continue one.
    #[error("the page does not continue the record before it, of which {missing} bytes are missing")]
    MissingContinuation {
        /// The rest of the record, in bytes.
        missing: u32,
    },
    /// The page continues a record, but none goes on into it.
    #[error("the page continues a record that does not reach it")]
    UnexpectedContinuation,
    /// The page marks a record before it as lost, but none was cut short.
    #[error("the page marks a record as lost, but none was cut short before it")]
    UnexpectedOverwrite,
    /// The page continues a record of another length.
    #[error("the page continues a record by {found} bytes instead of {expected}")]
    BadContinuationLength {
        /// The length that stands there, in bytes.
        found: u32,
        /// What is missing of the record, in bytes.
        expected: u32,
    },
    /// A record cannot be that long, or that short.
    #[error("a record cannot have {found} bytes")]
    BadRecordLength {
        /// The length that stands there, in bytes.
        found: u32,
    },
    /// No resource manager has this number.
    #[error("there is no resource manager {found}")]
    BadResourceManager {
        /// The number that stands there.
        found: u8,
    },
    /// The record does not follow the one before it.
    #[error("the record says that it follows the one at {found}{}", and_really(*.expected))]
    BadPrevLink {
        /// The link that stands there.
        found: Lsn,
        /// The record before it, if that is known.
        expected: Option<Lsn>,
    },
    /// The record is damaged.
    #[error("the record's CRC-32C is {computed:#010X}, not {found:#010X} as it says")]
    BadCrc {
        /// The checksum that stands there.
        found: u32,
        /// The checksum of the record's bytes.
        computed: u32,
    },
    /// The record's checksum is right, but its contents make no sense.
    #[error("the record holds {what}")]
    MalformedRecord {
        /// What it holds that it should not.
        what: &'static str,
    },
    /// A record that marks a lost one does not name the one that was lost.
    #[error("a lost record at {expected:?} is to be marked here, not one at {found:?}")]
    WrongOverwrite {
        /// The record that it names.
        found: Option<Lsn>,
        /// The record that was lost.
        expected: Option<Lsn>,
    },
    /// A byte that pads a record or page header is not zero.
    #[error("byte {found:#04X} stands where PostgreSQL writes zeros")]
    NonZeroPadding {
        /// The byte.
        found: u8,
    },
    /// Zeros ended the log, and yet something follows.
    #[error("the log ended with zeros at {end}, and yet something follows")]
    DataAfterEnd {
        /// Where the zeros began.
        end: Lsn,
    },
    /// The decoder was to begin at a position where no record can start.
    #[error("no record can start there: it is not a multiple of 8, or inside a page header")]
    NotARecordStart,
    /// The log would go on past the largest position.
    #[error("the log cannot go on past {max}", max = Lsn::MAX)]
    PastTheEnd,
}

fn version(magic: u16) -> String {
    major_of(magic).map_or_else(|| "of no known version".to_owned(), |major| format!("of PostgreSQL {major}"))
}

fn and_really(expected: Option<Lsn>) -> String {
    expected.map_or_else(|| ", which does not lie before it".to_owned(), |lsn| format!(", but it follows {lsn}"))
}
