//! Sorting everything into what is kept and what expires.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::Decision;
use super::retention_plan::{
    ExpireReason, ExpiredHistory, ExpiredLogs, ExpiredSnapshot, KeepReason, KeptHistory, KeptLogs, KeptSnapshot,
    RetentionPlan,
};
use crate::model::{Branch, LogRef, StoredHistory, TimelineHistory, TimelineId};

impl Decision<'_> {
    /// Everything, each with its reason.
    pub(super) fn plan(self) -> RetentionPlan {
        let mut plan = RetentionPlan {
            policy: self.policy.clone(),
            horizon: self.horizon,
            kept_snapshots: Vec::new(),
            expired_snapshots: Vec::new(),
            kept_logs: Vec::new(),
            expired_logs: Vec::new(),
            kept_histories: Vec::new(),
            expired_histories: Vec::new(),
        };
        self.sort_snapshots(&mut plan);
        let mut kept: BTreeSet<Branch> = self.wanted.branches().collect();
        for branch in self.catalog.branches() {
            if self.sort_logs(branch, &mut plan) {
                kept.insert(branch);
            }
        }
        kept.extend(self.coming(&kept));
        self.sort_histories(&self.tellers(&kept), &mut plan);
        plan
    }

    fn sort_snapshots(&self, plan: &mut RetentionPlan) {
        for snapshot in self.catalog.snapshots() {
            match self.wanted.why_snapshot(&snapshot.id).cloned() {
                Some(reason) => plan.kept_snapshots.push(KeptSnapshot {
                    id: snapshot.id.clone(),
                    added_bytes: snapshot.added_bytes(),
                    shares: snapshot.shares.clone(),
                    reason,
                }),
                None => {
                    let reason = self.expired(snapshot.branch());
                    plan.expired_snapshots.push(ExpiredSnapshot { snapshot: snapshot.clone(), reason });
                }
            }
        }
        // What builds on another one ends after it.
        let key = |expired: &ExpiredSnapshot| (expired.snapshot.wal.end, expired.snapshot.id.clone());
        plan.expired_snapshots.sort_by_cached_key(|expired| std::cmp::Reverse(key(expired)));
    }

    /// Whether any log of the branch is kept.
    fn sort_logs(&self, branch: Branch, plan: &mut RetentionPlan) -> bool {
        let wanted = self.wanted.of(branch);
        let mut expired = ExpiredLogs { branch, logs: Vec::new(), reason: self.expired(branch) };
        let mut kept: Vec<KeptLogs> = Vec::new();
        for log in self.catalog.logs(branch) {
            match wanted.why(log) {
                Some(reason) => keep(&mut kept, log, reason),
                None => expired.logs.push(log.to_backup()),
            }
        }
        let any = !kept.is_empty();
        plan.kept_logs.extend(kept);
        plan.expired_logs.extend(Some(expired).filter(|expired| !expired.logs.is_empty()));
        any
    }

    /// Branches of which nothing is archived yet, and whose parent is kept: a history comes first, the log follows.
    fn coming(&self, kept: &BTreeSet<Branch>) -> Vec<Branch> {
        let parent = |branch: Branch| {
            let ancestor = self.catalog.history(branch)?.ancestors().last()?;
            Some(Branch::new(branch.incarnation, ancestor.timeline))
        };
        let empty = |&branch: &Branch| !self.tips.get(&branch).is_some_and(|tip| tip.is_own);
        let branches = self.catalog.branches().filter(empty);
        branches.filter(|&branch| parent(branch).is_some_and(|parent| kept.contains(&parent))).collect()
    }

    /// For each stored history that is needed, the branch whose past it tells: its own, or one that has no history stored.
    fn tellers(&self, kept: &BTreeSet<Branch>) -> BTreeMap<Branch, Branch> {
        let mut tellers = BTreeMap::new();
        for &branch in kept {
            let told_by = |&other: &Branch| {
                let history = self.catalog.history(other).filter(|_| other.incarnation == branch.incarnation);
                let tells =
                    |history: &TimelineHistory| history.stretches().any(|(timeline, ..)| timeline == branch.timeline);
                self.catalog.history_object(other).is_some() && history.is_some_and(tells)
            };
            let own = Some(branch).filter(|&branch| self.catalog.history_object(branch).is_some());
            let needed = branch.timeline != TimelineId::FIRST;
            if let Some(teller) = own.or_else(|| self.catalog.branches().find(told_by)).filter(|_| needed) {
                tellers.entry(teller).or_insert(branch);
            }
        }
        tellers
    }

    fn sort_histories(&self, tellers: &BTreeMap<Branch, Branch>, plan: &mut RetentionPlan) {
        for branch in self.catalog.branches() {
            let (Some(history), Some(object)) = (self.catalog.history(branch), self.catalog.history_object(branch))
            else {
                continue;
            };
            match tellers.get(&branch) {
                Some(&of) => {
                    plan.kept_histories.push(KeptHistory { object: object.clone(), reason: KeepReason::HistoryOf(of) });
                }
                None => {
                    let history = StoredHistory::new(branch.incarnation, history.clone(), object.clone());
                    plan.expired_histories.push(ExpiredHistory { history, reason: ExpireReason::Unneeded });
                }
            }
        }
    }

    /// Why what is not wanted of this branch expires.
    fn expired(&self, branch: Branch) -> ExpireReason {
        let left =
            self.extent.as_ref().filter(|extent| !extent.is_live(branch)).and_then(|extent| extent.left_at(branch));
        left.map_or(ExpireReason::BeforeWindow, |last_seen| ExpireReason::OrphanedBranch { last_seen })
    }
}

fn keep(kept: &mut Vec<KeptLogs>, log: LogRef<'_>, reason: &KeepReason) {
    match kept.last_mut() {
        Some(run) if run.reason == *reason => {
            run.end = run.end.max(log.end());
            run.count += 1;
            run.stored_bytes = run.stored_bytes.saturating_add(log.stored_bytes());
        }
        _ => kept.push(KeptLogs {
            branch: log.branch(),
            start: log.start(),
            end: log.end(),
            count: 1,
            stored_bytes: log.stored_bytes(),
            reason: reason.clone(),
        }),
    }
}
