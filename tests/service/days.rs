//! The days of a server: what the reference promises, sentence by sentence (docs/REFERENCE.md).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use pitr::engine::ErrorKind;
use pitr::format::layout::ServerLayout;
use pitr::model::{
    Change, ConfigUpdate, LockKind, RetentionDays, ScheduleSettings, ServerConfig, SnapshotTrigger, Task, Timestamp,
};
use pitr::plan::health::Status;
use pitr::plan::{PlanError, Target};
use pitr::port::{PutMode, Storage};
use pitr::service::{Happening, Outcome};

use crate::stand::{DAY, HOUR, MINUTE, Stand, explain, name, settings, spec};

type Seen = Vec<(Timestamp, pitr::model::ServerName, Happening)>;

/// When snapshots were complete.
fn snapshots(seen: &Seen) -> Vec<Timestamp> {
    let taken = seen.iter().filter_map(|(at, _, what)| match what {
        Happening::Done(outcome) if outcome.task() == Task::Snapshot => Some(*at),
        _ => None,
    });
    taken.collect()
}

/// When log was stored.
fn archived(seen: &Seen) -> Vec<Timestamp> {
    seen.iter().filter(|(.., what)| matches!(what, Happening::Archived(_))).map(|(at, ..)| *at).collect()
}

/// Nothing that was tried failed.
fn assert_smooth(seen: &Seen) {
    for (at, server, what) in seen {
        match what {
            Happening::Failed(task, error) => panic!("{at} {server}: {task} failed: {}", explain(&**error)),
            Happening::Unreachable(error) => panic!("{at} {server}: {}", explain(&**error)),
            Happening::Gap(gap) => panic!("{at} {server}: {gap}"),
            Happening::Done(outcome) => match &**outcome {
                Outcome::Compaction(report) => assert!(report.failed.is_empty(), "{:?}", report.failed),
                Outcome::Verification(report) => assert!(report.is_sound(), "{:?}", report.faults),
                Outcome::Retention(report) => assert!(report.refused.is_empty() && report.unreadable.is_empty()),
                _ => {}
            },
            _ => {}
        }
    }
}

fn retention(days: u8) -> Change {
    Change::Configure(Box::new(ConfigUpdate::new().retention(RetentionDays::new(days).unwrap())))
}

fn ago(stand: &Stand, duration: Duration) -> Timestamp {
    stand.now().saturating_sub(duration)
}

/// That every instant from `from` on can be restored, but for the last five minutes.
fn assert_restorable_from(stand: &Stand, from: Timestamp) {
    let points = stand.restore_points("prod");
    // What is held makes other instants restorable, long before.
    let interval = points.windows[0].intervals.last().unwrap();
    assert!(interval.from <= from, "from {} on, not from {from}", interval.from);
    assert!(interval.until >= ago(stand, 5 * MINUTE), "until {}, now is {}", interval.until, stand.now());
}

#[test]
fn the_first_snapshot_is_taken_immediately() {
    let mut stand = Stand::protected();
    let created = stand.now();
    stand.live(MINUTE);
    let taken = snapshots(&stand.seen());
    assert!(taken.len() == 1 && taken[0] <= created.saturating_add(MINUTE), "{taken:?}");
    // The log that it needs does not wait for the next five minutes.
    let snapshot = stand.restore_points("prod").snapshots[0].id.clone();
    stand.restore("prod", Target::Snapshot(snapshot));
    stand.live(5 * MINUTE);
    stand.restore("prod", Target::Latest);
}

#[test]
fn then_a_snapshot_is_taken_daily() {
    let mut stand = Stand::protected();
    stand.days(20);
    let seen = stand.seen();
    assert_smooth(&seen);
    let taken = snapshots(&seen);
    assert_eq!(taken.len(), 21, "one at once, then one a day: {taken:?}");
    for pair in taken[1..].windows(2) {
        assert_eq!(pair[1].duration_since(pair[0]).as_secs(), DAY.as_secs(), "at the same time every day");
    }
}

