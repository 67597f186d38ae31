//! What can be known of the past of a timeline without reading more: found by walking its log unit by unit.
//!
//! Log backups of one timeline must not overlap here: then each unit is told of by one of them.

use pitr::model::{IndexedCommit, LogBackup, Lsn, ServerRole, Timestamp};

use crate::past::Past;
use crate::world::{Archived, Stretch, Taken, UNIT, lsn};

/// Where recovery stops, as far as is known: no later than at `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) end: u64,
    pub(crate) idle: bool,
}

/// Where recovery to `limit` stops from a snapshot, if that is known to be possible.
pub(crate) fn stop(past: &Past<'_>, taken: &Taken, limit: Timestamp) -> Option<Stop> {
    let reach = past.reach(taken)?;
    if taken.snapshot.consistent_at >= limit || late(past, taken, limit) {
        return None;
    }
    let mut unit = taken.end;
    while unit < reach {
        let stretch = past.path.iter().find(|stretch| unit < stretch.left)?;
        let log = log_on(past, stretch.timeline, unit)?;
        let end = log.end.min(stretch.left);
        // What is copied from before the snapshot may be what is late.
        let blind = log.timeline != taken.timeline && log.start < taken.start;
        let exact = exact(&log.backup, lsn(unit), lsn(end));
        let known = exact.unwrap_or_else(|| at_least(&log.backup, lsn(end)).filter(|_| !blind));
        if known > Some(limit) {
            return Some(Stop { end: first_late(&log.backup, unit, end, limit), idle: false });
        }
        if exact.unwrap_or_else(|| at_most(&log.backup, lsn(end))) > Some(limit) {
            return None;
        }
        unit = end;
    }
    (Some(limit) <= past.observed(taken.end, reach)).then_some(Stop { end: reach, idle: true })
}

/// Whether a commit after `limit` may be part of the snapshot, as soon as it is consistent.
fn late(past: &Past<'_>, taken: &Taken, limit: Timestamp) -> bool {
    let own = |log: &Archived| log.timeline == taken.timeline && log.start < taken.end && taken.start < log.end;
    let to = past.path.iter().position(|stretch| stretch.timeline == taken.timeline).map_or(0, |number| number + 1);
    let before = |log: &Archived| {
        let holds = |s: &Stretch| s.timeline == log.timeline && log.start < s.left;
        taken.snapshot.role == ServerRole::Standby && log.start < taken.end && past.path[..to].iter().any(holds)
    };
    let left = |log: &Archived| past.path.iter().find(|s| s.timeline == log.timeline).map_or(taken.end, |s| s.left);
    let logs = past.world.logs.iter().filter(|log| own(log) || before(log));
    let from = |log: &Archived| if before(log) { 0 } else { taken.start };
    let latest = |log: &Archived| {
        let end = lsn(left(log).min(taken.end));
        exact(&log.backup, lsn(from(log)), end).unwrap_or_else(|| at_most(&log.backup, end))
    };
    logs.map(latest).max().flatten() > Some(limit)
}

fn log_on<'w>(past: &Past<'w>, timeline: usize, unit: u64) -> Option<&'w Archived> {
    past.world.logs.iter().find(|log| log.timeline == timeline && log.start <= unit && unit < log.end)
}

fn first_late(log: &LogBackup, unit: u64, end: u64, limit: Timestamp) -> u64 {
    if let Some(ends) = log.index.as_ref().and_then(|index| index.transactions.as_ref()) {
        let late = ends.iter().find(|ended| ended.end_lsn > lsn(unit) && ended.time > limit);
        return late.map_or(end, |late| late.end_lsn.as_u64() / UNIT);
    }
    let first = commits(log).iter().find(|commit| commit.max_time > limit);
    let narrowed = first.map(|commit| commit.end_lsn.as_u64() / UNIT).filter(|&at| unit < at);
    narrowed.unwrap_or(end).min(end)
}

fn commits(log: &LogBackup) -> &[IndexedCommit] {
    log.index.as_ref().map_or(&[], |index| &index.commits)
}

/// Of what was read in full, the latest commit that ends after `from` and by `to`.
fn exact(log: &LogBackup, from: Lsn, to: Lsn) -> Option<Option<Timestamp>> {
    let ends = log.index.as_ref()?.transactions.as_ref()?;
    Some(ends.iter().filter(|end| from < end.end_lsn && end.end_lsn <= to).map(|end| end.time).max())
}

/// No commit that ends by `lsn` is later.
fn at_most(log: &LogBackup, lsn: Lsn) -> Option<Timestamp> {
    if lsn >= log.wal.end {
        return log.max_commit_time;
    }
    if lsn <= log.wal.start {
        return None;
    }
    let next = || commits(log).iter().find(|commit| commit.end_lsn >= lsn).map(|commit| commit.max_time);
    next().or(log.max_commit_time)
}

/// Some commit that ends by `lsn` is this late.
fn at_least(log: &LogBackup, lsn: Lsn) -> Option<Timestamp> {
    if lsn >= log.wal.end {
        return log.max_commit_time;
    }
    let passed = || commits(log).iter().rfind(|commit| commit.end_lsn <= lsn).map(|commit| commit.max_time);
    passed()
}
