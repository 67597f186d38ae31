//! Explanations: each verdict is true, and the outcome is that of planning.

use std::time::Duration;

use pitr::model::{Timestamp, WalRange};
use pitr::plan::{Considered, ConsistentFrom, Explanation, RestorePlan, Target, Verdict, explain_restore};

use crate::case::{Case, Checked, How, Meant, ensure, truth};
use crate::plans::taking;
use crate::refusals::hole;
use crate::subsets::Taking;
use crate::world::{Taken, UNIT, lsn};

/// Checks every verdict on the way to `target`.
pub(crate) fn check(case: &Case<'_, '_>, target: &Target) -> Checked {
    let planned = (case.planner)(case.catalog, &case.request(target.clone()));
    let explained = match explain_restore(case.catalog, &case.request(target.clone())) {
        Ok(explained) => explained,
        Err(error) => {
            ensure!(planned == Err(error.clone()), "explained as {error}, planned {planned:?}");
            return Ok(());
        }
    };
    ensure!(explained.outcome == planned, "planned {planned:?}, explained {explained}");
    let all = explained.considered.len() == case.world().snapshots.len();
    ensure!(all, "not every snapshot was considered: {explained}");
    for considered in &explained.considered {
        let told = |wrong| format!("{target}: {}: {wrong}: {explained}", considered.snapshot);
        verdict(case, target, &explained, considered).map_err(told)?;
    }
    Ok(())
}

fn verdict(case: &Case<'_, '_>, target: &Target, explained: &Explanation, considered: &Considered) -> Checked {
    let taken = case.world().snapshots.iter().find(|taken| taken.snapshot.id == considered.snapshot);
    let taken = taken.ok_or("there is no such snapshot")?;
    let (passed, reach) = (case.past.passed(taken), case.past.reach(taken));
    let whole = case.past.snapshots.iter().any(|other| other.snapshot.id == considered.snapshot);
    let limit = limit(target);
    let right = match &considered.verdict {
        Verdict::OtherBranch(branch) => !passed && branch.timeline == taken.snapshot.wal.timeline,
        Verdict::Unusable(_) => passed && !whole,
        Verdict::LogMissing(range) => {
            missing(case, *range)?;
            whole && reach.is_none()
        }
        _ if !whole || reach.is_none() => false,
        Verdict::Chosen(cost) => {
            let plan = explained.outcome.as_ref().map_err(ToString::to_string)?;
            *cost == plan.cost() && plan.snapshots().iter().any(|snapshot| snapshot.id == taken.snapshot.id)
        }
        Verdict::Costlier(cost) => {
            let plan = explained.outcome.as_ref().map_err(ToString::to_string)?;
            let costs =
                Taking { bytes: cost.bytes_to_fetch, objects: cost.objects, replayed: cost.wal_bytes_to_replay };
            let how = how(plan, limit);
            let best = case.best(&Meant { stop: plan.stop().end, how, from: vec![taken] });
            best.map(|best| best.weight) == Some(case.weight(costs)) && case.weight(costs) >= case.weight(taking(plan))
        }
        Verdict::NotAskedFor => matches!(target, Target::Earliest | Target::Snapshot(_)),
        Verdict::TooLate(ConsistentFrom::Lsn(from)) => *from == taken.snapshot.wal.end && limit.is_none(),
        Verdict::TooLate(ConsistentFrom::Time(from)) => {
            limit.is_some_and(|limit| limit < *from && truth(case.past, taken, limit).is_none())
        }
        Verdict::DoesNotReach { reach: told, missing, .. } => {
            missing.map_or(Ok(()), |missing| hole(case, missing))?;
            let reached = limit.is_some_and(|limit| truth(case.past, taken, limit).is_some());
            Some(*told) == reach.map(lsn) && !reached
        }
        Verdict::StopsElsewhere(range) => stops_elsewhere(case, explained, taken, *range, limit)?,
        Verdict::Unknown(needs) => !needs.is_empty() && needs.iter().all(|need| is_unread(case, need)),
        _ => false,
    };
    ensure!(right, "{:?} is wrong", considered.verdict);
    Ok(())
}

fn stops_elsewhere(
    case: &Case<'_, '_>,
    explained: &Explanation,
    taken: &Taken,
    range: WalRange,
    limit: Option<Timestamp>,
) -> Result<bool, String> {
    let plan = explained.outcome.as_ref().map_err(ToString::to_string)?;
    let Some(limit) = limit else { return Ok(false) };
    let chosen =
        case.past.snapshots.iter().find(|taken| taken.snapshot == *plan.snapshot()).ok_or("no such snapshot")?;
    let (Some(stop), Some(meant)) = (truth(case.past, taken, limit), truth(case.past, chosen, limit)) else {
        return Ok(false);
    };
    let inside = stop.idle || range.start < lsn(stop.end);
    Ok(inside && lsn(stop.end) <= range.end && stop != meant)
}

fn is_unread(case: &Case<'_, '_>, need: &pitr::plan::Need) -> bool {
    let log = case.world().logs.iter().find(|log| log.backup == *need.log());
    log.is_some_and(|log| log.backup.index.as_ref().is_none_or(|index| index.transactions.is_none()))
}

/// The last commits that are replayed, if an instant is asked for.
fn limit(target: &Target) -> Option<Timestamp> {
    match *target {
        Target::Time { at, inclusive: true, .. } => Some(at),
        Target::Time { at, .. } => Some(at.saturating_sub(Duration::from_micros(1))),
        _ => None,
    }
}

fn how(plan: &RestorePlan, limit: Option<Timestamp>) -> How {
    match (plan.recovery(), limit) {
        (pitr::plan::RecoveryTarget::Time { .. }, Some(limit)) => How::Limit(limit),
        (_, Some(limit)) => How::Idle(limit),
        _ => How::Position,
    }
}

/// The snapshots that the planner knows to do, the furthest in the log first.
pub(crate) fn that_would_do<'w>(case: &Case<'_, 'w>, plan: &RestorePlan) -> Result<Vec<&'w Taken>, String> {
    let explained = explain_restore(case.catalog, &case.request(plan.target().clone())).map_err(|e| e.to_string())?;
    let does = |taken: &&&Taken| {
        let known = explained.considered.iter().find(|known| known.snapshot == taken.snapshot.id);
        let costlier = known.is_some_and(|known| matches!(known.verdict, Verdict::Costlier(_)));
        costlier || taken.snapshot == *plan.snapshot()
    };
    Ok(case.past.snapshots.iter().filter(does).copied().collect())
}

/// Log that a snapshot needs, and that is missing.
pub(crate) fn missing(case: &Case<'_, '_>, missing: WalRange) -> Checked {
    let unit = missing.start.as_u64() / UNIT;
    let there = |log: &crate::world::Archived| case.past.written(log) >> unit & 1 == 1;
    ensure!(!case.world().logs.iter().any(there), "{missing} is there");
    Ok(())
}
