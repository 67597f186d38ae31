//! Arbitrary catalogs, small enough that their artifacts meet.

use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use pitr::model::{
    Artifact, Catalog, CommitIndex, Incarnation, IndexedCommit, LogBackup, Lsn, PostgresMajor, RestorePoint,
    SegmentSize, ServerRole, Snapshot, SnapshotId, SnapshotKind, StoredHistory, StoredObject, SystemId,
    TimelineHistory, TimelineId, TimelineSwitch, Timestamp, TransactionEnd, WalRange, Xid, XidRange,
};

/// What a catalog is made of.
#[derive(Arbitrary, Debug)]
pub struct Artifacts {
    logs: Vec<LogSeed>,
    snapshots: Vec<SnapshotSeed>,
    histories: Vec<(u8, Vec<(u8, u8)>)>,
}

#[derive(Arbitrary, Debug)]
struct LogSeed {
    life: bool,
    timeline: u8,
    start: u8,
    units: u8,
    seen: Option<u8>,
    commits: Vec<(u8, u8, u8)>,
    names: Vec<(u8, bool)>,
    is_indexed: bool,
    are_transactions_read: bool,
    bytes: u16,
}

#[derive(Arbitrary, Debug)]
struct SnapshotSeed {
    life: bool,
    timeline: u8,
    start: u8,
    units: u8,
    at: u8,
    parent: Option<u8>,
    on_standby: bool,
    bytes: u16,
}

impl Artifacts {
    /// The catalog of these, unless they contradict each other.
    pub fn catalog(&self) -> Option<Catalog> {
        let logs = self.logs.iter().map(|log| log.artifact().into());
        let snapshots = self.snapshots.iter().enumerate().map(|(number, seed)| seed.artifact(number).into());
        let histories = self.histories.iter().filter_map(|(timeline, switches)| history(*timeline, switches));
        Catalog::new(logs.chain(snapshots).chain(histories)).ok()
    }

    /// The instants at which something is, and their neighbours.
    pub fn instants(&self) -> Vec<Timestamp> {
        let tick = Duration::from_micros(1);
        let commits = self.logs.iter().flat_map(|log| log.commits.iter().map(|&(_, at, _)| at));
        let all = commits.chain(self.logs.iter().filter_map(|log| log.seen)).chain(self.snapshots.iter().map(|s| s.at));
        all.flat_map(|at| [time(at).saturating_sub(tick), time(at), time(at).saturating_add(tick)]).collect()
    }
}

impl LogSeed {
    fn artifact(&self) -> LogBackup {
        let wal = wal(self.timeline, self.start, self.units);
        let directory = format!("log/{}/{}", self.timeline % 5, u8::from(self.life)).parse().expect("a key");
        let mut log = LogBackup::new(life(self.life), wal, directory, self.bytes.into());
        log.complete_through = self.seen.map(time);
        let (ends, index) = (self.ends(wal), self.index(wal));
        log.max_commit_time = ends.iter().map(|end| end.time).max();
        log.restore_points = u32::try_from(index.restore_points.len()).expect("few");
        log.index = self.is_indexed.then(|| Arc::new(index));
        log
    }

    /// The transactions that end in it, in order.
    fn ends(&self, wal: WalRange) -> Vec<TransactionEnd> {
        let ends = self.commits.iter().map(|&(unit, at, id)| TransactionEnd::new(xid(id), lsn(unit), time(at)));
        let mut ends: Vec<_> = ends.filter(|end| wal.start < end.end_lsn && end.end_lsn <= wal.end).collect();
        ends.sort_by_key(|end| end.end_lsn);
        ends.dedup_by_key(|end| end.end_lsn);
        ends
    }

    fn index(&self, wal: WalRange) -> CommitIndex {
        let ends = self.ends(wal);
        let mut index = CommitIndex::default();
        for end in &ends {
            if index.commits.last().is_none_or(|last| last.max_time < end.time) {
                index.commits.push(IndexedCommit::new(end.end_lsn, end.time));
            }
            index.xids = Some(index.xids.map_or_else(|| XidRange::of(end.xid), |xids| xids.with(end.xid)));
        }
        let points =
            self.names.iter().map(|&(at, one)| RestorePoint::new(lsn(at), time(at), if one { "one" } else { "two" }));
        index.restore_points = points.filter(|point| wal.start < point.end_lsn && point.end_lsn <= wal.end).collect();
        index.transactions = self.are_transactions_read.then_some(ends);
        index
    }
}

impl SnapshotSeed {
    fn artifact(&self, number: usize) -> Snapshot {
        let manifest = StoredObject::new(format!("snapshots/{number}").parse().expect("a key"), 1);
        let wal = wal(self.timeline, self.start, self.units % 4);
        let mut snapshot = Snapshot::full(id(number), life(self.life), wal, SegmentSize::MIN, time(self.at), manifest);
        snapshot.stored_bytes = self.bytes.into();
        if let Some(parent) = self.parent {
            snapshot.kind = SnapshotKind::Incremental { parent: id(usize::from(parent % 8)) };
        }
        if self.on_standby {
            snapshot.role = ServerRole::Standby;
        }
        snapshot
    }
}

fn history(number: u8, switches: &[(u8, u8)]) -> Option<Artifact> {
    let switch = |&(number, at): &(u8, u8)| TimelineSwitch::new(timeline(number), lsn(at), "promoted");
    let history = TimelineHistory::new(timeline(number), switches.iter().map(switch).collect()).ok()?;
    let object = StoredObject::new(format!("history/{}", timeline(number)).parse().expect("a key"), 64);
    Some(StoredHistory::new(life(false), history, object).into())
}

fn id(number: usize) -> SnapshotId {
    format!("s{number}").parse().expect("an ID")
}

fn life(second: bool) -> Incarnation {
    Incarnation::new(SystemId::new(7 + u64::from(second)), PostgresMajor::MIN)
}

fn timeline(number: u8) -> TimelineId {
    TimelineId::new(u32::from(number % 5) + 1).expect("not zero")
}

/// Four to a segment, so that switches lie within segments.
fn lsn(unit: u8) -> Lsn {
    Lsn::new((u64::from(unit % 32) + 4) << 18)
}

fn wal(number: u8, start: u8, units: u8) -> WalRange {
    let start = lsn(start);
    WalRange::new(timeline(number), start, start.saturating_add(u64::from(units % 12) << 18)).expect("in order")
}

/// Days apart: the window is seven of 64.
fn time(at: u8) -> Timestamp {
    Timestamp::UNIX_EPOCH.saturating_add(Duration::from_secs(u64::from(at % 64) * 86_400 + 1_000_000))
}

/// Some near the end of the counter.
pub fn xid(id: u8) -> Xid {
    Xid::new(u32::from(id).wrapping_sub(100)).unwrap_or(Xid::FIRST)
}
