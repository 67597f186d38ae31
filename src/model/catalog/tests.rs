use std::sync::Arc;

use super::*;
use crate::model::{PostgresMajor, SegmentSize, SystemId, TimelineSwitch, Timestamp, WalRange};

fn tli(number: u32) -> TimelineId {
    TimelineId::new(number).unwrap()
}

fn incarnation() -> Incarnation {
    Incarnation::new(SystemId::new(7), PostgresMajor::MIN)
}

fn branch(timeline: u32) -> Branch {
    Branch::new(incarnation(), tli(timeline))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros(seconds * 1_000_000).unwrap()
}

fn object(key: &str) -> StoredObject {
    StoredObject::new(key.parse().unwrap(), 1)
}

fn wal(timeline: u32, start: u64, end: u64) -> WalRange {
    WalRange::new(tli(timeline), Lsn::new(start), Lsn::new(end)).unwrap()
}

fn log(timeline: u32, start: u64, end: u64, seconds: i64) -> LogBackup {
    let directory = format!("log/{timeline}").parse().unwrap();
    let mut backup = LogBackup::new(incarnation(), wal(timeline, start, end), directory, 1);
    backup.complete_through = Some(at(seconds));
    backup
}

fn history(timeline: u32, ancestors: &[(u32, u64)], key: &str) -> StoredHistory {
    let switch = |&(timeline, lsn): &(u32, u64)| TimelineSwitch::new(tli(timeline), Lsn::new(lsn), key);
    let history = TimelineHistory::new(tli(timeline), ancestors.iter().map(switch).collect()).unwrap();
    StoredHistory::new(incarnation(), history, object(key))
}

fn rows(logs: impl IntoIterator<Item = LogBackup>) -> LogRows {
    let mut rows = LogRows::new(branch(1));
    logs.into_iter().for_each(|log| rows.push(log));
    rows
}

fn covers(log: &TimelineLog) -> Vec<(u64, u64)> {
    let piece = |number| log.piece(number).map(|piece| (piece.start.as_u64(), piece.log.end().as_u64()));
    (0..).map_while(piece).collect()
}

#[test]
fn a_log_backup_is_found_by_its_name() {
    let all = [log(1, 0, 10, 1), log(1, 10, 20, 2), log(1, 10, 20, 3), log(1, 10, 30, 2), log(1, 30, 40, 4)];
    let catalog = Catalog::new(all.iter().cloned().map(Artifact::from)).unwrap();
    assert!(all.iter().all(|log| catalog.has_log(log)));
    assert!(catalog.has_log(&LogBackup { stored_bytes: 9, ..all[2].clone() }), "whatever its size");
    for other in [log(1, 0, 10, 2), log(1, 5, 10, 1), log(1, 10, 25, 2), log(1, 30, 41, 4), log(2, 0, 10, 1)] {
        assert!(!catalog.has_log(&other), "{other:?}");
    }
}

#[test]
fn overlapping_logs_are_cut_into_the_fewest_pieces() {
    let logs = [(0, 10), (10, 20), (5, 30), (12, 14), (30, 30), (30, 40), (50, 60), (50, 60)];
    let log = TimelineLog::new(rows(logs.into_iter().map(|(start, end)| log(1, start, end, 0))));
    assert_eq!(covers(&log), [(0, 10), (10, 30), (30, 40), (50, 60)]);
    assert_eq!(log.len(), 7, "an exact duplicate counts once");
    let lsn = Lsn::new;
    assert_eq!(log.run_end(lsn(3)), Some(lsn(40)));
    assert_eq!((log.run_end(lsn(40)), log.next_byte(lsn(40))), (None, Some(lsn(50))));
    assert_eq!(log.pieces_between(lsn(10), lsn(30)), 1..2);
    assert_eq!(log.pieces_between(lsn(9), lsn(31)), 0..3);
    assert_eq!(log.pieces_between(lsn(40), lsn(50)), 3..3);
    assert_eq!(log.end(), Some(lsn(60)));
}

#[test]
fn a_duplicate_counts_once_with_an_index_too() {
    let indexed = || {
        let mut log = log(1, 0, 10, 0);
        log.index = Some(Arc::default());
        log
    };
    for logs in [vec![indexed(), indexed()], vec![log(1, 0, 10, 0), indexed()], vec![indexed(), log(1, 0, 10, 0)]] {
        let log = TimelineLog::new(rows(logs));
        assert_eq!((log.len(), log.indexed()), (1, &[0][..]));
    }
}

