//! A server, a storage that fails, and an engine between them: all of it in memory, on one thread, from one seed.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::FutureExt;
use pitr::adapter::{MemoryKey, MemoryStorage};
use pitr::engine::{ArchiveSettings, Archiver, ErrorKind, Repository, Restore, ServerRepository};
use pitr::engine::{SnapshotReport, SnapshotSettings, Snapshotter};
use pitr::format::block::Compression;
use pitr::format::seal::WrappingKey;
use pitr::model::{Catalog, PostgresMajor, ServerSpec, Timestamp};
use pitr::plan::{RestorePlan, Target, plan_restore};
use pitr::port::{Environment, Storage, WalSource};
use pitr::testing::{FaultyStorage, Habits, ManualClock, ManualExecutor, MemoryTarget, SeededEntropy, SimulatedServer};

pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) executor: ManualExecutor,
    pub(crate) storage: FaultyStorage,
    pub(crate) keys: MemoryKey,
    pub(crate) source: SimulatedServer,
    pub(crate) repository: Repository,
    pub(crate) server: ServerRepository,
    pub(crate) bytes_max: u64,
}

/// How a future ended.
pub(crate) enum Outcome<T> {
    Finished(T),
    /// After so many polls it was dropped.
    Killed,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self::over(seed, |_, storage| storage)
    }

    /// One whose storage is what `over` makes of one in memory.
    pub(crate) fn over(seed: u64, over: impl FnOnce(&ManualClock, Arc<dyn Storage>) -> Arc<dyn Storage>) -> Self {
        let start: Timestamp = "2026-11-23T21:09:08Z".parse().unwrap();
        let (clock, executor, entropy) = (ManualClock::new(start), ManualExecutor::new(), SeededEntropy::new(seed));
        let storage = over(&clock, Arc::new(MemoryStorage::new(Arc::new(clock.clone()))));
        let storage = FaultyStorage::new(storage);
        let keys = MemoryKey::new(WrappingKey::new([7; 32]), Arc::new(entropy.clone()));
        let source = SimulatedServer::new(seed, &clock);
        let environment = Environment::new(Arc::new(clock.clone()), Arc::new(entropy), Arc::new(executor.clone()));
        let repository = Repository::new(Arc::new(storage.clone()), Arc::new(keys.clone()), environment);
        let spec = ServerSpec::new("prod".parse().unwrap(), PostgresMajor::MIN);
        let server = finish(&executor, repository.create_server(spec)).unwrap();
        Self { clock, executor, storage, keys, source, repository, server, bytes_max: 64 << 10 }
    }

    /// A server that lives by `habits`, before a storage of which one operation in so many fails.
    pub(crate) fn eventful(seed: u64, habits: Habits, fails_one_in: Option<u64>) -> Self {
        let world = Self::new(seed);
        world.source.live_by(habits);
        if let Some(one_in) = fails_one_in.and_then(NonZeroU64::new) {
            world.storage.fail_at_random(seed, one_in);
        }
        world
    }

    pub(crate) fn settings(&self) -> ArchiveSettings {
        let settings = ArchiveSettings::default().cadence(Duration::from_secs(60)).bytes_max(self.bytes_max);
        settings.compression(Compression::none())
    }

    pub(crate) fn finish<T>(&self, future: impl Future<Output = T>) -> T {
        finish(&self.executor, future)
    }

    pub(crate) fn catalog(&self) -> Catalog {
        let inventory = self.finish(self.server.inventory()).unwrap();
        assert!(inventory.unreadable.is_empty(), "{:?}", inventory.unreadable);
        inventory.catalog
    }

    pub(crate) fn snapshotter(&self) -> Snapshotter {
        let settings = SnapshotSettings::default().compression(Compression::none());
        Snapshotter::new(&self.server, Arc::new(self.source.clone())).settings(settings)
    }

    pub(crate) fn take(&self) -> pitr::engine::Result<SnapshotReport> {
        self.finish(self.snapshotter().take())
    }

    /// A server that is archived from before its snapshot to after it, and was promoted meanwhile.
    pub(crate) fn protected(seed: u64) -> Self {
        let world = Self::new(seed);
        world.source.write(50_000);
        world.archive(|| u64::MAX);
        world.take().unwrap();
        world.source.write(1_500_000);
        world.source.promote(10_000);
        world.source.write(200_000);
        world.archive(|| u64::MAX);
        world
    }

    pub(crate) fn plan(&self, target: Target) -> RestorePlan {
        plan_restore(&self.catalog(), &target.into()).unwrap()
    }

    pub(crate) fn restore(&self, plan: &RestorePlan, target: &MemoryTarget) -> pitr::engine::Result<()> {
        let restore = Restore::new(&self.server, plan.clone(), Arc::new(target.clone()));
        self.finish(async { restore.run().await?.run().await })
    }

    /// Runs an archiver of `source` until all log was received and stored, or for so many polls.
    pub(crate) fn archive_once(&self, source: Arc<dyn WalSource>, polls_max: u64) -> Outcome<pitr::engine::Result<()>> {
        let archiver = Archiver::new(&self.server, source).settings(self.settings());
        let drained =
            futures::future::poll_fn(|_| if self.source.is_drained() { Poll::Ready(()) } else { Poll::Pending });
        run(&self.executor, archiver.run(drained), polls_max)
    }

    /// Archives all log, however often an archiver fails in passing or is killed after as many polls as `lives` says.
    pub(crate) fn archive(&self, mut lives: impl FnMut() -> u64) {
        self.archive_from(&(Arc::new(self.source.clone()) as Arc<dyn WalSource>), &mut lives);
    }

    pub(crate) fn archive_from(&self, source: &Arc<dyn WalSource>, lives: &mut dyn FnMut() -> u64) {
        for _ in 0..10_000 {
            match self.archive_once(Arc::clone(source), lives()) {
                Outcome::Finished(Ok(())) => return,
                Outcome::Finished(Err(error)) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", explain(&error));
                }
                Outcome::Killed => {}
            }
        }
        panic!("the archiver makes no progress");
    }
}

/// An error with all of its causes.
pub(crate) fn explain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

pub(crate) struct Woken(pub(crate) AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls `future`, and does its jobs between polls, until it is ready or was polled `polls_max` times.
pub(crate) fn run<T>(executor: &ManualExecutor, future: impl Future<Output = T>, polls_max: u64) -> Outcome<T> {
    let mut future = std::pin::pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    for _ in 0..polls_max {
        woken.0.store(false, Ordering::Relaxed);
        if let Poll::Ready(output) = future.poll_unpin(&mut Context::from_waker(&waker)) {
            return Outcome::Finished(output);
        }
        let worked = executor.run_one();
        assert!(worked || woken.0.load(Ordering::Relaxed), "nobody will ever wake the future");
    }
    Outcome::Killed
}

pub(crate) fn finish<T>(executor: &ManualExecutor, future: impl Future<Output = T>) -> T {
    match run(executor, future, u64::MAX) {
        Outcome::Finished(output) => output,
        Outcome::Killed => unreachable!("nobody polls so often"),
    }
}
