//! What must hold of a refusal: that nothing else was possible, and that its numbers are right.

use std::time::Duration;

use pitr::model::{Branch, Lsn, Timestamp, WalRange};
use pitr::plan::{PlanError, Point, Target, recovery_window};

use crate::case::{Case, Checked, ensure, truth};
use crate::world::{UNIT, lsn};

const TICK: Duration = Duration::from_micros(1);

/// Of an instant.
pub(crate) fn time(case: &Case<'_, '_>, at: Timestamp, inclusive: bool, error: &PlanError) -> Checked {
    let limit = if inclusive { at } else { at.saturating_sub(TICK) };
    if !matches!(error, PlanError::Unknown { .. }) {
        let possible = case.past.snapshots.iter().find(|taken| truth(case.past, taken, limit).is_some());
        ensure!(possible.is_none(), "{possible:?} does reach {limit}: {error}");
    }
    let (previous, next) = numbers(case, error, Point::Time(at))?;
    let window = recovery_window(case.catalog, case.world().branch(case.past.timeline));
    let beyond = |other: Timestamp| if inclusive { other } else { other.saturating_add(TICK) };
    let last = window.intervals.iter().map(|i| beyond(i.until)).filter(|&until| until < at).max();
    let first = window.intervals.iter().map(|i| beyond(i.from)).filter(|&from| from > at).min();
    let silent = matches!(error, PlanError::OnlySnapshots { .. } | PlanError::NothingToRestore { .. });
    let branch = matches!(error, PlanError::WrongBranch { .. });
    ensure!(branch || previous == last.map(Point::Time), "the last before is {last:?}: {error}");
    let too_late = matches!(error, PlanError::TooLate { .. });
    ensure!(branch || too_late || next == first.map(Point::Time), "the first after is {first:?}: {error}");
    ensure!(!too_late || first.is_none(), "the first after is {first:?}: {error}");
    ensure!(!silent || (last, first) == (None, None), "{last:?} and {first:?}: {error}");
    for offered in [previous, next].into_iter().flatten() {
        let Point::Time(offered) = offered else { return Err(format!("{offered} is no time: {error}")) };
        ensure!(case.restorable(instant(offered, inclusive)), "{offered} cannot be restored: {error}");
    }
    Ok(())
}

/// Of a position.
pub(crate) fn position(case: &Case<'_, '_>, asked: Lsn, error: &PlanError) -> Checked {
    ensure!(case.position(asked).is_none(), "{asked} can be restored: {error}");
    let (previous, next) = numbers(case, error, Point::Lsn(asked))?;
    if matches!(error, PlanError::WrongBranch { .. }) {
        return Ok(());
    }
    let reaches = case.past.snapshots.iter().filter_map(|taken| Some((taken.end, case.past.reach(taken)?)));
    let reaches: Vec<(Lsn, Lsn)> = reaches.map(|(end, reach)| (lsn(end), lsn(reach))).collect();
    let last = reaches.iter().filter(|(end, _)| *end <= asked).map(|&(_, reach)| Point::Lsn(reach)).max();
    let first = reaches.iter().filter(|(end, _)| *end > asked).map(|&(end, _)| Point::Lsn(end)).min();
    ensure!(previous == last, "the last before is {last:?}: {error}");
    ensure!(next == first, "the first after is {first:?}: {error}");
    Ok(())
}

/// The nearest points that a refusal offers on both sides; checks its other numbers.
fn numbers(case: &Case<'_, '_>, error: &PlanError, asked: Point) -> Result<(Option<Point>, Option<Point>), String> {
    let usable = case.past.snapshots.iter().filter(|taken| case.past.reach(taken).is_some()).count();
    let points = match error {
        PlanError::TooEarly { earliest, .. } => (None, Some(*earliest)),
        PlanError::TooLate { latest, .. } => (Some(*latest), None),
        PlanError::InGap { previous, next, missing, .. } => {
            hole(case, *missing).map_err(|wrong| format!("{wrong}: {error}"))?;
            (*previous, *next)
        }
        PlanError::InSnapshot { previous, next, snapshot, .. } => {
            let waiting = case.past.snapshots.iter().find(|taken| taken.snapshot.id == *snapshot);
            let waiting = waiting.ok_or_else(|| format!("there is no such snapshot: {error}"))?;
            let later = match asked {
                Point::Time(at) => truth(case.past, waiting, at.saturating_sub(TICK)).is_none(),
                Point::Lsn(asked) => waiting.snapshot.wal.end > asked,
                _ => false,
            };
            ensure!(later, "{snapshot} is consistent by then: {error}");
            (*previous, *next)
        }
        PlanError::Unknown { previous, next, .. } => (*previous, *next),
        PlanError::OnlySnapshots { .. } => {
            ensure!(usable > 0, "there is no snapshot: {error}");
            (None, None)
        }
        PlanError::NothingToRestore { snapshots } => {
            let passed = case.world().snapshots.iter().filter(|taken| case.past.passed(taken)).count();
            ensure!(usable == 0 && *snapshots == passed, "{usable} of {passed} can be restored: {error}");
            (None, None)
        }
        PlanError::WrongBranch { .. } => (None, None),
        other => return Err(format!("out of place: {other}")),
    };
    Ok(points)
}

/// Where log is missing: all of it is, from where a snapshot's log ends to where there is log again.
pub(crate) fn hole(case: &Case<'_, '_>, missing: WalRange) -> Checked {
    let number = case.world().timeline(missing.timeline);
    let (start, end) = (missing.start.as_u64() / UNIT, missing.end.as_u64() / UNIT);
    ensure!(start < end, "{missing} is empty");
    let there = |unit: u64| {
        let writer = case.past.writer(unit);
        case.world().logs.iter().any(|log| log.timeline == writer && log.start <= unit && unit < log.end)
    };
    let foreign = (start..end).find(|&unit| case.past.writer(unit) != number || there(unit));
    ensure!(foreign.is_none(), "unit {foreign:?} of {missing} is not missing");
    let left = case.past.path.iter().any(|stretch| stretch.timeline == number && stretch.left == end);
    ensure!(left || there(end), "{missing} goes on");
    Ok(())
}

/// The other branches on which this holds are those which are offered; with `some`, at least no others are.
pub(crate) fn branches(case: &Case<'_, '_>, offered: &[Branch], some: bool, holds: impl Fn(usize) -> bool) -> Checked {
    let known = (0..case.world().timelines.len()).filter(|&t| t != case.past.timeline);
    let known = known.filter(|&t| case.catalog.history(case.world().branch(t)).is_some());
    let right: Vec<Branch> = known.filter(|&t| holds(t)).map(|t| case.world().branch(t)).collect();
    ensure!(offered.iter().all(|branch| right.contains(branch)), "offers {offered:?}, right is {right:?}");
    ensure!(some || offered.len() == right.len(), "offers {offered:?}, right is {right:?}");
    ensure!(!offered.is_empty(), "offers nothing");
    Ok(())
}

pub(crate) fn instant(at: Timestamp, inclusive: bool) -> Target {
    if inclusive { Target::time(at) } else { Target::just_before(at) }
}
