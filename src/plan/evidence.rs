//! What log backups tell of the times of the commits in them.

use std::ops::Range;

use super::path::Span;
use super::window::TICK;
use crate::model::{LogBackup, Lsn, ObjectKey, Piece, Snapshot, TimelineLog, Timestamp, WalRange};

/// Where recovery stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    /// It stops in here, or at its end.
    pub(super) range: WalRange,
    /// If there is no commit to stop before: the last one, and up to when it is known that there is none.
    pub(super) idle: Option<(Option<Timestamp>, Timestamp)>,
}

impl Stop {
    /// At the end of `range`.
    pub(super) fn at_end(range: WalRange) -> Self {
        Self { range: WalRange { start: range.end, ..range }, idle: None }
    }

    /// Whether both are the same position. What differs is at most how much of a log backup lies after a snapshot.
    pub(super) fn is(&self, other: &Self) -> bool {
        let key = |stop: &Self| (stop.range.timeline, stop.range.end, stop.idle.is_some());
        key(self) == key(other)
    }
}

/// Whether there is a commit after a limit.
#[derive(Debug)]
pub(super) enum Verdict {
    /// There is, and the first one ends here.
    Certain(Stop),
    /// There may be one in this log backup; its commit index would tell.
    Unknown(ObjectKey),
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
    /// Of this log backup, only commits up to `end` are replayed, or it is unknown which ones.
    Edge { backup: &'a LogBackup, start: Lsn, end: Lsn, certain: Option<Timestamp> },
}

impl<'a> Evidence<'a> {
    /// What `spans`, the log after `snapshot`, tell.
    ///
    /// Two kinds of log backups are edges: one that goes on after its timeline was left, where the commits of an orphaned
    /// branch follow; and one that begins before the snapshot, as one of a later timeline can with its copy of its parent's
    /// bytes. If it is of the snapshot's own timeline, then the snapshot's own log overlaps it (unless that is empty), and an
    /// eligible snapshot has no commit after the limit there.
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
                let unchecked = other || (snapshot.wal.bytes() == 0 && piece.start >= snapshot.wal.end);
                unchecked && piece.backup.wal.start < snapshot.wal.start
            };
            while let Some(piece) = first(log, &pieces).filter(blind) {
                pieces.start += 1;
                let end = end.min(piece.backup.wal.end);
                parts.push(Part::Edge { backup: piece.backup, start: piece.start.max(start), end, certain: None });
            }
            let clipped = last(log, &pieces).filter(|piece| piece.backup.wal.end > end);
            pieces.end -= usize::from(clipped.is_some());
            parts.push(Part::Whole { log, start, pieces });
            parts.extend(clipped.map(|Piece { start: begin, backup }| {
                let certain = certain_commit_by(backup, end);
                Part::Edge { backup, start: begin.max(start), end, certain }
            }));
        }
        Self { parts }
    }

    /// All limits from `floor` on for which it is certain where the first commit after them is, as first and last ones; and
    /// the limit from which on there is certainly none.
    pub(super) fn limits(&self, floor: Timestamp) -> (Vec<(Timestamp, Timestamp)>, Timestamp) {
        let mut known = Vec::new();
        let mut passed = floor;
        for part in &self.parts {
            if let Some(certain) = part.certain().filter(|&certain| certain > passed) {
                known.push((passed, certain.saturating_sub(TICK)));
            }
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
    pub(super) fn verdict(&self, limit: Timestamp) -> Verdict {
        for part in &self.parts {
            if let Some((backup, start, end)) = part.first_after(limit) {
                return Verdict::Certain(Stop { range: narrowed(backup, start, end, limit), idle: None });
            }
            if let Part::Edge { backup, .. } = part
                && part.possible() > Some(limit)
            {
                return Verdict::Unknown(backup.object.key.clone());
            }
        }
        Verdict::None
    }
}

impl<'a> Part<'a> {
    fn certain(&self) -> Option<Timestamp> {
        match self {
            Self::Whole { log, pieces, .. } => log.max_commit_time(pieces.clone()),
            Self::Edge { certain, .. } => *certain,
        }
    }

    fn possible(&self) -> Option<Timestamp> {
        match self {
            Self::Whole { log, pieces, .. } => log.max_commit_time(pieces.clone()),
            Self::Edge { backup, end, .. } => latest_commit_by(backup, *end),
        }
    }

    /// The log backup with the first commit that is certainly after `limit`, and between which positions.
    fn first_after(&self, limit: Timestamp) -> Option<(&'a LogBackup, Lsn, Lsn)> {
        match self {
            Self::Whole { log, start, pieces } => {
                let piece = log.piece(log.first_commit_after(limit, pieces.clone())?)?;
                Some((piece.backup, piece.start.max(*start), piece.backup.wal.end))
            }
            Self::Edge { backup, start, end, certain } => (*certain > Some(limit)).then_some((backup, *start, *end)),
        }
    }
}

/// A time after which no commit of `backup` can be that ends at or before `lsn`.
pub(super) fn latest_commit_by(backup: &LogBackup, lsn: Lsn) -> Option<Timestamp> {
    if lsn <= backup.wal.start {
        return None;
    }
    let commits = &backup.index.commits;
    let next = commits.partition_point(|commit| commit.end_lsn < lsn);
    // The running maximum at the next entry is all that is known in front of it.
    commits.get(next).map(|commit| commit.max_time).filter(|_| lsn < backup.wal.end).or(backup.max_commit_time)
}

/// A time that a commit of `backup` certainly has that ends at or before `lsn`, the latest such.
fn certain_commit_by(backup: &LogBackup, lsn: Lsn) -> Option<Timestamp> {
    if lsn >= backup.wal.end {
        return backup.max_commit_time;
    }
    let passed = backup.index.commits.partition_point(|commit| commit.end_lsn <= lsn);
    Some(backup.index.commits[passed.checked_sub(1)?].max_time)
}

/// Where between `start` and `end` the first commit of `backup` after `limit` ends, as near as the index tells.
fn narrowed(backup: &LogBackup, start: Lsn, end: Lsn, limit: Timestamp) -> WalRange {
    let commits = &backup.index.commits;
    let first = commits.partition_point(|commit| commit.max_time <= limit);
    let after = |number: usize| commits.get(number).map(|commit| commit.end_lsn);
    let start = first.checked_sub(1).and_then(after).map_or(start, |lsn| lsn.clamp(start, end));
    let end = after(first).filter(|&lsn| lsn > start).map_or(end, |lsn| lsn.min(end));
    WalRange { timeline: backup.wal.timeline, start, end }
}

fn first<'a>(log: &'a TimelineLog, pieces: &Range<usize>) -> Option<Piece<'a>> {
    pieces.clone().next().and_then(|piece| log.piece(piece))
}

fn last<'a>(log: &'a TimelineLog, pieces: &Range<usize>) -> Option<Piece<'a>> {
    pieces.clone().next_back().and_then(|piece| log.piece(piece))
}
