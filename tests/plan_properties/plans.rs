//! What must hold of a plan: that it restores what was meant, that it is the best, and that nothing of it can be left out.

use pitr::model::{ServerRole, WalRange};
use pitr::plan::{Answer, PlannedLog, RecoveryTarget, RestorePlan, SnapshotChoice};

use crate::case::{Case, Checked, How, Meant, ensure};
use crate::past::{chain, first};
use crate::server::{Ended, Told, recover};
use crate::steps::Flavour;
use crate::subsets::{Taking, staged_by};
use crate::world::{Archived, Taken, UNIT, lsn};

/// Everything that must hold of a plan for what was meant.
pub(crate) fn check(case: &Case<'_, '_>, plan: &RestorePlan, meant: &Meant<'_>) -> Checked {
    ensure!(plan.stop().end == meant.stop, "stops in {}, not at {}: {plan}", plan.stop(), meant.stop);
    let by_limit = matches!(plan.recovery(), RecoveryTarget::Time { .. });
    ensure!(by_limit == matches!(meant.how, How::Limit(_)), "{:?} for {:?}: {plan}", plan.recovery(), meant.how);
    let idle = matches!(plan.answer(), Answer::IdleTail { .. });
    ensure!(idle == matches!(meant.how, How::Idle(_)), "{:?} for {:?}: {plan}", plan.answer(), meant.how);
    sound(case, plan, meant.how)?;
    best(case, plan, meant)
}

/// That the plan restores what it says, whether or not another one would be better.
pub(crate) fn sound(case: &Case<'_, '_>, plan: &RestorePlan, how: How) -> Checked {
    let taken = taken(case, plan)?;
    log_is_whole(case, plan, taken)?;
    recovers(case, plan, taken, how)?;
    nothing_can_be_left_out(case, plan, taken)?;
    history_is_there(case, plan)?;
    costs_what_it_says(case, plan)
}

fn taken<'w>(case: &Case<'_, 'w>, plan: &RestorePlan) -> Result<&'w Taken, String> {
    let taken = case.past.snapshots.iter().find(|taken| taken.snapshot == *plan.snapshot());
    let taken = *taken.ok_or_else(|| format!("starts from a snapshot that cannot be restored: {plan}"))?;
    let chain = chain(case.world(), taken);
    let whole = plan.snapshots().iter().eq(chain.iter().rev().map(|taken| &taken.snapshot));
    ensure!(whole, "not the chain of its snapshot, in order: {plan}");
    Ok(taken)
}

/// From the start of a segment, without a hole, each byte from a log backup that has it.
fn log_is_whole(case: &Case<'_, '_>, plan: &RestorePlan, taken: &Taken) -> Checked {
    let mut at = lsn(first(taken));
    for PlannedLog { backup, needed, .. } in plan.logs() {
        let WalRange { timeline, start, end, .. } = *needed;
        ensure!(start == at && start < end, "log from {start}, not {at}: {plan}");
        let inside = backup.wal.timeline == timeline && backup.wal.start <= start && end <= backup.wal.end;
        ensure!(inside, "{needed} is not in {}: {plan}", backup.wal);
        let number = case.world().timeline(timeline);
        let begin = case.world().timelines[taken.timeline].begin;
        let units = start.as_u64() / UNIT..end.as_u64().div_ceil(UNIT);
        let foreign = |unit: u64| case.past.writer(unit) != number && !(number == taken.timeline && unit < begin);
        ensure!(!units.clone().any(foreign), "{needed} is of another branch: {plan}");
        at = end;
    }
    ensure!(at >= plan.stop().end || plan.logs().is_empty(), "log only up to {at}: {plan}");
    Ok(())
}

/// PostgreSQL, given this, ends where the plan says, with nothing of what was not meant.
fn recovers(case: &Case<'_, '_>, plan: &RestorePlan, taken: &Taken, how: How) -> Checked {
    let staged = plan.logs().last().map_or_else(|| plan.snapshot().wal.start, |log| log.needed.end);
    // Whole records only.
    let staged = staged.as_u64() / UNIT;
    let (start, end) = (plan.stop().start.as_u64() / UNIT, plan.stop().end.as_u64() / UNIT);
    let told = match how {
        How::Limit(limit) => Told::Limit(limit),
        How::Idle(_) | How::Position => Told::Everything,
    };
    let ended = recover(case.past, taken, staged, told);
    let right = match ended {
        Ok(Ended::Before(at)) => start < at && at <= end,
        Ok(Ended::At(at)) => at == end,
        Err(_) => false,
    };
    ensure!(right, "recovery ends {ended:?}: {plan}");
    let writer = case.past.writer(plan.stop().end.as_u64().saturating_sub(1) / UNIT);
    ensure!(case.world().timelines[writer].id == plan.timeline(), "recovers along the wrong timeline: {plan}");
    let stop = if let Ok(Ended::Before(at)) = ended { at - 1 } else { end };
    let (How::Limit(limit) | How::Idle(limit)) = how else { return Ok(()) };
    if case.flavour == Flavour::Steady {
        // With clocks as they should be, what is idle stays so, also in what is not archived.
        let missing = case.past.commits(stop, u64::MAX).find(|commit| commit.time < limit);
        ensure!(missing.is_none(), "{missing:?} is missing: {plan}");
    }
    let standby = taken.snapshot.role == ServerRole::Standby;
    let from = if standby { 0 } else { taken.start };
    let mut late = case.past.commits(from, stop).filter(|commit| commit.time > limit);
    let late = late.find(|commit| commit.end > taken.start || case.past.is_told(commit.end, taken.timeline));
    ensure!(late.is_none(), "{late:?} is restored: {plan}");
    Ok(())
}

