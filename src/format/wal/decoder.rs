//! The streaming decoder.

use crate::model::Lsn;

use super::error::{WalError, WalErrorKind};
use super::gather::Gather;
use super::page::{LONG_HEADER_BYTES, PAGE_BYTES, PageHeader, PageStart, WalIdentity};
use super::partial::PartialRecord;
use super::record::{RECORD_HEADER_BYTES, RecordHeader, WalRecord, WalRecordDetail, check_length};

/// Records start at multiples of this (`MAXALIGN`).
const ALIGNMENT: u64 = 8;
/// How much of a record's header is certain to stand on the page where it starts; its length is the first half of it.
const FIRST_WORD_BYTES: usize = 8;

/// Verifies log as it streams, and hands out its records.
///
/// It takes chunks of any length, and the same bytes give the same records and the same error however they are cut. It
/// keeps less than a kilobyte, whatever the length of records.
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
    /// Zeros up to the end of the segment, page headers among them.
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

    /// How many bytes were passed over: before the first record, and of records that a crash cut short.
    #[must_use]
    pub const fn unverified_bytes(&self) -> u64 {
        self.unverified
    }

    fn feed_pages(&mut self, mut bytes: &[u8], on_record: &mut impl FnMut(WalRecord)) -> Result<(), WalError> {
        let end = self.position.checked_add(bytes.len() as u64);
        end.ok_or(WalError::new(self.position, WalErrorKind::PastTheEnd))?;
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

    /// Takes some bytes of a page that are not its header; says how many.
    #[inline]
    fn step(&mut self, piece: &[u8], on_record: &mut impl FnMut(WalRecord)) -> Result<usize, WalError> {
        match self.phase {
            Phase::Head => self.head(piece, on_record),
            Phase::Body => self.body(piece, on_record),
            Phase::Padding => self.padding(piece, on_record),
            Phase::Tail { missing } => self.tail(piece, missing, on_record),
            Phase::Filler => self.filler(piece, on_record),
            Phase::End(end) => self.zeros(piece, |_| WalErrorKind::DataAfterEnd { end }),
            // A page's header was read in the phase `Sync`, and left it.
            Phase::Seek | Phase::Sync => Ok(self.seek(piece)),
        }
    }

    fn seek(&mut self, piece: &[u8]) -> usize {
        self.pass_over(piece.len() as u64);
        self.advance(piece.len());
        if self.position.align_down(PAGE_BYTES) == self.position {
            self.phase = Phase::Sync;
        }
        piece.len()
    }

    fn tail(&mut self, piece: &[u8], missing: u32, on_record: &mut impl FnMut(WalRecord)) -> Result<usize, WalError> {
        let taken = u32::try_from(piece.len()).map_or(missing, |length| length.min(missing));
        self.pass_over(u64::from(taken));
        self.phase = Phase::Tail { missing: missing - taken };
        self.advance(taken as usize);
        if missing == taken {
            self.align(on_record)?;
        }
        Ok(taken as usize)
    }

    #[inline]
    fn head(&mut self, piece: &[u8], on_record: &mut impl FnMut(WalRecord)) -> Result<usize, WalError> {
        if self.head.len() == 0 {
            self.head_lsn = self.position;
        }
        let wanted = if self.head.len() < FIRST_WORD_BYTES { FIRST_WORD_BYTES } else { RECORD_HEADER_BYTES };
        let taken = self.head.fill(piece, wanted);
        self.advance(taken);
        match self.head.len() {
            FIRST_WORD_BYTES => self.first_word()?,
            RECORD_HEADER_BYTES => self.begin_body(on_record)?,
            _ => {}
        }
        Ok(taken)
    }

    /// Judges the first 8 bytes of a record: a length that can be, or no record at all.
    #[inline]
    fn first_word(&mut self) -> Result<(), WalError> {
        if self.head.collected().iter().all(|byte| *byte == 0) {
            self.head.clear();
            self.begin_zeros(self.head_lsn, FIRST_WORD_BYTES);
            return Ok(());
        }
        let length = check_length(self.head_total_len(), self.identity.incarnation.major);
        length.map_err(|kind| WalError::new(self.head_lsn, kind))?;
        self.resume.get_or_insert(self.head_lsn);
        Ok(())
    }

    fn head_total_len(&self) -> u32 {
        let [a, b, c, d, ..] = *self.head.bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    #[inline]
    fn begin_body(&mut self, on_record: &mut impl FnMut(WalRecord)) -> Result<(), WalError> {
        let lsn = self.head_lsn;
        let header = RecordHeader::parse(self.head.bytes(), lsn, self.previous);
        let header = header.map_err(|kind| WalError::new(lsn, kind))?;
        self.head.clear();
        let record = PartialRecord::new(lsn, header, self.identity.incarnation.major);
        let whole = record.missing() == 0;
        self.record = Some(record);
        self.phase = Phase::Body;
        if whole { self.end_body(on_record) } else { Ok(()) }
    }

    #[inline]
    fn body(&mut self, piece: &[u8], on_record: &mut impl FnMut(WalRecord)) -> Result<usize, WalError> {
        let record = self.record.as_mut().expect("a body belongs to a record");
        let taken = record.feed(piece);
        let whole = record.missing() == 0;
        self.advance(taken);
        if whole {
            self.end_body(on_record)?;
        }
        Ok(taken)
    }

    #[inline]
    fn end_body(&mut self, on_record: &mut impl FnMut(WalRecord)) -> Result<(), WalError> {
        let record = self.record.as_ref().expect("a body belongs to a record");
        record.check_crc().map_err(|kind| WalError::new(record.lsn(), kind))?;
        self.align(on_record)
    }

    /// What follows the last byte of a record, or of the rest of one.
    #[inline]
    fn align(&mut self, on_record: &mut impl FnMut(WalRecord)) -> Result<(), WalError> {
        if is_aligned(self.position) {
            return self.end_record(on_record);
        }
        self.phase = Phase::Padding;
        Ok(())
    }

    #[inline]
    fn padding(&mut self, piece: &[u8], on_record: &mut impl FnMut(WalRecord)) -> Result<usize, WalError> {
        let wanted = self.position.as_u64().next_multiple_of(ALIGNMENT) - self.position.as_u64();
        let part = usize::try_from(wanted).ok().and_then(|wanted| piece.get(..wanted)).unwrap_or(piece);
        let taken = self.zeros(part, |found| WalErrorKind::NonZeroPadding { found })?;
        if is_aligned(self.position) {
            self.end_record(on_record)?;
        }
        Ok(taken)
    }

    fn filler(&mut self, piece: &[u8], on_record: &mut impl FnMut(WalRecord)) -> Result<usize, WalError> {
        let taken = self.zeros(piece, |found| WalErrorKind::NonZeroPadding { found })?;
        if self.record.is_none() {
            self.pass_over(taken as u64);
        }
        if self.is_segment_start() {
            match self.record {
                Some(_) => self.hand_out(on_record)?,
                None => self.phase = Phase::Sync,
            }
        }
        Ok(taken)
    }

    #[inline]
    fn end_record(&mut self, on_record: &mut impl FnMut(WalRecord)) -> Result<(), WalError> {
        if self.record.as_ref().is_some_and(PartialRecord::is_switch) && !self.is_segment_start() {
            self.phase = Phase::Filler;
            return Ok(());
        }
        self.hand_out(on_record)
    }

    #[inline]
    fn hand_out(&mut self, on_record: &mut impl FnMut(WalRecord)) -> Result<(), WalError> {
        self.phase = Phase::Head;
        let Some(record) = self.record.take() else { return Ok(()) };
        let lsn = record.lsn();
        let record = record.finish(self.position).and_then(|record| self.check_lost(record));
        on_record(record.map_err(|kind| WalError::new(lsn, kind))?);
        self.lost = Lost::Nothing;
        self.previous = Some(lsn);
        self.resume = Some(self.position);
        Ok(())
    }

    /// The record after a lost one must say which was lost (`VerifyOverwriteContrecord` in PostgreSQL's
    /// `src/backend/access/transam/xlogrecovery.c`).
    #[inline]
    fn check_lost(&self, record: WalRecord) -> Result<WalRecord, WalErrorKind> {
        let found = match record.detail {
            WalRecordDetail::Overwrite { lost, .. } => Some(lost),
            _ => None,
        };
        let expected = match self.lost {
            Lost::Unknown => return Ok(record),
            Lost::Nothing => None,
            Lost::Record(lsn) => Some(lsn),
        };
        if found == expected { Ok(record) } else { Err(WalErrorKind::WrongOverwrite { found, expected }) }
    }

    fn page_header(&mut self, page: Lsn, header_bytes: usize, piece: &[u8]) -> Result<usize, WalError> {
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
            (None, _) if self.head.len() > 0 => Some(self.head_total_len().saturating_sub(self.head.len() as u32)),
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

    /// Zeros stand where a record should start, `seen` of them so far.
    ///
    /// If what is before them was not verified, it may have been a switch.
    fn begin_zeros(&mut self, start: Lsn, seen: usize) {
        if self.resume.is_some() {
            self.phase = Phase::End(start);
        } else {
            self.pass_over(seen as u64);
            self.phase = if self.is_segment_start() { Phase::Sync } else { Phase::Filler };
        }
    }

    /// Takes bytes that must be zero, or says what it means that they are not.
    #[inline]
    fn zeros(&mut self, bytes: &[u8], otherwise: impl Fn(u8) -> WalErrorKind) -> Result<usize, WalError> {
        // All at once, which the compiler turns into wide instructions; the search for the place is for the worst case.
        if bytes.iter().fold(0, |all, byte| all | byte) != 0 {
            let found = bytes.iter().enumerate().find(|(_, byte)| **byte != 0);
            let (offset, byte) = found.map_or((0, 0), |(offset, byte)| (offset, *byte));
            return Err(WalError::new(self.position.saturating_add(offset as u64), otherwise(byte)));
        }
        self.advance(bytes.len());
        Ok(bytes.len())
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
