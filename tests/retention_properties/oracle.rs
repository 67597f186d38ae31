//! What must hold when something was deleted: judged by planning restores before and after, and by the rule as prose has it.

use std::collections::BTreeSet;
use std::time::Duration;

use pitr::model::{
    Artifact, Branch, Catalog, LogBackup, Lsn, ObjectKey, Snapshot, SnapshotId, SnapshotKind, Timestamp,
};
use pitr::plan::retention::{KeepReason, KeptLogs, RetentionPlan};
use pitr::plan::{PlanError, RestorePlan, RestoreRequest, Target, plan_restore};

use crate::world::{Character, World};

pub(crate) const TICK: Duration = Duration::from_micros(1);

/// What was there before and is left after, of which window.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) world: &'a World,
    pub(crate) before: &'a Catalog,
    pub(crate) after: &'a Catalog,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
}

type Judgement = Result<(), String>;

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Judgement {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn on(branch: Branch, target: Target) -> RestoreRequest {
    RestoreRequest::new(target).of_incarnation(branch.incarnation).on_timeline(branch.timeline)
}

fn times(artifact: &Artifact) -> [Option<Timestamp>; 2] {
    match artifact {
        Artifact::Snapshot(snapshot) => [Some(snapshot.consistent_at), None],
        Artifact::Log(log) => [log.max_commit_time, log.complete_through],
        _ => [None, None],
    }
}

pub(crate) fn branch_of(artifact: &Artifact) -> Option<Branch> {
    match artifact {
        Artifact::Snapshot(snapshot) => Some(branch_of_snapshot(snapshot)),
        Artifact::Log(log) => Some(Branch::new(log.incarnation, log.wal.timeline)),
        _ => None,
    }
}

fn branch_of_snapshot(snapshot: &Snapshot) -> Branch {
    Branch::new(snapshot.incarnation, snapshot.wal.timeline)
}

impl Judge<'_> {
    /// Until when the server was on the branch, if that counts at all.
    pub(crate) fn until(&self, branch: Branch) -> Option<Timestamp> {
        if self.before.current() == Some(branch) {
            return Some(self.end);
        }
        let mine: Vec<_> = self.before.artifacts().filter(|artifact| branch_of(artifact) == Some(branch)).collect();
        let seen = mine.iter().flat_map(times).flatten().filter(|&at| at <= self.end).max();
        let unknown = (!mine.is_empty()).then_some(self.end);
        seen.map_or(unknown, |seen| (seen >= self.start).then_some(seen))
    }

    /// The edges of what is archived, and other instants, all of the window.
    pub(crate) fn instants(&self, random: &mut crate::random::Random, count: usize) -> Vec<Timestamp> {
        let edges: Vec<_> = self.before.artifacts().flat_map(|artifact| times(&artifact)).flatten().collect();
        let mut instants = vec![self.start, self.start.saturating_add(TICK), self.end.saturating_sub(TICK)];
        for _ in 0..count {
            let edge = edges[random.index(edges.len())];
            instants.push([edge.saturating_sub(TICK), edge, edge.saturating_add(TICK)][random.index(3)]);
            let span = u64::try_from(self.end.duration_since(self.start).as_micros()).expect("weeks");
            instants.push(self.start.saturating_add(Duration::from_micros(random.next() % span)));
        }
        instants
    }

    /// Every instant of the window leads where it led.
    pub(crate) fn instants_stay(&self, instants: &[Timestamp]) -> Judgement {
        for branch in self.before.branches() {
            let Some(until) = self.until(branch) else { continue };
            for &at in instants.iter().filter(|&&at| self.start <= at && at < until) {
                self.same(&on(branch, Target::time(at)), &format!("{at} on {branch}"))?;
            }
        }
        let Some(current) = self.before.current() else { return Ok(()) };
        ensure(self.after.current() == Some(current), || format!("{current} is no more the current branch"))?;
        self.same(&on(current, Target::Latest), "the latest")
    }

    fn same(&self, request: &RestoreRequest, asked: &str) -> Judgement {
        let outcome = |result: Result<RestorePlan, PlanError>| result.map(|plan| (plan.stop(), plan.recovery())).ok();
        let before = outcome(plan_restore(self.before, request));
        let after = plan_restore(self.after, request);
        let shown = format!("{after:?}");
        // A clock that was wrong by years can make an instant restorable when the log is gone that contradicts it.
        let gained = before.is_none() && self.world.character == Character::Wild;
        ensure(gained || before == outcome(after), || format!("{asked}: {before:?} before, but {shown} after"))
    }

    fn is_restorable(catalog: &Catalog, id: &SnapshotId) -> bool {
        plan_restore(catalog, &Target::Snapshot(id.clone()).into()).is_ok()
    }

    /// A snapshot that can be restored still can be.
    pub(crate) fn snapshot_stays(&self, id: &SnapshotId, why: &str) -> Judgement {
        let lost = Self::is_restorable(self.before, id) && !Self::is_restorable(self.after, id);
        ensure(!lost, || format!("snapshot {id} is lost: {why}"))
    }

    /// The newest snapshot of the current branch that can be restored still can be.
    pub(crate) fn last_snapshot_stays(&self) -> Judgement {
        let Some(current) = self.before.current() else { return Ok(()) };
        let usable = |catalog: &Catalog, id: &SnapshotId| {
            plan_restore(catalog, &on(current, Target::Snapshot(id.clone()))).is_ok()
        };
        let mut passed = self.passed(current);
        passed.reverse();
        let last = passed.into_iter().find(|snapshot| usable(self.before, &snapshot.id));
        last.map_or(Ok(()), |last| {
            ensure(usable(self.after, &last.id), || format!("the last snapshot {} is lost", last.id))
        })
    }

    /// The snapshots that a branch passed through, in the order of its log, if all histories are there.
    pub(crate) fn passed(&self, branch: Branch) -> Vec<&Snapshot> {
        let path = self.world.path(branch);
        let place = |snapshot: &Snapshot| {
            path.iter().position(|&(b, left)| b == branch_of_snapshot(snapshot) && snapshot.wal.end <= left)
        };
        let mut passed: Vec<_> =
            self.before.snapshots().filter_map(|snapshot| Some((place(snapshot)?, snapshot))).collect();
        passed.sort_by_key(|&(place, snapshot)| (place, snapshot.wal.end, &snapshot.id));
        passed.into_iter().map(|(_, snapshot)| snapshot).collect()
    }

    /// What is held, read and taken stays, as far as it is there.
    pub(crate) fn protected_stay(&self) -> Judgement {
        let grace = self.world.policy.long_term.release_grace;
        for hold in self.world.holds.iter().filter(|hold| hold.is_active(self.end, grace)) {
            self.snapshot_stays(&hold.snapshot, "it is held")?;
            let there = |catalog: &Catalog| catalog.snapshot(&hold.snapshot).is_some();
            ensure(!there(self.before) || there(self.after), || format!("{} is held", hold.snapshot))?;
        }
        let kept: BTreeSet<ObjectKey> = self.after.artifacts().map(|artifact| artifact.object().key).collect();
        for reading in self.world.readings.iter().filter(|reading| self.end < reading.lease.until) {
            let lost = reading.objects.iter().find(|key| !kept.contains(key));
            ensure(lost.is_none(), || format!("{} reads {lost:?}", reading.lease.holder))?;
        }
        for running in self.world.protections().running {
            let Some(parent) = running.parent else { continue };
            self.snapshot_stays(&parent, "a snapshot is being taken that builds on it")?;
        }
        Ok(())
    }
}

