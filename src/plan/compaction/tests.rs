//! Tests of compaction.

use super::*;
use crate::model::{SegmentSize, Snapshot, StoredHistory, StoredObject, TimelineHistory, TimelineId, TimelineSwitch};

const NOW: i64 = 1_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_micros(second * 1_000_000).unwrap()
}

fn wal(timeline: u32, start: u64, end: u64) -> WalRange {
    WalRange::new(TimelineId::new(timeline).unwrap(), Lsn::new(start << 20), Lsn::new(end << 20)).unwrap()
}

/// A log backup of so many MiB, of which the last commit and the clock were seen at these seconds.
fn log(wal: WalRange, commit: Option<i64>, seen: Option<i64>) -> LogBackup {
    let directory = format!("log/{}", wal.timeline).parse().unwrap();
    let mut log = LogBackup::new("7-15".parse().unwrap(), wal, directory, 10);
    (log.max_commit_time, log.complete_through, log.restore_points) = (commit.map(at), seen.map(at), 1);
    log
}

/// Log of 1 MiB each from `start` on, a second apart.
fn logs(timeline: u32, start: u64, count: u64) -> Vec<LogBackup> {
    let one = |number| {
        let second = i64::try_from(start + number).unwrap();
        log(wal(timeline, start + number, start + number + 1), Some(second), Some(second))
    };
    (0..count).map(one).collect()
}

fn snapshot(wal: WalRange, second: i64) -> Artifact {
    let manifest = StoredObject::new("manifest".parse().unwrap(), 1);
    let (id, life) = (format!("s{second}").parse().unwrap(), "7-15".parse().unwrap());
    Snapshot::full(id, life, wal, SegmentSize::MIN, at(second), manifest).into()
}

fn catalog(logs: &[LogBackup], others: impl IntoIterator<Item = Artifact>) -> Catalog {
    Catalog::new(logs.iter().cloned().map(Artifact::from).chain(others)).unwrap()
}

fn plan(catalog: &Catalog) -> CompactionPlan {
    let policy = CompactionPolicy { bytes_max: 8 << 20, count_min: 3, ..CompactionPolicy::default() };
    plan_compaction(catalog, &policy, &Protections::none(), at(NOW))
}

/// The ranges that are made, in MiB, each with how many it is made of.
fn made(plan: &CompactionPlan) -> Vec<(u64, u64, usize)> {
    let mib = |lsn: Lsn| lsn.as_u64() >> 20;
    plan.merges.iter().map(|merge| (mib(merge.into.wal.start), mib(merge.into.wal.end), merge.logs.len())).collect()
}

#[test]
fn neighbours_become_one_up_to_a_size() {
    let all = logs(1, 4, 21);
    let plan = plan(&catalog(&all, [snapshot(wal(1, 4, 4), 1)]));
    assert_eq!(made(&plan), [(4, 12, 8), (12, 20, 8), (20, 24, 4)], "but for the last one");
    let merge = &plan.merges[0];
    assert_eq!((merge.into.max_commit_time, merge.into.complete_through), (Some(at(11)), Some(at(11))));
    assert_eq!((merge.into.restore_points, merge.into.stored_bytes, &merge.logs[..]), (8, 80, &all[..8]));
    assert!(plan.redundant.is_empty() && !plan.is_empty());
}

#[test]
fn few_or_large_or_new_ones_stay_as_they_are() {
    assert_eq!(made(&plan(&catalog(&logs(1, 4, 3), []))), [], "the last one is left out: two are too few");
    assert_eq!(made(&plan(&catalog(&logs(1, 4, 4), []))), [(4, 7, 3)]);
    let large =
        |mib: u64| (0..5).map(|n| log(wal(1, 4 + n * mib, 4 + n * mib + mib), Some(1), Some(1))).collect::<Vec<_>>();
    assert_eq!(made(&plan(&catalog(&large(4), []))), []);
    let (earlier, hour) = (logs(1, 4, 5), 3600);
    for (seen, merged) in [(NOW - hour, 5), (NOW - hour + 1, 4)] {
        let mut logs = earlier.clone();
        logs[4] = log(wal(1, 8, 9), Some(seen), Some(seen));
        logs.push(log(wal(1, 9, 10), Some(NOW), Some(NOW)));
        assert_eq!(made(&plan(&catalog(&logs, []))), [(4, 4 + merged, usize::try_from(merged).unwrap())], "{seen}");
    }
}

