//! What must hold of every plan: proved on the catalog at hand before anything is deleted.

use std::collections::BTreeSet;

use super::RetentionPlan;
use super::extent::Extent;
use crate::model::{Artifact, Branch, Catalog, CatalogError, ObjectKey, SnapshotId, SnapshotKind};
use crate::plan::past::Path;
use crate::plan::window::{RestorableInterval, covers, recovery_window};

/// A plan that would lose what it must not: a defect of pitr, or a catalog that is not the one that was planned for. Nothing may
/// be deleted by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RetentionFault {
    /// The plan names what the catalog does not have.
    #[error("{object} is to be deleted, but not in the catalog: plan again")]
    Unknown {
        /// The object.
        object: ObjectKey,
    },
    /// What would remain contradicts itself.
    #[error("what would remain contradicts itself")]
    Contradiction(#[from] CatalogError),
    /// Instants of the window could no longer be restored.
    #[error("the window of {branch} would change: instants that can be restored now could not be afterwards")]
    WindowLost {
        /// The branch.
        branch: Branch,
        /// What can be restored of the window now.
        before: Vec<RestorableInterval>,
        /// What could be afterwards.
        after: Vec<RestorableInterval>,
    },
    /// Another branch would seem to be the one that the server was on last.
    #[error("{after} would take the place of {before}, the branch that the server was on last")]
    CurrentLost {
        /// The current branch.
        before: Branch,
        /// Which one would seem to be.
        after: Branch,
    },
    /// The newest snapshot of the current branch could no longer be restored.
    #[error("snapshot {snapshot}, the last one that can be restored, would be lost")]
    LastSnapshotLost {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// A snapshot that is kept builds on one that is not.
    #[error("snapshot {child} is kept, but its parent {parent} is not")]
    ChainBroken {
        /// The snapshot that is kept.
        child: SnapshotId,
        /// What it builds on.
        parent: SnapshotId,
    },
    /// A snapshot that is kept could no longer be restored by itself.
    #[error("snapshot {snapshot} is kept, but not all that it needs")]
    SnapshotLost {
        /// The snapshot.
        snapshot: SnapshotId,
    },
}

impl RetentionPlan {
    /// Proves on `catalog` that the plan loses nothing that it must not, by the same functions that plan restores.
    ///
    /// Builds the catalog that would remain: what takes time is that, and to look up each artifact in what expires.
    ///
    /// # Errors
    /// If it would. Then nothing may be deleted.
    pub fn check(&self, catalog: &Catalog) -> Result<(), RetentionFault> {
        let after = self.remaining(catalog)?;
        chains_stay_whole(self, catalog)?;
        kept_snapshots_stay_restorable(self, catalog, &after)?;
        the_current_branch_stays(catalog, &after)?;
        the_last_snapshot_stays(catalog, &after)?;
        every_instant_of_the_window_stays(self, catalog, &after)
    }

    /// What would remain of `catalog`.
    ///
    /// # Errors
    /// If the plan names what is not there, or the remains contradict themselves.
    pub fn remaining(&self, catalog: &Catalog) -> Result<Catalog, RetentionFault> {
        let mut expired: BTreeSet<_> = self.expired().map(|artifact| identity(&artifact)).collect();
        let kept = catalog.artifacts().filter(|artifact| !expired.remove(&identity(artifact)));
        let remaining = Catalog::new(kept);
        let left = expired.pop_first();
        match left.and_then(|left| self.expired().find(|artifact| identity(artifact) == left)) {
            Some(unknown) => Err(RetentionFault::Unknown { object: unknown.object().key }),
            None => Ok(remaining?),
        }
    }
}

/// What tells an artifact from all others: where it is stored. The names of log backups are not spelled, there are too many.
fn identity(artifact: &Artifact) -> impl Ord + use<> {
    match artifact {
        Artifact::Log(log) => (Some(log.name()), log.directory.clone()),
        _ => (None, artifact.object().key),
    }
}

/// Every parent of a kept snapshot is kept, if it is there.
fn chains_stay_whole(plan: &RetentionPlan, catalog: &Catalog) -> Result<(), RetentionFault> {
    let kept: BTreeSet<&SnapshotId> = plan.kept_snapshots.iter().map(|kept| &kept.id).collect();
    for child in kept.iter().filter_map(|id| catalog.snapshot(id)) {
        if let SnapshotKind::Incremental { parent } = &child.kind
            && catalog.snapshot(parent).is_some()
            && !kept.contains(parent)
        {
            return Err(RetentionFault::ChainBroken { child: child.id.clone(), parent: parent.clone() });
        }
    }
    Ok(())
}

/// Whatever is kept for its own sake, by a hold or a lease or as a sparse point, has its log; parents need none.
fn kept_snapshots_stay_restorable(
    plan: &RetentionPlan,
    before: &Catalog,
    after: &Catalog,
) -> Result<(), RetentionFault> {
    let own = plan.kept_snapshots.iter().filter(|kept| !matches!(kept.reason, super::KeepReason::ParentOf(_)));
    let lost = |id: &&SnapshotId| is_restorable(before, id) && !is_restorable(after, id);
    match own.map(|kept| &kept.id).find(lost) {
        Some(id) => Err(RetentionFault::SnapshotLost { snapshot: id.clone() }),
        None => Ok(()),
    }
}

/// If nothing is left, the current branch had no snapshot.
fn the_current_branch_stays(before: &Catalog, after: &Catalog) -> Result<(), RetentionFault> {
    match before.current().zip(after.current()) {
        Some((before, after)) if before != after => Err(RetentionFault::CurrentLost { before, after }),
        _ => Ok(()),
    }
}

/// The newest snapshot of the current branch that can be restored can be afterwards.
fn the_last_snapshot_stays(before: &Catalog, after: &Catalog) -> Result<(), RetentionFault> {
    let path = before.current().and_then(|branch| Path::new(before, branch));
    let last = path.as_ref().and_then(|path| path.candidates().next()).map(|candidate| &candidate.snapshot.id);
    match last {
        Some(id) if !is_restorable(after, id) => Err(RetentionFault::LastSnapshotLost { snapshot: id.clone() }),
        _ => Ok(()),
    }
}

/// Of every branch each instant of the window can be restored afterwards that can be before.
fn every_instant_of_the_window_stays(
    plan: &RetentionPlan,
    before: &Catalog,
    after: &Catalog,
) -> Result<(), RetentionFault> {
    let (Some(start), Some(end)) = (plan.window_start(), plan.horizon) else { return Ok(()) };
    let extent = Extent::new(before, start, end);
    for branch in before.branches() {
        let Some(instants) = extent.instants(branch) else { continue };
        let (before, after) = (within(before, branch, instants), within(after, branch, instants));
        if !before.iter().all(|interval| covers(&after, *interval)) {
            return Err(RetentionFault::WindowLost { branch, before, after });
        }
    }
    Ok(())
}

fn within(catalog: &Catalog, branch: Branch, instants: RestorableInterval) -> Vec<RestorableInterval> {
    let intervals = recovery_window(catalog, branch).intervals.into_iter();
    intervals.filter_map(|interval| interval.within(instants)).collect()
}

fn is_restorable(catalog: &Catalog, id: &SnapshotId) -> bool {
    let branch = catalog.snapshot(id).map(|snapshot| snapshot.branch());
    let path = branch.and_then(|branch| Path::new(catalog, branch));
    path.is_some_and(|path| path.candidate(id).is_some_and(|candidate| candidate.is_ok()))
}

#[cfg(test)]
mod tests;
