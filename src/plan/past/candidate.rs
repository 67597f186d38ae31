//! A snapshot from which recovery could start.

use super::evidence::{self, Evidence, Need, Stop, Verdict};
use super::path::{Path, Position, Span};
use crate::model::{
    Chain, Linked, LogRef, Lsn, ServerRole, Snapshot, SnapshotId, TimelineLog, Timestamp, Unusable, WalRange,
};
use crate::plan::window::{RestorableInterval, TICK};

/// A snapshot of which the chain and all of its own log is there.
#[derive(Debug)]
pub(in crate::plan) struct Candidate<'p, 'a> {
    path: &'p Path<'a>,
    pub(in crate::plan) snapshot: &'a Snapshot,
    pub(in crate::plan) chain: Chain,
    /// The snapshot's timeline.
    stretch: usize,
    /// The first byte of log that a restore stages.
    pub(in crate::plan) from: Position,
    /// The first byte of log that is missing.
    pub(in crate::plan) reach: Lsn,
    /// The first instant that can be restored from it, if the log goes on.
    pub(in crate::plan) floor: Timestamp,
}

/// Why a snapshot cannot be restored.
#[derive(Debug)]
pub(in crate::plan) enum Obstacle {
    Chain(Unusable),
    Log(WalRange),
}

impl<'p, 'a> Candidate<'p, 'a> {
    /// The snapshot `id`, which ends on the stretch with the number `stretch`.
    pub(in crate::plan) fn new(path: &'p Path<'a>, stretch: usize, id: &SnapshotId) -> Result<Self, Obstacle> {
        let missing = || Obstacle::Chain(Unusable::ParentMissing { parent: id.clone() });
        let Linked { snapshot, chain } = path.catalog.linked(id).ok_or_else(missing)?;
        let chain = chain.clone().map_err(Obstacle::Chain)?;
        let from = first_byte(path, stretch, snapshot);
        let reach = path.reach(from);
        if reach < snapshot.wal.end {
            let rest = WalRange { start: reach, ..snapshot.wal };
            return Err(Obstacle::Log(path.hole(reach).unwrap_or(rest)));
        }
        let consistent = snapshot.consistent_at.saturating_add(TICK);
        let mut candidate = Self { path, snapshot, chain, stretch, from, reach, floor: consistent };
        candidate.floor = candidate.own_commits().map_or(consistent, |latest| latest.max(consistent));
        Ok(candidate)
    }

    /// Where PostgreSQL stops if it starts from here and replays every commit up to `limit`, and none after.
    pub(in crate::plan) fn stop_after(&self, limit: Timestamp) -> Option<Stop> {
        if limit < self.floor {
            return None;
        }
        match self.evidence().verdict(limit) {
            Verdict::Certain(stop) => Some(stop),
            Verdict::Unknown(_) => None,
            Verdict::None => {
                let complete = self.path.observed_by(self.reach)?;
                (limit <= complete).then(|| self.end_of_log(complete))
            }
        }
    }

    /// All limits for which [`Self::stop_after`] has an answer.
    pub(in crate::plan) fn intervals(&self) -> impl Iterator<Item = RestorableInterval> {
        let (mut intervals, quiet_from) = self.evidence().limits(self.floor);
        intervals.extend(self.path.observed_by(self.reach).map(|complete| (quiet_from, complete)));
        intervals.into_iter().filter(|(from, until)| from <= until).map(RestorableInterval::from)
    }

    /// What must be read to know whether `limit` can be restored from here.
    pub(in crate::plan) fn needs_for(&self, limit: Timestamp) -> Vec<Need> {
        if limit <= self.snapshot.consistent_at {
            return Vec::new();
        }
        if limit >= self.floor {
            let Verdict::Unknown(log) = self.evidence().verdict(limit) else { return Vec::new() };
            return Need::of(log).into_iter().collect();
        }
        let late = |log: &LogRef<'_>| evidence::latest_commit_by(*log, self.snapshot.wal.end) > Some(limit);
        self.own_logs().filter(late).filter_map(Need::of).collect()
    }

    /// What the log after the snapshot says about commits.
    fn evidence(&self) -> Evidence<'a> {
        let end = Position { stretch: self.stretch, lsn: self.snapshot.wal.end };
        Evidence::new(self.path.spans(end, self.reach), self.snapshot)
    }

    /// A time after which none of the commits can be that are replayed until the snapshot is consistent.
    ///
    /// A standby's clock says nothing of the commits that were in its files before: none of all the log up to there may be
    /// later.
    fn own_commits(&self) -> Option<Timestamp> {
        let WalRange { start, end, .. } = self.snapshot.wal;
        let own = self.path.stretch(self.stretch).and_then(|stretch| latest_commit(&stretch.record.log, start, end));
        if self.snapshot.role == ServerRole::Primary {
            return own;
        }
        let spans = self.path.spans(Position::START, end);
        let before =
            spans.filter_map(|Span { stretch, start, end }| latest_commit(&stretch.record.log, start, end)).max();
        own.max(before)
    }

    /// The log backups of the log that makes the snapshot consistent.
    fn own_logs(&self) -> impl Iterator<Item = LogRef<'a>> {
        let WalRange { start, end, .. } = self.snapshot.wal;
        let log = self.path.stretch(self.stretch).map(|stretch| &stretch.record.log);
        let pieces = log.into_iter().flat_map(move |log| log.pieces_between(start, end).filter_map(|n| log.piece(n)));
        pieces.map(|piece| piece.log)
    }

    fn end_of_log(&self, archived_until: Timestamp) -> Stop {
        Stop { idle: Some((self.evidence().possible(), archived_until)), ..self.path.stop_at(self.reach) }
    }
}

/// A time after which no commit can be that ends between `start` and `end`.
fn latest_commit(log: &TimelineLog, start: Lsn, end: Lsn) -> Option<Timestamp> {
    let mut pieces = log.pieces_between(start, end);
    let last = pieces.next_back().and_then(|piece| log.piece(piece))?;
    log.max_commit_time(pieces).max(evidence::latest_commit_by(last.log, end))
}

/// Where the segment begins in which the snapshot's log starts: on the snapshot's own timeline if that has the bytes (a
/// timeline's first segment begins with a copy of its parent's bytes), or else where they were written.
fn first_byte(path: &Path<'_>, stretch: usize, snapshot: &Snapshot) -> Position {
    let lsn = snapshot.wal.start.align_down(snapshot.segment_size.bytes());
    let own = path.stretch(stretch).and_then(|stretch| stretch.record.log.run_end(lsn));
    let copied = own.is_some_and(|end| end >= snapshot.wal.end);
    if copied { Position { stretch, lsn } } else { path.position(lsn) }
}
