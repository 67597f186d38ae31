//! Where branches end, and which one the server was on last.

use std::collections::BTreeMap;

use super::{Branch, Catalog};
use crate::model::{Incarnation, Lsn, TimelineId, Timestamp};

/// Where a branch ends, as far as it is archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    /// Where its last log backup or snapshot ends.
    pub(crate) end: Lsn,
    /// The last position at which a time is known, and that time: the server's clock, or a commit, or a snapshot.
    pub(crate) seen: Option<(Lsn, Timestamp)>,
    /// Whether anything was written on the timeline itself, of what is archived under its number: that can begin with a copy of
    /// what came before. What is empty, at the very beginning, was.
    pub(crate) is_own: bool,
}

impl Tip {
    /// The end of a log backup or snapshot on a timeline that begins at `begin`.
    pub(crate) fn of(begin: Lsn, start: Lsn, end: Lsn, seen: Option<Timestamp>) -> Self {
        Self { end, seen: seen.map(|at| (end, at)), is_own: end > begin || start >= begin }
    }

    /// Of two of one branch.
    pub(crate) fn further(self, other: Self) -> Self {
        let (end, seen) = (self.end.max(other.end), self.seen.max(other.seen));
        Self { end, seen, is_own: self.is_own || other.is_own }
    }

    /// The last time that is known of the branch.
    pub(crate) fn seen(&self) -> Option<Timestamp> {
        self.seen.map(|(_, at)| at)
    }

    /// By what branches are compared: the server was last on the greatest.
    fn rank(&self, branch: Branch) -> impl Ord + use<> {
        (self.is_own, self.seen(), branch.timeline, branch)
    }
}

/// Where each branch ends.
pub(crate) type Tips = BTreeMap<Branch, Tip>;

impl Catalog {
    /// The branch that the server was on last: of the newest incarnation the current timeline.
    ///
    /// What is archived of one branch can lie wholly in the past of another one, of which more is archived: the server left
    /// it, and whatever clocks say, it is not the current one. (The clock of a standby that was promoted may be behind that
    /// of the server which it replaced.)
    ///
    /// Only of branches that each went on by themselves are the times compared, and the one counts whose end was seen at
    /// the latest time: the server's clock at its last log backup (or the latest commit in that, if the clock was not
    /// observed) or at its last snapshot, whichever lies further in the log. Of branches that ended at the same time it is
    /// the one with the highest timeline. Numbers alone would not do: a promotion that was abandoned has a higher timeline
    /// than the server's. A branch of which only a copy of its parent's log is archived is the current one only if there is
    /// no other. `None` if neither log nor a snapshot is there.
    #[must_use]
    pub fn current(&self) -> Option<Branch> {
        self.current.values().copied().max_by_key(|&branch| self.tip(branch).map(|tip| tip.rank(branch)))
    }

    /// The timeline of `incarnation` that the server was on last; see [`Catalog::current`].
    #[must_use]
    pub fn current_timeline(&self, incarnation: Incarnation) -> Option<TimelineId> {
        self.current.get(&incarnation).map(|branch| branch.timeline)
    }

    /// The last time that is known of the branch: the server's clock, or a commit, or a snapshot, whichever lies furthest in
    /// its log.
    #[must_use]
    pub fn last_seen(&self, branch: Branch) -> Option<Timestamp> {
        self.tip(branch)?.seen()
    }

    /// Finds the current branch of each incarnation.
    pub(super) fn find_current(&mut self) {
        let by_time = self.went_on(&self.tips());
        self.current = by_time.into_iter().map(|branch| (branch.incarnation, branch)).collect();
    }

    /// Where each branch of which anything is archived ends.
    pub(crate) fn tips(&self) -> Tips {
        self.branches().filter_map(|branch| Some((branch, self.tip(branch)?))).collect()
    }

    /// Where the branch ends; `None` if nothing is archived of it.
    pub(crate) fn tip(&self, branch: Branch) -> Option<Tip> {
        let record = self.record(branch)?;
        let begin = record.history.begin();
        let log = record.log.iter().next_back().zip(record.log.end());
        let log =
            log.map(|(last, end)| Tip { seen: record.log.last_seen(), ..Tip::of(begin, last.start(), end, None) });
        let last = record.snapshots.last().and_then(|id| self.snapshot(id));
        let last = last.map(|last| Tip::of(begin, last.wal.start, last.wal.end, Some(last.consistent_at)));
        log.into_iter().chain(last).reduce(Tip::further)
    }

    /// The branches that went on by themselves, if they ended at `tips`: those that the server left first come first, the
    /// current one is the last of all.
    pub(crate) fn went_on(&self, tips: &Tips) -> Vec<Branch> {
        let mut branches: Vec<Branch> =
            tips.keys().copied().filter(|&branch| self.passer(branch, tips).is_none()).collect();
        branches.sort_by_key(|&branch| tips.get(&branch).map(|tip| tip.rank(branch)));
        branches
    }

    /// The branch that passed through the end of `branch` and went furthest, if any did.
    ///
    /// Histories of one catalog agree, so whoever has its last byte from the same timeline has all before it in common.
    pub(crate) fn passer(&self, branch: Branch, tips: &Tips) -> Option<Branch> {
        let end = tips.get(&branch)?.end;
        let last_byte = Lsn::new(end.as_u64().saturating_sub(1));
        let writer = |branch: Branch| self.history(branch).map(|history| history.timeline_at(last_byte));
        let others = tips.iter().filter(|(other, tip)| other.incarnation == branch.incarnation && tip.end > end);
        let beyond = others.filter(|&(&other, _)| writer(other) == writer(branch));
        beyond.max_by_key(|&(&other, tip)| (tip.end, other)).map(|(&other, _)| other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_its_own_as_soon_as_anything_of_it_is() {
        let (begin, at) = (Lsn::new(100), Timestamp::UNIX_EPOCH);
        let copy = Tip::of(begin, Lsn::new(80), begin, Some(at));
        let own = Tip::of(begin, Lsn::new(90), Lsn::new(101), None);
        let empty = Tip::of(begin, begin, begin, None);
        assert_eq!([copy.is_own, own.is_own, empty.is_own], [false, true, true]);
        for (one, other) in [(copy, own), (own, copy)] {
            let both = one.further(other);
            assert_eq!((both.is_own, both.end, both.seen), (true, Lsn::new(101), Some((begin, at))));
        }
        assert!(!copy.further(copy).is_own);
    }
}