#[test]
fn log_is_backed_up_every_five_minutes() {
    let mut stand = Stand::protected();
    stand.days(2);
    // Also while nothing is written: then it is known that nothing was.
    stand.live(DAY);
    let seen = stand.seen();
    assert_smooth(&seen);
    let archived = archived(&seen);
    assert!(archived.len() >= 3 * 288, "{} log backups", archived.len());
    for pair in archived.windows(2) {
        let gap = pair[1].duration_since(pair[0]);
        assert!(gap <= 5 * MINUTE + Duration::from_secs(1), "{gap:?} from {} on", pair[0]);
    }
    let latest = stand.status("prod").latest.unwrap();
    assert!(latest >= ago(&stand, 5 * MINUTE), "{latest}");
}

#[test]
fn seven_days_can_be_restored_and_eight_are_stored() {
    let mut stand = Stand::protected();
    let created = stand.now().saturating_add(10 * MINUTE);
    for day in 1..=20 {
        // Log goes by segments.
        stand.source("prod").write(1 << 20);
        stand.days(1);
        assert_restorable_from(&stand, ago(&stand, 7 * DAY).max(created));
        let catalog = stand.catalog("prod");
        let oldest = catalog.snapshots().map(|snapshot| snapshot.consistent_at).min().unwrap();
        // A snapshot expires when the next one is taken: an hour of jitter, and a day.
        assert!(oldest >= ago(&stand, 8 * DAY + 2 * HOUR), "day {day}: {oldest}");
        let logs = catalog.logs(catalog.current().unwrap());
        let first = logs.filter_map(|log| log.complete_through()).next().unwrap();
        assert!(first >= ago(&stand, 8 * DAY + 12 * HOUR), "day {day}: {first}");
    }
    assert_smooth(&stand.seen());
    stand.assert_sound("prod");
    for hours in [1, 50, 100, 168] {
        stand.restore("prod", Target::time(ago(&stand, hours * HOUR)));
    }
}

#[test]
fn the_default_is_seven_days_and_more_or_less_is_set_at_creation_or_later() {
    let mut stand = Stand::new();
    let config: ServerConfig = spec("one").into();
    assert_eq!(config.spec.retention.days(), 7);
    assert!(RetentionDays::new(6).is_err() && RetentionDays::new(36).is_err());
    let mut config = ServerConfig::new(spec("one"));
    config.spec.retention = RetentionDays::new(35).unwrap();
    let caller = stand.caller();
    stand.finish(stand.service.create(&caller, config)).unwrap();
    assert_eq!(stand.status("one").config.spec.retention.days(), 35);
    stand.change("one", retention(14)).unwrap();
    assert_eq!(stand.status("one").config.spec.retention.days(), 14);
}

#[test]
fn a_longer_retention_grows_day_by_day_and_a_shorter_one_shows_first_what_it_deletes() {
    let mut stand = Stand::protected();
    stand.days(10);
    stand.change("prod", retention(35)).unwrap();
    let kept_from = ago(&stand, 7 * DAY);
    stand.days(20);
    assert_restorable_from(&stand, kept_from);

    let update = ConfigUpdate::new().retention(RetentionDays::new(10).unwrap());
    let preview = stand.finish(stand.service.preview(&name("prod"), &update)).unwrap();
    assert!(!preview.newly_expired.is_empty() && preview.newly_freed_bytes > 0);
    assert_restorable_from(&stand, kept_from);
    stand.change("prod", Change::Configure(Box::new(update))).unwrap();
    stand.days(1);
    let left: Vec<_> = stand.catalog("prod").artifacts().map(|artifact| artifact.object().key).collect();
    assert!(preview.newly_expired.iter().all(|gone| !left.contains(gone)), "it is as was shown");
    assert_restorable_from(&stand, ago(&stand, 10 * DAY));
    let earliest = stand.status("prod").earliest.unwrap();
    assert!(earliest > kept_from && earliest >= ago(&stand, 11 * DAY + 2 * HOUR), "{earliest}");
    assert_smooth(&stand.seen());
}

