//! Pages of the log, and the identity that their headers must show.
//!
//! See `XLogPageHeaderData` and `XLogLongPageHeaderData` in PostgreSQL's `src/include/access/xlog_internal.h`, and
//! `XLogReaderValidatePageHeader` in `src/backend/access/transam/xlogreader.c`.

use crate::model::{Incarnation, Lsn, PostgresMajor, SegmentSize, SystemId, TimelineHistory};

use super::error::WalErrorKind;
use super::fields::Fields;

/// `XLOG_BLCKSZ`, as PostgreSQL is compiled unless told otherwise.
pub(super) const PAGE_BYTES: u64 = 8192;
/// The header of a segment's first page; the others leave out what follows the first 24 bytes.
pub(super) const LONG_HEADER_BYTES: usize = 40;
pub(super) const SHORT_HEADER_BYTES: usize = 24;

/// Whose log it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalIdentity {
    /// The database cluster and its major version.
    pub incarnation: Incarnation,
    /// The size of its segments.
    pub segment_size: SegmentSize,
    /// The history of the timeline that is read. A page's header names the timeline that wrote the page's first byte: after
    /// a promotion the page with the switch point keeps the old one, and so do all pages before it.
    pub history: TimelineHistory,
}

impl WalIdentity {
    /// The log of `incarnation` on the way to the timeline of `history`.
    #[must_use]
    pub const fn new(incarnation: Incarnation, segment_size: SegmentSize, history: TimelineHistory) -> Self {
        Self { incarnation, segment_size, history }
    }

    /// How long the header of the page at `page` is.
    pub(super) const fn header_bytes(&self, page: Lsn) -> usize {
        if page.as_u64().is_multiple_of(self.segment_size.bytes()) { LONG_HEADER_BYTES } else { SHORT_HEADER_BYTES }
    }
}

/// The first number of every page (`XLOG_PAGE_MAGIC`), by major version.
const MAGICS: [(u32, u16); 4] = [(15, 0xD110), (16, 0xD113), (17, 0xD116), (18, 0xD118)];

/// The version whose pages begin with `magic`, if pitr knows it.
pub(super) fn major_of(magic: u16) -> Option<PostgresMajor> {
    MAGICS.iter().find(|(_, number)| *number == magic).and_then(|(major, _)| PostgresMajor::new(*major).ok())
}

fn magic_of(major: PostgresMajor) -> u16 {
    let known = MAGICS.iter().find(|(number, _)| *number == major.as_u32());
    known.map(|(_, magic)| *magic).expect("the table lists every version that pitr protects")
}

/// `XLP_FIRST_IS_CONTRECORD`: the page begins with the rest of a record.
const CONTINUES: u16 = 0x0001;
/// `XLP_LONG_HEADER`: the page is the first of its segment.
pub(super) const LONG: u16 = 0x0002;
/// `XLP_FIRST_IS_OVERWRITE_CONTRECORD`: the page begins with a record where the rest of a lost one should be.
const OVERWRITES: u16 = 0x0008;
/// `XLP_ALL_FLAGS`; `0x0004` is `XLP_BKP_REMOVABLE`, which means nothing to anyone.
pub(super) const ALL_FLAGS: u16 = 0x000F;

/// How a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageStart {
    /// With a record.
    Record,
    /// With the rest of a record, so many bytes.
    Continuation(u32),
    /// With a record that marks the one before it as lost.
    Overwrite,
}

/// The header of a page.
#[derive(Debug)]
pub(super) struct PageHeader {
    magic: u16,
    flags: u16,
    timeline: u32,
    address: Lsn,
    remaining: u32,
    padding: [u8; 4],
    system_id: SystemId,
    segment_bytes: u32,
    block_bytes: u32,
}

impl PageHeader {
    /// Reads a header; the fields that only a long one has mean nothing otherwise.
    pub(super) fn parse(bytes: &[u8; LONG_HEADER_BYTES]) -> Self {
        let mut fields = Fields::of(bytes);
        Self {
            magic: fields.u16(),
            flags: fields.u16(),
            timeline: fields.u32(),
            address: fields.lsn(),
            remaining: fields.u32(),
            padding: fields.array(),
            system_id: SystemId::new(fields.u64()),
            segment_bytes: fields.u32(),
            block_bytes: fields.u32(),
        }
    }

    /// Checks everything that can be known of the page at `page` without the one before it.
    pub(super) fn check(&self, page: Lsn, identity: &WalIdentity) -> Result<PageStart, WalErrorKind> {
        let major = identity.incarnation.major;
        let expected = magic_of(major);
        if self.magic != expected {
            return Err(WalErrorKind::BadMagic { found: self.magic, expected, major });
        }
        let first_of_segment = identity.header_bytes(page) == LONG_HEADER_BYTES;
        if self.flags & !ALL_FLAGS != 0 || (self.flags & LONG != 0) != first_of_segment {
            return Err(WalErrorKind::BadPageFlags { found: self.flags });
        }
        if first_of_segment {
            self.check_segment(identity)?;
        }
        self.check_place(page, identity)?;
        self.start()
    }

    fn check_segment(&self, identity: &WalIdentity) -> Result<(), WalErrorKind> {
        let (system_id, segment_size) = (identity.incarnation.system_id, identity.segment_size);
        if self.system_id != system_id {
            return Err(WalErrorKind::ForeignSystem { found: self.system_id, expected: system_id });
        }
        if u64::from(self.segment_bytes) != segment_size.bytes() {
            return Err(WalErrorKind::WrongSegmentSize { found: self.segment_bytes, expected: segment_size });
        }
        if u64::from(self.block_bytes) != PAGE_BYTES {
            return Err(WalErrorKind::WrongBlockSize { found: self.block_bytes });
        }
        Ok(())
    }

    fn check_place(&self, page: Lsn, identity: &WalIdentity) -> Result<(), WalErrorKind> {
        if self.address != page {
            return Err(WalErrorKind::WrongPageAddress { found: self.address });
        }
        let timeline = identity.history.timeline_at(page);
        if self.timeline != timeline.as_u32() {
            return Err(WalErrorKind::WrongTimeline { found: self.timeline, expected: timeline });
        }
        match self.padding.iter().find(|byte| **byte != 0) {
            Some(byte) => Err(WalErrorKind::NonZeroPadding { found: *byte }),
            None => Ok(()),
        }
    }

    fn start(&self) -> Result<PageStart, WalErrorKind> {
        match (self.flags & (CONTINUES | OVERWRITES), self.remaining) {
            (CONTINUES, 1..) => Ok(PageStart::Continuation(self.remaining)),
            (0, 0) => Ok(PageStart::Record),
            (OVERWRITES, 0) => Ok(PageStart::Overwrite),
            (CONTINUES, 0) => Err(WalErrorKind::BadContinuationLength { found: 0, expected: 1 }),
            (0, found) => Err(WalErrorKind::BadContinuationLength { found, expected: 0 }),
            _ => Err(WalErrorKind::BadPageFlags { found: self.flags }),
        }
    }
}
