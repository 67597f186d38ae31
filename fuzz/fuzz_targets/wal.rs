//! The log decoder never panics, and chunks do not matter.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use pitr::format::wal::{WalDecoder, WalError, WalIdentity, WalRecord};
use pitr::model::{Incarnation, Lsn, PostgresMajor, SegmentSize, SystemId, TimelineHistory, TimelineId};
use pitr::testing::SyntheticWal;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    start: Lsn64,
    at_record: bool,
    chunk: u16,
    log: Log<'a>,
}

/// Where decoding starts: anywhere, or in the middle of nowhere near a page or segment.
#[derive(Arbitrary, Debug)]
enum Lsn64 {
    Anywhere(u64),
    Aligned(u8),
}

/// Bytes of any kind, or records in pages as they should be, and then some bytes changed.
#[derive(Arbitrary, Debug)]
enum Log<'a> {
    Bytes(&'a [u8]),
    Records { records: Vec<(u8, u8, u32, &'a [u8])>, repeat: u16, changes: Vec<(u16, u8)> },
}

fn log(input: &Input) -> (u64, Vec<u8>) {
    let start = match input.start {
        Lsn64::Anywhere(start) => start,
        Lsn64::Aligned(page) => u64::from(page) * 8192,
    };
    match &input.log {
        Log::Bytes(bytes) => (start, bytes.to_vec()),
        Log::Records { records, repeat, changes } => {
            let mut wal = SyntheticWal::new(start % (1 << 40) / 8192 * 8192);
            for (rmid, info, xid, body) in records.iter().take(64) {
                match (info, *rmid) {
                    (0x40, 0) => _ = wal.switch(),
                    _ => _ = wal.raw_record(*rmid, *info, *xid, &body.repeat(1 + usize::from(*repeat % 512))),
                }
            }
            for (at, change) in changes {
                if let Some(byte) = wal.bytes.get_mut(usize::from(*at)) {
                    *byte ^= change;
                }
            }
            (wal.start, wal.bytes)
        }
    }
}

fn decode(decoder: &mut WalDecoder, bytes: &[u8], chunk: usize) -> (Vec<WalRecord>, Option<WalError>) {
    let mut records = Vec::new();
    for chunk in bytes.chunks(chunk.max(1)) {
        if let Err(error) = decoder.feed(chunk, |record| records.push(record)) {
            assert_eq!(decoder.feed(chunk, |_| {}), Err(error.clone()));
            return (records, Some(error));
        }
    }
    (records, None)
}

fuzz_target!(|input: Input| {
    let incarnation = Incarnation::new(SystemId::new(7_301_234_567_890_123_456), PostgresMajor::MIN);
    let identity = WalIdentity::new(incarnation, SegmentSize::MIN, TimelineHistory::root(TimelineId::FIRST));
    let (start, bytes) = log(&input);
    if start.checked_add(bytes.len() as u64).is_none() {
        return;
    }
    let start = Lsn::new(start);
    let decoder = || match input.at_record {
        true => WalDecoder::at_record(identity.clone(), start).ok(),
        false => Some(WalDecoder::new(identity.clone(), start)),
    };
    let (Some(mut whole), Some(mut pieces)) = (decoder(), decoder()) else { return };
    let expected = decode(&mut whole, &bytes, bytes.len());
    assert_eq!(decode(&mut pieces, &bytes, usize::from(input.chunk)), expected);
    assert_eq!(pieces.resume_point(), whole.resume_point());
    if expected.1.is_none() {
        assert_eq!(pieces.position(), start.saturating_add(bytes.len() as u64));
        assert_eq!(pieces.end_of_log(), whole.end_of_log());
        assert!(whole.unverified_bytes() <= bytes.len() as u64);
    }
});
