use super::*;
use crate::model::{
    Artifact, Branch, LogBackup, Lsn, ScheduleSettings, SegmentSize, Snapshot, SnapshotId, SnapshotKind, StoredObject,
    TimelineId, WalRange,
};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Days and hours after protection began.
fn at(days: u32, hours: u32) -> Timestamp {
    let begin: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    begin.saturating_add(DAY * days + HOUR * hours)
}

fn branch() -> Branch {
    Branch::new("7301234567890123456-18".parse().unwrap(), TimelineId::FIRST)
}

fn wal(start: u64, end: u64) -> WalRange {
    WalRange::new(TimelineId::FIRST, Lsn::new(start << 20), Lsn::new(end << 20)).unwrap()
}

/// An hour's log, a mebibyte long.
fn log(hour: u64) -> Artifact {
    let mut log = LogBackup::new(branch().incarnation, wal(hour, hour + 1), "log/x".parse().unwrap(), 7);
    log.complete_through = Some(at(0, 0).saturating_add(HOUR * u32::try_from(hour).unwrap()));
    log.into()
}

/// One that was taken at the beginning of an hour.
fn snapshot(hour: u64) -> Snapshot {
    let time = at(0, 0).saturating_add(HOUR * u32::try_from(hour).unwrap());
    let id: SnapshotId = format!("s{hour:05}").parse().unwrap();
    let manifest = StoredObject::new(format!("data/{id}").parse().unwrap(), 9);
    let begin = WalRange { end: Lsn::new((hour << 20) + 1), ..wal(hour, hour + 1) };
    Snapshot::full(id, branch().incarnation, begin, SegmentSize::MIN, time, manifest)
}

/// A server that is archived without fail, with a snapshot a day.
fn artifacts(hours: u64) -> Vec<Artifact> {
    let snapshots = (0..hours).step_by(24).map(|hour| snapshot(hour).into());
    (0..=hours).map(log).chain(snapshots).collect()
}

fn schedule() -> Schedule {
    Schedule::new(ScheduleSettings::default()).unwrap()
}

fn check(artifacts: Vec<Artifact>, now: Timestamp) -> Health {
    let schedule = schedule();
    let check = HealthCheck::new(&schedule, RetentionDays::MIN).protected_since(at(0, 0));
    check.of(&Catalog::new(artifacts).unwrap(), now)
}

fn minutes(minutes: u32) -> Duration {
    MINUTE * minutes
}

#[test]
fn a_server_that_is_archived_without_fail_is_green() {
    for days in [1, 3, 20] {
        let health = check(artifacts(u64::from(days) * 24), at(days, 0));
        assert_eq!((health.status, health.latest), (Status::Green, Some(at(days, 0))), "{health}");
        assert_eq!(health.to_string(), format!("green, restorable until {}", at(days, 0)));
    }
}

#[test]
fn the_recovery_point_grows_old() {
    let of = |age: Duration| {
        let health = check(artifacts(48), at(2, 0).saturating_add(age));
        health.findings.iter().find(|finding| matches!(finding, Finding::RecoveryPointOld { .. })).map(Finding::status)
    };
    assert_eq!(of(minutes(11)), None);
    assert_eq!(of(minutes(12)), Some(Status::Amber));
    assert_eq!(of(minutes(60)), Some(Status::Amber));
    assert_eq!(of(minutes(61)), Some(Status::Red));
    let told = check(artifacts(48), at(2, 0).saturating_add(minutes(75))).to_string();
    let expected = "red, restorable until 2026-11-03T00:00:00.000000Z\n  red: nothing after 2026-11-03T00:00:00.000000Z can be restored: a disaster would cost 1 h 15 min\n";
    assert!(told.starts_with(expected), "{told}");
}

#[test]
fn nothing_is_red_but_at_the_very_beginning() {
    assert_eq!(check(Vec::new(), at(0, 0).saturating_add(minutes(11))).status, Status::Green);
    let health = check(Vec::new(), at(0, 1));
    assert_eq!(health.findings, [Finding::NothingRestorable]);
    assert_eq!((health.status, health.latest), (Status::Red, None));
}

/// A snapshot and the log that makes it consistent, and nothing since: it can be restored, if no instant can.
#[test]
fn a_snapshot_alone_is_something() {
    let mut log = LogBackup::new(branch().incarnation, wal(0, 1), "log/x".parse().unwrap(), 7);
    log.complete_through = Some(at(0, 0).saturating_sub(HOUR));
    let health = check(vec![snapshot(0).into(), log.into()], at(0, 0).saturating_add(minutes(5)));
    assert_eq!((health.status, health.latest), (Status::Green, Some(at(0, 0))), "{health}");
    let alone = check(vec![snapshot(0).into()], at(0, 1));
    assert_eq!(alone.findings, [Finding::NothingRestorable], "its log is missing");
}

#[test]
fn the_last_snapshot_grows_old() {
    // Log goes on, and snapshots do not.
    let of = |hours: u64| {
        let logs = (0..=24 + hours).map(log).chain([snapshot(0).into(), snapshot(24).into()]);
        let health = check(logs.collect(), at(1, u32::try_from(hours).unwrap()));
        assert!(health.findings.len() <= 1, "{health}");
        health.status
    };
    assert_eq!(
        [of(24), of(31), of(32), of(72), of(73)],
        [Status::Green, Status::Green, Status::Amber, Status::Amber, Status::Red]
    );
}

