//! What is to be kept: snapshots, and stretches of log, each with the first of its reasons.

use std::collections::{BTreeMap, BTreeSet};

use super::KeepReason;
use crate::model::{Branch, LogRef, Lsn, SnapshotId, WalRange};
use crate::plan::past::Span;

/// What is to be kept.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    snapshots: BTreeMap<SnapshotId, KeepReason>,
    logs: BTreeMap<Branch, Vec<Stretch>>,
    branches: BTreeSet<Branch>,
}

/// A stretch of log of one timeline.
#[derive(Debug)]
struct Stretch {
    start: Lsn,
    end: Lsn,
    reason: KeepReason,
}

impl Wanted {
    /// Wants a snapshot.
    pub(super) fn snapshot(&mut self, id: &SnapshotId, reason: KeepReason) {
        let first = match self.snapshots.remove(id) {
            Some(known) => known.min(reason),
            None => reason,
        };
        self.snapshots.insert(id.clone(), first);
    }

    /// Wants stretches of log.
    pub(super) fn logs<'p, 'a: 'p>(&mut self, spans: impl Iterator<Item = Span<'p, 'a>>, reason: &KeepReason) {
        for Span { stretch, start, end } in spans {
            self.log(stretch.branch, start, end, reason);
        }
    }

    /// Wants a stretch of the log of `branch`.
    pub(super) fn log(&mut self, branch: Branch, start: Lsn, end: Lsn, reason: &KeepReason) {
        self.logs.entry(branch).or_default().push(Stretch { start, end, reason: reason.clone() });
    }

    /// Wants a log backup of `branch`. One that is empty stands at its end.
    pub(super) fn log_backup(&mut self, branch: Branch, wal: WalRange, reason: &KeepReason) {
        self.log(branch, wal.start, wal.end.max(wal.start.saturating_add(1)), reason);
    }

    /// Wants to know how this branch came to be.
    pub(super) fn branch(&mut self, branch: Branch) {
        self.branches.insert(branch);
    }

    /// Why this snapshot is wanted.
    pub(super) fn why_snapshot(&self, id: &SnapshotId) -> Option<&KeepReason> {
        self.snapshots.get(id)
    }

    /// The snapshots that are wanted.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = &SnapshotId> {
        self.snapshots.keys()
    }

    /// The branches that are wanted.
    pub(super) fn branches(&self) -> impl Iterator<Item = Branch> + '_ {
        self.branches.iter().copied()
    }

    /// What is wanted of the log of `branch`.
    pub(super) fn of(&self, branch: Branch) -> WantedLog {
        let stretches = self.logs.get(&branch).map_or(&[][..], Vec::as_slice);
        let edges = stretches.iter().flat_map(|stretch| [stretch.start, stretch.end]);
        let edges: Vec<Lsn> = edges.collect::<BTreeSet<_>>().into_iter().collect();
        let wanted = edges.windows(2).filter_map(|pair| {
            let (start, end) = (pair[0], pair[1]);
            let covering = stretches.iter().filter(|stretch| stretch.start <= start && end <= stretch.end);
            let reason = covering.map(|stretch| &stretch.reason).min()?.clone();
            Some(Stretch { start, end, reason })
        });
        WantedLog(wanted.collect())
    }
}

/// What is wanted of one timeline's log: stretches apart from each other, in order.
#[derive(Debug)]
pub(super) struct WantedLog(Vec<Stretch>);

impl WantedLog {
    /// Why this log backup is wanted, if it is: it holds a wanted byte, or, if it is empty, says when there was none.
    pub(super) fn why(&self, log: LogRef<'_>) -> Option<&KeepReason> {
        let (start, end) = (log.start(), log.end());
        let first = if start == end {
            self.0.get(self.0.partition_point(|stretch| stretch.end < start)).filter(|stretch| stretch.start <= start)
        } else {
            self.0.get(self.0.partition_point(|stretch| stretch.end <= start)).filter(|stretch| stretch.start < end)
        };
        first.map(|stretch| &stretch.reason)
    }
}
