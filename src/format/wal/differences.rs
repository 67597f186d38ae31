//! Log without what can be told from the log before it, for compression.
//!
//! Of a record most can be told: its checksum from the rest of it, the link to the record before from where that stands, and much of the
//! rest from the last record of its kind, as a server does the same again and again. What is left is mostly zeros. The headers of pages,
//! which would stand in the midst of records, go to the front.
//!
//! Nothing is lost, whatever the bytes are: what is not taken for a record stays as it is.

use std::ops::Range;

use self::pages::Pages;
use self::walk::{Expected, Walk};
use super::fields::Fields;
use super::record::{CHECKED_BYTES, RECORD_HEADER_BYTES};

pub(in crate::format) use self::pages::FirstPage;

mod pages;
mod walk;

const XID: Range<usize> = 4..8;
const LINK: Range<usize> = 8..16;
const CRC: Range<usize> = 20..24;
/// The number of the relation that a record's first block belongs to, if the record has one and no image of it.
const RELATION: Range<usize> = 36..40;
/// What is subtracted byte by byte: all behind the header but the relation, which tells the kind.
const BODY: [Range<usize>; 2] = [RECORD_HEADER_BYTES..RELATION.start, RELATION.end..usize::MAX];

/// Memory for differences, to be used again and again.
#[derive(Debug, Default)]
pub(in crate::format) struct Scratch {
    arranged: Vec<u8>,
    stream: Vec<u8>,
}

impl FirstPage {
    /// The differences of `log`, in which it begins; they are as long as that.
    pub(in crate::format) fn differences<'a>(self, log: &[u8], scratch: &'a mut Scratch) -> &'a [u8] {
        let Scratch { arranged, stream } = scratch;
        pages::arrange(log, self, arranged);
        let less = |address: u64, expected| (address, address.wrapping_sub(expected));
        let pages = Pages::read(arranged, self, less);
        let copy = &mut arranged[pages.stream..];
        stream.clear();
        stream.extend_from_slice(copy);
        let mut walk = Walk::new(&pages);
        while let Some((record, expected)) = walk.next(stream) {
            expected.subtract(&mut copy[record.clone()], &stream[record], stream);
        }
        arranged
    }

    /// Appends the log that has these differences to `log`.
    pub(in crate::format) fn undo(self, differences: &mut [u8], log: &mut Vec<u8>) {
        let more = |difference: u64, expected| {
            let address = difference.wrapping_add(expected);
            (address, address)
        };
        let pages = Pages::read(differences, self, more);
        let stream = &mut differences[pages.stream..];
        let mut walk = Walk::new(&pages);
        while let Some((record, expected)) = walk.next(stream) {
            let (before, rest) = stream.split_at_mut(record.start);
            expected.add(&mut rest[..record.len()], before);
        }
        pages.restore(differences, log);
    }
}

impl Expected {
    /// Takes what was expected from a record, in its copy.
    fn subtract(&self, copy: &mut [u8], record: &[u8], stream: &[u8]) {
        change_u32(&mut copy[CRC], |crc| crc.wrapping_sub(checksum(record)));
        change_u32(&mut copy[XID], |xid| xid.wrapping_sub(self.xid));
        change_u64(&mut copy[LINK], |link| link.wrapping_sub(self.link));
        change_body(copy, &stream[self.like.clone()], u8::wrapping_sub);
    }

    /// The reverse, in place.
    fn add(&self, record: &mut [u8], before: &[u8]) {
        change_u32(&mut record[XID], |xid| xid.wrapping_add(self.xid));
        change_u64(&mut record[LINK], |link| link.wrapping_add(self.link));
        change_body(record, &before[self.like.clone()], u8::wrapping_add);
        let checksum = checksum(record);
        change_u32(&mut record[CRC], |crc| crc.wrapping_add(checksum));
    }
}

/// What the checksum of a whole record should be.
#[inline]
fn checksum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[RECORD_HEADER_BYTES..]), &record[..CHECKED_BYTES])
}

/// Where a record can start from `at` on in a stream, which begins at such a place.
#[inline]
const fn aligned(at: usize) -> usize {
    let rest = at % 8;
    if rest == 0 { at } else { at.saturating_add(8 - rest) }
}

#[inline]
fn change_body(record: &mut [u8], like: &[u8], change: impl Fn(u8, u8) -> u8) {
    for Range { start, end } in BODY {
        let (end, until) = (end.min(record.len()), end.min(like.len()));
        let pair = record.get_mut(start..end).zip(like.get(start..until));
        let bytes = pair.into_iter().flat_map(|(record, like)| record.iter_mut().zip(like));
        bytes.for_each(|(byte, like)| *byte = change(*byte, *like));
    }
}

#[inline]
fn change_u32(field: &mut [u8], change: impl FnOnce(u32) -> u32) {
    let changed = change(Fields::of(field).u32());
    field.copy_from_slice(&changed.to_le_bytes());
}

