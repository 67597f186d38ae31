//! Page headers, and what they mean for the record before them.

use super::{Lost, Phase, WalDecoder};
use crate::format::wal::error::{WalError, WalErrorKind};
use crate::format::wal::gather::Gather;
use crate::format::wal::page::{LONG_HEADER_BYTES, PageHeader, PageStart};
use crate::model::Lsn;

impl WalDecoder {
    /// Takes some bytes of a page's header; says how many.
    pub(super) fn page_header(&mut self, page: Lsn, header_bytes: usize, piece: &[u8]) -> Result<usize, WalError> {
        let taken = self.page.fill(piece, header_bytes);
        self.advance(taken);
        if self.page.len() == header_bytes {
            let header = std::mem::replace(&mut self.page, Gather::EMPTY);
            let entered = self.enter_page(page, &header);
            entered.map_err(|kind| WalError::new(page, kind))?;
        }
        Ok(taken)
    }

    fn enter_page(&mut self, page: Lsn, header: &Gather<LONG_HEADER_BYTES>) -> Result<(), WalErrorKind> {
        let missing = self.missing();
        if missing.is_none() && header.collected().iter().all(|byte| *byte == 0) {
            self.begin_zeros(page, header.len());
            return Ok(());
        }
        match (missing, PageHeader::parse(header.bytes()).check(page, &self.identity)?) {
            (None, PageStart::Continuation(missing)) if self.phase == Phase::Sync => {
                self.phase = Phase::Tail { missing };
            }
            (None, PageStart::Record) => self.phase = Phase::Head,
            (None, PageStart::Overwrite) if self.previous.is_none() => self.phase = Phase::Head,
            (None, PageStart::Continuation(_)) => return Err(WalErrorKind::UnexpectedContinuation),
            (None, PageStart::Overwrite) => return Err(WalErrorKind::UnexpectedOverwrite),
            (Some(missing), PageStart::Record) => return Err(WalErrorKind::MissingContinuation { missing }),
            (Some(_), PageStart::Overwrite) => self.lose_record(page),
            (Some(missing), PageStart::Continuation(found)) if found == missing => {}
            (Some(expected), PageStart::Continuation(found)) => {
                return Err(WalErrorKind::BadContinuationLength { found, expected });
            }
        }
        Ok(())
    }

    /// What is missing of a record that the last page began or went on with.
    fn missing(&self) -> Option<u32> {
        match (&self.record, self.phase) {
            (Some(record), _) => Some(record.missing()),
            (None, Phase::Tail { missing }) => Some(missing),
            (None, _) if self.head.len() > 0 => Some(self.head_missing()),
            _ => None,
        }
    }

    /// Gives up the record that the last page went on with: the server crashed before its rest was written.
    fn lose_record(&mut self, page: Lsn) {
        let seen = self.record.take().map_or(self.head.len() as u64, |record| u64::from(record.seen()));
        self.pass_over(seen);
        self.head.clear();
        self.lost = if self.resume.is_some() { Lost::Record(self.head_lsn) } else { Lost::Unknown };
        self.resume = self.resume.map(|_| page);
        self.phase = Phase::Head;
    }
}