#[test]
fn for_the_last_five_minutes_the_next_log_backup_must_be_waited_for() {
    let mut stand = Stand::protected();
    stand.live(HOUR + MINUTE);
    let wanted = ago(&stand, Duration::from_secs(1));
    let refused = stand.estimate("prod", Target::time(wanted)).unwrap_err();
    let PlanError::TooLate { .. } = refused else { panic!("{refused}") };
    println!("{refused}");
    stand.live(5 * MINUTE);
    stand.restore("prod", Target::time(wanted));
}

#[test]
fn the_earliest_point_is_chosen_and_shown_and_any_other_can_be() {
    let mut stand = Stand::protected();
    stand.days(9);
    let earliest = stand.status("prod").earliest.unwrap();
    let plan = stand.estimate("prod", Target::Earliest).unwrap();
    let same = stand.estimate("prod", Target::time(earliest)).unwrap();
    assert_eq!(plan.snapshot().id, same.snapshot().id);
    println!("{plan}");
    let before = earliest.saturating_sub(Duration::from_micros(1));
    assert!(matches!(stand.estimate("prod", Target::time(before)), Err(PlanError::TooEarly { .. })));
    for minutes in [6, 600, 6000, 10_080] {
        stand.restore("prod", Target::time(ago(&stand, minutes * MINUTE)));
    }
}

#[test]
fn after_a_failover_the_new_primary_is_backed_up_and_the_past_stays() {
    let mut stand = Stand::protected();
    stand.days(3);
    let before = stand.now();
    stand.source("prod").promote(0);
    stand.days(3);
    assert_smooth(&stand.seen());
    let catalog = stand.catalog("prod");
    assert_eq!(catalog.current().unwrap().timeline.as_u32(), 2);
    assert_restorable_from(&stand, ago(&stand, 5 * DAY));
    stand.restore("prod", Target::time(before.saturating_sub(HOUR)));
    stand.restore("prod", Target::Latest);
    stand.assert_sound("prod");
}

#[test]
fn what_is_used_is_the_sum_of_what_is_stored() {
    let mut stand = Stand::protected();
    stand.days(3);
    let usage = stand.status("prod").usage;
    let catalog = stand.catalog("prod");
    let logs: u64 = catalog.branches().flat_map(|branch| catalog.logs(branch)).map(|log| log.stored_bytes()).sum();
    let snapshots: u64 = catalog.snapshots().map(|snapshot| snapshot.added_bytes()).sum();
    assert_eq!((usage.logs, usage.snapshots), (logs, snapshots));
    assert!(usage.total() >= logs + snapshots);
}

/// A day is told of as long as it is not forgotten, and always the same, whatever expires or is merged.
#[test]
fn what_was_used_is_told_when_it_is_gone() {
    let mut stand = Stand::protected();
    let mut told = BTreeMap::new();
    for _ in 0..20 {
        stand.source("prod").write(1 << 20);
        stand.days(1);
        let usage = stand.usage("prod");
        let (today, before) = usage.days.split_last().unwrap();
        assert_eq!(today.at_end.snapshots, usage.now.snapshots);
        for day in before {
            assert_eq!(told.entry(day.day).or_insert(*day), day);
        }
        assert_eq!(told.len(), before.len());
    }
    assert_eq!(told.len(), 20);
    let (first, last) = (told.first_key_value().unwrap().1, told.last_key_value().unwrap().1);
    assert!(stand.catalog("prod").snapshots().all(|snapshot| snapshot.consistent_at > first.until));
    assert!(0 < first.maximum && first.maximum < last.average, "{first:?} {last:?}");
}

#[test]
fn locks_prevent_deletion_and_configuration() {
    let mut stand = Stand::protected();
    stand.days(1);
    for (kind, configures) in [(LockKind::CanNotDelete, true), (LockKind::ReadOnly, false)] {
        let lock = Change::PlaceLock { name: "own".parse().unwrap(), kind, reason: "it pays our wages".to_owned() };
        stand.change("prod", lock).unwrap();
        let error = stand.change("prod", Change::Delete).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{}", explain(&error));
        assert!(explain(&error).contains("it pays our wages"), "{}", explain(&error));
        assert_eq!(stand.change("prod", retention(8)).is_ok(), configures, "{kind}");
        stand.days(1);
        assert_restorable_from(&stand, ago(&stand, 20 * HOUR));
        stand.change("prod", Change::RemoveLock { name: "own".parse().unwrap() }).unwrap();
    }
    assert_smooth(&stand.seen());
}

