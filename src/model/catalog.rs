//! The validated index of one server's artifacts.

mod artifact;
mod block_max;
mod cover;
mod error;
mod log_ref;
mod log_rows;
mod timeline_log;
mod tips;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use artifact::{Artifact, Branch, StoredHistory};
pub(crate) use cover::{Cover, Load};
pub use error::{CatalogError, Unusable};
pub use log_ref::LogRef;
use log_rows::LogRows;
pub(crate) use timeline_log::{Piece, TimelineLog};
pub(crate) use tips::{Tip, Tips};

use super::{
    CommitIndex, Incarnation, LogBackup, Lsn, Snapshot, SnapshotId, SnapshotKind, StoredObject, TimelineHistory,
    TimelineId,
};

/// Everything that is known to be stored of one server: checked, sorted and linked once, then only read.
///
/// - The order in which artifacts were given does not matter, and a log backup that is listed twice counts once.
/// - Log backups may overlap.
/// - A timeline whose history is not among the artifacts takes it from a descendant's history. If there is none either, it
///   is a root: what lies on it can be restored, what came before it is unknown. Timeline 1 is a root by definition.
/// - A snapshot that cannot be restored whatever log there is stays in, marked [`Unusable`]: one broken chain must not
///   keep the rest from being restored.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    branches: BTreeMap<Branch, BranchRecord>,
    snapshots: BTreeMap<SnapshotId, Linked>,
    /// The branch that each incarnation was on last.
    current: BTreeMap<Incarnation, Branch>,
}

#[derive(Clone, Debug)]
pub(crate) struct BranchRecord {
    pub(crate) history: TimelineHistory,
    pub(crate) history_object: Option<StoredObject>,
    pub(crate) log: TimelineLog,
    /// By the end of their log, then ID.
    pub(crate) snapshots: Vec<SnapshotId>,
}

/// A snapshot and what its chain amounts to.
#[derive(Clone, Debug)]
pub(crate) struct Linked {
    pub(crate) snapshot: Snapshot,
    pub(crate) chain: Result<Chain, Unusable>,
}

/// What a snapshot and all of its ancestors take to fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub(crate) snapshots: u64,
    pub(crate) stored_bytes: u64,
}

impl Catalog {
    /// Indexes `artifacts`.
    ///
    /// # Errors
    /// If artifacts contradict each other so that it is unknown which of them is true.
    pub fn new(artifacts: impl IntoIterator<Item = Artifact>) -> Result<Self, CatalogError> {
        let mut parts = Parts::default();
        for artifact in artifacts {
            parts.add(artifact)?;
        }
        parts.imply_histories()?;
        Ok(parts.link())
    }

