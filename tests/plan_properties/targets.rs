//! Every kind of target: what it means, and whether that is what is planned or why it is refused.

use std::sync::Arc;
use std::time::Duration;

use pitr::model::{Catalog, Lsn, SnapshotId, Timestamp, Xid};
use pitr::plan::{Need, PlanError, RestorePlan, Target};

use crate::case::{Case, Checked, How, Meant, ensure, truth};
use crate::explain;
use crate::past::Past;
use crate::plans;
use crate::refusals::{self, branches, instant};
use crate::steps::{Flavour, Read};
use crate::subsets::Subsets;
use crate::world::{Taken, UNIT, What, World, lsn};

/// Plans for `target`, and checks the plan or the refusal; where more must be read, reads it and goes on.
pub(crate) fn check(case: &Case<'_, '_>, target: &Target) -> Checked {
    let limit = 2 * case.world().logs.len() + 1;
    let told = |wrong| format!("{target} on {}: {wrong}", case.world().branch(case.past.timeline));
    rounds(case, target, limit).map_err(told)
}

fn rounds(case: &Case<'_, '_>, target: &Target, rounds_left: usize) -> Checked {
    let planned = case.plan(target.clone());
    if let Err(PlanError::Unknown { needs, .. }) = &planned {
        if let Target::Time { at, inclusive, .. } = *target {
            refusals::time(case, at, inclusive, planned.as_ref().expect_err("it is refused"))?;
        }
        ensure!(rounds_left > 0, "there is no end to {needs:?}");
        return after_reading(case, needs, |case| rounds(case, target, rounds_left - 1));
    }
    match target {
        Target::Time { at, inclusive, .. } => time(case, *at, *inclusive, planned),
        Target::Lsn(asked) => position(case, *asked, planned),
        Target::Xid { xid, inclusive, .. } => transaction(case, *xid, *inclusive, planned),
        Target::RestorePoint(name) => named(case, name, planned),
        Target::Snapshot(id) => snapshot(case, id, planned),
        Target::Earliest => earliest(case, planned),
        _ => latest(case, planned),
    }
}

/// Reads what a refusal asks for, which must not have been read, and sees the same history with that.
pub(crate) fn after_reading(
    case: &Case<'_, '_>,
    needs: &[Need],
    then: impl FnOnce(&Case<'_, '_>) -> Checked,
) -> Checked {
    let (mut world, mut catalog) = (case.world().clone(), case.catalog.clone());
    ensure!(!needs.is_empty(), "nothing is needed");
    for need in needs {
        read(&mut world, &mut catalog, need)?;
    }
    let past = Past::new(&world, case.past.timeline);
    let subsets = Subsets::new(&past);
    then(&Case { past: &past, subsets: &subsets, catalog: &catalog, ..*case })
}

fn read(world: &mut World, catalog: &mut Catalog, need: &Need) -> Checked {
    let (read, unread) = match need {
        Need::Index(log) => (Read::Index, log.index.is_none()),
        Need::Transactions(log) => (Read::Transactions, log.index.as_ref().is_some_and(|i| i.transactions.is_none())),
        _ => return Err(format!("what is {need:?}?")),
    };
    ensure!(unread, "{need} was read before");
    let number = world.logs.iter().position(|log| log.backup == *need.log());
    let number = number.ok_or_else(|| format!("{need} is not there"))?;
    let index = world.read(number, read).ok_or("nothing to read")?;
    ensure!(catalog.load_index(need.log(), index.clone()), "{need} is not in the catalog");
    world.logs[number].backup.index = Some(Arc::new(index));
    Ok(())
}

type Planned = Result<RestorePlan, PlanError>;

fn time(case: &Case<'_, '_>, at: Timestamp, inclusive: bool, planned: Planned) -> Checked {
    let limit = if inclusive { at } else { at.saturating_sub(Duration::from_micros(1)) };
    let meant = match (case.flavour, &planned) {
        (Flavour::Loose, Ok(plan)) => Some(as_far_as_known(case, plan, limit)?),
        (Flavour::Loose, Err(_)) => None,
        _ => case.time(limit),
    };
    if let Err(PlanError::WrongBranch { candidates, .. }) = &planned {
        let holds = |timeline| (case.planner)(case.catalog, &case.request_on(timeline, instant(at, inclusive))).is_ok();
        branches(case, candidates, false, holds)?;
    }
    match (planned, meant) {
        (Ok(plan), Some(meant)) => plans::check(case, &plan, &meant),
        (Err(error), None) => refusals::time(case, at, inclusive, &error),
        (planned, meant) => Err(format!("planned {planned:?}, meant {meant:?}")),
    }
}

/// Where log backups overlap, what of it is known takes the planner's own word; but it must be true.
fn as_far_as_known<'w>(case: &Case<'_, 'w>, plan: &RestorePlan, limit: Timestamp) -> Result<Meant<'w>, String> {
    let from = explain::that_would_do(case, plan)?;
    let chosen = from.iter().find(|taken| taken.snapshot == *plan.snapshot());
    let stop = chosen.and_then(|taken| truth(case.past, taken, limit)).ok_or_else(|| format!("not reached: {plan}"))?;
    let same = |other: &Taken| truth(case.past, other, limit) == Some(stop);
    ensure!(from.iter().all(|taken| same(taken)), "not all of {from:?} stop at {stop:?}: {plan}");
    let how = if stop.idle { How::Idle(limit) } else { How::Limit(limit) };
    Ok(Meant { stop: plan.stop().end, how, from })
}

