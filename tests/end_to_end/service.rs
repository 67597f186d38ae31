//! A service protects a real server from its creation to its deletion, with a cadence of seconds.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pitr::adapter::postgres::{InitOptions, PostgresServer};
use pitr::engine::{Error, ErrorKind};
use pitr::model::{Caller, Change, ConfigUpdate, LockKind, ScheduleSettings, ServerConfig, SnapshotTrigger, Timestamp};
use pitr::plan::health::Status;
use pitr::plan::{RestoreRequest, Target};
use pitr::port::{PortError, SourceProvider, Sources, StorageExt};
use pitr::service::{BackupService, ServerStatus, ServiceSettings};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::ledger::{self, Load};
use super::stand::{Stand, now};

/// Knows one server.
#[derive(Debug)]
struct One(Arc<PostgresServer>);

#[async_trait]
impl SourceProvider for One {
    async fn sources(&self, _: &ServerConfig) -> Result<Sources, PortError> {
        Ok(Sources::new(self.0.clone(), self.0.clone()))
    }
}

struct Tended {
    service: BackupService,
    stop: oneshot::Sender<()>,
    tending: JoinHandle<Result<(), Error>>,
}

/// Another process, as it were.
fn tend(stand: &Stand) -> Tended {
    let settings = ServiceSettings::default().lease(Duration::from_secs(2)).look_every(Duration::from_secs(1));
    let service = BackupService::new(stand.repository.clone(), settings);
    let (stop, stopped) = oneshot::channel::<()>();
    let (one, tended) = (Arc::new(One(stand.postgres.clone())), service.clone());
    let tending = tokio::spawn(async move { tended.tend(one, async { drop(stopped.await) }).await });
    Tended { service, stop, tending }
}

/// What is known of the server once `is_true`; within a minute.
async fn until(stand: &Stand, service: &BackupService, is_true: impl Fn(&ServerStatus) -> bool) -> ServerStatus {
    for _ in 0..600 {
        let status = service.status(stand.server.name()).await.unwrap();
        if is_true(&status) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("a minute was not enough: {:?}", service.status(stand.server.name()).await.unwrap().health)
}

async fn change(stand: &Stand, service: &BackupService, request: &str, change: Change) -> Result<(), Error> {
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