    /// Everything that is in it, with no order promised.
    pub fn artifacts(&self) -> impl Iterator<Item = Artifact> + '_ {
        let history = |(&Branch { incarnation, .. }, record): (&Branch, &BranchRecord)| {
            let object = record.history_object.clone()?;
            Some(StoredHistory::new(incarnation, record.history.clone(), object).into())
        };
        let logs = self.branches.values().flat_map(|record| record.log.iter()).map(|log| log.to_backup().into());
        let snapshots = self.snapshots().cloned().map(Artifact::from);
        self.branches.iter().filter_map(history).chain(snapshots).chain(logs)
    }

    /// The lives of the server, by system identifier.
    pub fn incarnations(&self) -> impl Iterator<Item = Incarnation> + '_ {
        let mut incarnations: Vec<_> = self.branches.keys().map(|branch| branch.incarnation).collect();
        incarnations.dedup();
        incarnations.into_iter()
    }

    /// All branches, by incarnation and timeline.
    pub fn branches(&self) -> impl Iterator<Item = Branch> + '_ {
        self.branches.keys().copied()
    }

    /// All snapshots, by ID.
    pub fn snapshots(&self) -> impl Iterator<Item = &Snapshot> {
        self.snapshots.values().map(|linked| &linked.snapshot)
    }

    /// The snapshot with this ID.
    #[must_use]
    pub fn snapshot(&self, id: &SnapshotId) -> Option<&Snapshot> {
        self.snapshots.get(id).map(|linked| &linked.snapshot)
    }

    /// Why the snapshot with this ID cannot be restored; `None` if it can, as far as snapshots go, or is unknown.
    #[must_use]
    pub fn unusable(&self, id: &SnapshotId) -> Option<&Unusable> {
        self.snapshots.get(id)?.chain.as_ref().err()
    }

    /// The log backups that were taken of this timeline, by start, then end. They may overlap.
    pub fn logs(&self, branch: Branch) -> impl DoubleEndedIterator<Item = LogRef<'_>> {
        self.branches.get(&branch).into_iter().flat_map(|record| record.log.iter())
    }

    /// Whether a log backup of the name of `log` is in it.
    pub(crate) fn has_log(&self, log: &LogBackup) -> bool {
        self.record(Branch::new(log.incarnation, log.wal.timeline)).is_some_and(|record| record.log.has(log))
    }

    /// Notes what lies where inside `log`, which a plan needs; `false` if there is no such log backup.
    pub fn load_index(&mut self, log: &LogBackup, index: CommitIndex) -> bool {
        let branch = Branch::new(log.incarnation, log.wal.timeline);
        self.branches.get_mut(&branch).is_some_and(|record| record.log.load_index(log, Arc::new(index)))
    }

    /// How this timeline descends from others.
    #[must_use]
    pub fn history(&self, branch: Branch) -> Option<&TimelineHistory> {
        self.branches.get(&branch).map(|record| &record.history)
    }

    /// Where the timeline's history is stored; `None` if it is not, as timeline 1's never is.
    #[must_use]
    pub fn history_object(&self, branch: Branch) -> Option<&StoredObject> {
        self.branches.get(&branch)?.history_object.as_ref()
    }

    /// The last snapshot of the current incarnation that can be restored, or will be with its log.
    #[must_use]
    pub fn last_snapshot(&self) -> Option<&Snapshot> {
        let incarnation = self.current()?.incarnation;
        let usable = self.snapshots().filter(|snapshot| snapshot.incarnation == incarnation);
        usable.filter(|snapshot| self.unusable(&snapshot.id).is_none()).max_by_key(|snapshot| snapshot.consistent_at)
    }

    /// Where the last log backup of this timeline ends, and an archiver resumes; `None` if there is none.
    ///
    /// There may be holes before it.
    #[must_use]
    pub fn archived_through(&self, branch: Branch) -> Option<Lsn> {
        self.branches.get(&branch)?.log.end()
    }

    pub(crate) fn record(&self, branch: Branch) -> Option<&BranchRecord> {
        self.branches.get(&branch)
    }

    pub(crate) fn linked(&self, id: &SnapshotId) -> Option<&Linked> {
        self.snapshots.get(id)
    }

    /// The snapshots that a restore of `snapshot` lays over each other, the full one first.
    pub(crate) fn chain(&self, snapshot: &Snapshot) -> Vec<Snapshot> {
        let mut chain = vec![snapshot.clone()];
        while let Some(SnapshotKind::Incremental { parent }) = chain.last().map(|child| &child.kind) {
            let Some(parent) = self.snapshot(parent) else { break };
            chain.push(parent.clone());
        }
        chain.reverse();
        chain
    }
}

/// Artifacts that are not yet linked.
#[derive(Default)]
struct Parts {
    snapshots: BTreeMap<SnapshotId, Snapshot>,
    logs: BTreeMap<Branch, LogRows>,
    histories: BTreeMap<Branch, (TimelineHistory, Option<StoredObject>)>,
}

impl Parts {
    fn add(&mut self, artifact: Artifact) -> Result<(), CatalogError> {
        match artifact {
            Artifact::Snapshot(snapshot) => self.add_snapshot(*snapshot),
            Artifact::Log(backup) => {
                let branch = Branch::new(backup.incarnation, backup.wal.timeline);
                self.logs.entry(branch).or_insert_with(|| LogRows::new(branch)).push(backup);
                Ok(())
            }
            Artifact::History(history) => self.add_history(history),
        }
    }

    fn add_snapshot(&mut self, snapshot: Snapshot) -> Result<(), CatalogError> {
        let known = self.snapshots.entry(snapshot.id.clone()).or_insert_with(|| snapshot.clone());
        if *known == snapshot { Ok(()) } else { Err(CatalogError::SnapshotIdReused { id: snapshot.id }) }
    }

    /// Of a history that is stored more than once, the object with the first key counts.
    fn add_history(&mut self, stored: StoredHistory) -> Result<(), CatalogError> {
        let StoredHistory { incarnation, history, object } = stored;
        let timeline = history.timeline();
        let Some((known, at)) = self.histories.get_mut(&Branch::new(incarnation, timeline)) else {
            self.histories.insert(Branch::new(incarnation, timeline), (history, Some(object)));
            return Ok(());
        };
        if !same_ancestry(known, &history) {
            return Err(CatalogError::HistoriesDisagree { incarnation, timeline, first: timeline, second: timeline });
        }
        if at.as_ref().is_none_or(|at| (&object.key, object.bytes) < (&at.key, at.bytes)) {
            (*known, *at) = (history, Some(object));
        }
        Ok(())
    }

    /// Every history tells those of all its ancestors too. What has no history at all is a root.
    fn imply_histories(&mut self) -> Result<(), CatalogError> {
        let told: Vec<_> = self.histories.iter().map(|(&branch, (history, _))| (branch, history.clone())).collect();
        let mut tellers: BTreeMap<Branch, TimelineId> = told.iter().map(|&(b, _)| (b, b.timeline)).collect();
        for (branch, history) in told {
            for ancestor in ancestors(&history) {
                let implied = Branch::new(branch.incarnation, ancestor.timeline());
                let first = *tellers.entry(implied).or_insert(branch.timeline);
                let known = self.histories.entry(implied).or_insert_with(|| (ancestor.clone(), None));
                if !same_ancestry(&known.0, &ancestor) {
                    let (incarnation, timeline) = (implied.incarnation, implied.timeline);
                    let second = branch.timeline;
                    return Err(CatalogError::HistoriesDisagree { incarnation, timeline, first, second });
                }
            }
        }
        let of_snapshots = self.snapshots.values().map(|s| s.branch());
        for branch in self.logs.keys().copied().chain(of_snapshots) {
            self.histories.entry(branch).or_insert_with(|| (TimelineHistory::root(branch.timeline), None));
        }
        Ok(())
    }

