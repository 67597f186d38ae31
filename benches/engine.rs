//! How fast log is archived, and snapshots are taken, verified and restored, with the storage in memory.

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pitr::adapter::{MemoryKey, MemoryStorage, OsEntropy, SystemClock, ThreadPool};
use pitr::engine::{Archiver, Repository, Restore, ServerRepository, Snapshotter, Verifier};
use pitr::format::seal::WrappingKey;
use pitr::model::{PostgresMajor, ServerSpec, Timestamp};
use pitr::plan::{RestorePlan, Target, plan_restore};
use pitr::port::{Environment, RestoreTarget};
use pitr::testing::{ManualClock, MemoryTarget, SimulatedServer};

const LOG_BYTES: u64 = 64 << 20;
const FILE_BYTES: u64 = 16 << 20;
const FILES: u64 = 8;
const SMALL_FILES: u64 = 4_000;
const SMALL_FILE_BYTES: u64 = 16 << 10;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

fn repository() -> (Repository, ServerRepository) {
    let (clock, entropy) = (Arc::new(SystemClock::new()), Arc::new(OsEntropy::new()));
    let storage = Arc::new(MemoryStorage::new(clock.clone()));
    let keys = Arc::new(MemoryKey::new(WrappingKey::new([7; 32]), entropy.clone()));
    let environment = Environment::new(clock, entropy, Arc::new(ThreadPool::default()));
    let repository = Repository::new(storage, keys, environment);
    let spec = ServerSpec::new("bench".parse().expect("a name"), PostgresMajor::MIN);
    let server = block_on(repository.create_server(spec)).expect("memory does not fail");
    (repository, server)
}

fn server() -> SimulatedServer {
    SimulatedServer::new(1, &ManualClock::new(Timestamp::UNIX_EPOCH))
}

fn archive(server: &ServerRepository, source: &SimulatedServer) {
    let drained = futures::future::poll_fn(|_| {
        if source.is_drained() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    block_on(Archiver::new(server, Arc::new(source.clone())).run(drained)).expect("memory does not fail");
}

fn restore(server: &ServerRepository, plan: &RestorePlan, target: Arc<dyn RestoreTarget>) {
    let restore = Restore::new(server, plan.clone(), target);
    block_on(async { restore.run().await?.run().await }).expect("memory does not fail");
}

fn bench_archive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("archive");
    group.sample_size(10).throughput(Throughput::Bytes(LOG_BYTES));
    group.bench_function("log", |bencher| {
        bencher.iter_batched(
            || {
                let source = server();
                source.write(LOG_BYTES);
                (repository().1, source)
            },
            |(server, source)| archive(&server, &source),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn bench_snapshot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    group.sample_size(10);
    for (name, files, bytes) in [("large files", FILES, FILE_BYTES), ("small files", SMALL_FILES, SMALL_FILE_BYTES)] {
        let source = Arc::new(server());
        source.hold_files(files, bytes);
        group.throughput(Throughput::Bytes(files * bytes));
        group.bench_function(format!("take, {name}"), |bencher| {
            bencher.iter_batched(
                || repository().1,
                |server| block_on(Snapshotter::new(&server, source.clone()).take()).expect("memory does not fail"),
                BatchSize::PerIteration,
            );
        });
        let (repository, server) = repository();
        archive(&server, &source);
        block_on(Snapshotter::new(&server, source.clone()).take()).expect("memory does not fail");
        group.bench_function(format!("take again, {name}"), |bencher| {
            bencher.iter(|| block_on(Snapshotter::new(&server, source.clone()).take()).expect("memory does not fail"));
        });
        block_on(Snapshotter::new(&server, source.clone()).take()).expect("memory does not fail");
        archive(&server, &source);
        let catalog = block_on(server.inventory()).expect("memory does not fail").catalog;
        let plan = plan_restore(&catalog, &Target::Latest.into()).expect("the log is archived");
        group.bench_function(format!("restore, {name}"), |bencher| {
            bencher.iter(|| restore(&server, &plan, Arc::new(MemoryTarget::new())));
        });
        group.bench_function(format!("verify, {name}"), |bencher| {
            bencher.iter(|| {
                let report = block_on(Verifier::new(&repository, server.name()).run()).expect("memory does not fail");
                assert!(report.is_sound());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench_archive, bench_snapshot);
criterion_main!(benches);
