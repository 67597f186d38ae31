//! A record of which a part was seen.

use crate::model::{Lsn, PostgresMajor};

use super::detail::DetailScan;
use super::error::WalErrorKind;
use super::record::{RecordHeader, ResourceManager, WalRecord, WalRecordDetail};
use super::xlog;

/// A record whose header was read; the body is not kept.
#[derive(Debug)]
pub(super) struct PartialRecord {
    lsn: Lsn,
    header: RecordHeader,
    missing: u32,
    crc: u32,
    scan: Option<Box<DetailScan>>,
}

impl PartialRecord {
    /// The record at `lsn`, of which nothing but the header was seen.
    #[inline]
    pub(super) fn new(lsn: Lsn, header: RecordHeader, major: PostgresMajor) -> Self {
        Self { lsn, header, missing: header.body_len(), crc: 0, scan: DetailScan::of(&header, major).map(Box::new) }
    }

    /// Where it starts.
    pub(super) const fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// How much of it was not seen yet, in bytes.
    pub(super) const fn missing(&self) -> u32 {
        self.missing
    }

    /// How much of it was seen, in bytes.
    pub(super) const fn seen(&self) -> u32 {
        self.header.total_len - self.missing
    }

    /// Takes as many of `bytes` as belong to it; says how many.
    #[inline]
    pub(super) fn feed(&mut self, bytes: &[u8]) -> usize {
        let wanted = usize::try_from(self.missing).map_or(bytes.len(), |missing| missing.min(bytes.len()));
        let part = bytes.get(..wanted).unwrap_or_default();
        self.crc = crc32c::crc32c_append(self.crc, part);
        if let Some(scan) = &mut self.scan {
            scan.feed(part);
        }
        self.missing -= u32::try_from(wanted).expect("no more was taken than was missing");
        wanted
    }

    /// Checks the checksum of the record, which is whole.
    #[inline]
    pub(super) fn check_crc(&self) -> Result<(), WalErrorKind> {
        self.header.check_crc(self.crc)
    }

    /// Whether the rest of the segment is empty after it.
    pub(super) fn is_switch(&self) -> bool {
        self.header.rmid == ResourceManager::XLOG && self.header.operation() == xlog::SWITCH
    }

    /// The record, which is whole and ends at `end_lsn`.
    #[inline]
    pub(super) fn finish(self, end_lsn: Lsn) -> Result<WalRecord, WalErrorKind> {
        let Self { lsn, header: RecordHeader { total_len, xid, info, rmid, .. }, .. } = self;
        let detail = match (self.is_switch(), self.scan) {
            (true, _) => WalRecordDetail::Switch,
            (_, Some(scan)) => scan.finish()?,
            (_, None) => WalRecordDetail::Other,
        };
        Ok(WalRecord { lsn, end_lsn, rmid, info, xid, total_len, detail })
    }
}
