//! What stands between page headers: records, padding and zeros.

use super::{Lost, Phase, WalDecoder, is_aligned};
use crate::format::wal::error::{WalError, WalErrorKind};
use crate::format::wal::page::PAGE_BYTES;
use crate::format::wal::partial::PartialRecord;
use crate::format::wal::record::{
    ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader, WalRecord, WalRecordDetail, check_length,
};
use crate::model::Lsn;

/// How much of a record's header is certain to stand on the page where it starts; its length is the first half of it.
const FIRST_WORD_BYTES: usize = 8;

impl WalDecoder {
    /// Takes some bytes of a page that are not its header; says how many.
    #[inline]
    pub(super) fn step(&mut self, piece: &[u8], on_record: &mut impl FnMut(WalRecord)) -> Result<usize, WalError> {
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
            let taken = self.whole_records(piece, on_record);
            if taken > 0 {
                return Ok(taken);
            }
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

    /// Hands out the records that lie whole in a piece, as most do; says how many bytes they take.
    ///
    /// Whatever is out of the ordinary is left for the way that is taken byte by byte, which knows what is wrong.
    #[inline]
    fn whole_records(&mut self, piece: &[u8], on_record: &mut impl FnMut(WalRecord)) -> usize {
        let mut rest = piece;
        while let Some((record, after)) = self.whole_record(rest) {
            self.advance(rest.len() - after.len());
            rest = after;
            self.keep_place(record.lsn);
            on_record(record);
        }
        piece.len() - rest.len()
    }

    #[inline]
    fn whole_record<'a>(&self, piece: &'a [u8]) -> Option<(WalRecord, &'a [u8])> {
        let (header, _) = piece.split_first_chunk()?;
        let header = RecordHeader::parse(header, self.position, self.previous).ok()?;
        let major = self.identity.incarnation.major;
        check_length(header.total_len, major).ok()?;
        let aligned = u64::from(header.total_len).next_multiple_of(ALIGNMENT);
        let (bytes, after) = piece.split_at_checked(usize::try_from(aligned).ok()?)?;
        let (bytes, padding) = bytes.split_at_checked(usize::try_from(header.total_len).ok()?)?;
        let mut partial = PartialRecord::new(self.position, header, major);
        partial.feed(bytes.get(RECORD_HEADER_BYTES..)?);
        partial.check_crc().ok()?;
        if partial.is_switch() || padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        let record = partial.finish(self.position.saturating_add(aligned)).ok()?;
        self.check_lost(&record).ok()?;
        Some((record, after))
    }

    /// Notes that the record at `lsn` is whole, and that it ends here.
    #[inline]
    const fn keep_place(&mut self, lsn: Lsn) {
        self.lost = Lost::Nothing;
        self.previous = Some(lsn);
        self.resume = Some(self.position);
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

    /// What is missing of a record of whose header only a part was seen, in bytes.
    pub(super) fn head_missing(&self) -> u32 {
        let seen = u32::try_from(self.head.len()).expect("a header is short");
        self.head_total_len().saturating_sub(seen)
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

    /// Takes what follows a switch.
    ///
    /// PostgreSQL writes zeros there and reads nothing. Older log can remain all the same, if the server crashes between
    /// writing the switch and the zeros into a recycled segment, so that is counted but no reason to refuse the log.
    fn filler(&mut self, piece: &[u8], on_record: &mut impl FnMut(WalRecord)) -> Result<usize, WalError> {
        let taken = piece.len();
        self.advance(taken);
        self.pass_over(match self.record {
            Some(_) => piece.iter().map(|byte| u64::from(*byte != 0)).sum(),
            None => taken as u64,
        });
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
        let fails = |kind| WalError::new(lsn, kind);
        let record = record.finish(self.position).map_err(fails)?;
        self.check_lost(&record).map_err(fails)?;
        on_record(record);
        self.keep_place(lsn);
        Ok(())
    }

    /// The record after a lost one must say which was lost (`VerifyOverwriteContrecord` in PostgreSQL's
    /// `src/backend/access/transam/xlogrecovery.c`).
    #[inline]
    fn check_lost(&self, record: &WalRecord) -> Result<(), WalErrorKind> {
        let found = match record.detail {
            WalRecordDetail::Overwrite { lost, .. } => Some(lost),
            _ => None,
        };
        let expected = match self.lost {
            Lost::Unknown => return Ok(()),
            Lost::Nothing => None,
            Lost::Record(lsn) => Some(lsn),
        };
        if found == expected { Ok(()) } else { Err(WalErrorKind::WrongOverwrite { found, expected }) }
    }

    /// Zeros stand where a record should start, `seen` of them so far.
    ///
    /// If what is before them was not verified, it may have been a switch.
    pub(super) fn begin_zeros(&mut self, start: Lsn, seen: usize) {
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
}
