//! The rows of a case: what is in the catalog.

use std::sync::Arc;
use std::time::Duration;

use pitr::model::{
    Artifact, CommitIndex, Incarnation, IndexedCommit, LogBackup, Lsn, PostgresMajor, RestorePoint, SegmentSize,
    ServerRole, Snapshot, SnapshotKind, SnapshotTrigger, StoredHistory, StoredObject, SystemId, TimelineHistory,
    TimelineId, TimelineSwitch, Timestamp, TransactionEnd, WalRange, Xid, XidRange,
};
use serde::Deserialize;

const MIB: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotRow {
    id: String,
    wal: String,
    consistent_at: String,
    parent: Option<String>,
    #[serde(default)]
    stored_bytes: u64,
    #[serde(default)]
    role: ServerRole,
    #[serde(default)]
    trigger: SnapshotTrigger,
    /// The size of the server's WAL segments.
    #[serde(default = "one")]
    segment_mib: u64,
    #[serde(default = "first_system")]
    system_id: u64,
    #[serde(default = "first_major")]
    major: u32,
}

/// A log backup, and what its index would say, of which `read` says how much was read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogRow {
    pub(crate) wal: String,
    max_commit: Option<String>,
    complete_through: Option<String>,
    stored_bytes: Option<u64>,
    /// The sparse running maximum of the commit times.
    #[serde(default)]
    index: Vec<(Lsn, String)>,
    /// Position, time and name of each restore point.
    #[serde(default)]
    restore_points: Vec<(Lsn, String, String)>,
    /// The oldest and the newest transaction that ends in it.
    xids: Option<[Xid; 2]>,
    /// Each transaction that ends in it, where and when.
    #[serde(default)]
    transactions: Vec<(Xid, Lsn, String)>,
    read: Option<Read>,
    #[serde(default = "first_system")]
    system_id: u64,
    #[serde(default = "first_major")]
    major: u32,
}

/// How much of an index was read. If it is not given: all that the row tells.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Read {
    Nothing,
    Index,
    Transactions,
}

/// Log backups of one MiB each on timeline 1, one after the other in log and time. Each ends with a commit in the last
/// second of its time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeriesRow {
    start: Lsn,
    begins: Timestamp,
    every_seconds: u64,
    count: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryRow {
    timeline: TimelineId,
    ancestors: Vec<(TimelineId, Lsn)>,
    #[serde(default = "first_system")]
    system_id: u64,
    #[serde(default = "first_major")]
    major: u32,
}

const fn one() -> u64 {
    1
}

const fn first_system() -> u64 {
    7
}

const fn first_major() -> u32 {
    15
}

pub(crate) fn first_life() -> Incarnation {
    life(first_system(), first_major())
}

pub(crate) fn life(system_id: u64, major: u32) -> Incarnation {
    Incarnation::new(SystemId::new(system_id), PostgresMajor::new(major).unwrap())
}

