//! Tests on log that is made for the case; `tests/wal_oracle.rs` reads that of real servers.

use proptest::prelude::*;

use super::synthetic_wal::SyntheticWal;
use super::*;
use crate::model::{
    Incarnation, Lsn, PostgresMajor, SegmentSize, SystemId, TimelineHistory, TimelineId, TimelineSwitch, Timestamp,
};

const SEGMENT: u64 = 1 << 20;
const START: u64 = 3 * SEGMENT;

fn tli(number: u32) -> TimelineId {
    TimelineId::new(number).unwrap()
}

fn identity_on(history: TimelineHistory) -> WalIdentity {
    let incarnation = Incarnation::new(SystemId::new(7_301_234_567_890_123_456), PostgresMajor::MIN);
    WalIdentity::new(incarnation, SegmentSize::MIN, history)
}

fn identity() -> WalIdentity {
    identity_on(TimelineHistory::root(tli(1)))
}

fn feed(decoder: &mut WalDecoder, chunks: &mut dyn Iterator<Item = &[u8]>) -> (Vec<WalRecord>, Option<WalError>) {
    let mut records = Vec::new();
    for chunk in chunks {
        if let Err(error) = decoder.feed(chunk, |record| records.push(record)) {
            return (records, Some(error));
        }
    }
    (records, None)
}

fn decode(wal: &SyntheticWal) -> (Vec<WalRecord>, Option<WalError>) {
    feed(&mut WalDecoder::new(identity(), Lsn::new(wal.start)), &mut std::iter::once(&wal.bytes[..]))
}

fn details(wal: &SyntheticWal) -> Vec<WalRecordDetail> {
    let (records, error) = decode(wal);
    assert_eq!(error, None);
    records.into_iter().map(|record| record.detail).collect()
}

fn error_kind(wal: &SyntheticWal) -> WalErrorKind {
    decode(wal).1.unwrap().kind
}

/// 2000-01-01 and so many microseconds, as PostgreSQL writes it and as it is read.
fn at(micros: i64) -> ([u8; 8], Timestamp) {
    (micros.to_le_bytes(), Timestamp::from_postgres_micros(micros).unwrap())
}

/// Records of several lengths, some over page and segment boundaries, and a switch.
fn sample() -> SyntheticWal {
    let mut wal = SyntheticWal::new(START);
    for length in [0, 1, 7, 8, 100, 8_000, 20_000, 300, 8_139, 8_140, 8_141] {
        wal.record(10, 0, 5, &vec![0x5A; length]);
        wal.record(1, 0, 7, &at(length as i64).0);
    }
    wal.switch();
    wal.record(1, 0x20, 9, &at(77).0);
    wal
}

#[test]
fn ends_and_starts_of_records_meet() {
    let wal = sample();
    let (records, error) = decode(&wal);
    assert_eq!((records.len(), error), (24, None));
    for pair in records.windows(2) {
        let (end, next) = (pair[0].end_lsn, pair[1].lsn);
        let header = if end.as_u64() % SEGMENT == 0 { 40 } else { 24 };
        let expected = if end.as_u64() % 8192 == 0 { end.saturating_add(header) } else { end };
        assert_eq!(next, expected);
    }
    assert_eq!(records[0].lsn, Lsn::new(START + 40));
    assert_eq!(records[22].detail, WalRecordDetail::Switch);
    assert_eq!(records[22].end_lsn, Lsn::new(START + SEGMENT));
}

#[test]
fn outcomes_of_transactions_are_read() {
    let mut wal = SyntheticWal::new(START);
    let (bytes, time) = at(123_456_789);
    wal.record(1, 0x00, 7, &bytes);
    wal.record(1, 0xA0, 8, &[&bytes[..], &0_u32.to_le_bytes()].concat());
    // COMMIT PREPARED: database, 3 subtransactions, 2 relations, 1 statistics item, 1 message, and then the transaction.
    let flags = 0b1_0001_1111_u32;
    let mut data = [&bytes[..], &flags.to_le_bytes(), &[1; 8], &3_u32.to_le_bytes(), &[2; 12]].concat();
    data.extend([&2_u32.to_le_bytes()[..], &[3; 24], &1_u32.to_le_bytes(), &[4; 12]].concat());
    data.extend([&1_u32.to_le_bytes()[..], &[5; 16], &4711_u32.to_le_bytes(), b"gid\0"].concat());
    wal.record(1, 0xB0, 0, &data);
    wal.record(1, 0xC0, 0, &[&bytes[..], &(1_u32 << 4).to_le_bytes(), &42_u32.to_le_bytes()].concat());
    // A replication origin stands before the main data.
    wal.raw_record(1, 0, 9, &[&[253, 1, 0, 255, 8], &bytes[..]].concat());
    let commit = |xid| WalRecordDetail::Commit { xid, time };
    let abort = |xid| WalRecordDetail::Abort { xid, time };
    assert_eq!(details(&wal), [commit(7), abort(8), commit(4711), abort(42), commit(9)]);
}

