//! A worker that is stopped leaves at once, whatever it is doing just then.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use pitr::engine::{Repository, Worker, WorkerSettings};
use pitr::model::Role;
use pitr::port::{Clock, Environment, StorageExt};
use pitr::testing::SeededEntropy;

use super::hesitant::Hesitant;
use super::stage::settle;
use super::world::World;

/// Also while a heartbeat is on its way.
#[test]
fn who_is_stopped_leaves_whatever_is_under_way() {
    let lease = Duration::from_secs(60);
    for steps in 0..60 {
        let world = World::new(1);
        let storage = Arc::new(Hesitant::new(Arc::new(world.storage.clone()), &world.executor));
        let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
        let environment = Environment::new(clock, Arc::new(SeededEntropy::new(9)), Arc::new(world.executor.clone()));
        let repository = Repository::new(storage, Arc::new(world.keys.clone()), environment);
        let (stop, stopped) = oneshot::channel::<()>();
        let mut tending = async move {
            let worker = Worker::join(&repository, Role::Archiver, WorkerSettings::default().lease(lease)).await?;
            worker.tend(|lease| async move { lease.ended().await }, stopped.map(drop)).await
        }
        .boxed();
        // Up to the first beat, and then one step after another.
        settle(&world.executor, |context| assert!(tending.poll_unpin(context).is_pending()));
        world.clock.advance(lease / 6);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for _ in 0..steps {
            assert!(tending.poll_unpin(&mut context).is_pending());
            let _ = world.executor.run_one();
        }
        drop(stop);
        let mut left = None;
        settle(&world.executor, |context| {
            if left.is_none()
                && let std::task::Poll::Ready(end) = tending.poll_unpin(context)
            {
                left = Some(end);
            }
        });
        left.unwrap_or_else(|| panic!("it has not left after {steps} steps")).unwrap();
        let heartbeats = world.finish(world.storage.list_all(Some(&"workers".parse().unwrap()))).unwrap();
        assert!(heartbeats.is_empty(), "after {steps} steps: {heartbeats:?}");
    }
}
