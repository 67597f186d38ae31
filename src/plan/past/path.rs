//! The past of one branch: the stretches of log, timeline after timeline, that lead to its end.

use super::candidate::{Candidate, Obstacle};
use super::evidence::Stop;
use crate::model::{
    Branch, BranchRecord, Catalog, LogRef, Lsn, SnapshotId, TimelineHistory, TimelineId, Timestamp, WalRange,
};

/// The past of one branch.
#[derive(Debug)]
pub(in crate::plan) struct Path<'a> {
    pub(in crate::plan) catalog: &'a Catalog,
    pub(in crate::plan) branch: Branch,
    pub(in crate::plan) history: &'a TimelineHistory,
    stretches: Vec<Stretch<'a>>,
}

/// What one timeline contributes: the log from `begin` to `end`, where the next one took over.
#[derive(Clone, Copy, Debug)]
pub(in crate::plan) struct Stretch<'a> {
    pub(in crate::plan) branch: Branch,
    pub(in crate::plan) timeline: TimelineId,
    pub(in crate::plan) record: &'a BranchRecord,
    begin: Lsn,
    end: Lsn,
}

/// A byte of the past: where, and on which stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plan) struct Position {
    pub(in crate::plan) stretch: usize,
    pub(in crate::plan) lsn: Lsn,
}

impl Position {
    /// The beginning of all log.
    pub(in crate::plan) const START: Self = Self { stretch: 0, lsn: Lsn::ZERO };
}

/// The log from `start` to `end`, all on one stretch.
#[derive(Clone, Copy, Debug)]
pub(in crate::plan) struct Span<'p, 'a> {
    pub(in crate::plan) stretch: &'p Stretch<'a>,
    pub(in crate::plan) start: Lsn,
    pub(in crate::plan) end: Lsn,
}

impl Span<'_, '_> {
    /// Whether `log`, of the same timeline, holds a byte of it.
    pub(in crate::plan) fn touches(&self, log: LogRef<'_>) -> bool {
        log.start() < self.end && self.start < log.end()
    }

    /// Whether a record that ends at `lsn` ends in it.
    pub(in crate::plan) fn has_end(&self, lsn: Lsn) -> bool {
        self.start < lsn && lsn <= self.end
    }
}

impl<'a> Path<'a> {
    /// The past of `branch`, or `None` if the catalog does not know it.
    pub(in crate::plan) fn new(catalog: &'a Catalog, branch: Branch) -> Option<Self> {
        let history = catalog.history(branch)?;
        let stretch = |(timeline, begin, end): (TimelineId, Lsn, Option<Lsn>)| {
            let branch = Branch::new(branch.incarnation, timeline);
            let record = catalog.record(branch)?;
            Some(Stretch { branch, timeline, record, begin, end: end.unwrap_or(Lsn::MAX) })
        };
        let stretches = history.stretches().map(stretch).collect::<Option<_>>()?;
        Some(Self { catalog, branch, history, stretches })
    }

    /// Every snapshot that the branch passed through, the furthest in the log first; of several that end at one position,
    /// the one with the last ID.
    pub(in crate::plan) fn snapshots(&self) -> impl Iterator<Item = (usize, &'a SnapshotId)> + '_ {
        self.stretches.iter().enumerate().rev().flat_map(|(number, stretch)| {
            let passed = |id: &&SnapshotId| self.catalog.snapshot(id).is_some_and(|s| s.wal.end <= stretch.end);
            stretch.record.snapshots.iter().rev().filter(passed).map(move |id| (number, id))
        })
    }

    /// Every snapshot that can be restored, in the same order.
    pub(in crate::plan) fn candidates(&self) -> impl Iterator<Item = Candidate<'_, 'a>> {
        self.snapshots().filter_map(|(stretch, id)| Candidate::new(self, stretch, id).ok())
    }

    /// The snapshot with this ID, if the branch passed through it.
    pub(in crate::plan) fn candidate(&self, id: &SnapshotId) -> Option<Result<Candidate<'_, 'a>, Obstacle>> {
        let (stretch, id) = self.snapshots().find(|&(_, passed)| passed == id)?;
        Some(Candidate::new(self, stretch, id))
    }

    /// The branch, and all that it descends from, oldest first.
    pub(in crate::plan) fn branches(&self) -> impl Iterator<Item = Branch> + '_ {
        self.stretches.iter().map(|stretch| stretch.branch)
    }

