//! The catalog of a case: rows as in the planning cases, and whole days of a server's life.

use std::time::Duration;

use pitr::model::{
    Artifact, Incarnation, LogBackup, Lsn, PostgresMajor, SegmentSize, ServerRole, Snapshot, SnapshotKind,
    StoredHistory, StoredObject, SystemId, TimelineHistory, TimelineId, TimelineSwitch, Timestamp, WalRange,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotRow {
    id: String,
    wal: String,
    consistent_at: String,
    parent: Option<String>,
    #[serde(default = "snapshot_bytes")]
    stored_bytes: u64,
    #[serde(default)]
    role: ServerRole,
    #[serde(default = "first_life")]
    system_id: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogRow {
    wal: String,
    max_commit: Option<String>,
    complete_through: Option<String>,
    #[serde(default = "first_life")]
    system_id: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryRow {
    timeline: TimelineId,
    ancestors: Vec<(TimelineId, Lsn)>,
}

/// Days of a server's life. A day takes 16 MiB of log: at midnight a snapshot, named by the day, with a log backup that ends
/// where it does; then four log backups, each of six hours with a commit in the last minute.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DaysRow {
    /// The first midnight.
    first: String,
    days: u64,
    start: Lsn,
    #[serde(default = "first_timeline")]
    timeline: TimelineId,
    /// What the name of each snapshot begins with.
    #[serde(default = "day")]
    prefix: String,
    /// Whether all snapshots but the first build on the one before.
    #[serde(default)]
    incremental: bool,
    #[serde(default)]
    without_snapshots: bool,
    #[serde(default = "first_life")]
    system_id: u64,
}

const SNAPSHOT: u64 = 0x100;
const QUARTER: u64 = 0x40_0000;
const DAY: u64 = 4 * QUARTER;

/// Of every snapshot, if nothing else is said.
const fn snapshot_bytes() -> u64 {
    1000
}

/// Of every log backup.
const LOG_BYTES: u64 = 100;

const fn first_life() -> u64 {
    7
}

const fn first_timeline() -> TimelineId {
    TimelineId::FIRST
}

fn day() -> String {
    "d".to_owned()
}

pub(crate) fn life(system_id: u64) -> Incarnation {
    Incarnation::new(SystemId::new(system_id), PostgresMajor::MIN)
}

/// A time without a date is of 15 August 2026, UTC.
pub(crate) fn time(text: &str) -> Timestamp {
    let full = if text.contains('T') { text.to_owned() } else { format!("2026-08-15T{text}Z") };
    full.parse().unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn wal(text: &str) -> WalRange {
    let (timeline, range) = text.split_once(": ").unwrap_or_else(|| panic!("{text} has no timeline"));
    let (start, end) = range.split_once("..").unwrap_or_else(|| panic!("{text} has no end"));
    WalRange::new(timeline.parse().unwrap(), start.parse().unwrap(), end.parse().unwrap()).unwrap()
}

fn object(key: String, bytes: u64) -> StoredObject {
    StoredObject::new(key.parse().unwrap(), bytes)
}

fn snapshot(id: &str, life: Incarnation, wal: WalRange, at: Timestamp, parent: Option<&str>) -> Snapshot {
    let manifest = object(format!("snapshots/{id}"), 0);
    let mut snapshot = Snapshot::full(id.parse().unwrap(), life, wal, SegmentSize::MIN, at, manifest);
    snapshot.stored_bytes = snapshot_bytes();
    if let Some(parent) = parent {
        snapshot.kind = SnapshotKind::Incremental { parent: parent.parse().unwrap() };
    }
    snapshot
}

fn log(life: Incarnation, wal: WalRange, commit: Option<Timestamp>, complete: Option<Timestamp>) -> LogBackup {
    let mut log = LogBackup::new(life, wal, format!("log/{life}/{}", wal.timeline).parse().unwrap(), LOG_BYTES);
    log.max_commit_time = commit;
    log.complete_through = complete;
    log
}

impl SnapshotRow {
    pub(crate) fn artifact(&self) -> Artifact {
        let parent = self.parent.as_deref();
        let mut snapshot = snapshot(&self.id, life(self.system_id), wal(&self.wal), time(&self.consistent_at), parent);
        (snapshot.stored_bytes, snapshot.role) = (self.stored_bytes, self.role);
        snapshot.into()
    }
}

impl LogRow {
    pub(crate) fn artifact(&self) -> Artifact {
        let (commit, complete) = (self.max_commit.as_deref().map(time), self.complete_through.as_deref().map(time));
        log(life(self.system_id), wal(&self.wal), commit, complete).into()
    }
}

impl HistoryRow {
    pub(crate) fn artifact(&self) -> Artifact {
        let switch = |&(timeline, lsn): &(TimelineId, Lsn)| TimelineSwitch::new(timeline, lsn, "promoted");
        let history = TimelineHistory::new(self.timeline, self.ancestors.iter().map(switch).collect()).unwrap();
        StoredHistory::new(life(first_life()), history, object(format!("history/{}", self.timeline), 64)).into()
    }
}

impl DaysRow {
    pub(crate) fn artifacts(&self) -> Vec<Artifact> {
        let mut before: Option<String> = None;
        let mut artifacts = Vec::new();
        for number in 0..self.days {
            let at = time(&self.first).saturating_add(Duration::from_secs(number * 86_400));
            let start = self.start.saturating_add(number * DAY);
            if !self.without_snapshots {
                let date = at.to_string();
                let id = format!("{}{}{}", self.prefix, &date[5..7], &date[8..10]);
                let parent = before.as_deref().filter(|_| self.incremental);
                let wal = self.wal(start, SNAPSHOT);
                artifacts.push(snapshot(&id, life(self.system_id), wal, at, parent).into());
                before = Some(id);
            }
            artifacts.extend(self.logs(start, at));
        }
        artifacts
    }

    fn logs(&self, start: Lsn, midnight: Timestamp) -> Vec<Artifact> {
        let life = life(self.system_id);
        let mut logs = vec![log(life, self.wal(start, SNAPSHOT), None, Some(midnight)).into()];
        for quarter in 0..4 {
            let begin = start.saturating_add(if quarter == 0 { SNAPSHOT } else { quarter * QUARTER });
            let end = start.saturating_add((quarter + 1) * QUARTER);
            let seen = midnight.saturating_add(Duration::from_secs((quarter + 1) * 6 * 3600));
            let wal = WalRange::new(self.timeline, begin, end).unwrap();
            logs.push(log(life, wal, Some(seen.saturating_sub(Duration::from_secs(60))), Some(seen)).into());
        }
        logs
    }

    fn wal(&self, start: Lsn, bytes: u64) -> WalRange {
        WalRange::new(self.timeline, start, start.saturating_add(bytes)).unwrap()
    }
}