#[test]
fn one_object_counts_once_whatever_sizes_it_is_listed_with() {
    let sized = |bytes| LogBackup { stored_bytes: bytes, ..log(1, 0, 10, 0) };
    for sizes in [[1, 2], [2, 1]] {
        let log = TimelineLog::new(rows(sizes.map(sized)));
        assert_eq!(log.iter().map(|log| log.stored_bytes()).collect::<Vec<_>>(), [1]);
    }
}

#[test]
fn the_observation_furthest_in_the_log_counts_and_there_the_latest() {
    let idle = [log(1, 10, 10, 150), log(1, 10, 10, 300), log(1, 10, 10, 250)];
    let logs = [log(1, 0, 10, 100), log(1, 10, 20, 200)].into_iter().chain(idle);
    let log = TimelineLog::new(rows(logs));
    let observed = |lsn| log.observed_by(Lsn::new(lsn)).map(|(_, at)| at);
    assert_eq!(
        (observed(9), observed(10), observed(19), observed(20)),
        (None, Some(at(300)), Some(at(300)), Some(at(200)))
    );
}

#[test]
fn an_archiver_resumes_where_the_last_log_backup_ends() {
    let logs = [log(1, 0, 10, 1), log(1, 20, 30, 2), log(2, 10, 15, 3)];
    let catalog = Catalog::new(logs.map(Artifact::from)).unwrap();
    let ends: Vec<_> = (1..4).map(|timeline| catalog.archived_through(branch(timeline))).collect();
    assert_eq!(ends, [Some(Lsn::new(30)), Some(Lsn::new(15)), None]);
}

#[test]
fn the_current_branch_is_the_one_seen_last() {
    let mut artifacts: Vec<Artifact> = vec![log(1, 0, 10, 100).into(), log(2, 10, 20, 50).into()];
    assert_eq!(Catalog::new(artifacts.clone()).unwrap().current(), Some(branch(1)), "an abandoned promotion");
    let manifest = object("snapshots/one");
    let id = "one".parse().unwrap();
    let snapshot = Snapshot::full(id, incarnation(), wal(2, 20, 30), SegmentSize::MIN, at(200), manifest);
    artifacts.push(snapshot.into());
    assert_eq!(Catalog::new(artifacts).unwrap().current(), Some(branch(2)), "a snapshot was taken there since");
    assert_eq!(Catalog::default().current(), None);
}

#[test]
fn a_branch_that_was_left_is_not_current_whatever_the_clocks_say() {
    let current = |artifacts: &[Artifact]| Catalog::new(artifacts.iter().cloned()).unwrap().current();
    let (old, promoted) = (log(1, 0, 10, 100), history(3, &[(1, 10), (2, 15)], "3"));
    let mut artifacts: Vec<Artifact> = vec![old.into(), promoted.into(), history(2, &[(1, 10)], "2").into()];
    assert_eq!(current(&artifacts), Some(branch(1)), "nothing is known of what came after");
    artifacts.push(log(2, 5, 10, 1).into());
    assert_eq!(current(&artifacts), Some(branch(1)), "a copy of the old log is not beyond the switch");
    artifacts.push(log(3, 15, 20, 50).into());
    assert_eq!(current(&artifacts), Some(branch(3)), "18 s behind, but further");
    artifacts.push(log(1, 10, 12, 101).into());
    assert_eq!(current(&artifacts), Some(branch(1)), "a real fork: the promotion was abandoned");
    let mut unseen = log(3, 20, 30, 0);
    unseen.complete_through = None;
    let unseen = [log(1, 0, 10, 100).into(), history(3, &[(1, 10)], "3").into(), unseen.into()];
    assert_eq!(current(&unseen), Some(branch(3)), "without any clock too");
}

#[test]
fn a_history_stored_twice_counts_once_whatever_the_order() {
    let copies = [history(2, &[(1, 10)], "b"), history(2, &[(1, 10)], "a")];
    let reversed = [copies[1].clone(), copies[0].clone()];
    for histories in [copies, reversed] {
        let catalog = Catalog::new(histories.map(Artifact::from)).unwrap();
        assert_eq!(catalog.history_object(branch(2)), Some(&object("a")));
        assert_eq!(catalog.history(branch(2)).unwrap().ancestors()[0].reason, "a");
    }
}

#[test]
fn descendants_that_disagree_about_an_ancestor_without_history_are_refused() {
    let histories = [history(3, &[(1, 10), (2, 20)], "a"), history(4, &[(1, 15), (2, 30)], "b")];
    let error = Catalog::new(histories.map(Artifact::from)).unwrap_err();
    let (first, second) = (tli(3), tli(4));
    let expected = CatalogError::HistoriesDisagree { incarnation: incarnation(), timeline: tli(2), first, second };
    assert_eq!(error, expected);
}
