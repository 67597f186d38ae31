//! What can be restored, found by trying every snapshot and walking the log unit by unit.
//!
//! Knows nothing of trees, pieces and binary searches. Log backups of one timeline must not overlap.

use std::time::Duration;

use pitr::model::{IndexedCommit, LogBackup, Lsn, Snapshot, SnapshotKind, Timestamp};

use crate::world::{SEGMENT, UNIT, World};

pub(crate) struct Oracle<'w> {
    world: &'w World,
    timeline: usize,
    path: Vec<(usize, Lsn, Lsn)>,
}

/// A snapshot, and where recovery from it stops.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Restore {
    pub(crate) snapshot: String,
    pub(crate) stop: Lsn,
    pub(crate) idle: bool,
    pub(crate) estimated: Duration,
}

impl<'w> Oracle<'w> {
    pub(crate) fn new(world: &'w World, timeline: usize) -> Self {
        Self { world, timeline, path: world.path(timeline) }
    }

    /// The fastest way to the state at `limit`, if there is one.
    pub(crate) fn time(&self, limit: Timestamp) -> Option<Restore> {
        self.fastest(|snapshot| self.stop(snapshot, limit))
    }

    /// The fastest way to a position, if there is one.
    pub(crate) fn position(&self, lsn: Lsn) -> Option<Restore> {
        self.fastest(|snapshot| {
            let reached = snapshot.wal.end <= lsn && lsn <= self.reach(snapshot)?;
            reached.then(|| self.restore(snapshot, lsn, false))
        })
    }

    /// The snapshot furthest in the log says where the stop is; of those that stop there, the fastest one, or the newest.
    fn fastest(&self, restore: impl Fn(&Snapshot) -> Option<Restore>) -> Option<Restore> {
        let mut snapshots: Vec<_> = self.world.snapshots.iter().filter(|snapshot| self.passed(snapshot)).collect();
        snapshots.sort_by_key(|snapshot| (snapshot.wal.end, snapshot.id.clone()));
        let all: Vec<Restore> = snapshots.into_iter().rev().filter_map(restore).collect();
        let meant = all.first()?.clone();
        let same = all.into_iter().filter(|other| (other.stop, other.idle) == (meant.stop, meant.idle));
        same.min_by_key(|restore| restore.estimated)
    }

    /// Whether the timeline's past goes through the end of the snapshot, and those of all its parents.
    fn passed(&self, snapshot: &Snapshot) -> bool {
        let id = |number: usize| self.world.timelines[number].id;
        let stretch = self.path.iter().find(|&&(number, ..)| id(number) == snapshot.wal.timeline);
        let chain = match self.parent(snapshot) {
            Some(parent) => self.passed(parent) && parent.wal.end <= snapshot.wal.start && self.on_own_past(snapshot),
            None => true,
        };
        chain && stretch.is_some_and(|&(_, _, left)| snapshot.wal.end <= left)
    }

    /// Whether the parent lies in the past of the snapshot's own timeline, not only in that of the one asked for.
    fn on_own_past(&self, snapshot: &Snapshot) -> bool {
        let own = self.world.timelines.iter().position(|timeline| timeline.id == snapshot.wal.timeline);
        let (Some(own), Some(parent)) = (own, self.parent(snapshot)) else { return false };
        let path = self.world.path(own);
        path.iter().any(|&(n, _, left)| self.world.timelines[n].id == parent.wal.timeline && parent.wal.end <= left)
    }