#[test]
fn nothing_is_merged_over_a_hole_or_a_clock_that_was_set_back() {
    let with_hole = [logs(1, 4, 3), logs(1, 8, 4)].concat();
    assert_eq!(made(&plan(&catalog(&with_hole, []))), [(4, 7, 3), (8, 11, 3)]);
    let mut set_back = logs(1, 4, 8);
    set_back[3].complete_through = Some(at(2));
    assert_eq!(made(&plan(&catalog(&set_back, []))), [(4, 7, 3), (7, 11, 4)]);
}

#[test]
fn nothing_is_merged_over_the_ends_of_snapshots_and_timelines() {
    let all = logs(1, 4, 8);
    assert_eq!(made(&plan(&catalog(&all, [snapshot(wal(1, 7, 7), 6)]))), [(4, 7, 3), (7, 11, 4)]);
    let inside = WalRange { end: Lsn::new((7 << 20) + 9), ..wal(1, 7, 8) };
    assert_eq!(made(&plan(&catalog(&all, [snapshot(inside, 6)]))), [(4, 7, 3), (8, 11, 3)], "one holds an end");
    let switch = TimelineSwitch::new(TimelineId::FIRST, Lsn::new(7 << 20), "promoted");
    let history = TimelineHistory::new(TimelineId::new(2).unwrap(), vec![switch]).unwrap();
    let history = StoredHistory::new("7-15".parse().unwrap(), history, StoredObject::new("h".parse().unwrap(), 1));
    let child = log(wal(2, 7, 8), Some(30), Some(30));
    assert_eq!(made(&plan(&catalog(&all, [history.into(), child.into()]))), [(4, 7, 3), (7, 11, 4)]);
}

#[test]
fn what_a_larger_one_holds_is_of_no_use() {
    let all = logs(1, 4, 9);
    let first = plan(&catalog(&all, [snapshot(wal(1, 4, 4), 1)]));
    let merged: Vec<_> = first.merges.iter().map(|merge| merge.into.clone()).chain(all.iter().cloned()).collect();
    let second = plan(&catalog(&merged, [snapshot(wal(1, 4, 4), 1)]));
    let redundant: Vec<_> = second.redundant.iter().map(|redundant| redundant.log.clone()).collect();
    assert_eq!(redundant, all[..8]);
    assert!(second.redundant.iter().all(|redundant| redundant.within == first.merges[0].into));
    assert_eq!(made(&second), [], "it is not made again");
    let mut knows_less = merged;
    knows_less[0].complete_through = Some(at(10));
    let third = plan(&catalog(&knows_less, [snapshot(wal(1, 4, 4), 1)]));
    assert_eq!(third.redundant.len(), 7, "one of them knows more");
}

/// Of an idle server's the last that was settled stays, and of each other one the next says more.
#[test]
fn of_empty_ones_each_is_in_the_next() {
    let idle = |second| log(wal(1, 5, 5), None, Some(second));
    let all =
        [log(wal(1, 4, 5), Some(2), Some(3)), idle(10), idle(20), idle(30), log(wal(1, 5, 6), Some(40), Some(41))];
    let plan = plan(&catalog(&all, [snapshot(wal(1, 4, 4), 1)]));
    let pairs: Vec<_> = plan.redundant.iter().map(|r| (r.log.complete_through, r.within.complete_through)).collect();
    assert_eq!(pairs, [(Some(at(20)), Some(at(30))), (Some(at(10)), Some(at(20)))]);
}

#[test]
fn a_log_backup_that_is_listed_twice_is_not_in_itself() {
    let mut twice = logs(1, 4, 2);
    twice.insert(0, LogBackup { stored_bytes: 11, ..twice[0].clone() });
    assert_eq!(plan(&catalog(&twice, [])), CompactionPlan::default());
}

#[test]
fn a_plan_that_would_change_what_can_be_restored_is_found_out() {
    let all = logs(1, 4, 9);
    let catalog = catalog(&all, [snapshot(wal(1, 4, 4), 1)]);
    let good = plan(&catalog);
    assert!(good.changes_nothing(&catalog));
    let spoilt = |spoil: &dyn Fn(&mut LogBackup)| {
        let mut plan = good.clone();
        spoil(&mut plan.merges[0].into);
        plan.changes_nothing(&catalog)
    };
    assert!(spoilt(&|_| {}));
    assert!(!spoilt(&|into| into.wal = wal(1, 4, 11)), "a hole");
    assert!(!spoilt(&|into| into.max_commit_time = Some(at(3000))), "a commit that was not");
    let last = Redundant { log: all[8].clone(), within: all[7].clone() };
    let plan = CompactionPlan { redundant: vec![last], ..CompactionPlan::default() };
    assert!(!plan.changes_nothing(&catalog), "the last instants are lost");
}
