//! What log backups tell of the times of the commits in them.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::path::Span;
use crate::model::{
    IndexedCommit, LogBackup, LogRef, Lsn, Piece, Snapshot, TimelineLog, Timestamp, TransactionEnd, WalRange,
};
use crate::plan::window::TICK;

/// Where recovery stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plan) struct Stop {
    /// It stops in here, or at its end.
    pub(in crate::plan) range: WalRange,
    /// If there is no commit to stop before: the last one, and up to when it is known that there is none.
    pub(in crate::plan) idle: Option<(Option<Timestamp>, Timestamp)>,
}

impl Stop {
    /// At the end of `range`.
    pub(in crate::plan) fn at_end(range: WalRange) -> Self {
        Self { range: WalRange { start: range.end, ..range }, idle: None }
    }

    /// Whether both are the same position. What differs is at most how much of a log backup lies after a snapshot.
    pub(in crate::plan) fn is(&self, other: &Self) -> bool {
        let key = |stop: &Self| (stop.range.timeline, stop.range.end, stop.idle.is_some());
        key(self) == key(other)
    }
}

/// What must be read of a log backup before it is known whether something can be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Need {
    /// Its commit index, which is stored with it.
    Index(LogBackup),
    /// Where each of its transactions ends, which is read out of the log itself.
    Transactions(LogBackup),
}

impl Need {
    /// What is to be read next of `log`, until there is nothing more.
    pub(in crate::plan) fn of(log: LogRef<'_>) -> Option<Self> {
        match log.index() {
            None => Some(Self::Index(log.to_backup())),
            Some(index) if index.transactions.is_none() => Some(Self::Transactions(log.to_backup())),
            Some(_) => None,
        }
    }

    /// The log backup.
    #[must_use]
    pub fn log(&self) -> &LogBackup {
        match self {
            Self::Index(log) | Self::Transactions(log) => log,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(log) => write!(f, "the commit index of {}", log.key()),
            Self::Transactions(log) => write!(f, "the transactions of {}", log.key()),
        }
    }
}

/// Whether there is a commit after a limit.
#[derive(Debug)]
pub(super) enum Verdict<'a> {
    /// There is, and the first one ends here.
    Certain(Stop),
    /// There may be one in this log backup; what is in it would tell.
    Unknown(LogRef<'a>),
    /// There is none.
    None,
}

/// The log after a snapshot, in order, in parts of which it is known or not whether their commits count.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    parts: Vec<Part<'a>>,
}

#[derive(Debug)]
enum Part<'a> {
    /// Every commit of these pieces is replayed.
    Whole { log: &'a TimelineLog, start: Lsn, pieces: Range<usize> },
    /// Of this log backup, only commits up to `end` are replayed, or it is unknown which ones. One surely has the time
    /// `certain`, none a time after `possible`.
    Edge { log: LogRef<'a>, start: Lsn, end: Lsn, certain: Option<Timestamp>, possible: Option<Timestamp> },
}

impl<'a> Evidence<'a> {
    /// What `spans`, the log after `snapshot`, tell.
    ///
    /// Two kinds of log backups are edges: one that goes on after its timeline was left, where the commits of an orphaned
    /// branch follow; and one that begins before the snapshot, as one of a later timeline can with its copy of its parent's
    /// bytes, and one that overlaps others. Only if it is the one that makes the snapshot consistent is there no doubt without
    /// its transactions: an eligible snapshot has no commit after the limit there.
    pub(super) fn new<'p>(spans: impl Iterator<Item = Span<'p, 'a>>, snapshot: &Snapshot) -> Self
    where
        'a: 'p,
    {
        let mut parts = Vec::new();
        for Span { stretch, start, end } in spans {
            let log = &stretch.record.log;
            let mut pieces = log.pieces_between(start, end);
            let other = stretch.timeline != snapshot.wal.timeline;
            let blind = |piece: &Piece<'_>| {
                let unchecked = other || piece.start >= snapshot.wal.end;
                (unchecked || transactions(piece.log).is_some()) && piece.log.start() < snapshot.wal.start
            };
            while let Some(Piece { start: begin, log }) = first(log, &pieces).filter(blind) {
                pieces.start += 1;
                let (start, end) = (begin.max(start), end.min(log.end()));
                let exact = transactions(log).map(|ends| latest(ends, start, end));
                let possible = exact.unwrap_or_else(|| latest_commit_by(log, end));
                parts.push(Part::Edge { log, start, end, certain: exact.flatten(), possible });
            }
            let clipped = last(log, &pieces).filter(|piece| piece.log.end() > end);
            pieces.end -= usize::from(clipped.is_some());
            parts.push(Part::Whole { log, start, pieces });
            parts.extend(clipped.map(|Piece { start: begin, log }| {
                let (certain, possible) = (certain_commit_by(log, end), latest_commit_by(log, end));
                Part::Edge { log, start: begin.max(start), end, certain, possible }
            }));
        }
        Self { parts }
    }

    /// All limits from `floor` on for which it is certain where the first commit after them is, as first and last ones, or
    /// none where the last one is before the first; and the limit from which on there is certainly none.
    pub(super) fn limits(&self, floor: Timestamp) -> (Vec<(Timestamp, Timestamp)>, Timestamp) {
        let mut known = Vec::new();
        let mut passed = floor;
        for part in &self.parts {
            known.extend(part.certain().map(|certain| (passed, certain.saturating_sub(TICK))));
            passed = part.possible().map_or(passed, |possible| possible.max(passed));
        }
        (known, passed)
    }

    /// A time after which certainly no commit is.
    pub(super) fn possible(&self) -> Option<Timestamp> {
        self.parts.iter().filter_map(Part::possible).max()
    }

    /// Whether and where there is a commit after `limit`.
    ///
    /// If the first one could lie before the end of an edge, that is not good enough, even if there surely is one later:
    /// the timeline to recover along depends on it.
    pub(super) fn verdict(&self, limit: Timestamp) -> Verdict<'a> {
        for part in &self.parts {
            if let Some(range) = part.first_after(limit) {
                return Verdict::Certain(Stop { range, idle: None });
            }
            if let Part::Edge { log, .. } = *part
                && part.possible() > Some(limit)
            {
                return Verdict::Unknown(log);
            }
        }
        Verdict::None
    }
}

