//! Deciding what is kept.

use std::collections::BTreeSet;

use super::extent::{Extent, Witness, horizon};
use super::retention_plan::{KeepReason, RetentionPlan};
use super::wanted::Wanted;
use super::{Protections, RetentionPolicy, RunningSnapshot};
use crate::model::{
    Branch, Catalog, Lease, Lsn, SegmentSize, Snapshot, SnapshotId, SnapshotKind, SparseTier, TimelineId, Timestamp,
    Tips, WalRange,
};
use crate::plan::past::{Candidate, Path, Position, Span};
use crate::plan::window::{RestorableInterval, covers, merged};

/// Decides what of `catalog` is kept by `policy` and `protections`, and what expires; the [module](super) has the rule.
///
/// The same input always gives the same plan. Takes time linear in the number of artifacts.
pub fn plan_retention(
    catalog: &Catalog,
    policy: &RetentionPolicy,
    protections: &Protections,
    now: Timestamp,
) -> RetentionPlan {
    let (current, tips) = (catalog.current(), catalog.tips());
    let horizon = current.and_then(|current| horizon(current, &tips, now));
    let extent = horizon.map(|horizon| Extent::new(catalog, policy.window_start(horizon), horizon));
    let (sparse, wanted) = (BTreeSet::new(), Wanted::default());
    Decision { catalog, policy, now, current, tips, horizon, extent, sparse, wanted }.want(protections).plan()
}

/// When the server was last seen, or now if that is earlier, is the end of the window; see [`plan_retention`].
pub(super) struct Decision<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) policy: &'a RetentionPolicy,
    pub(super) now: Timestamp,
    pub(super) current: Option<Branch>,
    pub(super) tips: Tips,
    pub(super) horizon: Option<Timestamp>,
    pub(super) extent: Option<Extent>,
    /// Of which branches sparse points are kept.
    pub(super) sparse: BTreeSet<Branch>,
    pub(super) wanted: Wanted,
}

impl<'a> Decision<'a> {
    fn want(mut self, protections: &Protections) -> Self {
        let restorable =
            self.current.and_then(|branch| self.path(branch)).is_some_and(|p| p.candidates().next().is_some());
        let Some(extent) = self.extent.clone().filter(|_| restorable) else {
            self.want_everything();
            return self;
        };
        let horizon = extent.end;
        for branch in self.catalog.branches().filter(|&branch| extent.is_live(branch)) {
            self.want_window(branch, &extent);
            self.want_witness(branch, &extent);
        }
        self.want_minimum();
        for tier in &self.policy.long_term.sparse {
            self.want_sparse(*tier, horizon);
        }
        for hold in protections.holds.iter().filter(|hold| hold.is_active(horizon, self.policy.long_term.release_grace))
        {
            self.want_snapshot(&hold.snapshot, KeepReason::Held(hold.name.clone()));
        }
        for lease in protections.leases.iter().filter(|lease| horizon < lease.until) {
            self.want_lease(lease);
        }
        protections.running.iter().for_each(|running| self.want_running(running));
        self.want_parents();
        self.want_ends();
        self
    }

