//! Building a catalog and planning from it, by number of log backups.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pitr::model::{
    Artifact, Catalog, Incarnation, LogBackup, Lsn, PostgresMajor, SegmentSize, Snapshot, StoredObject, SystemId,
    TimelineId, Timestamp, WalRange,
};
use pitr::plan::{Target, plan_restore, recovery_window};

const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
const SNAPSHOTS: u64 = 35;
const LOG_BYTES: u64 = 1 << 20;
const CADENCE: Duration = Duration::from_secs(5);

/// A server's logs, one after the other, with snapshots evenly between them.
fn artifacts(logs: u64) -> Vec<Artifact> {
    let snapshots = (0..SNAPSHOTS).map(|number| snapshot(number, number * logs / SNAPSHOTS));
    (0..logs).map(|number| log(number).into()).chain(snapshots.map(Artifact::from)).collect()
}

fn incarnation() -> Incarnation {
    Incarnation::new(SystemId::new(7_301_234_567_890_123_456), PostgresMajor::MIN)
}

fn at(number: u64) -> Timestamp {
    let since = u32::try_from(number).expect("sizes are small");
    Timestamp::UNIX_EPOCH.saturating_add(CADENCE * since)
}

fn wal(number: u64, bytes: u64) -> WalRange {
    let start = Lsn::new((number + 1) * LOG_BYTES);
    WalRange::new(TimelineId::FIRST, start, start.saturating_add(bytes)).expect("in order")
}

fn object(key: &str, bytes: u64) -> StoredObject {
    StoredObject::new(key.parse().expect("a key"), bytes)
}

fn log(number: u64) -> LogBackup {
    let mut log = LogBackup::new(incarnation(), wal(number, LOG_BYTES), "log".parse().expect("a key"), LOG_BYTES / 3);
    log.max_commit_time = Some(at(number + 1).saturating_sub(Duration::from_millis(3)));
    log.complete_through = Some(at(number + 1));
    log
}

fn snapshot(number: u64, first_log: u64) -> Snapshot {
    let id = format!("daily-{number}").parse().expect("an ID");
    let manifest = object(&format!("snapshots/{number}"), 1 << 30);
    Snapshot::full(id, incarnation(), wal(first_log, LOG_BYTES / 2), SegmentSize::MIN, at(first_log), manifest)
}

fn build(c: &mut Criterion) {
    let mut group = c.benchmark_group("catalog");
    group.sample_size(10);
    for logs in SIZES {
        let artifacts = artifacts(logs);
        group.throughput(Throughput::Elements(logs + SNAPSHOTS));
        group.bench_with_input(BenchmarkId::from_parameter(logs), &artifacts, |b, artifacts| {
            b.iter_batched(|| artifacts.clone(), |a| Catalog::new(a).expect("valid"), criterion::BatchSize::LargeInput);
        });
    }
}

/// The target lies ten log backups after a snapshot, so that what is measured is the search and not the plan's length.
fn plan(c: &mut Criterion) {
    let mut group = c.benchmark_group("plan");
    for logs in SIZES {
        let catalog = Catalog::new(artifacts(logs)).expect("valid");
        let request = Target::time(at(17 * logs / SNAPSHOTS + 10)).into();
        group.bench_with_input(BenchmarkId::new("time", logs), &catalog, |b, catalog| {
            b.iter(|| black_box(plan_restore(catalog, black_box(&request))).expect("restorable"));
        });
        let long = Target::time(at(18 * logs / SNAPSHOTS - 5)).into();
        group.bench_with_input(BenchmarkId::new("up to the next snapshot", logs), &catalog, |b, catalog| {
            b.iter(|| black_box(plan_restore(catalog, black_box(&long))).expect("restorable"));
        });
        let late = Target::time(at(logs + 1)).into();
        group.bench_with_input(BenchmarkId::new("refusal", logs), &catalog, |b, catalog| {
            b.iter(|| black_box(plan_restore(catalog, black_box(&late))).expect_err("too late"));
        });
        let branch = catalog.current().expect("not empty");
        group.bench_with_input(BenchmarkId::new("window", logs), &catalog, |b, catalog| {
            b.iter(|| recovery_window(black_box(catalog), branch));
        });
    }
}

criterion_group!(benches, build, plan);
criterion_main!(benches);
