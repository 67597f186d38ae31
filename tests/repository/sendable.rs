//! Whatever the engine does can be given to any executor's threads: if it cannot, this does not compile.

use std::sync::Arc;

use pitr::engine::{
    Archiver, Compactor, Repository, Restore, ServerRepository, Snapshotter, Sweeper, TestRestore, Verifier, Worker,
    WorkerSettings,
};
use pitr::model::{Caller, Change, ConfigUpdate, PostgresMajor, Role, ServerConfig, ServerSpec, Timestamp};
use pitr::plan::retention::{Protections, RetentionPlan};
use pitr::plan::{RestorePlan, RestoreRequest, Target};
use pitr::port::{PortError, PortErrorKind, SourceProvider, Sources};
use pitr::service::{BackupService, ServiceSettings};
use pitr::testing::{MemoryScratch, MemoryTarget, SimulatedServer};

use crate::sweep;
use crate::world::World;

/// What a `spawn` asks for.
fn spawned<T: Future<Output: Send> + Send + 'static>(_: T) {}

fn work(server: ServerRepository, source: SimulatedServer, restore: RestorePlan, retention: RetentionPlan) {
    let (wal, files) = (Arc::new(source.clone()), Arc::new(source));
    let archiver = Archiver::new(&server, wal);
    spawned(async move { archiver.run(std::future::pending()).await });
    let snapshotter = Snapshotter::new(&server, files);
    spawned(async move { snapshotter.take().await });
    let sweeper = Sweeper::new(&server);
    spawned(async move { sweeper.run(&retention).await });
    let compactor = Compactor::new(&server);
    spawned(async move { compactor.run(&Protections::none()).await });
    let restore = Restore::new(&server, restore, Arc::new(MemoryTarget::new()));
    spawned(async move { restore.run().await?.run().await });
    let trial = TestRestore::new(&server, Arc::new(MemoryScratch::new()));
    spawned(async move { trial.run().await });
    let caller = Caller::new("ops", "one".parse().unwrap());
    spawned(async move {
        let mut catalog = server.inventory().await?.catalog;
        drop(server.plan(&mut catalog, &RestoreRequest::new(Target::Latest)).await?);
        drop(server.config_at(Timestamp::UNIX_EPOCH).await?);
        drop((server.spec().await?, server.proofs().await?, server.changes().await?));
        server.change(&caller, Change::Pause).await
    });
}

#[derive(Debug)]
struct Nobody;

#[async_trait::async_trait]
impl SourceProvider for Nobody {
    async fn sources(&self, _: &ServerConfig) -> Result<Sources, PortError> {
        Err(PortError::new(PortErrorKind::Unavailable, "nobody is there"))
    }
}

fn serve(service: BackupService, caller: Caller) {
    let (tending, server) = (service.clone(), "prod".parse().unwrap());
    spawned(async move { tending.tend(Arc::new(Nobody), std::future::pending()).await });
    spawned(async move {
        drop(service.create(&caller, ServerSpec::new("prod".parse().unwrap(), PostgresMajor::MIN)).await?);
        drop(service.change(&server, &caller, Change::Pause).await?);
        drop((service.servers().await?, service.changes(&server).await?, service.status(&server).await?));
        drop(service.estimate(&server, &RestoreRequest::new(Target::Latest)).await?);
        drop(service.preview(&server, &ConfigUpdate::new()).await?);
        service.restore_points(&server).await
    });
}

fn manage(repository: Repository) {
    let verifier = Verifier::new(&repository, &"prod".parse().unwrap());
    spawned(async move { verifier.run().await });
    spawned(async move {
        let name = "prod".parse().unwrap();
        let worker = Worker::join(&repository, Role::Sweeper, WorkerSettings::default()).await?;
        drop(worker.acquire(&name).await?);
        worker.tend(|lease| async move { lease.ended().await }, std::future::pending()).await?;
        drop((repository.servers().await?, repository.server(&name).await?, repository.rotate_key(&name).await?));
        drop(repository.create_server(ServerSpec::new(name.clone(), PostgresMajor::MIN)).await?);
        drop((repository.deletion(&name).await?, repository.destroy_server(&name).await?));
        worker.leave().await
    });
}

#[test]
fn all_work_can_be_spawned() {
    let world = World::protected(1);
    work(world.server.clone(), world.source.clone(), world.plan(Target::Latest), sweep::plan(&world));
    let caller = Caller::new("ops", "one".parse().unwrap());
    serve(BackupService::new(world.repository.clone(), ServiceSettings::default()), caller);
    manage(world.repository);
}
