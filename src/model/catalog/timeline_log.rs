//! The log backups of one timeline, linked so that every question about them is a binary search.

use std::ops::Range;
use std::sync::Arc;

use super::block_max::BlockMax;
use super::cover::Load;
use super::log_ref::LogRef;
use super::log_rows::LogRows;
use crate::model::{CommitIndex, LogBackup, Lsn, Timestamp};

/// The log backups of one timeline.
///
/// Log backups may overlap (two archivers once ran, or small ones were compacted into larger ones). The *pieces* cut them
/// into a partition: from wherever the log is covered, each piece is of the log backup that reaches furthest, and ends where
/// that one ends.
#[derive(Clone, Debug)]
pub(crate) struct TimelineLog {
    pub(super) rows: LogRows,
    /// For each row: which one up to here reaches furthest. Empty if each one itself does.
    furthest: Vec<usize>,
    /// The row of each piece. A piece begins with its row, or else where the piece before it ends.
    pub(super) pieces: Vec<usize>,
    /// Whether any two log backups have a byte in common. If not, the pieces are all log backups that are not empty.
    pub(super) overlaps: bool,
    /// The maximal stretches without a hole.
    runs: Vec<Range<Lsn>>,
    commits: BlockMax<Timestamp>,
    /// What all pieces before every so many take to fetch: what sums begin with.
    pub(super) loads: Vec<Load>,
    /// What the server's clock showed when the log ended there, by end, then time.
    observations: Vec<(Lsn, Timestamp)>,
    last_seen: Option<(Lsn, Timestamp)>,
    /// The rows that hold restore points.
    with_restore_points: Vec<usize>,
    /// The rows whose index was read, in order.
    indexed: Vec<usize>,
}

/// What one log backup contributes to the partition: the log from `start` to its own end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) start: Lsn,
    pub(crate) log: LogRef<'a>,
}

impl TimelineLog {
    pub(super) fn new(mut rows: LogRows) -> Self {
        rows.sort();
        let all = 0..rows.len();
        let furthest = furthest(&rows);
        let (pieces, runs) = partition(&rows, &furthest);
        let whole = |piece: &usize| rows.end(*piece) > rows.start(*piece);
        let starts_alone = pieces.iter().zip(pieces.iter().skip(1)).all(|(&a, &b)| rows.end(a) <= rows.start(b));
        let overlaps = !starts_alone || all.clone().filter(whole).count() != pieces.len();
        let commits = BlockMax::new(pieces.len(), |piece| rows.max_commit_time(pieces[piece]));
        let seen = |row| Some((rows.end(row), rows.complete_through(row).or_else(|| rows.max_commit_time(row))?));
        let mut log = Self {
            observations: observations(&rows),
            last_seen: all.clone().filter_map(seen).max(),
            with_restore_points: all.clone().filter(|&row| rows.restore_points(row) > 0).collect(),
            indexed: all.filter(|&row| rows.index_of(row).is_some()).collect(),
            loads: Vec::new(),
            rows,
            furthest,
            pieces,
            overlaps,
            runs,
            commits,
        };
        log.loads = log.loads();
        log
    }

