//! Which instants are of the window, branch by branch.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Branch, Catalog, LogRef, SnapshotId, Timestamp, Tips, WalRange};
use crate::plan::window::{RestorableInterval, TICK};

/// How far a server's clock can be ahead before it is not believed.
const CREDIBLE: Duration = Duration::from_secs(24 * 60 * 60);

/// When the server was last seen, or now if that is earlier; `None` if it never was. Its branches end at `tips`, and it was on
/// `current` last.
///
/// A branch whose last time lies days in the future says nothing of when that was: a promotion that was abandoned, with a
/// clock that was wrong, must not make the time go on for a server that is stopped. Then the other branches are asked.
pub(super) fn horizon(current: Branch, tips: &Tips, now: Timestamp) -> Option<Timestamp> {
    let seen = tips.get(&current)?.seen()?;
    let others = || tips.get(&last_credible(tips, now)?)?.seen();
    let seen = Some(seen).filter(|&seen| is_credible(seen, now)).or_else(others);
    Some(seen.map_or(now, |seen| seen.min(now)))
}

/// The branch that the server was on last of those that do not claim to be of the future.
pub(super) fn last_credible(tips: &Tips, now: Timestamp) -> Option<Branch> {
    let own = tips.iter().filter(|(_, tip)| tip.is_own);
    let seen = own.filter_map(|(&branch, tip)| Some((tip.seen()?, branch)));
    seen.filter(|&(at, _)| is_credible(at, now)).max().map(|(_, branch)| branch)
}

fn is_credible(seen: Timestamp, now: Timestamp) -> bool {
    seen <= now.saturating_add(CREDIBLE)
}

/// The window, and which branches the server was on in it.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    current: Option<Branch>,
    /// Of each branch of which anything of its own is archived, when up to the window's end the server was last on it.
    left: BTreeMap<Branch, Option<(Timestamp, Witness)>>,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

/// What says when the server was last on a branch.
#[derive(Clone, Debug)]
pub(super) enum Witness {
    Log(WalRange),
    Snapshot(SnapshotId),
}

impl Extent {
    /// The window from `start` to `end`.
    pub(super) fn new(catalog: &Catalog, start: Timestamp, end: Timestamp) -> Self {
        let own = catalog.tips().into_iter().filter(|(_, tip)| tip.is_own);
        let left = own.map(|(branch, _)| (branch, left(catalog, branch, end))).collect();
        Self { current: catalog.current(), left, start, end }
    }

    /// The last time up to the window's end at which the server was on the branch.
    pub(super) fn left_at(&self, branch: Branch) -> Option<Timestamp> {
        self.left.get(&branch)?.as_ref().map(|&(at, _)| at)
    }

    /// What says so, of a branch that was left: without it, it would seem that it was left earlier. Of the current one it is the
    /// end of the log that tells.
    pub(super) fn witness(&self, branch: Branch) -> Option<&Witness> {
        let left = self.left.get(&branch).filter(|_| Some(branch) != self.current)?;
        left.as_ref().map(|(_, witness)| witness)
    }

    /// Whether the server was on the branch within the window, or nobody knows. Of a branch of which nothing is archived, no
    /// instant is its own.
    pub(super) fn is_live(&self, branch: Branch) -> bool {
        let known = self.left.get(&branch);
        Some(branch) == self.current || known.is_some_and(|left| left.as_ref().is_none_or(|&(at, _)| at >= self.start))
    }

    /// The instants of the window in which the server was on the branch. Those that are restorable later on are none: only
    /// a clock that was wrong makes them so.
    pub(super) fn instants(&self, branch: Branch) -> Option<RestorableInterval> {
        let left = Some(self.end).filter(|_| Some(branch) == self.current).or_else(|| self.left_at(branch));
        let until = left.unwrap_or(self.end).saturating_sub(TICK);
        (self.is_live(branch) && self.start <= until).then(|| RestorableInterval::from((self.start, until)))
    }
}

/// What claims to be from long after `end` is not believed; if it is ahead by less than a day, the server was there at the end.
fn left(catalog: &Catalog, branch: Branch, end: Timestamp) -> Option<(Timestamp, Witness)> {
    let believed = |at: &Timestamp| is_credible(*at, end);
    let seen = |log: LogRef<'_>| log.max_commit_time().filter(believed).max(log.complete_through().filter(believed));
    let log = catalog.logs(branch).filter_map(|log| Some((seen(log)?, log.wal()))).max_by_key(|&(at, _)| at);
    let on_branch = catalog.record(branch).into_iter().flat_map(|record| &record.snapshots);
    let snapshots = on_branch.filter_map(|id| catalog.snapshot(id));
    let snapshot = snapshots.filter(|s| believed(&s.consistent_at)).max_by_key(|s| s.consistent_at);
    let log = log.map(|(at, wal)| (at, Witness::Log(wal)));
    let snapshot = snapshot.map(|snapshot| (snapshot.consistent_at, Witness::Snapshot(snapshot.id.clone())));
    let last = log.into_iter().chain(snapshot).max_by_key(|&(at, _)| at);
    last.map(|(at, witness)| (at.min(end), witness))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Artifact, LogBackup, Lsn, TimelineId, WalRange};

    #[test]
    fn a_branch_that_was_left_has_the_instants_before_that() {
        let life = "7-15".parse().unwrap();
        let timeline = |number| TimelineId::new(number).unwrap();
        let at = |day: i64| Timestamp::from_unix_micros(day * 86_400_000_000).unwrap();
        let log = |number, day| -> Artifact {
            let wal = WalRange::new(timeline(number), Lsn::new(0), Lsn::new(16)).unwrap();
            let mut log = LogBackup::new(life, wal, "log".parse().unwrap(), 1);
            log.complete_through = Some(at(day));
            log.into()
        };
        let extent = Extent::new(&Catalog::new([log(1, 2), log(2, 5)]).unwrap(), at(1), at(5));
        let instants = |number| extent.instants(Branch::new(life, timeline(number)));
        let until = |day: i64| Some((at(1), at(day).saturating_sub(TICK)).into());
        assert_eq!([instants(1), instants(2), instants(3)], [until(2), until(5), None]);
    }
}
