use super::*;
use crate::model::{
    Hold, LogBackup, Lsn, RetentionDays, SegmentSize, Snapshot, StoredObject, TimelineId, Timestamp, WalRange,
};
use crate::plan::retention::{
    ExpireReason, ExpiredLogs, ExpiredSnapshot, Protections, RetentionPolicy, plan_retention,
};

fn at(day: u64) -> Timestamp {
    Timestamp::from_unix_micros(i64::try_from(day).unwrap() * 86_400_000_000).unwrap()
}

fn id(day: u64) -> SnapshotId {
    format!("d{day:02}").parse().unwrap()
}

fn wal(start: u64, end: u64) -> WalRange {
    WalRange::new(TimelineId::FIRST, Lsn::new(start), Lsn::new(end)).unwrap()
}

/// Of each of twenty days a snapshot at midnight and a log backup; every second snapshot builds on the one before.
fn catalog() -> Catalog {
    let life = "7-15".parse().unwrap();
    let day = |day: u64| {
        let begin = day << 24;
        let manifest = StoredObject::new(format!("snapshots/{day}").parse().unwrap(), 10);
        let own = wal(begin, begin + 0x100);
        let mut snapshot = Snapshot::full(id(day), life, own, SegmentSize::MIN, at(day), manifest);
        if day.is_multiple_of(2) {
            snapshot.kind = SnapshotKind::Incremental { parent: id(day - 1) };
        }
        let mut log = LogBackup::new(life, wal(begin, begin + (1 << 24)), "log".parse().unwrap(), 1);
        (log.max_commit_time, log.complete_through) = (Some(at(day + 1)), Some(at(day + 1)));
        log.index = Some(std::sync::Arc::default());
        [Artifact::from(snapshot), Artifact::from(log)]
    };
    Catalog::new((1..=20).flat_map(day)).unwrap()
}

/// Seven days of it, and what is held.
fn plan(catalog: &Catalog) -> RetentionPlan {
    let held = Protections::none().with_hold(Hold::new(id(3), "audit"));
    let plan = plan_retention(catalog, &RetentionPolicy::new(RetentionDays::MIN), &held, at(21));
    assert_eq!(plan.check(catalog), Ok(()));
    plan
}

/// Lets a snapshot expire, whatever was decided.
fn drop_snapshot(plan: &mut RetentionPlan, catalog: &Catalog, dropped: &SnapshotId) {
    plan.kept_snapshots.retain(|kept| kept.id != *dropped);
    let snapshot = catalog.snapshot(dropped).unwrap().clone();
    plan.expired_snapshots.push(ExpiredSnapshot { snapshot, reason: ExpireReason::BeforeWindow });
}

/// Lets the log of a day expire, whatever was decided.
fn drop_log(plan: &mut RetentionPlan, catalog: &Catalog, day: u64) {
    let branch = catalog.current().unwrap();
    let mine = catalog.logs(branch).find(|log| log.start() == Lsn::new(day << 24)).unwrap();
    plan.expired_logs.push(ExpiredLogs { branch, logs: vec![mine.to_backup()], reason: ExpireReason::BeforeWindow });
}

#[test]
fn what_is_not_there_cannot_be_deleted() {
    let catalog = catalog();
    let mut plan = plan(&catalog);
    drop_log(&mut plan, &catalog, 1);
    let twice = plan.expired_logs.last_mut().unwrap().logs.first_mut().unwrap();
    twice.directory = "elsewhere".parse().unwrap();
    let object = twice.key();
    assert_eq!(plan.check(&catalog), Err(RetentionFault::Unknown { object }));
}

#[test]
fn a_parent_must_stay() {
    let catalog = catalog();
    let mut plan = plan(&catalog);
    drop_snapshot(&mut plan, &catalog, &id(15));
    let fault = RetentionFault::ChainBroken { child: id(16), parent: id(15) };
    assert_eq!(plan.check(&catalog), Err(fault));
}

#[test]
fn what_is_held_needs_its_log() {
    let catalog = catalog();
    let mut plan = plan(&catalog);
    assert!(plan.kept_snapshots.iter().any(|kept| kept.id == id(3)));
    drop_log(&mut plan, &catalog, 3);
    assert_eq!(plan.check(&catalog), Err(RetentionFault::SnapshotLost { snapshot: id(3) }));
}

#[test]
fn the_last_snapshot_must_stay() {
    let catalog = catalog();
    let mut plan = plan(&catalog);
    drop_snapshot(&mut plan, &catalog, &id(20));
    assert_eq!(plan.check(&catalog), Err(RetentionFault::LastSnapshotLost { snapshot: id(20) }));
}

#[test]
fn the_log_of_the_window_must_stay() {
    let catalog = catalog();
    let mut plan = plan(&catalog);
    // Without these two days' snapshots nothing is kept for its own sake that needs their log.
    drop_snapshot(&mut plan, &catalog, &id(18));
    drop_snapshot(&mut plan, &catalog, &id(17));
    assert_eq!(plan.check(&catalog), Ok(()), "the snapshots before serve the same instants");
    drop_log(&mut plan, &catalog, 18);
    let fault = plan.check(&catalog).unwrap_err();
    let RetentionFault::WindowLost { before, after, .. } = fault else { panic!("{fault}") };
    assert_eq!((before.len(), after.len()), (1, 2), "a hole splits the window");
}

#[test]
fn the_current_branch_must_stay() {
    let mut artifacts: Vec<Artifact> = catalog().artifacts().collect();
    let life = "7-15".parse().unwrap();
    let timeline = TimelineId::new(2).unwrap();
    for (start, day) in [(5_u64, 30), (6, 5)] {
        let wal = WalRange::new(timeline, Lsn::new(start << 24), Lsn::new((start + 1) << 24)).unwrap();
        let mut log = LogBackup::new(life, wal, "log".parse().unwrap(), 1);
        log.complete_through = Some(at(day));
        artifacts.push(log.into());
    }
    let catalog = Catalog::new(artifacts).unwrap();
    let mut plan = plan(&catalog);
    let (before, left) = (Branch::new(life, TimelineId::FIRST), Branch::new(life, timeline));
    plan.expired_logs.clear();
    let end = catalog.logs(left).last().unwrap().to_backup();
    plan.expired_logs.push(ExpiredLogs { branch: left, logs: vec![end], reason: ExpireReason::BeforeWindow });
    assert_eq!(plan.check(&catalog), Err(RetentionFault::CurrentLost { before, after: left }));
}