    /// How many log backups there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The log backup with this number: they are in order of start, then end.
    pub(crate) fn get(&self, row: usize) -> LogRef<'_> {
        LogRef::of(&self.rows, row)
    }

    /// All log backups, by start.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = LogRef<'_>> + DoubleEndedIterator {
        (0..self.len()).map(|row| self.get(row))
    }

    /// The number of log backups that begin at or before `lsn`.
    pub(crate) fn begun_by(&self, lsn: Lsn) -> usize {
        self.rows.begun_by(lsn)
    }

    /// The first log backup of those from which on any reaches beyond `lsn`.
    pub(crate) fn first_beyond(&self, lsn: Lsn) -> usize {
        if self.furthest.is_empty() {
            return partition_point(self.len(), |row| self.rows.end(row) <= lsn);
        }
        self.furthest.partition_point(|&furthest| self.rows.end(furthest) <= lsn)
    }

    /// Where the last log backup ends.
    pub(crate) fn end(&self) -> Option<Lsn> {
        let last = self.len().checked_sub(1)?;
        Some(self.rows.end(self.furthest_up_to(last)))
    }

    /// The last position at which a time is known, and that time: the server's clock, or else a commit.
    pub(crate) fn last_seen(&self) -> Option<(Lsn, Timestamp)> {
        self.last_seen
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
        let ended = self.pieces.partition_point(|&row| self.rows.end(row) <= start);
        let begun = partition_point(self.pieces.len(), |piece| self.piece_start(piece) < end);
        ended..begun.max(ended)
    }

    /// The piece with this number.
    pub(crate) fn piece(&self, number: usize) -> Option<Piece<'_>> {
        let &row = self.pieces.get(number)?;
        Some(Piece { start: self.piece_start(number), log: self.get(row) })
    }

    /// The latest commit time of these pieces.
    pub(crate) fn max_commit_time(&self, pieces: Range<usize>) -> Option<Timestamp> {
        self.commits.max(pieces, |piece| self.commit_time(piece))
    }

    /// The first of these pieces with a commit after `limit`.
    pub(crate) fn first_commit_after(&self, limit: Timestamp, pieces: Range<usize>) -> Option<usize> {
        self.commits.first_above(pieces, limit, |piece| self.commit_time(piece))
    }

    /// Where log backups overlap: of those that begin in `range` and end before it does, the one that ends first of which it is
    /// known that a commit in it is after `limit`.
    pub(crate) fn soonest_commit_after(&self, limit: Timestamp, range: Range<Lsn>) -> Option<LogRef<'_>> {
        if !self.overlaps {
            return None;
        }
        let first = partition_point(self.len(), |row| self.rows.start(row) < range.start);
        let within = (first..self.len()).take_while(|&row| self.rows.start(row) < range.end);
        let shows = |&row: &usize| self.rows.end(row) < range.end && self.rows.max_commit_time(row) > Some(limit);
        within.filter(shows).min_by_key(|&row| self.rows.end(row)).map(|row| self.get(row))
    }

    /// The server's clock when it was last observed with the log ending at or before `lsn`: of the observations furthest in
    /// the log, the latest; and where the log ended then.
    pub(crate) fn observed_by(&self, lsn: Lsn) -> Option<(Lsn, Timestamp)> {
        let seen = self.observations.partition_point(|&(end, _)| end <= lsn);
        Some(self.observations[seen.checked_sub(1)?])
    }

    /// The log backups that hold restore points, by start.
    pub(crate) fn with_restore_points(&self) -> impl Iterator<Item = LogRef<'_>> {
        self.with_restore_points.iter().map(|&row| self.get(row))
    }

    /// The numbers of the log backups whose index was read, in order.
    pub(crate) fn indexed(&self) -> &[usize] {
        &self.indexed
    }

    /// Whether there is a log backup of the same name.
    pub(super) fn has(&self, log: &LogBackup) -> bool {
        let first = partition_point(self.len(), |row| self.rows.start(row) < log.wal.start);
        let mut same_start = (first..self.begun_by(log.wal.start)).map(|row| self.get(row));
        same_start.any(|found| found.key() == log.key())
    }

    /// Notes the index of a log backup; `false` if that is not there.
    pub(super) fn load_index(&mut self, log: &LogBackup, index: Arc<CommitIndex>) -> bool {
        let Some(row) = self.rows.load(log, index) else { return false };
        if let Err(place) = self.indexed.binary_search(&row) {
            self.indexed.insert(place, row);
        }
        true
    }

    /// Where a piece begins.
    pub(super) fn piece_start(&self, number: usize) -> Lsn {
        let start = self.rows.start(self.pieces[number]);
        number.checked_sub(1).map_or(start, |before| start.max(self.rows.end(self.pieces[before])))
    }

    fn commit_time(&self, piece: usize) -> Option<Timestamp> {
        self.rows.max_commit_time(self.pieces[piece])
    }

    fn furthest_up_to(&self, row: usize) -> usize {
        self.furthest.get(row).copied().unwrap_or(row)
    }
}

/// The first of the numbers below `length` for which `holds` does not hold, if it holds for all before it.
fn partition_point(length: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

fn furthest(rows: &LogRows) -> Vec<usize> {
    if (1..rows.len()).all(|row| rows.end(row - 1) <= rows.end(row)) {
        return Vec::new();
    }
    let mut best = 0;
    let furthest = (0..rows.len()).map(|row| {
        if rows.end(row) >= rows.end(best) {
            best = row;
        }
        best
    });
    furthest.collect()
}

fn partition(rows: &LogRows, furthest: &[usize]) -> (Vec<usize>, Vec<Range<Lsn>>) {
    let mut pieces = Vec::with_capacity(rows.len());
    let mut runs: Vec<Range<Lsn>> = Vec::new();
    let mut number = 0;
    while number < rows.len() {
        let covered = runs.last().map_or(Lsn::ZERO, |run| run.end);
        let start = rows.start(number).max(covered);
        // Everything that starts where the log is covered already competes for the next piece.
        while number < rows.len() && rows.start(number) <= start {
            number += 1;
        }
        let row = furthest.get(number - 1).copied().unwrap_or(number - 1);
        let end = rows.end(row);
        if end <= start {
            continue;
        }
        pieces.push(row);
        match runs.last_mut() {
            Some(run) if run.end == start => run.end = end,
            _ => runs.push(start..end),
        }
    }
    pieces.shrink_to_fit();
    (pieces, runs)
}

/// By end, then time, so that of the observations up to a position the last one is that of the furthest end, and of several
/// with that end the latest. So a clock that once ran ahead counts no more when log follows.
///
/// The order in which observations with one end were made is not known, and need not be. Each says of its own that the log
/// did not go on; an idle server makes a new one every so often, and only the latest moves the window on. If its clock was
/// set back meanwhile, an instant between the two readings comes twice, and before the next commit both times the state is
/// the same. The first commit after that ends further on, as does the next observation, which then counts alone.
fn observations(rows: &LogRows) -> Vec<(Lsn, Timestamp)> {
    let seen = |row| Some((rows.end(row), rows.complete_through(row)?));
    let mut observations: Vec<_> = (0..rows.len()).filter_map(seen).collect();
    if !observations.is_sorted() {
        observations.sort_unstable();
    }
    // Of several with one end only the latest counts.
    observations.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            *kept = *later;
        }
        same
    });
    observations.shrink_to_fit();
    observations
}