    fn parent(&self, snapshot: &Snapshot) -> Option<&'w Snapshot> {
        let SnapshotKind::Incremental { parent } = &snapshot.kind else { return None };
        self.world.snapshots.iter().find(|other| other.id == *parent)
    }

    fn chain_bytes(&self, snapshot: &Snapshot) -> (u64, u64) {
        let (count, bytes) = self.parent(snapshot).map_or((0, 0), |parent| self.chain_bytes(parent));
        (count + 1, bytes + snapshot.stored_bytes)
    }

    fn owner(&self, unit: Lsn) -> (usize, Lsn) {
        let (number, _, left) = self.path.iter().find(|&&(_, _, left)| unit < left).expect("the last has no end");
        (*number, *left)
    }

    fn log_on(&self, number: usize, unit: Lsn) -> Option<&'w LogBackup> {
        let timeline = self.world.timelines[number].id;
        let holds = |log: &&LogBackup| log.wal.timeline == timeline && log.wal.start <= unit && unit < log.wal.end;
        self.world.logs.iter().find(holds)
    }

    /// The log backups from the start of the snapshot's segment to `to`, or `None` if a unit is missing.
    fn logs(&self, snapshot: &Snapshot, to: Lsn) -> Option<Vec<&'w LogBackup>> {
        let own = self.world.timelines.iter().position(|timeline| timeline.id == snapshot.wal.timeline)?;
        let first = Lsn::new(snapshot.wal.start.as_u64() / SEGMENT * SEGMENT);
        let copied = units(first, snapshot.wal.end).all(|unit| self.log_on(own, unit).is_some());
        let number = |unit: Lsn| if copied && unit < snapshot.wal.end { own } else { self.owner(unit).0 };
        let logs: Option<Vec<&LogBackup>> = units(first, to).map(|unit| self.log_on(number(unit), unit)).collect();
        let mut logs = logs?;
        logs.dedup_by_key(|log| log.key());
        Some(logs)
    }

    pub(crate) fn reach(&self, snapshot: &Snapshot) -> Option<Lsn> {
        self.logs(snapshot, snapshot.wal.end)?;
        let mut end = snapshot.wal.end;
        while self.log_on(self.owner(end).0, end).is_some() {
            end = end.saturating_add(UNIT);
        }
        Some(end)
    }

    fn stop(&self, snapshot: &Snapshot, limit: Timestamp) -> Option<Restore> {
        let reach = self.reach(snapshot)?;
        let own = self.world.logs.iter().filter(|log| {
            let (log, need) = (log.wal, snapshot.wal);
            log.timeline == need.timeline && log.start < need.end && need.start < log.end
        });
        let early = own.map(|log| at_most(log, snapshot.wal.end)).max().flatten();
        if snapshot.consistent_at >= limit || early > Some(limit) {
            return None;
        }
        for unit in units(snapshot.wal.end, reach) {
            let (number, left) = self.owner(unit);
            let log = self.log_on(number, unit)?;
            let end = log.wal.end.min(left);
            let blind = log.wal.timeline != snapshot.wal.timeline && log.wal.start < snapshot.wal.start;
            if !blind && at_least(log, end) > Some(limit) {
                let first = commits(log).iter().find(|commit| commit.max_time > limit);
                let stop = first.map(|commit| commit.end_lsn).filter(|&lsn| unit < lsn).unwrap_or(end);
                return Some(self.restore(snapshot, stop, false));
            }
            if at_most(log, end) > Some(limit) {
                return None;
            }
        }
        let idle = Some(limit) <= self.observed(reach);
        idle.then(|| self.restore(snapshot, reach, true))
    }

    /// The last observation of the clock at or before `reach`: of an ancestor, only from before it was left.
    fn observed(&self, reach: Lsn) -> Option<Timestamp> {
        self.path.iter().rev().filter(|&&(_, begin, _)| begin <= reach).find_map(|&(number, _, left)| {
            let timeline = self.world.timelines[number].id;
            let counts = |log: &&LogBackup| {
                log.wal.timeline == timeline && log.wal.end <= reach && (number == self.timeline || log.wal.end < left)
            };
            let seen = |log: &LogBackup| Some((log.wal.end, log.complete_through?));
            self.world.logs.iter().filter(counts).filter_map(seen).max().map(|(_, at)| at)
        })
    }

    fn restore(&self, snapshot: &Snapshot, stop: Lsn, idle: bool) -> Restore {
        let logs = self.logs(snapshot, stop).expect("it is reached");
        let (chain, bytes) = self.chain_bytes(snapshot);
        // Only the first timeline has no history; the last byte tells which one the restore ends on.
        let last = self.owner(Lsn::new(stop.as_u64().saturating_sub(1))).0;
        let (histories, history_bytes) = if last == 0 { (0, 0) } else { (1, 64) };
        let bytes = bytes + history_bytes + logs.iter().map(|log| log.stored_bytes).sum::<u64>();
        let objects = chain + histories + logs.len() as u64;
        // 200 MB/s, 5 ms an object, 50 MB/s: in microseconds, each rounded down.
        let micros = bytes / 200 + objects * 5_000 + stop.bytes_since(snapshot.wal.start) / 50;
        Restore { snapshot: snapshot.id.to_string(), stop, idle, estimated: Duration::from_micros(micros) }
    }
}

fn commits(log: &LogBackup) -> &[IndexedCommit] {
    log.index.as_ref().map_or(&[], |index| &index.commits)
}

fn units(from: Lsn, to: Lsn) -> impl Iterator<Item = Lsn> {
    (from.as_u64() / UNIT..to.as_u64().div_ceil(UNIT)).map(|unit| Lsn::new(unit * UNIT))
}

/// No commit that ends by `lsn` is later.
fn at_most(log: &LogBackup, lsn: Lsn) -> Option<Timestamp> {
    let next = commits(log).iter().find(|commit| commit.end_lsn >= lsn);
    if lsn >= log.wal.end { log.max_commit_time } else { next.map_or(log.max_commit_time, |next| Some(next.max_time)) }
}

/// Some commit that ends by `lsn` is this late.
fn at_least(log: &LogBackup, lsn: Lsn) -> Option<Timestamp> {
    let passed = commits(log).iter().rfind(|commit| commit.end_lsn <= lsn);
    if lsn >= log.wal.end { log.max_commit_time } else { passed.map(|passed| passed.max_time) }
}