fn position(case: &Case<'_, '_>, asked: Lsn, planned: Planned) -> Checked {
    if let Err(PlanError::WrongBranch { candidates, .. }) = &planned {
        let holds = |timeline| !Past::new(case.world(), timeline).ways_to(Past::whole(asked)).is_empty();
        branches(case, candidates, false, holds)?;
    }
    match (planned, case.position(asked)) {
        (Ok(plan), Some(meant)) => plans::check(case, &plan, &meant),
        (Err(error), None) => refusals::position(case, asked, &error),
        (planned, meant) => Err(format!("planned {planned:?}, meant {meant:?}")),
    }
}

fn transaction(case: &Case<'_, '_>, xid: Xid, inclusive: bool, planned: Planned) -> Checked {
    let what = What::Commit(xid);
    let ends = ends(case.past, &what);
    let before = |end: u64| if inclusive { lsn(end) } else { Lsn::new(end * UNIT - 8) };
    found(case, &what, ends.first().map(|&(end, _)| before(end)).as_slice(), planned)
}

fn named(case: &Case<'_, '_>, name: &str, planned: Planned) -> Checked {
    let what = What::Name(if name == "a" { "a" } else { "b" });
    let ends: Vec<_> = ends(case.past, &what).into_iter().map(|(end, at)| (lsn(end), at)).collect();
    if let (Err(PlanError::Ambiguous { at, .. }), 2..) = (&planned, ends.len()) {
        ensure!(*at == ends, "they are at {ends:?}, not {at:?}");
        return Ok(());
    }
    let ends: Vec<Lsn> = ends.into_iter().map(|(end, _)| end).collect();
    found(case, &what, &ends, planned)
}

/// Where something is in the archived log of a past.
fn ends(past: &Past<'_>, what: &What) -> Vec<(u64, Timestamp)> {
    let here = past.records.iter().filter(|record| record.what == *what && past.is_archived(record.end));
    here.map(|record| (record.end, record.time)).collect()
}

fn found(case: &Case<'_, '_>, what: &What, ends: &[Lsn], planned: Planned) -> Checked {
    let only_there = |timeline| ends_on(case, timeline, what) == 1;
    match (ends, planned) {
        (&[end], Err(error @ PlanError::WrongBranch { .. })) if case.position(end).is_some() => Err(error.to_string()),
        (&[end], planned) => position(case, end, planned),
        ([], Err(PlanError::NotFound { .. })) => {
            let elsewhere = (0..case.world().timelines.len()).any(only_there);
            ensure!(case.flavour != Flavour::Read || !elsewhere, "it is on another branch");
            Ok(())
        }
        ([], Err(PlanError::WrongBranch { candidates, .. })) => {
            branches(case, &candidates, case.flavour != Flavour::Read, only_there)
        }
        (ends, planned) => Err(format!("it is at {ends:?}, planned {planned:?}")),
    }
}

fn ends_on(case: &Case<'_, '_>, timeline: usize, what: &What) -> usize {
    ends(&Past::new(case.world(), timeline), what).len()
}

fn snapshot(case: &Case<'_, '_>, id: &SnapshotId, planned: Planned) -> Checked {
    let taken = case.world().snapshots.iter().find(|taken| taken.snapshot.id == *id).ok_or("there is none")?;
    let (passed, whole) = (case.past.passed(taken), case.past.snapshots.iter().any(|s| s.snapshot.id == *id));
    match planned {
        Ok(plan) if whole && case.past.reach(taken).is_some() => plans::check(case, &plan, &case.own(taken)),
        Err(PlanError::BrokenChain { .. }) if passed && !whole => Ok(()),
        Err(PlanError::LogMissing { missing, .. }) if whole && case.past.reach(taken).is_none() => {
            explain::missing(case, missing)
        }
        Err(PlanError::WrongBranch { candidates, .. }) if !passed => {
            let restorable = |timeline: usize| {
                let past = Past::new(case.world(), timeline);
                past.snapshots.iter().any(|s| s.snapshot.id == *id) && past.reach(taken).is_some()
            };
            let any = (0..case.world().timelines.len()).any(restorable);
            if any { branches(case, &candidates, false, restorable) } else { Ok(()) }
        }
        planned => Err(format!("passed {passed}, whole {whole}, planned {planned:?}")),
    }
}

fn earliest(case: &Case<'_, '_>, planned: Planned) -> Checked {
    let first = case.past.snapshots.iter().rfind(|taken| case.past.reach(taken).is_some());
    match (planned, first) {
        (Ok(plan), Some(first)) => plans::check(case, &plan, &case.own(first)),
        (Err(PlanError::NothingToRestore { .. }), None) => Ok(()),
        (planned, first) => Err(format!("planned {planned:?}, first is {first:?}")),
    }
}

fn latest(case: &Case<'_, '_>, planned: Planned) -> Checked {
    let reach = case.past.snapshots.iter().filter_map(|taken| case.past.reach(taken)).max();
    match (planned, reach.and_then(|reach| case.position(lsn(reach)))) {
        (Ok(plan), Some(meant)) => {
            let writer = |log: &crate::world::Archived| case.past.written(log) >> reach.unwrap_or(0) != 0;
            let later = case.world().logs.iter().any(writer);
            ensure!(later == plan.unreachable_from().is_some(), "there is later log: {later}, but {plan}");
            plan.unreachable_from().map_or(Ok(()), |missing| refusals::hole(case, missing))?;
            plans::check(case, &plan, &meant)
        }
        (Err(PlanError::NothingToRestore { .. }), None) => Ok(()),
        (planned, meant) => Err(format!("planned {planned:?}, meant {meant:?}")),
    }
}
