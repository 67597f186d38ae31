//! Which branch the server was on last.

use super::{Branch, BranchRecord, Catalog};
use crate::model::{Incarnation, Lsn, TimelineId, Timestamp};

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
    /// than the server's. `None` if neither log nor a snapshot is there.
    #[must_use]
    pub fn current(&self) -> Option<Branch> {
        self.current.values().copied().max_by_key(|&branch| (self.last_seen(branch), branch.timeline, branch))
    }

    /// The timeline of `incarnation` that the server was on last; see [`Catalog::current`].
    #[must_use]
    pub fn current_timeline(&self, incarnation: Incarnation) -> Option<TimelineId> {
        self.current.get(&incarnation).map(|branch| branch.timeline)
    }

    /// Finds the current branch of each incarnation.
    pub(super) fn find_current(&mut self) {
        let tip = |&branch: &Branch| self.end(branch).is_some_and(|end| !self.is_passed(branch, end));
        let mut tips: Vec<Branch> = self.branches().filter(tip).collect();
        tips.sort_by_key(|&branch| (self.last_seen(branch), branch.timeline, branch));
        self.current = tips.into_iter().map(|branch| (branch.incarnation, branch)).collect();
    }

    /// Whether another branch passed through the `end` of `branch`, and went on.
    ///
    /// Histories of one catalog agree, so whoever has its last byte from the same timeline has all before it in common.
    fn is_passed(&self, branch: Branch, end: Lsn) -> bool {
        let last_byte = Lsn::new(end.as_u64().saturating_sub(1));
        let writer = |branch: Branch| self.history(branch).map(|history| history.timeline_at(last_byte));
        let others = self.branches().filter(|other| other.incarnation == branch.incarnation);
        let mut beyond = others.filter(|&other| self.end(other) > Some(end));
        beyond.any(|other| writer(other) == writer(branch))
    }

    /// Where the last log backup or snapshot of the branch ends; `None` if there is none.
    fn end(&self, branch: Branch) -> Option<Lsn> {
        self.last_snapshot(self.record(branch)?).map(|(end, _)| end).max(self.archived_through(branch))
    }

    /// The last time that is known of the branch: the server's clock, or a commit, or a snapshot, whichever lies furthest in
    /// its log.
    #[must_use]
    pub fn last_seen(&self, branch: Branch) -> Option<Timestamp> {
        let record = self.record(branch)?;
        self.last_snapshot(record).max(record.log.last_seen()).map(|(_, at)| at)
    }

    fn last_snapshot(&self, record: &BranchRecord) -> Option<(Lsn, Timestamp)> {
        let last = record.snapshots.last().and_then(|id| self.snapshot(id))?;
        Some((last.wal.end, last.consistent_at))
    }
}