impl Part<'_> {
    fn certain(&self) -> Option<Timestamp> {
        match self {
            Self::Whole { log, pieces, .. } => log.max_commit_time(pieces.clone()),
            Self::Edge { certain, .. } => *certain,
        }
    }

    fn possible(&self) -> Option<Timestamp> {
        match self {
            Self::Whole { log, pieces, .. } => log.max_commit_time(pieces.clone()),
            Self::Edge { possible, .. } => *possible,
        }
    }

    /// Between which positions the first commit ends that is certainly after `limit`.
    fn first_after(&self, limit: Timestamp) -> Option<WalRange> {
        match self {
            Self::Whole { log, start, pieces } => {
                let piece = log.piece(log.first_commit_after(limit, pieces.clone())?)?;
                let start = piece.start.max(*start);
                let range = narrowed(piece.log, start, piece.log.end(), limit);
                // Another one that overlaps it may tell of an earlier end; not of a later start, as it need not begin there.
                let shorter = log.soonest_commit_after(limit, start..piece.log.end());
                let end = shorter.map_or(range.end, |log| narrowed(log, start, log.end(), limit).end);
                Some(WalRange { end: range.end.min(end), ..range })
            }
            Self::Edge { log, start, end, certain, .. } => {
                (*certain > Some(limit)).then(|| narrowed(*log, *start, *end, limit))
            }
        }
    }
}

/// A time after which no commit of `log` can be that ends after `start`, and at or before `end`.
///
/// What ends before `start` is only told apart by the transactions themselves.
pub(super) fn latest_commit_between(log: LogRef<'_>, start: Lsn, end: Lsn) -> Option<Timestamp> {
    transactions(log).map_or_else(|| latest_commit_by(log, end), |ends| latest(ends, start, end))
}

/// A time after which no commit of `log` can be that ends at or before `lsn`.
pub(super) fn latest_commit_by(log: LogRef<'_>, lsn: Lsn) -> Option<Timestamp> {
    if lsn <= log.start() {
        return None;
    }
    if lsn >= log.end() {
        return log.max_commit_time();
    }
    if let Some(ends) = transactions(log) {
        return latest(ends, Lsn::ZERO, lsn);
    }
    // The running maximum at the next entry is all that is known in front of it.
    let next = log.commits().partition_point(|commit| commit.end_lsn < lsn);
    log.commits().get(next).map(|commit| commit.max_time).or_else(|| log.max_commit_time())
}

/// A time that a commit of `log` certainly has that ends at or before `lsn`, the latest such.
fn certain_commit_by(log: LogRef<'_>, lsn: Lsn) -> Option<Timestamp> {
    if lsn >= log.end() {
        return log.max_commit_time();
    }
    if let Some(ends) = transactions(log) {
        return latest(ends, Lsn::ZERO, lsn);
    }
    let passed = log.commits().partition_point(|commit| commit.end_lsn <= lsn);
    Some(log.commits()[passed.checked_sub(1)?].max_time)
}

fn transactions(log: LogRef<'_>) -> Option<&[TransactionEnd]> {
    log.index()?.transactions.as_deref()
}

/// The latest of those that end after `start`, and at or before `end`.
fn latest(ends: &[TransactionEnd], start: Lsn, end: Lsn) -> Option<Timestamp> {
    between(ends, start, end).iter().map(|end| end.time).max()
}

fn between(ends: &[TransactionEnd], start: Lsn, end: Lsn) -> &[TransactionEnd] {
    let from = ends.partition_point(|ended| ended.end_lsn <= start);
    let to = ends.partition_point(|ended| ended.end_lsn <= end);
    ends.get(from..to).unwrap_or_default()
}

/// Where between `start` and `end` the first commit of `log` after `limit` ends, as near as is known.
fn narrowed(log: LogRef<'_>, start: Lsn, end: Lsn, limit: Timestamp) -> WalRange {
    let ends = transactions(log).map_or(&[][..], |ends| between(ends, start, end));
    if let Some(first) = ends.iter().position(|ended| ended.time > limit) {
        let start = first.checked_sub(1).map_or(start, |before| ends[before].end_lsn);
        return WalRange { timeline: log.timeline(), start, end: ends[first].end_lsn };
    }
    let commits = log.commits();
    let first = commits.partition_point(|commit| commit.max_time <= limit);
    let after = |number: usize| commits.get(number).map(|commit: &IndexedCommit| commit.end_lsn);
    let start = first.checked_sub(1).and_then(after).map_or(start, |lsn| lsn.clamp(start, end));
    let end = after(first).filter(|&lsn| lsn > start).map_or(end, |lsn| lsn.min(end));
    WalRange { timeline: log.timeline(), start, end }
}

fn first<'a>(log: &'a TimelineLog, pieces: &Range<usize>) -> Option<Piece<'a>> {
    pieces.clone().next().and_then(|piece| log.piece(piece))
}

fn last<'a>(log: &'a TimelineLog, pieces: &Range<usize>) -> Option<Piece<'a>> {
    pieces.clone().next_back().and_then(|piece| log.piece(piece))
}
