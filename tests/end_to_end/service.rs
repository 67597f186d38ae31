//! A service protects a real server from its creation to its deletion, with a cadence of seconds.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use pitr::adapter::postgres::{InitOptions, LocalProvisioner, PostgresServer, ScratchDirectory};
use pitr::engine::{Error, ErrorKind};
use pitr::model::{
    Caller, Change, ConfigUpdate, LockKind, PostRestoreTask, Proven, RestoreOutcome, RestoreSpec, ScheduleSettings,
    ServerConfig, ServerName, SnapshotTrigger, Task, Timestamp,
};
use pitr::plan::health::Status;
use pitr::plan::{RestoreRequest, Target};
use pitr::port::{PortError, SourceProvider, Sources, StorageExt};
use pitr::service::{BackupService, Happening, Outcome, ServerStatus, ServiceSettings};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::ledger::{self, Load};
use super::stand::{Stand, chain, connect, directory_for_servers, now};

/// Knows one server.
#[derive(Debug)]
struct One(Arc<PostgresServer>);

#[async_trait]
impl SourceProvider for One {
    async fn sources(&self, _: &ServerConfig) -> Result<Sources, PortError> {
        Ok(Sources::new(self.0.clone(), self.0.clone()))
    }
}

pub(crate) struct Tended {
    pub(crate) service: BackupService,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) tending: JoinHandle<Result<(), Error>>,
}

/// Another process, as it were.
pub(crate) fn tend(stand: &Stand) -> Tended {
    tend_by(stand, settings(), Arc::new(One(stand.postgres.clone())))
}

fn settings() -> ServiceSettings {
    ServiceSettings::default().lease(Duration::from_secs(2)).look_every(Duration::from_secs(1))
}

fn tend_by(stand: &Stand, settings: ServiceSettings, provider: Arc<dyn SourceProvider>) -> Tended {
    let service = BackupService::new(stand.repository.clone(), settings);
    let (stop, stopped) = oneshot::channel::<()>();
    let tended = service.clone();
    let tending = tokio::spawn(async move { tended.tend(provider, async { drop(stopped.await) }).await });
    Tended { service, stop, tending }
}

/// What is known of the server once `is_true`; within a minute.
pub(crate) async fn until(
    stand: &Stand,
    service: &BackupService,
    is_true: impl Fn(&ServerStatus) -> bool,
) -> ServerStatus {
    until_of(stand.server.name(), service, is_true).await
}