    /// The stretch with this number.
    pub(in crate::plan) fn stretch(&self, number: usize) -> Option<&Stretch<'a>> {
        self.stretches.get(number)
    }

    /// Where the timeline was left on the way to the branch's end; [`Lsn::MAX`] for the branch's own.
    pub(in crate::plan) fn left_at(&self, timeline: TimelineId) -> Lsn {
        self.stretches.iter().find(|stretch| stretch.timeline == timeline).map_or(Lsn::MAX, |stretch| stretch.end)
    }

    /// The byte at `lsn`, on the timeline that wrote it.
    pub(in crate::plan) fn position(&self, lsn: Lsn) -> Position {
        Position { stretch: self.stretches.partition_point(|stretch| stretch.end <= lsn), lsn }
    }

    /// The stop at `lsn`, on the timeline that wrote the last byte before it.
    pub(in crate::plan) fn stop_at(&self, lsn: Lsn) -> Stop {
        let timeline = self.history.timeline_at(Lsn::new(lsn.as_u64().saturating_sub(1)));
        Stop::at_end(WalRange { timeline, start: lsn, end: lsn })
    }

    /// How far the log is without a hole from a byte on: to the first byte that is missing.
    pub(in crate::plan) fn reach(&self, from: Position) -> Lsn {
        let mut at = from.lsn;
        for stretch in self.onward(from.stretch) {
            if at >= stretch.end {
                continue;
            }
            match stretch.record.log.run_end(at) {
                Some(end) if end >= stretch.end => at = stretch.end,
                end => return end.unwrap_or(at),
            }
        }
        at
    }

    /// The first hole from `lsn` on, if anything is archived after it.
    pub(in crate::plan) fn hole(&self, lsn: Lsn) -> Option<WalRange> {
        let Position { stretch, .. } = self.position(lsn);
        let hole = self.stretch(stretch)?;
        let next = |stretch: &Stretch<'_>| {
            let byte = stretch.record.log.next_byte(lsn.max(stretch.begin))?;
            (byte < stretch.end).then_some(byte)
        };
        let next = self.onward(stretch).find_map(next)?;
        WalRange::new(hole.timeline, lsn, next.min(hole.end)).ok()
    }

    /// Where the last log backup ends that the branch passed through; `None` if there is none.
    pub(in crate::plan) fn archived_end(&self) -> Option<Lsn> {
        let end = |stretch: &Stretch<'_>| Some(stretch.record.log.end()?.min(stretch.end));
        self.stretches.iter().rev().find_map(end)
    }

    /// The log from a byte to `to`, stretch by stretch.
    pub(in crate::plan) fn spans(&self, from: Position, to: Lsn) -> impl Iterator<Item = Span<'_, 'a>> {
        let mut start = from.lsn;
        self.onward(from.stretch).filter_map(move |stretch| {
            let end = stretch.end.min(to);
            let span = (start < end).then_some(Span { stretch, start, end });
            start = start.max(end);
            span
        })
    }

    /// The server's clock when it was last observed with the log ending between `from` and `lsn`: what was committed up to then
    /// is in the log up to `lsn`.
    ///
    /// A server on an ancestor that is idle at the switch point says nothing about its descendant, which might have
    /// committed by then: only what was observed before the switch point counts.
    pub(in crate::plan) fn observed_between(&self, from: Lsn, lsn: Lsn) -> Option<Timestamp> {
        let last = self.stretches.len().saturating_sub(1);
        self.stretches.iter().enumerate().rev().filter(|(_, stretch)| stretch.begin <= lsn).find_map(|(i, stretch)| {
            let before_switch = Lsn::new(stretch.end.as_u64().saturating_sub(1));
            let by = if i == last { lsn } else { lsn.min(before_switch) };
            stretch.record.log.observed_by(by).filter(|&(end, _)| end >= from).map(|(_, at)| at)
        })
    }

    fn onward(&self, number: usize) -> impl Iterator<Item = &Stretch<'a>> {
        self.stretches.iter().skip(number)
    }
}