#[test]
fn records_about_the_log_are_read() {
    let mut wal = SyntheticWal::new(START);
    let (bytes, time) = at(1_000_000);
    let mut name = [0; 64];
    name[..6].copy_from_slice(b"before");
    wal.record(0, 0x70, 0, &[&bytes[..], &name].concat());
    let timelines = [2_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat();
    wal.record(0, 0x90, 0, &[&bytes[..], &timelines].concat());
    let (redo, unix_seconds) = (0x1234_u64.to_le_bytes(), 946_684_801_i64.to_le_bytes());
    let checkpoint = [&redo[..], &timelines, &[9; 48], &unix_seconds, &[9; 16]].concat();
    wal.record(0, 0x00, 0, &checkpoint);
    wal.record(0, 0x10, 0, &checkpoint);
    let (timeline, previous_timeline) = (tli(2), tli(1));
    let checkpoint = |shutdown| {
        let redo = Lsn::new(0x1234);
        WalRecordDetail::Checkpoint { redo, shutdown, timeline, previous_timeline, time }
    };
    let point = WalRecordDetail::RestorePoint { name: "before".to_owned(), time };
    let promoted = WalRecordDetail::EndOfRecovery { timeline, previous_timeline, time };
    assert_eq!(details(&wal), [point, promoted, checkpoint(true), checkpoint(false)]);
}

#[test]
fn records_that_make_no_sense_are_refused() {
    let malformed = |rmid, info, body: &[u8]| {
        let mut wal = SyntheticWal::new(START);
        wal.raw_record(rmid, info, 1, body);
        matches!(error_kind(&wal), WalErrorKind::MalformedRecord { .. })
    };
    assert!(malformed(1, 0, &[255, 4, 0, 0, 0, 0]), "too short");
    assert!(malformed(1, 0, &[]), "empty");
    assert!(malformed(1, 0, &[0, 1, 2, 3, 4, 5, 6]), "a block");
    assert!(malformed(1, 0, &[&[255, 8], &i64::MAX.to_le_bytes()[..]].concat()), "infinity");
    assert!(malformed(1, 0xB0, &[&[255, 12], &[0; 12][..]].concat()), "nothing prepared");
    assert!(malformed(0, 0x90, &[&[255, 16], &[0; 16][..]].concat()), "timeline 0");
}

#[test]
fn it_begins_anywhere() {
    let wal = sample();
    let (all, _) = decode(&wal);
    for offset in (0..40_000).step_by(501).chain((0..40_960).step_by(8192)) {
        let start = Lsn::new(START + offset as u64);
        let mut decoder = WalDecoder::new(identity(), start);
        let (records, error) = feed(&mut decoder, &mut std::iter::once(&wal.bytes[offset..]));
        assert_eq!(error, None, "from {start}");
        assert!(all.ends_with(&records) && !records.is_empty(), "from {start}");
        // Everything between the start and the first record was passed over or was a page's header.
        let before = records[0].lsn.bytes_since(start);
        assert!(decoder.unverified_bytes() <= before && before - decoder.unverified_bytes() < 150, "from {start}");
    }
}

#[test]
fn it_resumes_where_it_stopped() {
    let wal = sample();
    let (all, _) = decode(&wal);
    for stop in (0..wal.bytes.len()).step_by(333) {
        let mut first = WalDecoder::new(identity(), Lsn::new(START));
        let (mut records, _) = feed(&mut first, &mut std::iter::once(&wal.bytes[..stop]));
        assert_eq!(first.position(), Lsn::new(START + stop as u64));
        let Some(resume) = first.resume_point() else { continue };
        let mut second = WalDecoder::at_record(identity(), resume).unwrap();
        let from = usize::try_from(resume.as_u64() - START).unwrap();
        let (rest, error) = feed(&mut second, &mut std::iter::once(&wal.bytes[from..]));
        assert_eq!((error, second.unverified_bytes()), (None, 0));
        records.extend(rest);
        assert_eq!(records, all, "stopped after {stop} bytes");
    }
}

#[test]
fn no_record_starts_inside_a_header_or_unaligned() {
    for (offset, valid) in [(0, true), (24, false), (32, false), (40, true), (44, false), (8192 + 16, false)] {
        assert_eq!(WalDecoder::at_record(identity(), Lsn::new(START + offset)).is_ok(), valid, "{offset}");
    }
    assert!(WalDecoder::at_record(identity(), Lsn::new(START + 8192 + 24)).is_ok());
    let wal = sample();
    let page = 2 * 8192_usize;
    let mut decoder = WalDecoder::at_record(identity(), Lsn::new(START + page as u64)).unwrap();
    let (_, error) = feed(&mut decoder, &mut std::iter::once(&wal.bytes[page..]));
    assert_eq!(error, Some(WalError::new(Lsn::new(START + page as u64), WalErrorKind::UnexpectedContinuation)));
}

#[test]
fn zeros_end_the_log_and_nothing_may_follow() {
    let mut wal = sample();
    let end = Lsn::new(wal.end());
    wal.zeros(20_000);
    let mut decoder = WalDecoder::new(identity(), Lsn::new(START));
    assert_eq!(feed(&mut decoder, &mut std::iter::once(&wal.bytes[..])).1, None);
    assert_eq!((decoder.end_of_log(), decoder.resume_point()), (Some(end), Some(end)));
    let at = decoder.position();
    let error = WalError::new(at.saturating_add(1), WalErrorKind::DataAfterEnd { end });
    assert_eq!(decoder.feed(&[0, 3], |_| {}), Err(error.clone()));
    assert_eq!(decoder.feed(&[0], |_| {}), Err(error), "it stays failed");
}

#[test]
fn what_a_crash_left_after_a_switch_is_counted() {
    let mut wal = SyntheticWal::new(START);
    wal.switch();
    wal.record(10, 0, 1, &[1; 100]);
    wal.bytes[50_000..50_100].fill(7);
    let mut decoder = WalDecoder::new(identity(), Lsn::new(START));
    let (records, error) = feed(&mut decoder, &mut wal.bytes.chunks(1000));
    assert_eq!((records.len(), error, decoder.unverified_bytes()), (2, None, 100));
}

#[test]
fn a_page_carries_the_timeline_that_wrote_its_first_byte() {
    let mut wal = SyntheticWal::new(START);
    wal.record(10, 0, 1, &[1; 8000]);
    wal.record(10, 0, 1, &[1; 300]);
    let switch = wal.end();
    wal.timeline = 3;
    wal.record(10, 0, 1, &[1; 30_000]);
    let switches = vec![TimelineSwitch::new(tli(1), Lsn::new(switch), "")];
    let history = TimelineHistory::new(tli(3), switches).unwrap();
    let mut decoder = WalDecoder::new(identity_on(history), Lsn::new(START));
    assert_eq!(feed(&mut decoder, &mut std::iter::once(&wal.bytes[..])).1, None);
    assert_eq!(error_kind(&wal), WalErrorKind::WrongTimeline { found: 3, expected: tli(1) });
}

#[test]
fn foreign_log_is_named() {
    let sample_with = |change: fn(&mut SyntheticWal)| {
        let mut wal = SyntheticWal::new(START);
        change(&mut wal);
        wal.record(10, 0, 1, &[]);
        let (_, error) = decode(&wal);
        error.unwrap()
    };
    let error = sample_with(|wal| wal.magic = 0xD118);
    assert_eq!(error.at, Lsn::new(START));
    let message = "page magic 0xD118 of PostgreSQL 18 instead of 0xD110 of PostgreSQL 15";
    assert_eq!(error.to_string(), format!("log refused at 0/300000: {message}"));
    let (found, expected) = (SystemId::new(1), SystemId::new(7_301_234_567_890_123_456));
    assert_eq!(sample_with(|wal| wal.system_id = 1).kind, WalErrorKind::ForeignSystem { found, expected });
    let size = WalErrorKind::WrongSegmentSize { found: 3 << 20, expected: SegmentSize::MIN };
    assert_eq!(sample_with(|wal| wal.segment_bytes = 3 << 20).kind, size);
}

/// A record that a crash cut short at a page's end, and what the server wrote there instead.
fn lost(named: impl Fn(u64) -> u64) -> SyntheticWal {
    let mut wal = SyntheticWal::new(START);
    let before = wal.record(10, 0, 1, &[1; 100]);
    let cut_short = wal.record(10, 0, 1, &[2; 30_000]);
    wal.lose_after(START + 2 * 8192, before);
    wal.record(0, 0xD0, 0, &[named(cut_short).to_le_bytes(), at(5).0].concat());
    wal.record(10, 0, 1, &[3; 100]);
    wal
}

#[test]
fn a_record_that_a_crash_cut_short_is_passed_over() {
    let wal = lost(|lsn| lsn);
    let (records, error) = decode(&wal);
    assert_eq!((records.len(), error), (3, None));
    let cut_short = records[0].end_lsn;
    assert_eq!(records[1].detail, WalRecordDetail::Overwrite { lost: cut_short, time: at(5).1 });
    assert_eq!(records[1].lsn, Lsn::new(START + 2 * 8192 + 24));
    let (found, expected) = (Some(cut_short.saturating_add(8)), Some(cut_short));
    assert_eq!(error_kind(&lost(|lsn| lsn + 8)), WalErrorKind::WrongOverwrite { found, expected });
}

#[test]
fn a_page_may_not_claim_a_loss_that_did_not_happen() {
    let mut wal = SyntheticWal::new(START);
    let previous = wal.record(10, 0, 1, &[1; 8192 - 40 - 29]);
    assert_eq!(wal.end(), START + 8192, "the record fills the page");
    wal.lose_after(START + 8192, previous);
    wal.record(10, 0, 1, &[1; 100]);
    assert_eq!(error_kind(&wal), WalErrorKind::UnexpectedOverwrite);
}

#[test]
fn every_flipped_byte_is_noticed() {
    let mut wal = SyntheticWal::new(START);
    for length in [0, 1, 7, 100, 8_000, 300, 9_000, 13] {
        wal.record(10, 0, 5, &vec![0x5A; length]);
        wal.record(1, 0, 7, &at(1).0);
    }
    // A record that claims to be longer than it is shows at the next page at the latest.
    let guarded = wal.bytes.len();
    wal.record(10, 0, 5, &[1; 10_000]);
    for byte in 0..guarded {
        let removable = byte % 8192 == 2;
        for bit in [byte % 8, (byte / 8) % 8].into_iter().filter(|bit| !(removable && *bit == 2)) {
            let mut flipped = wal.clone();
            flipped.bytes[byte] ^= 1 << bit;
            assert!(decode(&flipped).1.is_some(), "bit {bit} of byte {byte}");
        }
    }
}

proptest! {
    #[test]
    fn chunks_do_not_matter(
        lengths in prop::collection::vec(prop_oneof![0_usize..300, 8_000_usize..20_000], 1..30),
        cuts in prop::collection::vec(1_usize..9000, 1..50),
        skip in 0_usize..30_000,
        flip in prop::option::of((0_usize..200_000, 0_u8..8)),
    ) {
        let mut wal = SyntheticWal::new(START);
        for (index, length) in lengths.iter().enumerate() {
            wal.record(10, 0, 5, &vec![0x5A; *length]);
            wal.record(1, 0, 7, &at(1).0);
            if index == 20 { wal.switch(); }
        }
        if let Some((byte, bit)) = flip && let Some(byte) = wal.bytes.get_mut(byte) {
            *byte ^= 1 << bit;
        }
        let skip = skip.min(wal.bytes.len());
        let bytes = &wal.bytes[skip..];
        let decoder = || WalDecoder::new(identity(), Lsn::new(START + skip as u64));
        let (mut whole, mut pieces) = (decoder(), decoder());
        let mut rest = bytes;
        let mut cuts = cuts.iter().cycle();
        let mut chunks = std::iter::from_fn(|| {
            let (chunk, after) = rest.split_at((*cuts.next()?).min(rest.len()));
            rest = after;
            (!chunk.is_empty()).then_some(chunk)
        });
        let expected = feed(&mut whole, &mut std::iter::once(bytes));
        prop_assert_eq!(feed(&mut pieces, &mut chunks), expected.clone());
        if expected.1.is_none() {
            prop_assert_eq!(pieces.resume_point(), whole.resume_point());
            prop_assert_eq!(pieces.unverified_bytes(), whole.unverified_bytes());
        }
    }
}