async fn until_of(
    server: &ServerName,
    service: &BackupService,
    is_true: impl Fn(&ServerStatus) -> bool,
) -> ServerStatus {
    for _ in 0..600 {
        let status = service.status(server).await.unwrap();
        if is_true(&status) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("a minute was not enough: {:?}", service.status(server).await.unwrap().health)
}

pub(crate) async fn change(stand: &Stand, service: &BackupService, request: &str, change: Change) -> Result<(), Error> {
    service.change(stand.server.name(), &Caller::new("ops", request.parse().unwrap()), change).await.map(drop)
}

async fn from_creation_to_deletion(major: u32) {
    let mut stand = Stand::new(major, &InitOptions::default()).await;
    let Tended { service, stop: _stop, tending } = tend(&stand);
    let mut schedule = ScheduleSettings::default();
    schedule.log_backup_every = Duration::from_secs(1);
    let update = Change::Configure(Box::new(ConfigUpdate::new().schedule(schedule)));
    change(&stand, &service, "configure", update).await.unwrap();
    stand.client().await.batch_execute(ledger::TABLES).await.unwrap();
    let load = Load::start(&stand, 2).await;
    until(&stand, &service, |status| status.latest.is_some()).await;

    // The process dies, another one goes on, and takes the snapshot that is asked for.
    tending.abort();
    let Tended { service, stop, tending } = tend(&stand);
    change(&stand, &service, "snapshot", Change::RequestSnapshot).await.unwrap();
    until(&stand, &service, |status| status.usage.on_demand_snapshots > 0).await;
    let ledger = load.stop().await;
    let (_, end): (_, Timestamp) = now(&stand.client().await).await;
    let status = until(&stand, &service, |status| status.latest.is_some_and(|latest| latest > end)).await;
    assert_eq!(status.health.status, Status::Green, "{}", status.health);
    let points = service.restore_points(stand.server.name()).await.unwrap();
    assert_eq!(points.windows[0].intervals.len(), 1);
    assert_eq!(points.snapshots.last().unwrap().trigger, SnapshotTrigger::OnDemand);
    let restored = stand.restore(&RestoreRequest::new(Target::time(end))).await;
    assert_eq!(ledger::rows(&restored.client().await).await, ledger);
    restored.discard().await;

    // It goes on elsewhere: the first process ends in good order, and the next one has nothing to wait for.
    drop(stop);
    tending.await.unwrap().unwrap();
    let Tended { service, stop, tending } = tend(&stand);
    let lock = Change::PlaceLock { name: "own".parse().unwrap(), kind: LockKind::CanNotDelete, reason: String::new() };
    change(&stand, &service, "lock", lock).await.unwrap();
    assert_eq!(change(&stand, &service, "delete", Change::Delete).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(stand.faults().await, []);
    change(&stand, &service, "unlock", Change::RemoveLock { name: "own".parse().unwrap() }).await.unwrap();
    change(&stand, &service, "delete", Change::Delete).await.unwrap();
    assert_eq!(service.status(stand.server.name()).await.unwrap_err().kind(), ErrorKind::NotFound);
    let left = async || stand.storage.list_all(Some(&"servers".parse().unwrap())).await.unwrap();
    for _ in 0..300 {
        if left().await.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(left().await.len(), 2, "a key that opens nothing else, and who deleted it: {:?}", left().await);
    drop(stop);
    tending.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_15_from_creation_to_deletion() {
    from_creation_to_deletion(15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_18_from_creation_to_deletion() {
    from_creation_to_deletion(18).await;
}

/// Knows the server that is protected from the beginning, and those that are made of it.
#[derive(Debug)]
struct All(Arc<PostgresServer>, LocalProvisioner);

#[async_trait]
impl SourceProvider for All {
    async fn sources(&self, server: &ServerConfig) -> Result<Sources, PortError> {
        match server.spec.name.as_str() {
            "bank" => Ok(Sources::new(self.0.clone(), self.0.clone())),
            _ => self.1.sources(server).await,
        }
    }
}

/// Tends, and makes new servers in a directory of the stand, with `setting`.
fn tend_and_make(stand: &Stand, (setting, value): (&str, &str)) -> (Tended, LocalProvisioner) {
    let directory = stand.scratch.path().join("servers");
    if !directory.exists() {
        directory_for_servers(&directory);
    }
    let made = LocalProvisioner::new(directory).postgres(stand.install.clone()).setting(setting, value);
    let scratch = ScratchDirectory::new(stand.scratch.path().join("trials")).postgres(stand.install.clone());
    let settings = settings().provisioner(Arc::new(made.clone())).scratch(Arc::new(scratch));
    (tend_by(stand, settings, Arc::new(All(stand.postgres.clone(), made.clone()))), made)
}

/// Orders a restore, of which the request has the name of the new server.
async fn order(stand: &Stand, service: &BackupService, new: &str, target: Target) {
    let caller = Caller::new("ops", new.parse().unwrap());
    let spec = RestoreSpec::new(new.parse().unwrap(), target);
    service.restore(stand.server.name(), &caller, spec).await.unwrap().unwrap();
}

/// What the restore comes to; within five minutes, as many tests may run at once.
async fn outcome(stand: &Stand, service: &BackupService, new: &str) -> RestoreOutcome {
    for _ in 0..3000 {
        let restores = service.restores(stand.server.name()).await.unwrap();
        let run = restores.runs.into_iter().find(|run| run.order.id.as_str() == new).unwrap();
        if run.ended_at.is_some() {
            return run.outcome.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("five minutes were not enough: {:?}", service.restores(stand.server.name()).await.unwrap())
}

fn place(stand: &Stand, new: &str) -> PathBuf {
    stand.scratch.path().join("servers").join(new)
}

async fn restores_make_new_servers(major: u32) {
    let stand = Stand::new(major, &InitOptions::default()).await;
    let (Tended { service, stop: _stop, tending }, _) = tend_and_make(&stand, ("fsync", "off"));
    let mut schedule = ScheduleSettings::default();
    schedule.log_backup_every = Duration::from_secs(1);
    let update = Change::Configure(Box::new(ConfigUpdate::new().schedule(schedule)));
    change(&stand, &service, "configure", update).await.unwrap();
    stand.client().await.batch_execute(ledger::TABLES).await.unwrap();
    let load = Load::start(&stand, 2).await;
    until(&stand, &service, |status| status.latest.is_some()).await;
    let ledger = load.stop().await;
    let (_, end): (_, Timestamp) = now(&stand.client().await).await;
    until(&stand, &service, |status| status.latest.is_some_and(|latest| latest > end)).await;

    // The process dies while it makes one, again and again; another one goes on, and makes it.
    order(&stand, &service, "bank-2", Target::time(end)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    tending.abort();
    for pause in [300, 700] {
        let (Tended { tending, .. }, _made) = tend_and_make(&stand, ("fsync", "off"));
        tokio::time::sleep(Duration::from_secs(3) + Duration::from_millis(pause)).await;
        tending.abort();
    }
    let (Tended { service, stop, tending }, made) = tend_and_make(&stand, ("fsync", "off"));
    let RestoreOutcome::Made(new) = outcome(&stand, &service, "bank-2").await else { panic!() };
    let name: ServerName = "bank-2".parse().unwrap();
    // Its process may have died when it was there already.
    made.start(&service.status(&name).await.unwrap().config.spec).await.unwrap();
    assert_eq!(made.endpoint(&name), Some(new.endpoint.clone()), "it stays where it was made");
    let client = connect(&new.endpoint).await;
    assert_eq!(ledger::rows(&client).await, ledger);
    assert!(new.last_commit.is_some_and(|at| at <= end), "{new:?}");
    client.batch_execute("CREATE TABLE writes_are_accepted ()").await.unwrap();
    assert!(new.tasks.iter().any(|task| matches!(task.task, PostRestoreTask::FirewallAndVnetRules { .. })));
    // The settings that the source was started with are offered, but for those that it shares with the new one.
    let offered = new.tasks.iter().find_map(|task| match &task.task {
        PostRestoreTask::ServerParameters { captured } => captured.clone(),
        _ => None,
    });
    let offered = offered.unwrap();
    assert_eq!((offered.get("wal_keep_size"), offered.get("fsync")), (Some("20GB"), None), "{offered:?}");
    let port: u16 = new.endpoint.split(' ').find_map(|part| part.strip_prefix("port=")).unwrap().parse().unwrap();
    let by_network = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let refused = tokio_postgres::connect(&by_network, tokio_postgres::NoTls).await.err().unwrap();
    assert!(refused.as_db_error().is_some_and(|error| error.message().contains("pg_hba.conf")), "{refused}");

    // It is protected from its first second on, and can itself be restored.
    let status = until_of(&name, &service, |status| status.latest.is_some()).await;
    assert_eq!(status.health.status, Status::Green, "{}", status.health);
    assert_eq!(status.config.spec.postgres, stand.install.major());

    // One that is cancelled leaves nothing, and what is of somebody else is not touched.
    order(&stand, &service, "bank-3", Target::Latest).await;
    let cancel = Change::CancelRestore { restore: "bank-3".parse().unwrap() };
    change(&stand, &service, "cancel", cancel).await.unwrap();
    assert_eq!(outcome(&stand, &service, "bank-3").await, RestoreOutcome::Cancelled);
    assert!(!place(&stand, "bank-3").exists());
    std::fs::create_dir_all(place(&stand, "bank-4").join("precious")).unwrap();
    order(&stand, &service, "bank-4", Target::Latest).await;
    assert!(matches!(outcome(&stand, &service, "bank-4").await, RestoreOutcome::Failed(_)));
    assert!(place(&stand, "bank-4").join("precious").exists());
    drop(stop);
    tending.await.unwrap().unwrap();

    // One that does not come up says why, and leaves nothing either.
    let (Tended { service, stop, tending }, made) = tend_and_make(&stand, ("shared_buffers", "many"));
    order(&stand, &service, "bank-5", Target::Latest).await;
    let RestoreOutcome::Failed(why) = outcome(&stand, &service, "bank-5").await else { panic!() };
    assert!(why.contains("shared_buffers"), "{why}");
    assert!(!place(&stand, "bank-5").exists());
    made.remove(&name).await.unwrap();
    assert!(!place(&stand, "bank-2").exists());
    drop(stop);
    tending.await.unwrap().unwrap();
}

/// As its schedule says: once a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_18_is_restored_on_trial() {
    let stand = Stand::new(18, &InitOptions::default()).await;
    let (Tended { service, stop, tending }, _made) = tend_and_make(&stand, ("fsync", "off"));
    let mut schedule = ScheduleSettings::default();
    (schedule.log_backup_every, schedule.test_restore_every) = (Duration::from_secs(1), Some(Duration::from_secs(60)));
    let update = Change::Configure(Box::new(ConfigUpdate::new().schedule(schedule)));
    change(&stand, &service, "configure", update).await.unwrap();
    stand.client().await.batch_execute(ledger::TABLES).await.unwrap();
    let mut events = service.subscribe();
    let proof = tokio::time::timeout(Duration::from_secs(300), async {
        loop {
            match events.next().await.unwrap().what {
                Happening::Done(outcome) if outcome.task() == Task::TestRestore => return outcome,
                Happening::Failed(Task::TestRestore, error) => panic!("{}", chain(&*error)),
                _ => {}
            }
        }
    });
    let proof = proof.await.unwrap();
    let Outcome::TestRestore(proof) = &*proof else { unreachable!() };
    assert_eq!((proof.proven(), &proof.failure), (Proven::Server, &None));
    assert!(proof.trial.as_ref().unwrap().relations > 0);
    let status = service.status(stand.server.name()).await.unwrap();
    assert_eq!(status.health.status, Status::Green, "{}", status.health);
    drop(stop);
    tending.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_15_restores_make_new_servers() {
    restores_make_new_servers(15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_18_restores_make_new_servers() {
    restores_make_new_servers(18).await;
}
