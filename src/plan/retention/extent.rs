//! Which instants are of the window, branch by branch.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Branch, Catalog, Timestamp};
use crate::plan::window::{RestorableInterval, TICK};

/// How far a server's clock can be ahead before it is not believed.
const CREDIBLE: Duration = Duration::from_secs(24 * 60 * 60);

/// When the server was last seen, or now if that is earlier; `None` if it never was.
///
/// A branch whose last time lies days in the future says nothing of when that was: a promotion that was abandoned, with a
/// clock that was wrong, must not make the time go on for a server that is stopped. Then the other branches are asked.
pub(super) fn horizon(catalog: &Catalog, now: Timestamp) -> Option<Timestamp> {
    let credible = |seen: &Timestamp| *seen <= now.saturating_add(CREDIBLE);
    let current = catalog.last_seen(catalog.current()?)?;
    let others = || catalog.branches().filter_map(|branch| catalog.last_seen(branch)).filter(credible).max();
    let seen = Some(current).filter(credible).or_else(others);
    Some(seen.map_or(now, |seen| seen.min(now)))
}

/// The window, and which branches the server was on in it.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    current: Option<Branch>,
    /// Of each branch of which anything is archived, the last time up to the window's end at which the server was on it.
    left: BTreeMap<Branch, Option<Timestamp>>,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

impl Extent {
    /// The window from `start` to `end`.
    pub(super) fn new(catalog: &Catalog, start: Timestamp, end: Timestamp) -> Self {
        let archived = catalog.branches().filter(|&branch| is_archived(catalog, branch));
        let left = archived.map(|branch| (branch, left_at(catalog, branch, end))).collect();
        Self { current: catalog.current(), left, start, end }
    }

    /// The last time up to the window's end at which the server was on the branch.
    pub(super) fn left_at(&self, branch: Branch) -> Option<Timestamp> {
        self.left.get(&branch).copied().flatten()
    }

    /// Whether the server was on the branch within the window, or nobody knows. Of a branch of which nothing is archived, no
    /// instant is its own.
    pub(super) fn is_live(&self, branch: Branch) -> bool {
        let known = self.left.get(&branch);
        Some(branch) == self.current || known.is_some_and(|left| left.is_none_or(|left| left >= self.start))
    }

    /// The instants of the window in which the server was on the branch. Those that are restorable later on are none: only
    /// a clock that was wrong makes them so.
    pub(super) fn instants(&self, branch: Branch) -> Option<RestorableInterval> {
        let left = Some(self.end).filter(|_| Some(branch) == self.current).or_else(|| self.left_at(branch));
        let until = left.unwrap_or(self.end).saturating_sub(TICK);
        (self.is_live(branch) && self.start <= until).then(|| RestorableInterval::from((self.start, until)))
    }
}

/// What claims to be from after `end` is not believed.
fn left_at(catalog: &Catalog, branch: Branch, end: Timestamp) -> Option<Timestamp> {
    let logs = catalog.logs(branch).flat_map(|log| [log.max_commit_time(), log.complete_through()]).flatten();
    let on_branch = catalog.record(branch).into_iter().flat_map(|record| &record.snapshots);
    let snapshots = on_branch.filter_map(|id| catalog.snapshot(id)).map(|snapshot| snapshot.consistent_at);
    logs.chain(snapshots).filter(|&at| at <= end).max()
}

/// Whether anything is archived of the branch itself.
pub(super) fn is_archived(catalog: &Catalog, branch: Branch) -> bool {
    catalog.record(branch).is_some_and(|record| record.log.len() > 0 || !record.snapshots.is_empty())
}