    fn path(&self, branch: Branch) -> Option<Path<'a>> {
        Path::new(self.catalog, branch)
    }

    fn want_everything(&mut self) {
        for snapshot in self.catalog.snapshots() {
            self.wanted.snapshot(&snapshot.id, KeepReason::NothingRestorable);
        }
        for branch in self.catalog.branches() {
            self.wanted.log(branch, Lsn::ZERO, Lsn::MAX, &KeepReason::NothingRestorable);
            self.wanted.branch(branch);
        }
    }

    /// The anchor of the branch, everything after it, and what else an instant of the window needs.
    fn want_window(&mut self, branch: Branch, extent: &Extent) {
        let Some(path) = self.path(branch) else { return };
        let reason = KeepReason::Window(branch);
        let candidates: Vec<_> = path.candidates().collect();
        let anchor = anchor(&candidates, extent);
        let after = |id: &&SnapshotId| anchor.is_none_or(|anchor| **id != candidates[anchor].snapshot.id);
        for snapshot in path.snapshots().map(|(_, id)| id).take_while(after).filter_map(|id| self.catalog.snapshot(id))
        {
            self.want_as_far_as_there(&path, snapshot, reason.clone());
        }
        match anchor {
            Some(anchor) => self.wanted.logs(log_from(&path, &candidates[anchor], Lsn::MAX), &reason),
            None => self.wanted.logs(path.spans(Position::START, Lsn::MAX), &reason),
        }
        // One that took long can have begun before the anchor did.
        for candidate in &candidates[..anchor.unwrap_or(candidates.len())] {
            self.want_candidate(&path, candidate, reason.clone());
        }
        path.branches().for_each(|branch| self.wanted.branch(branch));
        match anchor {
            Some(anchor) => {
                self.want_candidate(&path, &candidates[anchor], KeepReason::Anchor(branch));
                self.want_older(&path, &candidates, anchor, extent);
            }
            None => self.want_possible_past(&path),
        }
    }

    /// What says that the branch was left within the window. It can lie before the anchor, if a clock was set back: then the next
    /// pass must know of it too.
    fn want_witness(&mut self, branch: Branch, extent: &Extent) {
        let reason = KeepReason::Window(branch);
        match extent.witness(branch) {
            Some(Witness::Snapshot(id)) => self.want_snapshot(id, reason),
            Some(Witness::Log(wal)) => self.wanted.log_backup(branch, *wal, &reason),
            None => {}
        }
    }

    /// Snapshots before the anchor from which an instant of the window is restored, because from no newer one it can be.
    fn want_older(&mut self, path: &Path<'a>, candidates: &[Candidate<'_, 'a>], anchor: usize, extent: &Extent) {
        let Some(instants) = extent.instants(path.branch) else { return };
        let mut covered: Vec<RestorableInterval> = Vec::new();
        for (number, candidate) in candidates.iter().enumerate() {
            let mine: Vec<_> = candidate.intervals().filter_map(|interval| interval.within(instants)).collect();
            if number > anchor && mine.iter().any(|interval| !covers(&covered, *interval)) {
                let reason = KeepReason::Window(path.branch);
                self.wanted.snapshot(&candidate.snapshot.id, reason.clone());
                self.wanted.logs(log_from(path, candidate, candidate.reach), &reason);
            }
            covered.extend(mine);
            covered = merged(covered);
        }
    }

    fn want_possible_past(&mut self, path: &Path<'a>) {
        let reason = KeepReason::Window(path.branch);
        for branch in self.possible_past(path) {
            let snapshots = self.catalog.record(branch).into_iter().flat_map(|record| &record.snapshots);
            snapshots.for_each(|id| self.wanted.snapshot(id, reason.clone()));
            self.wanted.log(branch, Lsn::ZERO, Lsn::MAX, &reason);
            self.wanted.branch(branch);
        }
    }

    fn want_minimum(&mut self) {
        let count = usize::try_from(self.policy.long_term.minimum_snapshots.max(1)).unwrap_or(usize::MAX);
        for path in self.pasts(self.current) {
            for candidate in path.candidates().take(count) {
                self.want_candidate(&path, &candidate, KeepReason::Minimum);
            }
        }
    }

    /// Of each life the sparse points of its last branch.
    fn want_sparse(&mut self, tier: SparseTier, horizon: Timestamp) {
        let last =
            |incarnation| self.catalog.current_timeline(incarnation).map(|timeline| Branch::new(incarnation, timeline));
        for branch in self.catalog.incarnations().filter_map(last).collect::<Vec<_>>() {
            for path in self.pasts(Some(branch)) {
                for point in sparse_points(&path, tier, horizon) {
                    self.want_candidate(&path, &point, KeepReason::Sparse(tier.every));
                    self.sparse.insert(branch);
                }
            }
        }
    }

    /// The past of a branch, and all that may be the past before it.
    fn pasts(&self, branch: Option<Branch>) -> Vec<Path<'a>> {
        let known: Vec<_> = branch.and_then(|branch| self.path(branch)).into_iter().collect();
        let possible: Vec<_> = known.iter().flat_map(|path| self.possible_past(path)).collect();
        known.into_iter().chain(possible.into_iter().filter_map(|branch| self.path(branch))).collect()
    }

    /// Where it is not known from which timeline a branch descends, it can be any earlier one.
    fn possible_past(&self, path: &Path<'a>) -> Vec<Branch> {
        let unknown = path.branches().next().filter(|oldest| oldest.timeline != TimelineId::FIRST);
        let may_be = |other: &Branch| {
            unknown.is_some_and(|oldest| other.incarnation == oldest.incarnation && other.timeline < oldest.timeline)
        };
        self.catalog.branches().filter(may_be).collect()
    }

    fn want_lease(&mut self, lease: &Lease) {
        let reason = KeepReason::Leased(lease.holder.clone());
        for id in &lease.snapshots {
            self.want_snapshot(id, reason.clone());
        }
        for WalRange { timeline, start, end } in lease.logs.iter().copied() {
            let branch = Branch::new(lease.incarnation, timeline);
            self.wanted.log(branch, start, end, &reason);
            self.wanted.branch(branch);
        }
    }

    fn want_running(&mut self, RunningSnapshot { branch, start, parent }: &RunningSnapshot) {
        if let Some(parent) = parent {
            self.want_snapshot(parent, KeepReason::Running);
        }
        if let Some(path) = self.path(*branch) {
            // Recovery reads from where the segment begins.
            let start = start.align_down(self.segment_bytes(*branch));
            self.wanted.logs(path.spans(path.position(start), Lsn::MAX), &KeepReason::Running);
        }
        self.wanted.branch(*branch);
    }

    /// The size of the server's segments, or if no snapshot tells, the largest that there is.
    fn segment_bytes(&self, branch: Branch) -> u64 {
        let same = |snapshot: &&Snapshot| snapshot.incarnation == branch.incarnation;
        let told = self.catalog.snapshots().filter(same).map(|snapshot| snapshot.segment_size.bytes()).max();
        told.unwrap_or_else(|| SegmentSize::MAX.bytes())
    }

    /// The snapshot, with the log that makes it consistent, as far as that is there.
    pub(super) fn want_snapshot(&mut self, id: &SnapshotId, reason: KeepReason) {
        let Some(snapshot) = self.catalog.snapshot(id) else { return };
        let branch = snapshot.branch();
        let Some(path) = self.path(branch) else { return };
        match path.candidate(id) {
            Some(Ok(candidate)) => self.want_candidate(&path, &candidate, reason),
            _ => self.want_as_far_as_there(&path, snapshot, reason),
        }
    }

    /// What is missing may be found again.
    fn want_as_far_as_there(&mut self, path: &Path<'a>, snapshot: &Snapshot, reason: KeepReason) {
        let from = path.position(snapshot.wal.start.align_down(snapshot.segment_size.bytes()));
        self.wanted.logs(path.spans(from, snapshot.wal.end), &KeepReason::LogOf(snapshot.id.clone()));
        self.wanted.snapshot(&snapshot.id, reason);
        self.wanted.branch(snapshot.branch());
    }

    fn want_candidate(&mut self, path: &Path<'a>, candidate: &Candidate<'_, 'a>, reason: KeepReason) {
        let Snapshot { id, incarnation, wal, .. } = candidate.snapshot;
        let log_of = KeepReason::LogOf(id.clone());
        self.wanted.logs(log_from(path, candidate, wal.end), &log_of);
        // Without it the snapshot would seem to be of an earlier time than it is.
        if let Some(log) = candidate.teller() {
            self.wanted.log_backup(log.branch(), log.wal(), &log_of);
        }
        self.wanted.snapshot(id, reason);
        self.wanted.branch(Branch::new(*incarnation, wal.timeline));
    }

    /// Of everything wanted also what it builds on.
    pub(super) fn want_parents(&mut self) {
        let mut children: Vec<SnapshotId> = self.wanted.snapshots().cloned().collect();
        while let Some(child) = children.pop() {
            let kind = self.catalog.snapshot(&child).map(|snapshot| &snapshot.kind);
            let Some(SnapshotKind::Incremental { parent }) = kind else { continue };
            let unwanted = |parent: &&Snapshot| self.wanted.why_snapshot(&parent.id).is_none();
            let Some(parent) = self.catalog.snapshot(parent).filter(unwanted) else { continue };
            self.wanted.snapshot(&parent.id, KeepReason::ParentOf(child));
            self.wanted.branch(parent.branch());
            children.push(parent.id.clone());
        }
    }
}