/// A time, of 15 August 2026 UTC if it has no date.
pub(crate) fn time(text: &str) -> Timestamp {
    let full = if text.contains('T') { text.to_owned() } else { format!("2026-08-15T{text}Z") };
    full.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn wal(text: &str) -> WalRange {
    let (timeline, range) = text.split_once(": ").unwrap_or_else(|| panic!("{text} has no timeline"));
    let (start, end) = range.split_once("..").unwrap_or_else(|| panic!("{text} has no end"));
    WalRange::new(timeline.parse().unwrap(), start.parse().unwrap(), end.parse().unwrap()).unwrap()
}

pub(crate) fn shown(wal: WalRange) -> String {
    format!("{}: {}..{}", wal.timeline, wal.start, wal.end)
}

fn object(key: String, bytes: u64) -> StoredObject {
    StoredObject::new(key.parse().unwrap(), bytes)
}

impl SnapshotRow {
    pub(crate) fn artifact(&self) -> Artifact {
        let manifest = object(format!("snapshots/{}", self.id), 0);
        let (id, at) = (self.id.parse().unwrap(), time(&self.consistent_at));
        let segment_size = SegmentSize::new(self.segment_mib * MIB).unwrap();
        let life = life(self.system_id, self.major);
        let mut snapshot = Snapshot::full(id, life, wal(&self.wal), segment_size, at, manifest);
        snapshot.stored_bytes = self.stored_bytes;
        snapshot.role = self.role;
        snapshot.trigger = self.trigger;
        if let Some(parent) = &self.parent {
            snapshot.kind = SnapshotKind::Incremental { parent: parent.parse().unwrap() };
        }
        snapshot.into()
    }
}

impl LogRow {
    /// The number keeps the names of overlapping log backups apart.
    pub(crate) fn backup(&self, number: usize) -> LogBackup {
        let wal = wal(&self.wal);
        let directory = format!("log/{number}").parse().unwrap();
        let stored_bytes = self.stored_bytes.unwrap_or_else(|| wal.bytes());
        let mut backup = LogBackup::new(life(self.system_id, self.major), wal, directory, stored_bytes);
        backup.max_commit_time = self.max_commit.as_deref().map(time);
        backup.complete_through = self.complete_through.as_deref().map(time);
        backup.restore_points = u32::try_from(self.restore_points.len()).unwrap();
        backup
    }

    pub(crate) fn artifact(&self, number: usize) -> Artifact {
        let mut backup = self.backup(number);
        let read = self.read.unwrap_or_else(|| self.told());
        backup.index = (read != Read::Nothing).then(|| Arc::new(self.index(read)));
        backup.into()
    }

    fn told(&self) -> Read {
        let index = !self.index.is_empty() || !self.restore_points.is_empty() || self.xids.is_some();
        match (self.transactions.is_empty(), index) {
            (false, _) => Read::Transactions,
            (true, true) => Read::Index,
            (true, false) => Read::Nothing,
        }
    }

    /// What the index says if so much of it is read.
    pub(crate) fn index(&self, read: Read) -> CommitIndex {
        let mut index = CommitIndex::default();
        index.commits = self.index.iter().map(|(lsn, at)| IndexedCommit::new(*lsn, time(at))).collect();
        index.restore_points =
            self.restore_points.iter().map(|(lsn, at, name)| RestorePoint::new(*lsn, time(at), name)).collect();
        let ends = || self.transactions.iter().map(|(xid, lsn, at)| TransactionEnd::new(*xid, *lsn, time(at)));
        let within =
            |range: Option<XidRange>, xid: Xid| range.map_or_else(|| XidRange::of(xid), |range| range.with(xid));
        let all = self.xids.iter().flatten().copied().chain(ends().map(|end| end.xid));
        index.xids = all.fold(None, |range, xid| Some(within(range, xid)));
        index.transactions = (read == Read::Transactions).then(|| ends().collect());
        index
    }
}

impl SeriesRow {
    pub(crate) fn artifacts(&self) -> impl Iterator<Item = Artifact> {
        (0..self.count).map(|number| {
            let start = self.start.saturating_add(number * MIB);
            let wal = WalRange::new(TimelineId::FIRST, start, start.saturating_add(MIB)).unwrap();
            let mut backup = LogBackup::new(first_life(), wal, "log/series".parse().unwrap(), MIB);
            let end = self.begins.saturating_add(Duration::from_secs(self.every_seconds * (number + 1)));
            backup.complete_through = Some(end);
            backup.max_commit_time = Some(end.saturating_sub(Duration::from_secs(1)));
            backup.into()
        })
    }
}

impl HistoryRow {
    pub(crate) fn artifact(&self) -> Artifact {
        let switch = |&(timeline, lsn): &(TimelineId, Lsn)| TimelineSwitch::new(timeline, lsn, "promoted");
        let history = TimelineHistory::new(self.timeline, self.ancestors.iter().map(switch).collect()).unwrap();
        let object = object(format!("history/{}", self.timeline), 64);
        StoredHistory::new(life(self.system_id, self.major), history, object).into()
    }
}
