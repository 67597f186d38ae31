//! A snapshot from which recovery could start.

use super::evidence::{self, Evidence, Need, Stop, Verdict};
use super::path::{Path, Position};
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
    /// Where the first byte of log that a restore stages can come from: there are two ways if it is stored twice.
    pub(in crate::plan) from: Vec<Position>,
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
        let mut from = first_bytes(path, stretch, snapshot);
        let reach = from.iter().map(|&from| path.reach(from)).max().unwrap_or(Lsn::ZERO);
        if from.len() > 1 {
            from.retain(|&from| path.reach(from) == reach);
        }
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
                let complete = self.complete_through()?;
                (limit <= complete).then(|| self.end_of_log(complete))
            }
        }
    }

    /// All limits for which [`Self::stop_after`] has an answer.
    pub(in crate::plan) fn intervals(&self) -> impl Iterator<Item = RestorableInterval> {
        let (mut intervals, quiet_from) = self.evidence().limits(self.floor);
        intervals.extend(self.complete_through().map(|complete| (quiet_from, complete)));
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
        let late = |&(log, start, end): &(LogRef<'_>, Lsn, Lsn)| {
            evidence::latest_commit_between(log, start, end) > Some(limit)
        };
        self.own_logs().into_iter().filter(late).filter_map(|(log, ..)| Need::of(log)).collect()
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
        let before = self.before().filter_map(|(log, end)| latest_commit(log, Lsn::ZERO, end)).max();
        own.max(before)
    }

    /// The log backups that can hold one of the [`own_commits`](Self::own_commits), each with the part that counts. Of those
    /// before a standby's snapshot only the ones of which a part does not count: of others it is known.
    fn own_logs(&self) -> Vec<(LogRef<'a>, Lsn, Lsn)> {
        let WalRange { start, end, .. } = self.snapshot.wal;
        let mut logs = Vec::new();
        if let Some(stretch) = self.path.stretch(self.stretch) {
            let log = &stretch.record.log;
            let pieces = log.pieces_between(start, end).filter_map(|number| log.piece(number));
            logs.extend(pieces.map(|piece| (piece.log, start, end)));
        }
        if self.snapshot.role == ServerRole::Standby {
            for (log, end) in self.before() {
                let last = log.pieces_between(Lsn::ZERO, end).next_back().and_then(|number| log.piece(number));
                logs.extend(last.map(|piece| (piece.log, Lsn::ZERO, end)));
            }
        }
        logs
    }

    /// The log backup that alone tells of commits in a standby's snapshot that are later than what is known from its own log on;
    /// `None` if there is none.
    pub(in crate::plan) fn teller(&self) -> Option<LogRef<'a>> {
        let begin =
            self.from.iter().map(|from| from.lsn).min().filter(|_| self.snapshot.role == ServerRole::Standby)?;
        let told = self.before().filter_map(|(log, end)| {
            let end = end.min(begin);
            Some((latest_commit(log, Lsn::ZERO, end)?, log, end))
        });
        let (latest, log, end) = told.max_by_key(|&(latest, ..)| latest)?;
        let since = self.before().filter_map(|(log, end)| latest_commit(log, begin, end)).max();
        if latest <= self.snapshot.consistent_at || Some(latest) <= since {
            return None;
        }
        let mut pieces = log.pieces_between(Lsn::ZERO, end).filter_map(|number| log.piece(number));
        let holds = |log: LogRef<'_>| evidence::latest_commit_between(log, Lsn::ZERO, end) == Some(latest);
        pieces.find(|piece| holds(piece.log)).map(|piece| piece.log)
    }

    /// The log of the snapshot's timeline and of those before it, each with where it ends for the snapshot. What a timeline's
    /// log begins with, a copy of its parent's, tells of commits too.
    fn before(&self) -> impl Iterator<Item = (&'a TimelineLog, Lsn)> {
        let stretches = (0..=self.stretch).filter_map(|number| self.path.stretch(number));
        let end = self.snapshot.wal.end;
        stretches.map(move |stretch| (&stretch.record.log, self.path.left_at(stretch.timeline).min(end)))
    }

    /// Up to when it is known that nothing was committed but what is in the log that is reached.
    ///
    /// What was observed before the snapshot is contradicted by the snapshot, if it is later: then a clock was wrong.
    fn complete_through(&self) -> Option<Timestamp> {
        self.path.observed_between(self.snapshot.wal.end, self.reach)
    }

    fn end_of_log(&self, archived_until: Timestamp) -> Stop {
        Stop { idle: Some((self.evidence().possible(), archived_until)), ..self.path.stop_at(self.reach) }
    }
}

/// A time after which no commit can be that ends between `start` and `end`.
fn latest_commit(log: &TimelineLog, start: Lsn, end: Lsn) -> Option<Timestamp> {
    let mut pieces = log.pieces_between(start, end);
    let edge = |piece: Option<usize>| {
        let piece = piece.and_then(|piece| log.piece(piece))?;
        evidence::latest_commit_between(piece.log, start, end)
    };
    let edges = edge(pieces.next()).max(edge(pieces.next_back()));
    log.max_commit_time(pieces).max(edges)
}

/// Where the segment begins in which the snapshot's log starts: on the snapshot's own timeline, if that began in the middle of
/// it (a timeline's first segment begins with a copy of its parent's bytes), and where they were written.
fn first_bytes(path: &Path<'_>, stretch: usize, snapshot: &Snapshot) -> Vec<Position> {
    let lsn = snapshot.wal.start.align_down(snapshot.segment_size.bytes());
    let (copied, written) = (Position { stretch, lsn }, path.position(lsn));
    if copied == written { vec![written] } else { vec![copied, written] }
}