fn nothing_can_be_left_out(case: &Case<'_, '_>, plan: &RestorePlan, taken: &Taken) -> Checked {
    let logs = plan.logs().iter().map(|log| case.world().logs.iter().find(|known| known.backup == log.backup));
    let logs: Vec<&Archived> = logs.collect::<Option<_>>().ok_or_else(|| format!("an unknown log backup: {plan}"))?;
    let end = plan.stop().end.as_u64().div_ceil(UNIT);
    ensure!(logs.is_empty() || staged_by(case.past, taken, &logs) >= end, "its log backups do not suffice: {plan}");
    for without in 0..logs.len() {
        let mut rest = logs.clone();
        rest.remove(without);
        let enough = staged_by(case.past, taken, &rest) >= end;
        ensure!(!enough, "log backup {without} can be left out: {plan}");
    }
    Ok(())
}

fn history_is_there(case: &Case<'_, '_>, plan: &RestorePlan) -> Checked {
    let timeline = case.world().timeline(plan.timeline());
    let stored = case.world().history_stored(timeline);
    ensure!(plan.histories().len() == usize::from(stored), "not the history: {plan}");
    let made = plan.unstored_history().map(|history| history.timeline());
    ensure!(made == (timeline > 0 && !stored).then_some(plan.timeline()), "not the history: {plan}");
    let switches = plan.path().ancestors().iter().map(|switch| (case.world().timeline(switch.timeline), switch.switch));
    let path = case.world().path(timeline);
    let path = path[..path.len() - 1].iter().map(|stretch| (stretch.timeline, lsn(stretch.left)));
    ensure!(switches.eq(path), "not the path: {plan}");
    Ok(())
}

/// What is fetched and replayed, counted again.
fn costs_what_it_says(case: &Case<'_, '_>, plan: &RestorePlan) -> Checked {
    let snapshots = plan.snapshots().iter().map(|snapshot| snapshot.stored_bytes);
    let logs = plan.logs().iter().map(|log| log.backup.stored_bytes);
    let fetched: Vec<u64> = snapshots.chain(logs).chain(plan.histories().iter().map(|object| object.bytes)).collect();
    let counted = Taking {
        bytes: fetched.iter().sum(),
        objects: fetched.len() as u64,
        replayed: plan.stop().end.as_u64() - plan.snapshot().wal.start.as_u64(),
    };
    ensure!(taking(plan) == counted, "{counted:?} is not what it says: {plan}");
    let micros = plan.cost().estimated_duration.as_micros();
    ensure!(micros == counted.micros(&case.costs), "{micros} µs are wrong: {plan}");
    Ok(())
}

/// No set of artifacts is lighter, and of those that weigh the same it is one from the newest snapshot.
fn best(case: &Case<'_, '_>, plan: &RestorePlan, meant: &Meant<'_>) -> Checked {
    let Some(best) = case.best(meant) else { return Err(format!("no subset suffices for {meant:?}, but {plan}")) };
    let weight = case.weight(taking(plan));
    ensure!(weight == best.weight, "weighs {weight:?}, but there is {best:?}: {plan}");
    ensure!(best.taken.snapshot == *plan.snapshot(), "{best:?} weighs the same: {plan}");
    let Some(newest) = meant.from.first() else { return Ok(()) };
    match plan.choice() {
        SnapshotChoice::Newest => ensure!(newest.snapshot == *plan.snapshot(), "it is not the newest: {plan}"),
        SnapshotChoice::Better { than, cost, .. } => {
            ensure!(newest.snapshot.id == *than && *than != plan.snapshot().id, "not the newest but {than}: {plan}");
            let from_newest = case.best(&Meant { from: vec![newest], ..*meant });
            let taking =
                Taking { bytes: cost.bytes_to_fetch, objects: cost.objects, replayed: cost.wal_bytes_to_replay };
            ensure!(from_newest.map(|best| best.weight) == Some(case.weight(taking)), "{than} costs otherwise: {plan}");
        }
        _ => {}
    }
    Ok(())
}

pub(crate) fn taking(plan: &RestorePlan) -> Taking {
    let cost = plan.cost();
    Taking { bytes: cost.bytes_to_fetch, objects: cost.objects, replayed: cost.wal_bytes_to_replay }
}
