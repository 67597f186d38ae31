//! A snapshot from which recovery could start.

use super::evidence::{self, Evidence, Stop, Verdict};
use super::path::{Path, Position};
use super::window::{RestorableInterval, TICK};
use crate::model::{Chain, Linked, Lsn, ObjectKey, Snapshot, SnapshotId, Timestamp, Unusable, WalRange};

/// A snapshot of which the chain and all of its own log is there.
#[derive(Debug)]
pub(super) struct Candidate<'p, 'a> {
    path: &'p Path<'a>,
    pub(super) snapshot: &'a Snapshot,
    pub(super) chain: Chain,
    /// The snapshot's timeline.
    stretch: usize,
    /// The first byte of log that a restore stages.
    pub(super) from: Position,
    /// The first byte of log that is missing.
    pub(super) reach: Lsn,
    /// The first instant that can be restored from it, if the log goes on.
    pub(super) floor: Timestamp,
}

/// Why a snapshot cannot be restored.
#[derive(Debug)]
pub(super) enum Obstacle {
    Chain(Unusable),
    Log(WalRange),
}

impl<'p, 'a> Candidate<'p, 'a> {
    /// The snapshot `id`, which ends on the stretch with the number `stretch`.
    pub(super) fn new(path: &'p Path<'a>, stretch: usize, id: &SnapshotId) -> Result<Self, Obstacle> {
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
        let floor = own_commits(path, stretch, snapshot).map_or(consistent, |latest| latest.max(consistent));
        Ok(Self { path, snapshot, chain, stretch, from, reach, floor })
    }

    /// Where PostgreSQL stops if it starts from here and replays every commit up to `limit`, and none after.
    pub(super) fn stop_after(&self, limit: Timestamp) -> Option<Stop> {
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
    pub(super) fn intervals(&self) -> impl Iterator<Item = RestorableInterval> {
        let (mut intervals, quiet_from) = self.evidence().limits(self.floor);
        intervals.extend(self.path.observed_by(self.reach).map(|complete| (quiet_from, complete)));
        intervals.into_iter().filter(|(from, until)| from <= until).map(RestorableInterval::from)
    }

    /// The log backups without a commit index because of which it is unknown whether `limit` can be restored from here.
    pub(super) fn lacks_index_for(&self, limit: Timestamp) -> Vec<ObjectKey> {
        if limit <= self.snapshot.consistent_at {
            return Vec::new();
        }
        if limit >= self.floor {
            let Verdict::Unknown(needed) = self.evidence().verdict(limit) else { return Vec::new() };
            return vec![needed];
        }
        let Some(stretch) = self.path.stretch(self.stretch) else { return Vec::new() };
        let WalRange { start, end, .. } = self.snapshot.wal;
        let log = &stretch.record.log;
        let backups = log.pieces_between(start, end).filter_map(|piece| log.piece(piece)).map(|piece| piece.backup);
        let unindexed =
            backups.filter(|backup| backup.index.commits.is_empty() && backup.max_commit_time > Some(limit));
        unindexed.map(|backup| backup.object.key.clone()).collect()
    }

    /// What the log after the snapshot says about commits.
    fn evidence(&self) -> Evidence<'a> {
        let end = Position { stretch: self.stretch, lsn: self.snapshot.wal.end };
        Evidence::new(self.path.spans(end, self.reach), self.snapshot)
    }

    fn end_of_log(&self, archived_until: Timestamp) -> Stop {
        Stop { idle: Some((self.evidence().possible(), archived_until)), ..self.path.stop_at(self.reach) }
    }
}

/// A time after which none of the commits can be that are replayed to make the snapshot consistent.
fn own_commits(path: &Path<'_>, stretch: usize, snapshot: &Snapshot) -> Option<Timestamp> {
    let log = &path.stretch(stretch)?.record.log;
    let WalRange { start, end, .. } = snapshot.wal;
    let mut pieces = log.pieces_between(start, end);
    let last = pieces.next_back().and_then(|piece| log.piece(piece))?;
    log.max_commit_time(pieces).max(evidence::latest_commit_by(last.backup, end))
}

/// Where the segment begins in which the snapshot's log starts: on the snapshot's own timeline if that has the bytes (a
/// timeline's first segment begins with a copy of its parent's bytes), or else where they were written.
fn first_byte(path: &Path<'_>, stretch: usize, snapshot: &Snapshot) -> Position {
    let lsn = snapshot.wal.start.align_down(snapshot.segment_size.bytes());
    let own = path.stretch(stretch).and_then(|stretch| stretch.record.log.run_end(lsn));
    let copied = own.is_some_and(|end| end >= snapshot.wal.end);
    if copied { Position { stretch, lsn } } else { path.position(lsn) }
}
