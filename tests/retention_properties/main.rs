//! Servers that live for years under a daily retention: no instant of the window is ever lost, and nothing stays for ever.
//!
//! `PITR_RETENTION_YEARS` sets how many server-years are lived.
#![allow(missing_docs, reason = "the modules of a test have no users")]
#![allow(clippy::too_many_lines, reason = "tables of properties")]

mod oracle;
#[path = "../support/random.rs"]
mod random;
mod world;

use std::collections::BTreeSet;

use oracle::{Judge, Reasons, branch_of};
use pitr::model::{Artifact, Branch, Catalog, ObjectKey, SnapshotId, Timestamp};
use pitr::plan::retention::{KeepReason, KeptLogs, Protections, RetentionPlan, plan_retention};
use pitr::plan::{Target, plan_restore};
use random::Random;
use world::{Character, World};

/// How long a life is, in days.
const LIFE: u64 = 2 * 365;
/// Every so many days everything is judged; on the others only what is cheap.
const THOROUGH: u64 = 12;

fn keys(artifacts: impl Iterator<Item = Artifact>) -> BTreeSet<ObjectKey> {
    artifacts.map(|artifact| artifact.object().key).collect()
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// A life, day by day.
struct Run {
    world: World,
    /// What the judges choose must not change what happens.
    chosen: Random,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self { world: World::new(seed), chosen: Random::new(!seed) }
    }

    fn live(&mut self, days: u64) -> Result<(), String> {
        (0..days).try_for_each(|_| self.day().map_err(|fault| format!("day {}: {fault}", self.world.day)))
    }

    fn day(&mut self) -> Result<(), String> {
        self.world.live_a_day();
        let catalog = self.world.catalog();
        let plan = self.plan(&catalog);
        plan.check(&catalog).map_err(|fault| format!("{fault}: {fault:?}\n{plan}"))?;
        let all: u64 = self.world.artifacts.values().map(Artifact::stored_bytes).sum();
        ensure(plan.kept_bytes() + plan.freed_bytes() == all, || format!("bytes go astray: {plan}"))?;
        if let Some(id) = &self.world.completed {
            let request = Target::Snapshot(id.clone()).into();
            let restored = plan_restore(&catalog, &request);
            ensure(restored.is_ok(), || format!("{id} took days and lacks what it needs: {restored:?}"))?;
        }
        let thorough = self.world.day.is_multiple_of(THOROUGH);
        if thorough {
            self.compare_inputs(&plan)?;
        }
        let interrupted = self.chosen.chance(200);
        let deleted = self.delete(&plan, interrupted);
        // Cheap on every day: what is read is there, or it was lost before.
        if thorough || !self.world.readings.is_empty() || !self.world.holds.is_empty() {
            let after = self.world.catalog();
            self.judge(&catalog, &after, &plan, thorough).map_err(|fault| format!("{fault}\n{plan}"))?;
            if thorough && deleted {
                let again = self.plan(&after);
                ensure(again.is_empty(), || format!("the second pass finds more:\n{again}\nafter\n{plan}"))?;
            }
        }
        self.forget_what_ended(&plan);
        Ok(())
    }

    fn plan(&self, catalog: &Catalog) -> RetentionPlan {
        plan_retention(catalog, &self.world.policy, &self.world.protections(), self.world.our_clock())
    }

    /// Deletes what is listed, from the first on. Whether all was deleted.
    fn delete(&mut self, plan: &RetentionPlan, interrupted: bool) -> bool {
        let expired: Vec<_> = plan.expired().map(|artifact| artifact.object().key).collect();
        let count = if interrupted { self.chosen.index(expired.len() + 1) } else { expired.len() };
        for key in &expired[..count] {
            self.world.artifacts.remove(key);
        }
        count == expired.len()
    }

    fn judge(&mut self, before: &Catalog, after: &Catalog, plan: &RetentionPlan, thorough: bool) -> Result<(), String> {
        let (Some(start), Some(end)) = (plan.window_start(), plan.horizon) else { return Ok(()) };
        let judge = Judge { world: &self.world, before, after, start, end };
        judge.protected_stay()?;
        if !thorough {
            return Ok(());
        }
        let instants = judge.instants(&mut self.chosen, 5);
        judge.instants_stay(&instants)?;
        judge.last_snapshot_stays()?;
        if self.world.character == Character::Calm {
            Reasons { judge: &judge, plan }.are_true()?
        }
        Ok(())
    }

    /// The order of the input does not matter, and what is missing makes no more expire.
    fn compare_inputs(&mut self, plan: &RetentionPlan) -> Result<(), String> {
        let mut artifacts: Vec<_> = self.world.artifacts.values().cloned().collect();
        for i in (1..artifacts.len()).rev() {
            artifacts.swap(i, self.chosen.index(i + 1));
        }
        let shuffled = self.plan(&Catalog::new(artifacts.clone()).expect("the same"));
        ensure(shuffled == *plan, || format!("the order matters: {plan}\n{shuffled}"))?;
        if self.world.character == Character::Wild || artifacts.is_empty() {
            return Ok(());
        }
        let lost = artifacts.swap_remove(self.chosen.index(artifacts.len()));
        let gap = Catalog::new(artifacts).expect("less");
        let with_gap = self.plan(&gap);
        let expired = keys(plan.expired());
        let more: Vec<_> = with_gap.expired().filter(|artifact| !expired.contains(&artifact.object().key)).collect();
        let fair = Fair { plan, gap: &gap, with_gap: &with_gap };
        let unfair = more.iter().find(|artifact| !fair.may_expire(artifact));
        ensure(unfair.is_none(), || {
            let key = |artifact: &Artifact| artifact.object().key;
            format!(
                "without {} also {} expires:\n{with_gap}\ninstead of\n{plan}",
                key(&lost),
                key(unfair.expect("it is"))
            )
        })
    }

    fn forget_what_ended(&mut self, plan: &RetentionPlan) {
        let Some(end) = plan.horizon else { return };
        let grace = self.world.policy.long_term.release_grace;
        self.world.readings.retain(|reading| end < reading.lease.until);
        self.world.holds.retain(|hold| hold.is_active(end, grace));
    }
}