#[test]
fn holes_are_amber_until_they_leave_the_window() {
    let artifacts =
        |hours: u64| artifacts(hours).into_iter().filter(|artifact| *artifact != log(30)).collect::<Vec<_>>();
    let health = check(artifacts(72), at(3, 0));
    let [Finding::WindowHasHoles { holes, lost, until }] = &*health.findings else { panic!("{health}") };
    assert_eq!(*holes, [RestorableInterval::from((at(1, 5), at(2, 0).saturating_add(Duration::from_micros(1))))]);
    assert_eq!((health.status, *until), (Status::Amber, at(9, 0).saturating_add(Duration::from_micros(1))));
    assert!(*lost >= HOUR * 19, "{lost:?}");
    assert_eq!(check(artifacts(9 * 24), at(9, 0)).status, Status::Amber);
    assert_eq!(check(artifacts(9 * 24 + 1), at(9, 1)).status, Status::Green);
}

#[test]
fn a_window_that_begins_too_late_is_amber() {
    // Somebody deleted what there was of the first ten days.
    let artifacts: Vec<_> =
        (240..=480).map(log).chain((240..480).step_by(24).map(|hour| snapshot(hour).into())).collect();
    assert_eq!(check(artifacts.clone(), at(20, 0)).status, Status::Green, "it is older than the window");
    let artifacts: Vec<_> = artifacts.into_iter().filter(|artifact| artifact_hour(artifact) >= 408).collect();
    let health = check(artifacts, at(20, 0));
    assert!(matches!(&*health.findings, [Finding::WindowShort { missing, .. }] if *missing > DAY * 3), "{health}");
}

fn artifact_hour(artifact: &Artifact) -> u64 {
    let start = match artifact {
        Artifact::Log(log) => log.wal.start,
        Artifact::Snapshot(snapshot) => snapshot.wal.start,
        Artifact::History(_) => Lsn::ZERO,
    };
    start.as_u64() >> 20
}

#[test]
fn damage_is_red_and_told_first() {
    let mut artifacts = artifacts(48);
    let (mut damaged, mut orphan) = (snapshot(47), snapshot(40));
    damaged.checksum_failures = 3;
    orphan.kind = SnapshotKind::Incremental { parent: "nobody".parse().unwrap() };
    artifacts.extend([damaged.into(), orphan.into()]);
    let schedule = schedule();
    let mut proof = RestoreProof::new(at(1, 0), at(0, 5));
    proof.failure = Some("no room".to_owned());
    let check = HealthCheck::new(&schedule, RetentionDays::MIN).faults(2).proofs(std::slice::from_ref(&proof));
    let health = check.of(&Catalog::new(artifacts).unwrap(), at(2, 0));
    let statuses: Vec<_> = health.findings.iter().map(Finding::status).collect();
    assert_eq!(statuses, [Status::Red, Status::Red, Status::Red, Status::Amber], "{health}");
    assert!(health.to_string().contains("found 3 pages"), "{health}");
    assert!(health.findings.iter().all(|finding| !finding.advice().is_empty()));
}

#[test]
fn proofs_grow_old_and_the_last_one_counts() {
    let (schedule, catalog) = (schedule(), Catalog::new(artifacts(480)).unwrap());
    let proof = |day: u32, failure: Option<&str>| {
        let mut proof = RestoreProof::new(at(day, 0), at(day, 0));
        proof.failure = failure.map(str::to_owned);
        proof
    };
    let status = |proofs: &[RestoreProof]| {
        HealthCheck::new(&schedule, RetentionDays::MIN).proofs(proofs).of(&catalog, at(20, 0)).status
    };
    assert_eq!(status(&[]), Status::Green, "who makes none is not told so for ever");
    assert_eq!(status(&[proof(6, None)]), Status::Green);
    assert_eq!(status(&[proof(5, None)]), Status::Amber);
    assert_eq!(status(&[proof(19, None), proof(18, Some("no room"))]), Status::Green);
    assert_eq!(status(&[proof(19, Some("no room")), proof(18, None)]), Status::Red);
}

#[test]
fn where_test_restores_are_wanted_their_own_interval_counts() {
    let test_restore_every = Some(Duration::from_secs(24 * 60 * 60));
    let settings = ScheduleSettings { test_restore_every, ..schedule().settings().clone() };
    let (schedule, catalog) = (Schedule::new(settings).unwrap(), Catalog::new(artifacts(480)).unwrap());
    let findings = |proofs: &[RestoreProof], since| {
        let check = HealthCheck::new(&schedule, RetentionDays::MIN).protected_since(since).proofs(proofs);
        check.of(&catalog, at(20, 0)).findings
    };
    let proof = |day| RestoreProof::new(at(day, 0), at(day, 0));
    assert_eq!(findings(&[proof(18)], at(1, 0)), []);
    assert!(matches!(findings(&[proof(17)], at(1, 0))[..], [Finding::ProofOld { .. }]));
    assert_eq!(findings(&[], at(1, 0)), [Finding::NeverProven { since: at(1, 0) }]);
    assert_eq!(findings(&[], at(19, 0)), [], "it is not late yet");
}

#[test]
fn a_clock_that_is_ahead_is_amber() {
    let health = check(artifacts(48), at(2, 0).saturating_sub(minutes(2)));
    assert_eq!(health.findings, [Finding::ClockAhead { by: minutes(2) }]);
    assert_eq!(check(artifacts(48), at(2, 0).saturating_sub(minutes(1))).status, Status::Green);
}
