//! A snapshot that is held back spares the server, and nobody else waits for it.

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pitr::adapter::postgres::{DataDirectorySource, InitOptions, SnapshotSettings};
use pitr::adapter::{ThreadPool, system};
use pitr::engine::Snapshotter;
use pitr::port::{Environment, Executor, ExecutorExt};

use super::stand::{Stand, server_in};

const BYTES_PER_SECOND: u32 = 10 << 20;

fn held_back(stand: &Stand) -> DataDirectorySource {
    let mut settings = SnapshotSettings::default();
    settings.bytes_per_second_max = Some(BYTES_PER_SECOND);
    DataDirectorySource::new(stand.url().parse().unwrap(), stand.scratch.path().join("source")).with_settings(settings)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_held_back_leaves_its_thread_to_others() {
    let mut stand = Stand::new(15, &InitOptions::default()).await;
    stand.archive();
    let executor: Arc<dyn Executor> = Arc::new(ThreadPool::new(NonZeroUsize::MIN));
    let environment = Environment::new(system().clock, system().entropy, Arc::clone(&executor));
    let server = server_in(stand.scratch.path(), environment).await;
    let begun = Instant::now();
    let snapshotter = Snapshotter::new(&server, Arc::new(held_back(&stand)));
    let mut snapshot = pin!(snapshotter.take());
    let mut others = 0;
    let snapshot = loop {
        let other = async {
            executor.run(|| ()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        tokio::select! {
            report = &mut snapshot => break report.unwrap().snapshot,
            () = other => others += 1,
        }
    };
    let due = Duration::from_secs_f64(snapshot.logical_bytes as f64 / f64::from(BYTES_PER_SECOND));
    assert!(begun.elapsed() > due * 4 / 5, "{} bytes in {:?}", snapshot.logical_bytes, begun.elapsed());
    assert!(others > 50, "only {others} jobs were done in {:?}", begun.elapsed());
}