    fn link(mut self) -> Catalog {
        let mut catalog = Catalog::default();
        for (branch, (history, history_object)) in self.histories {
            let log = TimelineLog::new(self.logs.remove(&branch).unwrap_or_else(|| LogRows::new(branch)));
            catalog.branches.insert(branch, BranchRecord { history, history_object, log, snapshots: Vec::new() });
        }
        let mut snapshots: Vec<_> = self.snapshots.into_values().collect();
        // Parents come before their children, so that one pass links whole chains.
        snapshots.sort_by(|a, b| (a.wal.start, a.wal.end, &a.id).cmp(&(b.wal.start, b.wal.end, &b.id)));
        let known: BTreeSet<SnapshotId> = snapshots.iter().map(|snapshot| snapshot.id.clone()).collect();
        for snapshot in snapshots {
            let chain = catalog.chain_of(&snapshot, |id| known.contains(id));
            catalog.snapshots.insert(snapshot.id.clone(), Linked { snapshot, chain });
        }
        catalog.list_snapshots_by_branch();
        catalog.find_current();
        catalog
    }
}

impl Catalog {
    /// What it takes to restore `snapshot`, if every snapshot that could be an ancestor is linked already.
    fn chain_of(&self, snapshot: &Snapshot, known: impl Fn(&SnapshotId) -> bool) -> Result<Chain, Unusable> {
        let branch = snapshot.branch();
        let history = self.branches.get(&branch).map(|record| &record.history);
        let begin = history.map_or(Lsn::ZERO, TimelineHistory::begin);
        if snapshot.wal.start < begin {
            return Err(Unusable::BeforeItsTimeline { begin });
        }
        let alone = Chain { snapshots: 1, stored_bytes: snapshot.stored_bytes };
        let SnapshotKind::Incremental { parent } = &snapshot.kind else { return Ok(alone) };
        let parent = parent.clone();
        let Some(linked) = self.snapshots.get(&parent) else {
            let later = known(&parent);
            return Err(if later { Unusable::ParentNotEarlier { parent } } else { Unusable::ParentMissing { parent } });
        };
        // PostgreSQL's own rule for incremental backups (backup/basebackup_incremental.c).
        if linked.snapshot.wal.end > snapshot.wal.start {
            return Err(Unusable::ParentNotEarlier { parent });
        }
        let same_life = linked.snapshot.incarnation == snapshot.incarnation;
        if !same_life || !history.is_some_and(|history| is_in_past(&linked.snapshot, history)) {
            return Err(Unusable::ParentElsewhere { parent });
        }
        let Ok(below) = &linked.chain else { return Err(Unusable::BrokenChain { parent }) };
        Ok(Chain {
            snapshots: below.snapshots.saturating_add(alone.snapshots),
            stored_bytes: below.stored_bytes.saturating_add(alone.stored_bytes),
        })
    }

    fn list_snapshots_by_branch(&mut self) {
        let mut snapshots: Vec<&Snapshot> = self.snapshots.values().map(|linked| &linked.snapshot).collect();
        snapshots.sort_by_key(|snapshot| snapshot.wal.end);
        for snapshot in snapshots {
            let branch = snapshot.branch();
            if let Some(record) = self.branches.get_mut(&branch) {
                record.snapshots.push(snapshot.id.clone());
            }
        }
    }
}

/// Whether a server on the timeline of `history` passed through the end of `snapshot`.
fn is_in_past(snapshot: &Snapshot, history: &TimelineHistory) -> bool {
    let passed = |(timeline, _, left): (TimelineId, Lsn, Option<Lsn>)| {
        timeline == snapshot.wal.timeline && left.is_none_or(|left| snapshot.wal.end <= left)
    };
    history.stretches().any(passed)
}

/// The reasons are prose, and do not count.
fn same_ancestry(one: &TimelineHistory, other: &TimelineHistory) -> bool {
    one.stretches().eq(other.stretches())
}

/// What a history says of each ancestor.
fn ancestors(history: &TimelineHistory) -> impl Iterator<Item = TimelineHistory> + '_ {
    let ancestors = history.ancestors();
    let told = |(i, ancestor): (usize, &super::TimelineSwitch)| {
        TimelineHistory::new(ancestor.timeline, ancestors[..i].to_vec()).ok()
    };
    ancestors.iter().enumerate().filter_map(told)
}

#[cfg(test)]
mod tests;