/// Whether every reason that a plan gives is true.
#[derive(Debug)]
pub(crate) struct Reasons<'a> {
    pub(crate) judge: &'a Judge<'a>,
    pub(crate) plan: &'a RetentionPlan,
}

impl Reasons<'_> {
    pub(crate) fn are_true(&self) -> Judgement {
        for kept in &self.plan.kept_snapshots {
            let snapshot = self.judge.before.snapshot(&kept.id).expect("it is kept");
            ensure(self.of_snapshot(snapshot, &kept.reason), || format!("{} is kept: {}?", kept.id, kept.reason))?;
        }
        let expired: BTreeSet<_> = self.plan.expired().map(|artifact| artifact.object().key).collect();
        let logs = self.judge.before.branches().flat_map(|branch| self.judge.before.logs(branch));
        for log in logs.map(|log| log.to_backup()).filter(|log| !expired.contains(&log.key())) {
            let of = |kept: &&KeptLogs| {
                kept.branch == Branch::new(log.incarnation, log.wal.timeline)
                    && kept.start <= log.wal.start
                    && log.wal.end <= kept.end
            };
            let mut reasons = self.plan.kept_logs.iter().filter(of).map(|kept| &kept.reason);
            ensure(reasons.any(|reason| self.of_log(&log, reason)), || format!("why is log {:?} kept?", log.wal))?;
        }
        Ok(())
    }

    /// The anchor by the rule: the newest of the snapshots from which the window's start could be restored, of those that the
    /// branch passed through before one that is of the window.
    fn anchor(&self, branch: Branch) -> Option<&Snapshot> {
        let passed = self.judge.passed(branch).into_iter();
        let usable = passed.filter_map(|snapshot| Some((self.floor(branch, snapshot)?, snapshot)));
        let before = usable.take_while(|&(floor, _)| floor <= self.judge.start || floor > self.judge.end);
        before.filter(|&(floor, _)| floor <= self.judge.start).last().map(|(_, snapshot)| snapshot)
    }

    /// The first instant that can be restored from a snapshot: after its own time and every commit in its own log.
    fn floor(&self, branch: Branch, snapshot: &Snapshot) -> Option<Timestamp> {
        let _ = plan_restore(self.judge.before, &on(branch, Target::Snapshot(snapshot.id.clone()))).ok()?;
        let own = self.judge.before.logs(branch_of_snapshot(snapshot)).map(|log| log.to_backup());
        let own = own.filter(|log| log.wal.start < snapshot.wal.end && snapshot.wal.start < log.wal.end);
        let commits = own.filter_map(|log| log.max_commit_time).max();
        Some(snapshot.consistent_at.saturating_add(TICK)).max(commits)
    }

    fn is_live(&self, branch: Branch) -> bool {
        self.judge.until(branch).is_some()
    }

    fn of_snapshot(&self, snapshot: &Snapshot, reason: &KeepReason) -> bool {
        let is = |found: Option<&Snapshot>| found.is_some_and(|found| found.id == snapshot.id);
        match reason {
            KeepReason::Window(branch) => {
                let after = |anchor: &Snapshot| {
                    let passed = self.judge.passed(*branch);
                    let place = |of: &Snapshot| passed.iter().position(|passed| passed.id == of.id);
                    place(snapshot) > place(anchor)
                };
                self.is_live(*branch) && self.anchor(*branch).is_none_or(after)
            }
            KeepReason::Anchor(branch) => self.is_live(*branch) && is(self.anchor(*branch)),
            KeepReason::Minimum => {
                let current = self.judge.before.current().expect("there is one");
                let usable = self.judge.passed(current).into_iter().filter(|s| self.floor(current, s).is_some());
                let newer = usable.skip_while(|usable| usable.id != snapshot.id).count();
                newer <= self.plan.policy.long_term.minimum_snapshots.max(1) as usize
            }
            KeepReason::Held(name) => {
                self.judge.world.holds.iter().any(|hold| hold.name == *name && hold.snapshot == snapshot.id)
            }
            KeepReason::Leased(holder) => {
                let of = self.judge.world.readings.iter().filter(|reading| reading.lease.holder == *holder);
                of.flat_map(|reading| &reading.lease.snapshots).any(|id| *id == snapshot.id)
            }
            KeepReason::ParentOf(child) => {
                let kept = self.plan.kept_snapshots.iter().any(|kept| kept.id == *child);
                let child = self.judge.before.snapshot(child).expect("it is there");
                kept && child.kind == SnapshotKind::Incremental { parent: snapshot.id.clone() }
            }
            KeepReason::NothingRestorable => {
                let current = self.judge.before.current().expect("there is one");
                self.judge.passed(current).into_iter().all(|snapshot| self.floor(current, snapshot).is_none())
            }
            _ => true,
        }
    }

    fn of_log(&self, log: &LogBackup, reason: &KeepReason) -> bool {
        let first = |snapshot: &Snapshot| Lsn::new(snapshot.wal.start.as_u64() >> 20 << 20);
        match reason {
            KeepReason::Window(branch) => {
                let on_path = self
                    .judge
                    .world
                    .path(*branch)
                    .iter()
                    .any(|(b, left)| b.timeline == log.wal.timeline && log.wal.start <= *left);
                let after = |anchor: &Snapshot| log.wal.end >= first(anchor);
                self.is_live(*branch) && on_path && self.anchor(*branch).is_none_or(after)
            }
            KeepReason::LogOf(id) => {
                let snapshot = self.judge.before.snapshot(id).expect("it is there");
                let kept = self.plan.kept_snapshots.iter().any(|kept| kept.id == *id);
                kept && log.wal.start <= snapshot.wal.end && log.wal.end >= first(snapshot)
            }
            _ => true,
        }
    }
}
