//! One random history: everything that is checked of it, and the shortest one with the same fault.

use std::time::Duration;

use pitr::model::{Catalog, Lsn, Timestamp, Xid};
use pitr::plan::{CostModel, Objective, PlanError, Target, plan_restore};

use crate::case::{Case, Checked, Planner, ensure};
use crate::past::Past;
use crate::random::Random;
use crate::refusals::instant;
use crate::steps::{self, Flavour, Step};
use crate::subsets::{LOGS_MAX, Subsets};
use crate::world::{UNIT, What, World};
use crate::{explain, targets, windows};

const OBJECTIVES: [Objective; 3] = [Objective::RecoveryTime, Objective::Bytes, Objective::Artifacts];

/// What is asked of a history.
#[derive(Clone, Debug)]
pub(crate) struct Questions {
    pub(crate) flavour: Flavour,
    /// Which timeline, objective and costs.
    pub(crate) seed: u64,
    pub(crate) planner: Planner,
    pub(crate) about: About,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// One timeline, one objective, some points.
    Some,
    /// Every point of every timeline by one objective, explained for some.
    Points,
    /// Everything.
    All,
    /// Some plans only, not what the library says of them elsewhere, which would give a wrong planner away.
    Plans,
}

impl About {
    fn all(self) -> bool {
        matches!(self, Self::Points | Self::All)
    }
}

/// The history that a seed stands for, and what is asked of it.
pub(crate) fn of_seed(seed: u64, planner: Planner, about: About) -> (Vec<Step>, Questions) {
    let mut random = Random::new(seed);
    let flavour = Flavour::ALL[usize::try_from(seed % 4).expect("small")];
    // Some are longer than all subsets could be tried of: without overlaps there is nothing to choose.
    let steps_max = if !flavour.overlaps() && random.one_in(50) { 100 } else { 18 };
    let steps = steps::random(&mut random, flavour, steps_max);
    (steps, Questions { flavour, seed: random.next(), planner, about })
}

/// Checks the history that a seed stands for.
pub(crate) fn check_seed(seed: u64) -> Checked {
    let (steps, questions) = of_seed(seed, plan_restore, About::Some);
    check_or_shrink(steps, &questions).map_err(|wrong| format!("seed {seed}: {wrong}"))
}

/// Checks a history; if something is wrong, also says what of the shortest one like it.
pub(crate) fn check_or_shrink(steps: Vec<Step>, questions: &Questions) -> Checked {
    let Err(wrong) = check(&steps, questions) else { return Ok(()) };
    let (steps, shorter) = shrunk(steps, questions);
    Err(format!("{}\n\nof {:?} {steps:#?}", shorter.unwrap_or(wrong), questions.flavour))
}

/// Leaves out steps for as long as something is still wrong.
fn shrunk(mut steps: Vec<Step>, questions: &Questions) -> (Vec<Step>, Option<String>) {
    let all = Questions { about: About::All, ..questions.clone() };
    let (mut at, mut wrong) = (0, None);
    while at < steps.len() {
        let mut fewer = steps.clone();
        fewer.remove(at);
        match check(&fewer, &all) {
            Ok(()) => at += 1,
            Err(error) => (steps, wrong, at) = (fewer, Some(error), 0),
        }
    }
    (steps, wrong)
}

/// Checks what is planned after these steps.
pub(crate) fn check(steps: &[Step], questions: &Questions) -> Checked {
    let Questions { flavour, planner, about, seed } = *questions;
    let world = World::after(steps, if flavour.overlaps() { LOGS_MAX } else { usize::MAX });
    let catalog = Catalog::new(world.artifacts()).map_err(|error| error.to_string())?;
    if world.logs.is_empty() && world.snapshots.is_empty() {
        let planned = planner(&catalog, &Target::Latest.into());
        let right = matches!(planned, Err(PlanError::NothingToRestore { snapshots: 0 }));
        return if right { Ok(()) } else { Err(format!("there is nothing, but {planned:?}")) };
    }
    let mut random = Random::new(seed);
    windows::nothing_follows_the_current_branch(&world, catalog.current())?;
    let instants = world.instants();
    let count = world.timelines.len();
    let chosen = usize::try_from(random.below(count as u64)).expect("few");
    let costs = costs(&mut random);
    let objective = *random.pick(&OBJECTIVES).expect("there are some");
    for timeline in (0..count).filter(|&timeline| about.all() || timeline == chosen) {
        if catalog.history(world.branch(timeline)).is_none() {
            continue;
        }
        let past = Past::new(&world, timeline);
        let subsets = Subsets::new(&past);
        let objectives = OBJECTIVES.into_iter().filter(|&other| about == About::All || other == objective);
        for objective in objectives {
            let case = Case { past: &past, subsets: &subsets, catalog: &catalog, flavour, objective, costs, planner };
            ask(&case, &mut random, &instants, about)?;
        }
    }
    Ok(())
}

fn costs(random: &mut Random) -> CostModel {
    let mut costs = CostModel::default();
    if random.one_in(2) {
        costs.fetch_bytes_per_second = [1, 1_000_000, 7_777_777][usize::try_from(random.below(3)).expect("small")];
        costs.replay_bytes_per_second = [1_000_000, 3_333_333][usize::try_from(random.below(2)).expect("small")];
        costs.object_latency = Duration::from_micros(random.below(3) * 100_000);
    }
    costs
}

