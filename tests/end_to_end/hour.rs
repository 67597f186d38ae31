//! An hour of a server's life, in which a second stands for five minutes, from its creation to its deletion.

use std::time::{Duration, Instant};

use futures::StreamExt;
use pitr::adapter::postgres::InitOptions;
use pitr::engine::ErrorKind;
use pitr::model::{Change, ConfigUpdate, LockKind, RetentionDays, ScheduleSettings, Timestamp};
use pitr::plan::health::Status;
use pitr::plan::{RestoreRequest, Target};
use pitr::service::{BackupService, Events, Happening};

use super::ledger::{self, Load};
use super::service::{Tended, change, tend, until};
use super::stand::{Stand, now};
use super::timelines::{promote_standby, restart_as_standby};

/// Of an hour.
const LOG_BACKUPS: u32 = 12;

fn five_minutes_are_a_second() -> Change {
    let mut schedule = ScheduleSettings::default();
    schedule.log_backup_every = Duration::from_secs(1);
    Change::Configure(Box::new(ConfigUpdate::new().schedule(schedule)))
}

/// How many log backups there were, of those that were told of so far.
async fn archived(events: &mut Events) -> u32 {
    let mut count = 0;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(10), events.next()).await {
        count += u32::from(matches!(event.what, Happening::Archived(_)));
    }
    count
}

/// Waits until what has happened by now can be restored; gives an instant after all of that.
async fn restorable(stand: &Stand, service: &BackupService) -> Timestamp {
    let (_, at) = now(&stand.client().await).await;
    until(stand, service, |status| status.latest.is_some_and(|latest| latest > at)).await;
    at
}

async fn an_hour(major: u32) {
    let mut stand = Stand::new(major, &InitOptions::default()).await;
    let Tended { service, stop, tending } = tend(&stand);
    let mut events = service.subscribe();
    change(&stand, &service, "five-minutes", five_minutes_are_a_second()).await.unwrap();
    stand.client().await.batch_execute(ledger::TABLES).await.unwrap();
    until(&stand, &service, |status| status.latest.is_some()).await;
    archived(&mut events).await;
    let load = Load::start(&stand, 2).await;
    let (begun, mut count) = (Instant::now(), 0);
    while count < LOG_BACKUPS {
        assert!(begun.elapsed() < Duration::from_secs(60), "{count} log backups in a minute");
        tokio::time::sleep(Duration::from_secs(1)).await;
        count += archived(&mut events).await;
    }
    let before = load.stop().await;
    let half_past = restorable(&stand, &service).await;
    looked_after(&stand, &service).await;

    // A standby takes over, and is backed up; what was before stays.
    restart_as_standby(&mut stand).await;
    promote_standby(&stand).await;
    let load = Load::start(&stand, 2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut after = before.clone();
    after.extend(load.stop().await);
    let full = restorable(&stand, &service).await;
    change(&stand, &service, "snapshot", Change::RequestSnapshot).await.unwrap();
    let status = until(&stand, &service, |status| status.usage.on_demand_snapshots > 0).await;
    assert_eq!(status.health.status, Status::Green, "{}", status.health);
    let points = service.restore_points(stand.server.name()).await.unwrap();
    assert_eq!(points.windows[0].branch.timeline.as_u32(), 2);
    for (at, expected) in [(half_past, &before), (full, &after)] {
        let restored = stand.restore(&RestoreRequest::new(Target::time(at))).await;
        assert_eq!(ledger::rows(&restored.client().await).await, *expected, "{at}");
        restored.discard().await;
    }
    assert_eq!(stand.faults().await, []);
    deleted(&stand, &service).await;
    drop(stop);
    tending.await.unwrap().unwrap();
}

/// The retention goes up and down, and says before what it deletes; a snapshot is held.
async fn looked_after(stand: &Stand, service: &BackupService) {
    let name = stand.server.name();
    for (request, days) in [("up", 35), ("down", 7)] {
        let update = ConfigUpdate::new().retention(RetentionDays::new(days).unwrap());
        assert_eq!(service.preview(name, &update).await.unwrap().newly_expired, []);
        change(stand, service, request, Change::Configure(Box::new(update))).await.unwrap();
        assert_eq!(service.status(name).await.unwrap().config.spec.retention.days(), days);
    }
    let snapshot = service.restore_points(name).await.unwrap().snapshots[0].id.clone();
    let hold = Change::PlaceHold { snapshot, name: "audit".to_owned(), until: None };
    change(stand, service, "hold", hold).await.unwrap();
}

async fn deleted(stand: &Stand, service: &BackupService) {
    let lock = Change::PlaceLock { name: "own".parse().unwrap(), kind: LockKind::ReadOnly, reason: String::new() };
    change(stand, service, "lock", lock).await.unwrap();
    for refused in [Change::Delete, Change::Pause, five_minutes_are_a_second()] {
        let error = change(stand, service, refused.name().replace(' ', "-").as_str(), refused).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
    }
    change(stand, service, "unlock", Change::RemoveLock { name: "own".parse().unwrap() }).await.unwrap();
    let changes = service.changes(stand.server.name()).await.unwrap().changes;
    let made: Vec<_> = changes.iter().filter(|made| made.caller.by == "ops").map(|made| made.change.name()).collect();
    let expected =
        ["configure", "configure", "configure", "place hold", "request snapshot", "place lock", "remove lock"];
    assert_eq!(made, expected);
    change(stand, service, "gone", Change::Delete).await.unwrap();
    assert_eq!(service.status(stand.server.name()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_15_lives_for_an_hour() {
    an_hour(15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_18_lives_for_an_hour() {
    an_hour(18).await;
}
