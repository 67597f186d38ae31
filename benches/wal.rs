//! How fast log is decoded and verified.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pitr::format::wal::{WalDecoder, WalIdentity};
use pitr::model::{Incarnation, Lsn, PostgresMajor, SegmentSize, SystemId, TimelineHistory, TimelineId};
use pitr::testing::SyntheticWal;

/// How much log each run decodes, a segment of the default size.
const LOG_BYTES: u64 = 16 << 20;
/// How much of it is fed at once: a message of the replication protocol.
const CHUNK_BYTES: usize = 128 << 10;

/// What a pgbench transaction writes, by the lengths of its records' data, with a full-page image now and then.
fn pgbench(transaction: u32) -> Vec<usize> {
    let image = if transaction.is_multiple_of(12) { vec![8_000] } else { Vec::new() };
    [vec![48, 45, 45, 110, 52], image].concat()
}

fn log(transaction_records: impl Fn(u32) -> Vec<usize>) -> SyntheticWal {
    let mut wal = SyntheticWal::new(LOG_BYTES);
    for transaction in 1.. {
        for length in transaction_records(transaction) {
            wal.record(10, 0, transaction, &vec![0x5A; length]);
        }
        wal.record(1, 0, transaction, &i64::from(transaction).to_le_bytes());
        if wal.bytes.len() as u64 > LOG_BYTES {
            break;
        }
    }
    wal
}

fn decode(identity: &WalIdentity, wal: &SyntheticWal) -> u64 {
    let mut decoder = WalDecoder::new(identity.clone(), Lsn::new(wal.start));
    let mut records = 0;
    for chunk in wal.bytes.chunks(CHUNK_BYTES) {
        decoder.feed(chunk, |_| records += 1).expect("the log is sound");
    }
    records
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wal");
    let bulk = |_| vec![8_000; 10];
    for (name, wal) in [("pgbench", log(pgbench)), ("small records", log(|_| vec![48; 10])), ("page images", log(bulk))]
    {
        let incarnation = Incarnation::new(SystemId::new(wal.system_id), PostgresMajor::MIN);
        let history = TimelineHistory::root(TimelineId::FIRST);
        let identity = WalIdentity::new(incarnation, SegmentSize::MIN, history);
        group.throughput(Throughput::Bytes(wal.bytes.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| decode(black_box(&identity), black_box(&wal))));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