/// Which of a branch's `candidates`, the furthest in the log first, is the anchor: the newest one from which the window's first
/// instant could be restored, and before which in the log the server was never seen within the window.
///
/// Without the latter a snapshot that was taken while the clock was wrong by years, as it is when a machine starts without
/// one, would be taken for the anchor at once, and all log before it for older than the window. Times that lie in the future
/// are not believed: they would keep everything until they come.
fn anchor(candidates: &[Candidate<'_, '_>], extent: &Extent) -> Option<usize> {
    let within = |candidate: &Candidate<'_, '_>| extent.start < candidate.floor && candidate.floor <= extent.end;
    let oldest_within = candidates.iter().rposition(within).unwrap_or(0);
    (oldest_within..candidates.len()).find(|&number| candidates[number].floor <= extent.start)
}

/// Of each period the first snapshot in the log: what is added later cannot take another's place, whatever time it claims.
fn sparse_points<'p, 'a>(path: &'p Path<'a>, tier: SparseTier, horizon: Timestamp) -> Vec<Candidate<'p, 'a>> {
    let SparseTier { every, count } = tier;
    let oldest = every.number(horizon).saturating_sub(i64::from(count) - 1);
    let mut seen = BTreeSet::new();
    let mut candidates: Vec<_> = path.candidates().collect();
    candidates.reverse();
    candidates.retain(|candidate| {
        let at = candidate.snapshot.consistent_at;
        at <= horizon && oldest <= every.number(at) && seen.insert(every.number(at))
    });
    candidates
}

/// The log that recovery from `candidate` to `end` reads, by whichever way it begins, and what tells the time at its end.
///
/// That is the log before, if the snapshot is empty and nothing was observed since.
fn log_from<'p, 'a>(
    path: &'p Path<'a>,
    candidate: &'p Candidate<'_, 'a>,
    end: Lsn,
) -> impl Iterator<Item = Span<'p, 'a>> {
    let (consistent, from) = (candidate.snapshot.wal.end, candidate.from.as_slice());
    let observed = path.observed_between(consistent, consistent);
    let is_last = observed.is_some() && observed == path.observed_between(consistent, candidate.reach);
    let before = from.iter().any(|from| from.lsn == consistent) && is_last;
    let before = before.then(|| path.position(Lsn::new(consistent.as_u64().saturating_sub(1))));
    let before = before.into_iter().flat_map(move |before| path.spans(before, consistent));
    before.chain(from.iter().flat_map(move |&from| path.spans(from, end)))
}