#[test]
fn a_deleted_server_cannot_be_restored_and_all_its_data_are_deleted() {
    let mut stand = Stand::protected();
    stand.days(2);
    let before = stand.finish(stand.service.servers()).unwrap();
    assert_eq!(before, [name("prod")]);
    stand.seen();
    stand.change("prod", Change::Delete).unwrap();
    let refused = stand.finish(stand.service.estimate(&name("prod"), &Target::Latest.into())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    println!("{}", explain(&refused));
    assert!(refused.to_string().contains("by ops: deleted servers cannot be restored"));
    stand.live(HOUR);
    let seen = stand.seen();
    assert_smooth(&seen);
    assert!(seen.iter().any(|(.., what)| matches!(what, Happening::Destroyed(report) if report.refused == 0)));
    assert!(matches!(seen.last(), Some((.., Happening::Left))));
    assert_eq!(stand.finish(stand.service.servers()).unwrap(), []);
    // Others go on, and the name can be used again.
    stand.create("other");
    stand.live(2 * DAY);
    stand.create("prod");
    stand.days(2);
    assert_smooth(&stand.seen());
    assert_eq!(stand.status("prod").health.status, Status::Green, "{}", stand.status("prod").health);
    stand.restore("prod", Target::Latest);
}

/// Whoever tends it may be reading what is just being replaced.
#[test]
fn a_server_that_is_deleted_is_destroyed_however_that_is_learnt() {
    let mut stand = Stand::protected();
    stand.live(HOUR);
    let (other, caller) = (stand.another(settings()), stand.caller());
    stand.finish(other.change(&name("prod"), &caller, Change::Delete)).unwrap();
    let record = ServerLayout::new(&name("prod")).record();
    stand.finish(stand.storage.put(&record, Bytes::from_static(b"torn"), PutMode::Overwrite)).unwrap();
    stand.live(2 * HOUR);
    let left = stand.objects("prod");
    assert_eq!(left.len(), 2, "a key that opens nothing else, and who deleted it: {left:?}");
}

#[test]
fn a_deletion_with_a_grace_can_be_undone_and_then_backups_go_on() {
    let mut stand = Stand::protected();
    stand.change("prod", Change::Configure(Box::new(ConfigUpdate::new().delete_grace(3 * DAY)))).unwrap();
    stand.days(1);
    stand.change("prod", Change::Delete).unwrap();
    stand.seen();
    stand.days(2);
    assert!(archived(&stand.seen()).len() <= 1, "what was gathered, and nothing more");
    stand.change("prod", Change::Undelete).unwrap();
    stand.days(1);
    let seen = stand.seen();
    assert_smooth(&seen);
    assert!(archived(&seen).len() >= 280 && !snapshots(&seen).is_empty());
    stand.change("prod", Change::Delete).unwrap();
    stand.live(3 * DAY + 2 * HOUR);
    assert!(stand.seen().iter().any(|(.., what)| matches!(what, Happening::Destroyed(_))));
}

#[test]
fn while_a_server_is_stopped_nothing_is_taken_and_nothing_expires() {
    let mut stand = Stand::protected();
    stand.days(8);
    let catalog = stand.catalog("prod");
    stand.change("prod", Change::Pause).unwrap();
    stand.live(HOUR);
    let paused = stand.catalog("prod");
    stand.live(30 * DAY);
    assert_eq!(stand.catalog("prod").artifacts().count(), paused.artifacts().count());
    assert!(paused.snapshots().eq(catalog.snapshots()));
    stand.restore("prod", Target::time(ago(&stand, 36 * DAY)));
    assert_eq!(stand.status("prod").health.status, Status::Green, "{}", stand.status("prod").health);
    stand.seen();
    stand.change("prod", Change::Resume).unwrap();
    stand.live(10 * MINUTE);
    let seen = stand.seen();
    assert!(!archived(&seen).is_empty() && snapshots(&seen).len() == 1, "at once");
    stand.days(9);
    assert_restorable_from(&stand, ago(&stand, 7 * DAY));
    assert_smooth(&stand.seen());
}

#[test]
fn a_snapshot_on_demand_is_taken_at_once_and_counted_as_such() {
    let mut stand = Stand::protected();
    stand.days(1);
    stand.seen();
    stand.change("prod", Change::RequestSnapshot).unwrap();
    stand.live(MINUTE);
    assert_eq!(snapshots(&stand.seen()).len(), 1);
    let points = stand.restore_points("prod");
    assert_eq!(points.snapshots.last().unwrap().trigger, SnapshotTrigger::OnDemand);
    assert!(stand.status("prod").usage.on_demand_snapshots > 0);
    stand.days(2);
    assert_eq!(snapshots(&stand.seen()).len(), 2, "the daily ones go on");
}

#[test]
fn an_idle_server_may_wait_for_its_snapshot_until_it_is_written_to() {
    let mut stand = Stand::protected();
    let mut schedule = ScheduleSettings::default();
    schedule.skip_idle_snapshots = true;
    stand.change("prod", Change::Configure(Box::new(ConfigUpdate::new().schedule(schedule)))).unwrap();
    stand.live(5 * DAY);
    assert_eq!(stand.restore_points("prod").snapshots.len(), 1, "nothing was written");
    assert_eq!(stand.status("prod").health.status, Status::Green, "{}", stand.status("prod").health);
    assert_restorable_from(&stand, ago(&stand, 4 * DAY));
    stand.source("prod").write(1_000);
    stand.live(10 * MINUTE);
    assert_eq!(stand.restore_points("prod").snapshots.len(), 2, "at the first write");
    // Just after a snapshot, in the same log backup.
    stand.source("prod").write(1_000);
    stand.live(DAY);
    assert_eq!(stand.restore_points("prod").snapshots.len(), 3);
    stand.live(3 * DAY);
    assert_eq!(stand.restore_points("prod").snapshots.len(), 3);
    assert_smooth(&stand.seen());
}

#[test]
fn a_held_snapshot_outlives_the_window() {
    let mut stand = Stand::protected();
    stand.days(2);
    let snapshot = stand.restore_points("prod").snapshots[1].id.clone();
    let hold = Change::PlaceHold { snapshot: snapshot.clone(), name: "audit".to_owned(), until: None };
    stand.change("prod", hold).unwrap();
    stand.days(20);
    stand.restore("prod", Target::Snapshot(snapshot.clone()));
    stand.change("prod", Change::ReleaseHold { snapshot: snapshot.clone(), name: "audit".to_owned() }).unwrap();
    stand.days(3);
    assert!(stand.catalog("prod").snapshot(&snapshot).is_none());
    assert_smooth(&stand.seen());
    stand.assert_sound("prod");
}

#[test]
fn a_recovery_time_objective_makes_snapshots_due_as_log_is_written() {
    let mut stand = Stand::protected();
    stand.days(1);
    // A minute of replay at 10 kB/s.
    let mut schedule = ScheduleSettings::default();
    (schedule.recovery_time_objective, schedule.replay_bytes_per_second) = (Some(MINUTE), 10_000);
    stand.change("prod", Change::Configure(Box::new(ConfigUpdate::new().schedule(schedule)))).unwrap();
    stand.live(10 * MINUTE);
    stand.seen();
    for _ in 0..6 {
        stand.source("prod").write(700_000);
        stand.live(30 * MINUTE);
        let replay = stand.estimate("prod", Target::Latest).unwrap().log_bytes();
        assert!(replay < 1_600_000, "{replay} bytes of log to replay");
    }
    assert_eq!(snapshots(&stand.seen()).len(), 6);
}

#[test]
fn a_server_that_cannot_be_reached_is_tried_again_and_loses_nothing() {
    let mut stand = Stand::protected();
    stand.days(1);
    let source = stand.source("prod");
    stand.lose("prod");
    stand.change("prod", Change::Pause).unwrap();
    stand.live(MINUTE);
    stand.change("prod", Change::Resume).unwrap();
    source.write(50_000);
    stand.seen();
    stand.live(3 * HOUR);
    let failed = stand.seen().iter().filter(|(.., what)| matches!(what, Happening::Failed(Task::LogBackup, _))).count();
    assert!((100..400).contains(&failed), "tried {failed} times in three hours");
    assert_eq!(stand.status("prod").health.status, Status::Red);
    stand.find("prod", source);
    stand.live(10 * MINUTE);
    assert_restorable_from(&stand, ago(&stand, 20 * HOUR));
    assert_eq!(stand.status("prod").health.status, Status::Green, "{}", stand.status("prod").health);
}

#[test]
fn what_is_damaged_is_found_within_a_week_and_stored_anew_by_the_next_snapshot() {
    let mut stand = Stand::protected();
    stand.days(1);
    let damaged = stand.damage_a_pack("prod");
    let newest = |stand: &Stand| stand.restore_points("prod").snapshots.pop().unwrap().id;
    assert!(!stand.can_restore("prod", Target::Snapshot(newest(&stand))));
    stand.days(8);
    let seen = stand.seen();
    let found = seen.iter().filter_map(|(.., what)| match what {
        Happening::Done(outcome) => match &**outcome {
            Outcome::Verification(report) => Some(report.faults.iter().map(|fault| fault.object.clone())),
            _ => None,
        },
        _ => None,
    });
    assert!(found.flatten().any(|object| object == damaged));
    assert!(stand.can_restore("prod", Target::Snapshot(newest(&stand))));
    assert_ne!(stand.status("prod").health.status, Status::Green, "until it is verified again");
    stand.days(14);
    let health = stand.status("prod").health;
    assert_eq!(health.status, Status::Green, "{health}");
    stand.assert_sound("prod");
}

/// Sixty days, in which a lot happens, and none of it costs an instant of the window.
#[test]
fn sixty_days() {
    let mut stand = Stand::protected();
    let created = stand.now().saturating_add(10 * MINUTE);
    let mut held = None;
    let mut days_kept = 7;
    for day in 1..=60 {
        match day {
            10 => {
                let snapshot = stand.restore_points("prod").snapshots[0].id.clone();
                let hold = Change::PlaceHold { snapshot: snapshot.clone(), name: "legal".to_owned(), until: None };
                stand.change("prod", hold).unwrap();
                held = Some(snapshot);
            }
            15 | 33 => stand.source("prod").promote(0),
            20 => drop(stand.change("prod", retention(35)).unwrap()),
            25 | 41 => {
                // The process dies, and another one goes on.
                stand.kill();
                stand.begin();
            }
            30 => drop(stand.change("prod", Change::RequestSnapshot).unwrap()),
            50 => {
                stand.change("prod", retention(7)).unwrap();
                days_kept = 7;
            }
            55 => {
                let (name, kind) = ("own".parse().unwrap(), LockKind::CanNotDelete);
                stand.change("prod", Change::PlaceLock { name, kind, reason: "production".to_owned() }).unwrap();
            }
            _ => {}
        }
        stand.days(1);
        if (21..50).contains(&day) {
            days_kept = (days_kept + 1).min(35);
        }
        assert_restorable_from(&stand, ago(&stand, days_kept * DAY).max(created));
        let health = stand.status("prod").health;
        assert_eq!(health.status, Status::Green, "day {day}: {health}");
        if day % 10 == 0 {
            let hours = u32::try_from(day).unwrap() * 5 % (days_kept * 24);
            stand.restore("prod", Target::time(ago(&stand, hours.max(1) * HOUR).max(created)));
            stand.assert_sound("prod");
        }
    }
    assert_smooth(&stand.seen());
    let held = held.unwrap();
    stand.restore("prod", Target::Snapshot(held));
    assert_eq!(stand.change("prod", Change::Delete).unwrap_err().kind(), ErrorKind::Denied);
    stand.change("prod", Change::RemoveLock { name: "own".parse().unwrap() }).unwrap();
    stand.change("prod", Change::Delete).unwrap();
    stand.live(HOUR);
    assert_eq!(stand.finish(stand.service.servers()).unwrap(), []);
    let gone = stand.finish(stand.service.restore_points(&name("prod"))).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}