#[inline]
fn change_u64(field: &mut [u8], change: impl FnOnce(u64) -> u64) {
    let changed = change(Fields::of(field).u64());
    field.copy_from_slice(&changed.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::wal::synthetic_wal::SyntheticWal;

    const START: u64 = 3 << 20;

    fn differences(log: &[u8]) -> Vec<u8> {
        FirstPage::of(log).unwrap().differences(log, &mut Scratch::default()).to_vec()
    }

    fn survives(log: &[u8], first_page: FirstPage) -> bool {
        let mut differences = first_page.differences(log, &mut Scratch::default()).to_vec();
        let mut undone = b"kept".to_vec();
        first_page.undo(&mut differences, &mut undone);
        undone == [b"kept", log].concat()
    }

    /// Records of several kinds and lengths, over the boundaries of pages and segments, and a switch.
    fn sample() -> SyntheticWal {
        let mut wal = SyntheticWal::new(START);
        for xid in 700..900 {
            for (rmid, length) in [(10, 130), (10, 131), (11, 64), (10, 130), (9, xid * 37 % 9000), (1, 8)] {
                let data: Vec<u8> = (0..length).map(|at: u32| (at ^ xid).to_le_bytes()[0]).collect();
                wal.record(rmid, 0, xid, &data);
            }
        }
        wal.switch();
        wal.record(10, 0, 5, &[1; 300]);
        wal
    }

    #[test]
    fn log_survives_wherever_it_is_cut() {
        let log = sample().bytes;
        for begin in [0, 1, 7, 8, 24, 39, 40, 100, 8_168, 8_191, 8_192, 8_200, 70_000, (1 << 20) - 3] {
            for end in [begin + 8_300, 90_000, 90_113, 90_130, 90_136, (1 << 20) + 30, log.len()] {
                if let Some((cut, first_page)) = log.get(begin..end).and_then(|cut| Some((cut, FirstPage::of(cut)?))) {
                    assert_eq!(usize::from(first_page.at()), begin.next_multiple_of(8192) - begin);
                    assert!(survives(cut, first_page), "{begin} to {end}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_left_of_what_can_be_told() {
        let mut wal = SyntheticWal::new(START);
        let records = (700..1_000).map(|xid| wal.record(10, 0x20, xid, &[0x5A; 130])).collect::<Vec<_>>();
        assert!(records.len() * 130 > 4 * 8192, "there are several pages");
        let differences = differences(&wal.bytes);
        let headers = 40 + 24 * (wal.bytes.len().div_ceil(8192) - 1);
        let (records, _) = differences[headers..].as_chunks::<160>();
        let mut expected = [0; 160];
        (expected[0], expected[4], expected[16], expected[17]) = (156, 1, 0x20, 10);
        expected[36..40].fill(0x5A);
        assert!(records[1..].iter().all(|record| *record == expected), "{:?}", &records[1]);
        // Of pages too: their addresses go on from each other.
        assert_eq!(differences[40 + 8..40 + 16], [0; 8]);
    }

    /// Whoever changes what docs/FORMAT.md says, can no longer read what is stored.
    #[test]
    fn differences_are_for_ever_what_they_are() {
        let log = sample().bytes;
        assert_eq!(crc32c::crc32c(&log), 0xBF4B_C48A);
        assert_eq!(crc32c::crc32c(&differences(&log)), 0x8239_A0E7);
    }

    #[test]
    fn what_begins_no_page_has_none() {
        let log = sample().bytes;
        assert_eq!(FirstPage::of(&log[1..8_191]), None);
        assert_eq!(FirstPage::of(&[0; 100_000]), None);
        assert_eq!(FirstPage::of(&log[..23]), None);
        assert_eq!(FirstPage::of(&log[..24]), FirstPage::new(0, 24));
        assert_eq!(FirstPage::new(8_192, 100_000), None);
        assert_eq!(FirstPage::new(77, 100), None, "the header is not all there");
    }

    #[test]
    fn lengths_that_cannot_be_are_no_records() {
        let mut log = sample().bytes;
        for (at, length) in [(40, 0), (40, 23), (40, u32::MAX), (8_192 + 16, u32::MAX), (16, u32::MAX), (16, 1 << 20)] {
            let was = log[at..at + 4].to_vec();
            log[at..at + 4].copy_from_slice(&u32::to_le_bytes(length));
            assert!(survives(&log, FirstPage::new(0, log.len()).unwrap()), "{length} at {at}");
            log[at..at + 4].copy_from_slice(&was);
        }
    }

    proptest! {
        #[test]
        fn whatever_it_is_survives(
            bytes in proptest::collection::vec(any::<u8>(), 24..30_000),
            lengths in proptest::collection::vec((0_usize..30_000, 0_u32..300), 0..200),
            at in 0_u16..8192,
        ) {
            let mut log = bytes;
            for (place, length) in lengths {
                if let Some(field) = log.get_mut(place / 8 * 8..).and_then(<[u8]>::first_chunk_mut) {
                    *field = length.to_le_bytes();
                }
            }
            if let Some(first_page) = FirstPage::new(at, log.len()) {
                prop_assert!(survives(&log, first_page));
            }
        }
    }
}
