//! The planner, by number of log backups: building a catalog, planning from it, its window, retention; and how much memory it takes.
//!
//! A server on 20 timelines, one after another, with 35 snapshots evenly between its log backups.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group};
use pitr::model::{
    Artifact, Catalog, Incarnation, LogBackup, Lsn, ObjectKey, PostgresMajor, RetentionDays, SegmentSize, ServerName,
    Snapshot, StoredHistory, StoredObject, SystemId, TimelineHistory, TimelineId, TimelineSwitch, Timestamp, WalRange,
    WorkerId,
};
use pitr::plan::retention::{Protections, RetentionPolicy, plan_retention};
use pitr::plan::{Objective, RestoreRequest, Target, assign, explain_restore, plan_restore, recovery_window};

const SIZES: [u64; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
const SNAPSHOTS: u64 = 35;
const TIMELINES: u64 = 20;
const LOG_BYTES: u64 = 1 << 20;

/// A server with so many log backups in 35 days.
#[derive(Clone, Copy)]
struct History {
    logs: u64,
}

impl History {
    const fn of(logs: u64) -> Self {
        Self { logs }
    }

    /// As a listing brings it.
    fn artifacts(self) -> impl Iterator<Item = Artifact> {
        let directories: Vec<ObjectKey> = (1..=TIMELINES).map(directory).collect();
        let log = move |number| self.log(number, directories[index(self.timeline(number))].clone()).into();
        let snapshots = (0..SNAPSHOTS).map(move |number| self.snapshot(number).into());
        let histories = (2..=TIMELINES).map(move |timeline| self.history(timeline).into());
        (0..self.logs).map(log).chain(snapshots).chain(histories)
    }

    fn catalog(self) -> Catalog {
        Catalog::new(self.artifacts()).expect("it does not contradict itself")
    }

    /// The instant that a log backup ends at; they are spread over 35 days.
    fn at(self, number: u64) -> Timestamp {
        let micros = u128::from(number) * 35 * 86_400 * 1_000_000 / u128::from(self.logs);
        Timestamp::UNIX_EPOCH.saturating_add(Duration::from_micros(u64::try_from(micros).expect("35 days are few")))
    }

    fn timeline(self, log: u64) -> u64 {
        1 + log * TIMELINES / self.logs
    }

    fn log(self, number: u64, directory: ObjectKey) -> LogBackup {
        let wal = wal(self.timeline(number), number, LOG_BYTES);
        let mut log = LogBackup::new(incarnation(), wal, directory, LOG_BYTES / 3);
        log.max_commit_time = Some(self.at(number + 1).saturating_sub(Duration::from_micros(3)));
        log.complete_through = Some(self.at(number + 1));
        log
    }

    fn snapshot(self, number: u64) -> Snapshot {
        let log = number * self.logs / SNAPSHOTS;
        let id = format!("daily-{number}").parse().expect("an ID");
        let (wal, at) =
            (wal(self.timeline(log), log, LOG_BYTES / 2), self.at(log).saturating_add(Duration::from_micros(1)));
        let manifest = StoredObject::new(format!("snapshots/{number}").parse().expect("a key"), 1 << 30);
        Snapshot::full(id, incarnation(), wal, SegmentSize::MIN, at, manifest)
    }

    fn history(self, timeline: u64) -> StoredHistory {
        let switch = |t: u64| TimelineSwitch::new(id(t), start((t * self.logs).div_ceil(TIMELINES)), "promoted");
        let history = TimelineHistory::new(id(timeline), (1..timeline).map(switch).collect()).expect("in order");
        let key = format!("timelines/{timeline:08X}").parse().expect("a key");
        StoredHistory::new(incarnation(), history, StoredObject::new(key, 500))
    }

    /// A target some log backups after a snapshot.
    fn after_snapshot(self, snapshot: u64, logs: u64) -> RestoreRequest {
        Target::time(self.at(snapshot * self.logs / SNAPSHOTS + logs)).into()
    }
}

fn incarnation() -> Incarnation {
    Incarnation::new(SystemId::new(7_301_234_567_890_123_456), PostgresMajor::MIN)
}

fn id(timeline: u64) -> TimelineId {
    TimelineId::new(u32::try_from(timeline).expect("few")).expect("not zero")
}

fn index(timeline: u64) -> usize {
    usize::try_from(timeline - 1).expect("few")
}

fn directory(timeline: u64) -> ObjectKey {
    format!("servers/prod/catalog/{}/logs/{timeline:08X}", incarnation()).parse().expect("a key")
}

fn start(log: u64) -> Lsn {
    Lsn::new((log + 1) * LOG_BYTES)
}

fn wal(timeline: u64, log: u64, bytes: u64) -> WalRange {
    WalRange::new(id(timeline), start(log), start(log).saturating_add(bytes)).expect("in order")
}

fn build(c: &mut Criterion) {
    let mut group = c.benchmark_group("build");
    group.sample_size(10);
    for logs in SIZES {
        let history = History::of(logs);
        group.throughput(Throughput::Elements(logs + SNAPSHOTS + TIMELINES - 1));
        // What a listing brings is there already, with its names.
        group.bench_function(BenchmarkId::from_parameter(logs), |b| {
            let listed = || history.artifacts().collect::<Vec<_>>();
            b.iter_batched(listed, |listed| Catalog::new(listed).expect("no contradiction"), BatchSize::PerIteration);
        });
    }
}

/// The target lies ten log backups after a snapshot, so that what is measured is the search and not the copying of a long plan.
fn plan(c: &mut Criterion) {
    let mut group = c.benchmark_group("plan");
    for logs in SIZES {
        let (history, catalog) = (History::of(logs), History::of(logs).catalog());
        let branch = catalog.current().expect("not empty");
        let near = history.after_snapshot(17, 10);
        let mut time = |name: &str, what: &dyn Fn()| {
            group.bench_function(BenchmarkId::new(name, logs), |b| b.iter(what));
        };
        time("time", &|| drop(black_box(plan_restore(&catalog, black_box(&near)).expect("restorable"))));
        let fewest = near.clone().for_objective(Objective::Artifacts);
        time("fewest objects", &|| drop(black_box(plan_restore(&catalog, black_box(&fewest)).expect("restorable"))));
        time("explained", &|| drop(black_box(explain_restore(&catalog, black_box(&near)).expect("known"))));
        let late = Target::time(Timestamp::MAX).into();
        time("refusal", &|| drop(black_box(plan_restore(&catalog, black_box(&late)).expect_err("too late"))));
        time("window", &|| drop(black_box(recovery_window(&catalog, branch))));
        if logs <= 1_000_000 {
            let far = history.after_snapshot(18, 0);
            time("up to the next snapshot", &|| {
                drop(black_box(plan_restore(&catalog, black_box(&far)).expect("it is")))
            });
        }
    }
}

/// A week is kept of five.
fn retention(c: &mut Criterion) {
    let mut group = c.benchmark_group("retention");
    group.sample_size(10);
    let (policy, nothing) = (RetentionPolicy::new(RetentionDays::MIN), Protections::none());
    for logs in SIZES {
        let (catalog, now) = (History::of(logs).catalog(), History::of(logs).at(logs));
        group.throughput(Throughput::Elements(logs));
        group.bench_function(BenchmarkId::new("decide", logs), |b| {
            b.iter_with_large_drop(|| plan_retention(&catalog, &policy, &nothing, now));
        });
        if logs <= 1_000_000 {
            let plan = plan_retention(&catalog, &policy, &nothing, now);
            group.bench_function(BenchmarkId::new("check", logs), |b| {
                b.iter(|| plan.check(&catalog).expect("it holds"))
            });
        }
    }
}

/// One server of a fleet: eight days of log backups every five minutes. From its listing to a plan, and to what expires.
fn fleet(c: &mut Criterion) {
    let history = History::of(8 * 288);
    let (policy, now) = (RetentionPolicy::default(), history.at(8 * 288));
    c.bench_function("one server of a fleet", |b| {
        b.iter(|| {
            let catalog = history.catalog();
            let plan = plan_restore(&catalog, &history.after_snapshot(20, 3)).expect("restorable");
            (plan, plan_retention(&catalog, &policy, &Protections::none(), now))
        });
    });
}

/// A million servers, shared by ten workers.
fn sharing(c: &mut Criterion) {
    let servers: BTreeSet<ServerName> =
        (0..1_000_000).map(|number| format!("server-{number}").parse().expect("a name")).collect();
    let workers: BTreeSet<WorkerId> =
        (0..10).map(|number| format!("worker-{number}").parse().expect("a name")).collect();
    let mut group = c.benchmark_group("servers of workers");
    group.sample_size(10).throughput(Throughput::Elements(servers.len() as u64));
    group.bench_function("1000000 of 10", |b| b.iter(|| black_box(assign(&servers, &workers).len())));
}

/// The resident memory of this process, in bytes; 0 where that cannot be read.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}

#[expect(clippy::print_stdout, reason = "the figure is the purpose")]
fn memory() {
    for logs in [2304, 1_000_000, 10_000_000] {
        let before = resident();
        let catalogs: Vec<Catalog> = (0..(1_000_000 / logs).max(1)).map(|_| History::of(logs).catalog()).collect();
        let held = resident().saturating_sub(before);
        let artifacts = logs * catalogs.len() as u64;
        println!("memory: {} catalogs of {logs} log backups: {} bytes each", catalogs.len(), held / artifacts);
    }
}

criterion_group!(benches, build, plan, retention, fleet, sharing);

fn main() {
    memory();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
