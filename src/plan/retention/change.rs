//! What changing the policy changes.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Protections, RetentionPlan, RetentionPolicy, plan_retention};
use crate::model::{Artifact, Catalog, ObjectKey, Timestamp};
use crate::plan::sharing::{Stored, occupied_bytes};
use crate::plan::window::recovery_window;

/// What another policy deletes or spares, to be shown before it is set.
///
/// A longer window brings nothing back that has been deleted already: it grows from now on, day by day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RetentionChange {
    /// What the new policy keeps and deletes.
    pub plan: RetentionPlan,
    /// What it deletes and the old one does not.
    pub newly_expired: Vec<ObjectKey>,
    /// What deleting that frees, in bytes.
    pub newly_freed_bytes: u64,
    /// What the old policy deletes and it does not.
    pub newly_kept: Vec<ObjectKey>,
    /// The earliest instant that can be restored on the current branch before anything is deleted.
    pub earliest_before: Option<Timestamp>,
    /// The earliest instant that can be restored on the current branch when the new policy has been obeyed.
    pub earliest_after: Option<Timestamp>,
    /// The earliest instant that is promised from then on: the start of the new window, if it can be restored by then.
    pub promised_from: Option<Timestamp>,
}

/// Compares what `old` and `new` delete now.
#[must_use]
pub fn retention_change(
    catalog: &Catalog,
    old: &RetentionPolicy,
    new: &RetentionPolicy,
    protections: &Protections,
    now: Timestamp,
) -> RetentionChange {
    let (old, new) = (plan_retention(catalog, old, protections, now), plan_retention(catalog, new, protections, now));
    let keys = |plan: &RetentionPlan| plan.expired().map(|artifact| artifact.object().key).collect::<BTreeSet<_>>();
    let (by_old, by_new) = (keys(&old), keys(&new));
    let newly = |artifact: &Artifact| !by_old.contains(&artifact.object().key);
    let newly_freed_bytes = freed(catalog, &by_old, &by_new) + others(&new, newly);
    let earliest_after = new.remaining(catalog).ok().and_then(|after| earliest(&after));
    RetentionChange {
        newly_expired: by_new.difference(&by_old).cloned().collect(),
        newly_freed_bytes,
        newly_kept: by_old.difference(&by_new).cloned().collect(),
        earliest_before: earliest(catalog),
        promised_from: earliest_after.and_then(|earliest| Some(earliest.max(new.window_start()?))),
        earliest_after,
        plan: new,
    }
}

/// What deleting the snapshots of `by_new` frees, once those of `by_old` are gone.
fn freed(catalog: &Catalog, by_old: &BTreeSet<ObjectKey>, by_new: &BTreeSet<ObjectKey>) -> u64 {
    let before: Vec<_> = catalog.snapshots().filter(|snapshot| !by_old.contains(&snapshot.manifest.key)).collect();
    let after = before.iter().filter(|snapshot| !by_new.contains(&snapshot.manifest.key));
    let after = occupied_bytes(after.map(|snapshot| Stored::from(*snapshot)));
    occupied_bytes(before.into_iter().map(Stored::from)).saturating_sub(after)
}

/// The bytes of all but the snapshots that expire by `plan` and are `newly`.
fn others(plan: &RetentionPlan, newly: impl Fn(&Artifact) -> bool) -> u64 {
    let others = plan.expired().filter(|artifact| !matches!(artifact, Artifact::Snapshot(_)) && newly(artifact));
    others.map(|artifact| artifact.stored_bytes()).sum()
}

fn earliest(catalog: &Catalog) -> Option<Timestamp> {
    recovery_window(catalog, catalog.current()?).earliest()
}