/// What may expire because of a gap, though `plan` keeps it.
struct Fair<'a> {
    plan: &'a RetentionPlan,
    gap: &'a Catalog,
    with_gap: &'a RetentionPlan,
}

impl Fair<'_> {
    /// Only what was kept as a single point that can be restored, or for one, if that cannot be restored any more; and a
    /// history if nothing is left on its timeline.
    fn may_expire(&self, artifact: &Artifact) -> bool {
        match artifact {
            Artifact::Snapshot(snapshot) => self.snapshot_may_expire(&snapshot.id),
            Artifact::Log(log) => {
                let of = |kept: &&KeptLogs| {
                    Some(kept.branch) == branch_of(artifact) && kept.start <= log.wal.start && log.wal.end <= kept.end
                };
                self.plan.kept_logs.iter().filter(of).any(|kept| self.is_over(&kept.reason))
            }
            Artifact::History(history) => {
                let branch = Branch::new(history.incarnation, history.history.timeline());
                let left = self.with_gap.remaining(self.gap).expect("it is of this catalog");
                left.artifacts().all(|artifact| branch_of(&artifact) != Some(branch))
            }
            _ => false,
        }
    }

    fn snapshot_may_expire(&self, id: &SnapshotId) -> bool {
        let kept = self.plan.kept_snapshots.iter().find(|kept| kept.id == *id);
        kept.is_some_and(|kept| match kept.reason {
            KeepReason::Sparse(_) | KeepReason::Minimum => self.is_lost(id),
            _ => self.is_over(&kept.reason),
        })
    }

    /// Whether what it was kept for is lost, or may expire itself.
    fn is_over(&self, reason: &KeepReason) -> bool {
        // Of a branch that was left; what it is kept for can be any point on any branch.
        if let KeepReason::EndOf(branch) = reason {
            return self.gap.current() != Some(*branch);
        }
        let (KeepReason::LogOf(of) | KeepReason::ParentOf(of)) = reason else { return false };
        let expires = self.with_gap.expired_snapshots.iter().any(|expired| expired.snapshot.id == *of);
        self.is_lost(of) || (expires && self.snapshot_may_expire(of))
    }

    fn is_lost(&self, id: &SnapshotId) -> bool {
        plan_restore(self.gap, &Target::Snapshot(id.clone()).into()).is_err()
    }
}

fn years() -> u64 {
    std::env::var("PITR_RETENTION_YEARS").ok().map_or(300, |years| years.parse().expect("a number of years"))
}

#[test]
fn no_instant_of_the_window_is_lost_in_years() {
    for seed in 0..years() * 365 / LIFE {
        if let Err(fault) = Run::new(seed).live(LIFE) {
            panic!("seed {seed}, {fault}");
        }
    }
}

