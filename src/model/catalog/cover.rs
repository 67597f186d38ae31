//! The log backups that together hold a stretch of log, for the least weight.

use std::ops::{Add, Range};

use super::log_ref::LogRef;
use super::timeline_log::TimelineLog;
use crate::model::Lsn;

/// Of how many pieces one sum is kept.
const STRIDE: usize = 64;

/// What it takes to fetch objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// How many they are.
    pub(crate) objects: u64,
    /// Their bytes, as stored.
    pub(crate) bytes: u64,
}

impl Load {
    /// One object of `bytes` bytes.
    pub(crate) const fn object(bytes: u64) -> Self {
        Self { objects: 1, bytes }
    }
}

impl Add for Load {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let bytes = self.bytes.saturating_add(other.bytes);
        Self { objects: self.objects.saturating_add(other.objects), bytes }
    }
}

/// Log backups of one timeline that together hold a stretch of it.
#[derive(Clone, Debug)]
pub(crate) struct Cover<'a> {
    log: &'a TimelineLog,
    rows: Rows,
    pub(crate) load: Load,
}

#[derive(Clone, Debug)]
enum Rows {
    Pieces(Range<usize>),
    Chosen(Vec<usize>),
}

impl<'a> Cover<'a> {
    /// The log backups, in order.
    pub(crate) fn logs(&self) -> impl Iterator<Item = LogRef<'a>> + '_ {
        let log = self.log;
        let (pieces, chosen) = match &self.rows {
            Rows::Pieces(pieces) => (&log.pieces[pieces.clone()], &[][..]),
            Rows::Chosen(rows) => (&[][..], rows.as_slice()),
        };
        pieces.iter().chain(chosen).map(move |&row| log.get(row))
    }
}

impl TimelineLog {
    /// The log backups that hold the log from `start` to `end`, which is there without a hole: of all sets of them one of the
    /// least weight, where the weight of a set is the sum of what `weigh` says of each.
    ///
    /// Where nothing overlaps there is no choice, and it takes logarithmic time; otherwise it takes time linear in the number of
    /// log backups between the two.
    pub(crate) fn cover<W>(&self, start: Lsn, end: Lsn, weigh: impl Fn(Load) -> W) -> Cover<'_>
    where
        W: Copy + Ord + Add<Output = W> + Default,
    {
        if self.overlaps {
            return self.cheapest(start, end, weigh);
        }
        let pieces = self.pieces_between(start, end);
        Cover { log: self, load: self.load(pieces.clone()), rows: Rows::Pieces(pieces) }
    }

    /// The least weight that any cover of this has, or less.
    pub(crate) fn load_at_least(&self, start: Lsn, end: Lsn) -> Load {
        if self.overlaps { Load::default() } else { self.load(self.pieces_between(start, end)) }
    }

    /// The sums that [`load`](Self::load) begins with.
    pub(super) fn loads(&self) -> Vec<Load> {
        let mut sum = Load::default();
        let mut loads = Vec::with_capacity(self.pieces.len() / STRIDE + 1);
        for (number, &row) in self.pieces.iter().enumerate() {
            if number % STRIDE == 0 {
                loads.push(sum);
            }
            sum = sum + Load::object(self.rows.stored_bytes(row));
        }
        loads
    }

    /// What these pieces take to fetch.
    fn load(&self, pieces: Range<usize>) -> Load {
        let (before, all) = (self.load_before(pieces.start), self.load_before(pieces.end));
        Load { objects: all.objects - before.objects, bytes: all.bytes - before.bytes }
    }

    fn load_before(&self, piece: usize) -> Load {
        let known = piece.checked_sub(1).map_or(0, |last| last / STRIDE);
        let rest = self.pieces[known * STRIDE..piece].iter().map(|&row| Load::object(self.rows.stored_bytes(row)));
        rest.fold(self.loads.get(known).copied().unwrap_or_default(), Load::add)
    }

    /// Shortest path: the log backups in order of start, and for each the cheapest way to where it begins.
    fn cheapest<W>(&self, start: Lsn, end: Lsn, weigh: impl Fn(Load) -> W) -> Cover<'_>
    where
        W: Copy + Ord + Add<Output = W> + Default,
    {
        let mut steps: Vec<Step> = Vec::new();
        // How far one comes for which weight: both increase.
        let mut ways = vec![Way { reach: start, weight: W::default(), last: None }];
        for row in self.first_beyond(start)..self.len() {
            let (begin, reach) = (self.rows.start(row), self.rows.end(row).min(end));
            if begin >= end {
                break;
            }
            let from = ways.partition_point(|way| way.reach < begin);
            let Some(&Way { weight, last, .. }) = ways.get(from) else { continue };
            let weight = weight + weigh(Load::object(self.rows.stored_bytes(row)));
            let beaten = ways.partition_point(|way| way.reach < reach);
            if reach <= start || ways.get(beaten).is_some_and(|way| way.weight <= weight) {
                continue;
            }
            let worse = ways.partition_point(|way| way.weight < weight);
            let after = if ways.get(beaten).is_some_and(|way| way.reach == reach) { beaten + 1 } else { beaten };
            ways.splice(worse..after, [Way { reach, weight, last: Some(steps.len()) }]);
            steps.push(Step { row, before: last });
        }
        let last = ways.last().and_then(|way| way.last);
        let mut rows: Vec<usize> =
            std::iter::successors(last, |&step| steps[step].before).map(|s| steps[s].row).collect();
        rows.reverse();
        let load = rows.iter().fold(Load::default(), |sum, &row| sum + Load::object(self.rows.stored_bytes(row)));
        Cover { log: self, rows: Rows::Chosen(rows), load }
    }
}

/// The cheapest way to a position.
#[derive(Clone, Copy, Debug)]
struct Way<W> {
    reach: Lsn,
    weight: W,
    last: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    row: usize,
    before: Option<usize>,
}
