//! Which instants are of the window, branch by branch.

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
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent<'a> {
    catalog: &'a Catalog,
    current: Option<Branch>,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

impl<'a> Extent<'a> {
    /// The window from `start` to `end`.
    pub(super) fn new(catalog: &'a Catalog, start: Timestamp, end: Timestamp) -> Self {
        Self { catalog, current: catalog.current(), start, end }
    }

    /// The last time up to the window's end at which the server was on the branch. What claims to be from after the window's
    /// end is not believed.
    pub(super) fn left_at(&self, branch: Branch) -> Option<Timestamp> {
        let logs = self.catalog.logs(branch).flat_map(|log| [log.max_commit_time(), log.complete_through()]).flatten();
        let on_branch = self.catalog.record(branch).into_iter().flat_map(|record| &record.snapshots);
        let snapshots = on_branch.filter_map(|id| self.catalog.snapshot(id)).map(|snapshot| snapshot.consistent_at);
        logs.chain(snapshots).filter(|&at| at <= self.end).max()
    }

    /// Whether the server was on the branch within the window, or nobody knows. Of a branch of which nothing is archived, no
    /// instant is its own.
    pub(super) fn is_live(&self, branch: Branch) -> bool {
        Some(branch) == self.current
            || (self.is_archived(branch) && self.left_at(branch).is_none_or(|left| left >= self.start))
    }

    /// The instants of the window in which the server was on the branch. Those that are restorable later on are none: only
    /// a clock that was wrong makes them so.
    pub(super) fn instants(&self, branch: Branch) -> Option<RestorableInterval> {
        let left = Some(self.end).filter(|_| Some(branch) == self.current).or_else(|| self.left_at(branch));
        let until = left.unwrap_or(self.end).saturating_sub(TICK);
        (self.is_live(branch) && self.start <= until).then(|| RestorableInterval::from((self.start, until)))
    }

    /// Whether anything is archived of the branch itself.
    pub(super) fn is_archived(&self, branch: Branch) -> bool {
        self.catalog.record(branch).is_some_and(|record| record.log.len() > 0 || !record.snapshots.is_empty())
    }
}
