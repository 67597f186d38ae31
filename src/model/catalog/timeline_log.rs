//! The log backups of one timeline, linked so that every question about them is a binary search.

use std::ops::Range;

use super::max_tree::MaxTree;
use crate::model::{LogBackup, Lsn, Timestamp};

/// The log backups of one timeline.
///
/// Log backups may overlap (two archivers once ran, or small ones were compacted into larger ones). The *pieces* cut them
/// into a partition: from wherever the log is covered, each piece is of the log backup that reaches furthest, and ends where
/// that one ends. So consecutive pieces are of the fewest log backups that cover what they cover.
#[derive(Clone, Debug)]
pub(crate) struct TimelineLog {
    /// By start, then end, then key.
    backups: Vec<LogBackup>,
    /// For each log backup: which one up to here reaches furthest.
    furthest: Vec<usize>,
    pieces: Vec<PieceStart>,
    /// The maximal stretches without a hole.
    runs: Vec<Range<Lsn>>,
    commits: MaxTree<Timestamp>,
    /// What the server's clock showed when the log ended there, by end, then time.
    observations: Vec<(Lsn, Timestamp)>,
    last_seen: Option<(Lsn, Timestamp)>,
}

#[derive(Clone, Copy, Debug)]
struct PieceStart {
    start: Lsn,
    backup: usize,
}

/// What one log backup contributes to the partition: the log from `start` to its own end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) start: Lsn,
    pub(crate) backup: &'a LogBackup,
}

impl TimelineLog {
    pub(super) fn new(mut backups: Vec<LogBackup>) -> Self {
        backups.sort_by(|a, b| (a.wal, &a.object.key).cmp(&(b.wal, &b.object.key)));
        backups.dedup();
        let furthest = furthest(&backups);
        let (pieces, runs) = partition(&backups, &furthest);
        let commits = MaxTree::new(pieces.iter().map(|piece| backups[piece.backup].max_commit_time));
        let observations = observations(&backups);
        let seen = |backup: &LogBackup| Some((backup.wal.end, backup.complete_through.or(backup.max_commit_time)?));
        let last_seen = backups.iter().filter_map(seen).max();
        Self { backups, furthest, pieces, runs, commits, observations, last_seen }
    }

    /// All log backups, by start.
    pub(crate) fn backups(&self) -> &[LogBackup] {
        &self.backups
    }

    /// Where the last log backup ends.
    pub(crate) fn end(&self) -> Option<Lsn> {
        self.furthest.last().map(|&furthest| self.backups[furthest].wal.end)
    }

    /// The last position at which a time is known, and that time: the server's clock, or else a commit.
    pub(crate) fn last_seen(&self) -> Option<(Lsn, Timestamp)> {
        self.last_seen
    }

    /// Of the log backups that hold the byte at `lsn`, the one that reaches furthest.
    pub(crate) fn covering(&self, lsn: Lsn) -> Option<&LogBackup> {
        let started = self.backups.partition_point(|backup| backup.wal.start <= lsn);
        let furthest = &self.backups[self.furthest[started.checked_sub(1)?]];
        (lsn < furthest.wal.end).then_some(furthest)
    }

    /// How far the log is without a hole from the byte at `lsn` on; `None` if that byte is not there.
    pub(crate) fn run_end(&self, lsn: Lsn) -> Option<Lsn> {
        let started = self.runs.partition_point(|run| run.start <= lsn);
        Some(self.runs[started.checked_sub(1)?].end).filter(|&end| lsn < end)
    }

    /// The first byte at or after `lsn` that is there.
    pub(crate) fn next_byte(&self, lsn: Lsn) -> Option<Lsn> {
        let ended = self.runs.partition_point(|run| run.end <= lsn);
        self.runs.get(ended).map(|run| run.start.max(lsn))
    }

    /// The numbers of the pieces that hold a byte from `start` to `end`.
    pub(crate) fn pieces_between(&self, start: Lsn, end: Lsn) -> Range<usize> {
        let begun = |lsn: Lsn| self.pieces.partition_point(|piece| piece.start < lsn);
        let ended = self.pieces.partition_point(|piece| self.backups[piece.backup].wal.end <= start);
        ended..begun(end).max(ended)
    }

    /// The piece with this number.
    pub(crate) fn piece(&self, number: usize) -> Option<Piece<'_>> {
        self.pieces.get(number).map(|&PieceStart { start, backup }| Piece { start, backup: &self.backups[backup] })
    }

    /// The latest commit time of these pieces.
    pub(crate) fn max_commit_time(&self, pieces: Range<usize>) -> Option<Timestamp> {
        self.commits.max(pieces)
    }

    /// The first of these pieces with a commit after `limit`.
    pub(crate) fn first_commit_after(&self, limit: Timestamp, pieces: Range<usize>) -> Option<usize> {
        self.commits.first_above(pieces, limit)
    }

    /// The server's clock when it was last observed with the log ending at or before `lsn`: of the observations furthest in
    /// the log, the latest.
    pub(crate) fn observed_by(&self, lsn: Lsn) -> Option<Timestamp> {
        let seen = self.observations.partition_point(|&(end, _)| end <= lsn);
        Some(self.observations[seen.checked_sub(1)?].1)
    }
}

fn furthest(backups: &[LogBackup]) -> Vec<usize> {
    let better = |a: usize, b: usize| if backups[b].wal.end >= backups[a].wal.end { b } else { a };
    let mut best = 0;
    let furthest = (0..backups.len()).map(|number| {
        best = better(best, number);
        best
    });
    furthest.collect()
}

fn partition(backups: &[LogBackup], furthest: &[usize]) -> (Vec<PieceStart>, Vec<Range<Lsn>>) {
    let mut pieces: Vec<PieceStart> = Vec::new();
    let mut runs: Vec<Range<Lsn>> = Vec::new();
    let mut number = 0;
    while let Some(next) = backups.get(number) {
        let covered = runs.last().map_or(Lsn::ZERO, |run| run.end);
        let start = next.wal.start.max(covered);
        // Everything that starts where the log is covered already competes for the next piece.
        while backups.get(number).is_some_and(|backup| backup.wal.start <= start) {
            number += 1;
        }
        let backup = furthest[number - 1];
        let end = backups[backup].wal.end;
        if end <= start {
            continue;
        }
        pieces.push(PieceStart { start, backup });
        match runs.last_mut() {
            Some(run) if run.end == start => run.end = end,
            _ => runs.push(start..end),
        }
    }
    (pieces, runs)
}

/// By end, then time, so that of the observations up to a position the last one is that of the furthest end, and of several
/// with that end the latest. So a clock that once ran ahead counts no more when log follows.
///
/// The order in which observations with one end were made is not known, and need not be. Each says of its own that the log
/// did not go on; an idle server makes a new one every so often, and only the latest moves the window on. If its clock was
/// set back meanwhile, an instant between the two readings comes twice, and before the next commit both times the state is
/// the same. The first commit after that ends further on, as does the next observation, which then counts alone.
fn observations(backups: &[LogBackup]) -> Vec<(Lsn, Timestamp)> {
    let seen = |backup: &LogBackup| Some((backup.wal.end, backup.complete_through?));
    let mut observations: Vec<_> = backups.iter().filter_map(seen).collect();
    observations.sort_unstable();
    observations
}
