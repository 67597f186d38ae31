//! The ends of branches: which one is current does not change by what expires.

use super::decide::Decision;
use super::extent::{horizon, last_credible};
use super::retention_plan::KeepReason;
use crate::model::{Branch, Lsn, Tip, Tips};

impl Decision<'_> {
    /// Of branches that were left, some point may be kept, but not the end. If a clock was wrong, that point can claim to be later
    /// than whatever is known of the current branch; then the end is kept too, which tells that the branch was left before.
    pub(super) fn want_ends(&mut self) {
        // Of which the end is kept, a branch is none any more.
        for _ in 0..self.tips.len() {
            let Some((usurper, rightful)) = self.usurper() else { return };
            // It may have gone on as another one, of which nothing else is kept.
            let passer = self.catalog.passer(usurper, &self.tips);
            for branch in [Some(usurper), passer, rightful].into_iter().flatten() {
                self.want_end(branch);
            }
            self.want_parents();
        }
    }

    /// A branch that, with just what is wanted of it, would take the place of another one: of the current one, or of the last one
    /// of a life of which sparse points are kept. Or it would make the server seem to be seen later.
    fn usurper(&self) -> Option<(Branch, Option<Branch>)> {
        let left: Tips = self.tips.keys().filter_map(|&branch| Some((branch, self.tip_of_wanted(branch)?))).collect();
        let by_time = self.catalog.went_on(&left);
        let of_all = || Some((*by_time.last()?, self.current));
        let of_life = |point: &Branch| {
            let last = by_time.iter().rfind(|branch| branch.incarnation == point.incarnation)?;
            Some((*last, Some(*point)))
        };
        let mut pairs = of_all().into_iter().chain(self.sparse.iter().filter_map(of_life));
        pairs.find(|&(last, rightful)| Some(last) != rightful).or_else(|| {
            let moved = horizon(self.current?, &left, self.now) != self.horizon;
            last_credible(&left, self.now).filter(|_| moved).map(|branch| (branch, None))
        })
    }

    /// Where the branch would end with what is wanted of it.
    fn tip_of_wanted(&self, branch: Branch) -> Option<Tip> {
        let wanted = self.wanted.of(branch);
        let logs = self.catalog.logs(branch).filter(|log| wanted.why(*log).is_some());
        let record = self.catalog.record(branch)?;
        let begin = record.history.begin();
        let logs = logs.map(|log| Tip::of(begin, log.start(), log.end(), log.last_seen()));
        let last = record.snapshots.iter().rfind(|id| self.wanted.why_snapshot(id).is_some());
        let last = last.and_then(|id| self.catalog.snapshot(id));
        let last = last.map(|last| Tip::of(begin, last.wal.start, last.wal.end, Some(last.consistent_at)));
        logs.chain(last).reduce(Tip::further)
    }

    /// What tells where the branch ended, and when.
    fn want_end(&mut self, branch: Branch) {
        let Some((record, tip)) = self.catalog.record(branch).zip(self.tips.get(&branch)) else { return };
        let reason = KeepReason::EndOf(branch);
        let from = tip.seen.map_or(tip.end, |(at, _)| at);
        let last = record.snapshots.last().and_then(|id| self.catalog.snapshot(id));
        if let Some(last) = last.filter(|last| from <= last.wal.end) {
            self.want_snapshot(&last.id, reason.clone());
        }
        self.wanted.log(branch, Lsn::new(from.as_u64().saturating_sub(1)), Lsn::MAX, &reason);
        self.wanted.branch(branch);
    }
}