/// Paste the seed of a failure here.
#[test]
fn one_seed() {
    let seed = std::env::var("PITR_RETENTION_SEED").ok().map_or(0, |seed| seed.parse().expect("a seed"));
    if let Err(fault) = Run::new(seed).live(LIFE) {
        panic!("seed {seed}, {fault}");
    }
}

/// A retention as others have it: what is deleted, of what is there, before which instant.
type Wrong = fn(&World, &RetentionPlan, Timestamp) -> BTreeSet<ObjectKey>;

fn older_than_the_window(world: &World, _: &RetentionPlan, start: Timestamp) -> BTreeSet<ObjectKey> {
    let old = |artifact: &&Artifact| match artifact {
        Artifact::Snapshot(snapshot) => snapshot.consistent_at < start,
        Artifact::Log(log) => log.complete_through.is_some_and(|seen| seen < start),
        _ => false,
    };
    keys(world.artifacts.values().filter(old).cloned())
}

fn all_but_the_last_by_name(world: &World, _: &RetentionPlan, _: Timestamp) -> BTreeSet<ObjectKey> {
    let snapshots = keys(world.stored_snapshots().cloned().map(Artifact::from));
    let count = snapshots.len().saturating_sub(7);
    snapshots.into_iter().take(count).collect()
}

fn branches_that_are_not_current(world: &World, _: &RetentionPlan, _: Timestamp) -> BTreeSet<ObjectKey> {
    let current = world.catalog().current();
    keys(world.artifacts.values().filter(|artifact| branch_of(artifact).is_some_and(|b| Some(b) != current)).cloned())
}

fn without_protections(world: &World, _: &RetentionPlan, _: Timestamp) -> BTreeSet<ObjectKey> {
    keys(plan_retention(&world.catalog(), &world.policy, &Protections::none(), world.our_clock()).expired())
}

fn one_snapshot_too_many(_: &World, plan: &RetentionPlan, _: Timestamp) -> BTreeSet<ObjectKey> {
    let anchor = |reason: &_| matches!(reason, KeepReason::Anchor(_));
    let anchors = plan.kept_snapshots.iter().filter(|kept| anchor(&kept.reason));
    anchors.map(|kept| format!("snapshots/{}", kept.id).parse().expect("a key")).collect()
}

/// Whether the judges notice a wrong retention within a life.
fn is_caught(seed: u64, wrong: Wrong) -> bool {
    let mut run = Run::new(seed);
    for _ in 0..LIFE {
        run.world.live_a_day();
        let catalog = run.world.catalog();
        let plan = run.plan(&catalog);
        let Some(start) = plan.window_start() else { continue };
        for key in wrong(&run.world, &plan, start) {
            run.world.artifacts.remove(&key);
        }
        let after = run.world.catalog();
        if run.judge(&catalog, &after, &plan, true).is_err() {
            return true;
        }
        run.forget_what_ended(&plan);
    }
    false
}

#[test]
fn wrong_retentions_are_caught() {
    let wrong: [(&str, Wrong); 5] = [
        ("older than the window", older_than_the_window),
        ("all but the last by name", all_but_the_last_by_name),
        ("what is not on the current timeline", branches_that_are_not_current),
        ("without protections", without_protections),
        ("the anchor too", one_snapshot_too_many),
    ];
    for (name, wrong) in wrong {
        assert!((0..20).any(|seed| is_caught(seed, wrong)), "{name} goes unnoticed");
    }
}

/// The proof before a deletion notices a plan that lists what is needed.
#[test]
fn a_plan_that_lists_too_much_is_refused() {
    let mut refused = 0;
    for seed in 0..20 {
        let mut run = Run::new(seed);
        run.live(60).unwrap_or_else(|fault| panic!("seed {seed}, {fault}"));
        run.world.live_a_day();
        let catalog = run.world.catalog();
        let mut plan = run.plan(&catalog);
        let last = catalog.current().and_then(|current| catalog.logs(current).next_back());
        let (Some(last), Some(expired)) = (last, plan.expired_logs.first_mut()) else { continue };
        if last.end() > last.start() {
            expired.logs.push(last.to_backup());
            assert!(plan.check(&catalog).is_err(), "seed {seed}: {plan}");
            refused += 1;
        }
    }
    assert!(refused > 3, "only {refused} plans were tried");
}
