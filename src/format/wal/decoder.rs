//! The streaming decoder.

use crate::model::Lsn;

use super::error::{WalError, WalErrorKind};
use super::gather::Gather;
use super::page::{LONG_HEADER_BYTES, PAGE_BYTES, WalIdentity};
use super::partial::PartialRecord;
use super::record::{ALIGNMENT, RECORD_HEADER_BYTES, WalRecord};

mod pages;
mod records;

/// Verifies log as it streams, and hands out its records.
///
/// It takes chunks of any length, and the same bytes give the same records and the same error however they are cut. It
/// keeps less than a kilobyte beside the identity, whatever the length of records.
///
/// A record is handed out when everything up to its [`end_lsn`](WalRecord::end_lsn) was fed, in the order of the log.
/// Zeros where a record should start are the end of the log (see [`end_of_log`](Self::end_of_log)), since that is what the
/// unused rest of a segment file holds; anything but zeros behind them is an error. A server streams only what it has
/// flushed, so a stream has no such end; nor must more be fed of a segment file that PostgreSQL has recycled, whose unused
/// rest holds older log.
///
/// After an error the decoder stays as it is, and returns the same error when it is fed again.
#[derive(Debug)]
pub struct WalDecoder {
    identity: WalIdentity,
    position: Lsn,
    /// The end of the last whole record; `None` until the start of one was found.
    resume: Option<Lsn>,
    /// The last whole record.
    previous: Option<Lsn>,
    lost: Lost,
    unverified: u64,
    phase: Phase,
    page: Gather<LONG_HEADER_BYTES>,
    head: Gather<RECORD_HEADER_BYTES>,
    head_lsn: Lsn,
    record: Option<PartialRecord>,
    failed: Option<WalError>,
}

/// What the next bytes are, if they are not a page's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The rest of a page in whose middle decoding began.
    Seek,
    /// A page's header, behind which anything may follow.
    Sync,
    /// The rest of a record whose start was not seen.
    Tail { missing: u32 },
    /// The header of a record.
    Head,
    /// The rest of a record whose header was seen.
    Body,
    /// Zeros up to the next multiple of 8.
    Padding,
    /// The rest of a segment after a switch, page headers among it.
    Filler,
    /// Zeros for ever.
    End(Lsn),
}

/// Which record the next one must mark as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    Nothing,
    Unknown,
    Record(Lsn),
}

impl WalDecoder {
    /// A decoder that begins anywhere.
    ///
    /// In the middle of a page it passes over the rest of the page; at the start of a page, over the rest of a record that
    /// began before it. What it passes over is [unverified](Self::unverified_bytes).
    #[must_use]
    pub const fn new(identity: WalIdentity, start: Lsn) -> Self {
        let phase = if start.as_u64().is_multiple_of(PAGE_BYTES) { Phase::Sync } else { Phase::Seek };
        Self::in_phase(identity, start, phase, None)
    }

    /// A decoder that begins where a record starts or another ends, such as [`resume_point`](Self::resume_point) of an
    /// earlier decoder.
    ///
    /// # Errors
    /// If no record can start there.
    pub fn at_record(identity: WalIdentity, start: Lsn) -> Result<Self, WalError> {
        let page = start.align_down(PAGE_BYTES);
        let inside_header = start > page && start.bytes_since(page) < identity.header_bytes(page) as u64;
        if inside_header || !is_aligned(start) {
            return Err(WalError::new(start, WalErrorKind::NotARecordStart));
        }
        Ok(Self::in_phase(identity, start, Phase::Head, Some(start)))
    }

    /// The same decoder, which was told that the record before its first one began at `record`: the first one must say so too.
    /// This proves that it is the continuation, and not another server's log with a record at the same place.
    #[must_use]
    pub fn following(self, record: Lsn) -> Self {
        Self { previous: Some(record), ..self }
    }

    /// Where the last whole record began, if one is known.
    #[must_use]
    pub const fn last_record(&self) -> Option<Lsn> {
        self.previous
    }

    const fn in_phase(identity: WalIdentity, position: Lsn, phase: Phase, resume: Option<Lsn>) -> Self {
        Self {
            identity,
            position,
            resume,
            previous: None,
            lost: Lost::Unknown,
            unverified: 0,
            phase,
            page: Gather::EMPTY,
            head: Gather::EMPTY,
            head_lsn: position,
            record: None,
            failed: None,
        }
    }

    /// Takes the next bytes of the log, and hands each record that they complete to `on_record`.
    ///
    /// # Errors
    /// If the log is damaged or foreign. The records before that place were handed out.
    pub fn feed(&mut self, bytes: &[u8], mut on_record: impl FnMut(WalRecord)) -> Result<(), WalError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let fed = self.feed_pages(bytes, &mut on_record);
        self.failed = fed.as_ref().err().cloned();
        fed
    }

    /// The position behind the last byte that was fed.
    #[must_use]
    pub const fn position(&self) -> Lsn {
        self.position
    }

    /// Where a new decoder has to begin, with [`at_record`](Self::at_record), to go on as this one would: the start of
    /// the record of which the end was not fed yet.
    ///
    /// `None` until the start of a record was found. After a switch it is the switch record until the whole segment was
    /// fed.
    #[must_use]
    pub const fn resume_point(&self) -> Option<Lsn> {
        self.resume
    }

    /// Where zeros ended the log, if they did.
    #[must_use]
    pub const fn end_of_log(&self) -> Option<Lsn> {
        match self.phase {
            Phase::End(end) => Some(end),
            _ => None,
        }
    }

    /// How many bytes were passed over: before the first record, of records that a crash cut short, and whatever is not
    /// zero after a switch.
    ///
    /// PostgreSQL does not use the latter two, so they do no harm.
    #[must_use]
    pub const fn unverified_bytes(&self) -> u64 {
        self.unverified
    }

    fn feed_pages(&mut self, mut bytes: &[u8], on_record: &mut impl FnMut(WalRecord)) -> Result<(), WalError> {
        if self.position.checked_add(bytes.len() as u64).is_none() {
            return Err(WalError::new(self.position, WalErrorKind::PastTheEnd));
        }
        while !bytes.is_empty() {
            let page = self.position.align_down(PAGE_BYTES);
            let offset = self.position.bytes_since(page);
            let room = usize::try_from(PAGE_BYTES - offset).unwrap_or(usize::MAX);
            let (piece, _) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            let header_bytes = self.identity.header_bytes(page);
            let used = if offset < header_bytes as u64 && self.expects_header() {
                self.page_header(page, header_bytes, piece)?
            } else {
                self.step(piece, on_record)?
            };
            bytes = bytes.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    const fn expects_header(&self) -> bool {
        !matches!(self.phase, Phase::Seek | Phase::Filler | Phase::End(_))
    }

    const fn pass_over(&mut self, bytes: u64) {
        self.unverified = self.unverified.saturating_add(bytes);
    }

    #[inline]
    const fn advance(&mut self, bytes: usize) {
        self.position = self.position.saturating_add(bytes as u64);
    }

    fn is_segment_start(&self) -> bool {
        self.position.align_down(self.identity.segment_size.bytes()) == self.position
    }
}

const fn is_aligned(position: Lsn) -> bool {
    position.as_u64().is_multiple_of(ALIGNMENT)
}