fn ask(case: &Case<'_, '_>, random: &mut Random, instants: &[Timestamp], about: About) -> Checked {
    let all = about.all();
    let some_instants: Vec<Timestamp> =
        if all { instants.to_vec() } else { (0..6).filter_map(|_| random.pick(instants).copied()).collect() };
    if about != About::Plans {
        windows::check(case, &some_instants)?;
    }
    let times = some_instants.iter().enumerate().map(|(number, &at)| instant(at, all || number % 3 > 0));
    let mut targets: Vec<Target> = times.collect();
    if all {
        targets.extend(instants.iter().map(|&at| Target::just_before(at)));
    }
    targets.extend([Target::Earliest, Target::Latest, Target::RestorePoint("a".to_owned())]);
    targets.extend(positions(case, random, all).into_iter().map(Target::Lsn));
    let snapshots = &case.world().snapshots;
    let ids = snapshots.iter().map(|taken| Target::Snapshot(taken.snapshot.id.clone()));
    targets.extend(ids.filter(|_| all || random.one_in(2)));
    targets.extend(xids(case, random, all));
    for target in &targets {
        targets::check(case, target)?;
    }
    targets.retain(|_| about != About::Plans);
    targets.retain(|_| about == About::All || random.one_in(4));
    for target in &targets {
        explain::check(case, target)?;
        is_deterministic(case, random, target)?;
    }
    instants.iter().rev().take(1).try_for_each(|&deleted_at| after_deletion(case, random, instants, deleted_at))
}

/// Units, and what lies between them: records end at multiples of eight bytes.
fn positions(case: &Case<'_, '_>, random: &mut Random, all: bool) -> Vec<Lsn> {
    let beside = [0, 0, 1, 7, 8, 9, UNIT - 8, UNIT - 1];
    let units: Vec<u64> = if all {
        (0..case.world().end() + 2).collect()
    } else {
        (0..3).map(|_| random.below(case.world().end() + 2)).collect()
    };
    let beside = units.into_iter().map(|unit| Lsn::new(unit * UNIT + random.pick(&beside).copied().unwrap_or(0)));
    beside.collect()
}

/// Transactions of this past, of others, and of none.
fn xids(case: &Case<'_, '_>, random: &mut Random, all: bool) -> Vec<Target> {
    let xids = case.world().timelines.iter().flat_map(|timeline| timeline.records.iter());
    let mut xids: Vec<Xid> =
        xids.filter_map(|r| if let What::Commit(xid) = r.what { Some(xid) } else { None }).collect();
    xids.push(Xid::new(77).expect("a user's"));
    let asked = xids.into_iter().filter(|_| all || random.one_in(4)).collect::<Vec<_>>().into_iter();
    asked.map(|xid| if random.one_in(2) { Target::xid(xid) } else { Target::just_before_xid(xid) }).collect()
}

/// The same catalog in another order, and twice, gives the same plan.
fn is_deterministic(case: &Case<'_, '_>, random: &mut Random, target: &Target) -> Checked {
    let mut artifacts = case.world().artifacts();
    artifacts.extend(case.world().artifacts());
    for at in (1..artifacts.len()).rev() {
        artifacts.swap(at, usize::try_from(random.below(at as u64 + 1)).expect("few"));
    }
    let shuffled = Catalog::new(artifacts).map_err(|error| error.to_string())?;
    let request = case.request(target.clone());
    let (one, other) = ((case.planner)(case.catalog, &request), (case.planner)(&shuffled, &request));
    ensure!(one == other, "{one:?} and {other:?} for {target}");
    Ok(())
}

/// Nothing after the deletion is planned, and what was before stays as it was.
fn after_deletion(case: &Case<'_, '_>, random: &mut Random, instants: &[Timestamp], last: Timestamp) -> Checked {
    let (at, deleted_at) =
        (random.pick(instants).copied().unwrap_or(last), random.pick(instants).copied().unwrap_or(last));
    let request = case.request(Target::time(at));
    let planned = (case.planner)(case.catalog, &request.clone().of_server_deleted_at(deleted_at));
    if at <= deleted_at {
        ensure!(planned == (case.planner)(case.catalog, &request), "{at}, deleted at {deleted_at}: {planned:?}");
        return Ok(());
    }
    let Err(PlanError::AfterDeletion { latest, .. }) = planned else { return Err(format!("deleted: {planned:?}")) };
    let restorable = |at: &&Timestamp| plan_restore(case.catalog, &case.request(Target::time(**at))).is_ok();
    let before = instants.iter().filter(|&&other| other <= deleted_at).filter(restorable).max();
    ensure!(
        before.is_none_or(|&before| latest >= Some(pitr::plan::Point::Time(before))),
        "{before:?} is after {latest:?}"
    );
    match latest {
        Some(pitr::plan::Point::Time(at)) => {
            ensure!(at <= deleted_at && restorable(&&at), "{at} is not before {deleted_at}");
        }
        other => ensure!(other.is_none(), "{other:?} is no time"),
    }
    Ok(())
}
