//! Recovery windows: exactly the instants for which there is a plan, as maximal intervals.

use std::time::Duration;

use pitr::model::{Branch, Timestamp};
use pitr::plan::{Target, recovery_window};

use crate::case::{Case, Checked, ensure};
use crate::world::World;

/// Whatever clocks say: nothing is archived that goes on after the end of the current branch, and one there is as soon as
/// anything is.
pub(crate) fn nothing_follows_the_current_branch(world: &World, current: Option<Branch>) -> Checked {
    let pasts: Vec<_> = (0..world.timelines.len()).map(|timeline| world.archived_past(timeline)).collect();
    ensure!(current.is_some() == pasts.iter().any(Option::is_some), "{current:?} is current");
    let number = current.map(|current| world.timeline(current.timeline));
    let Some(end) = number.and_then(|number| pasts[number].as_ref()) else { return Ok(()) };
    let goes_on = pasts.iter().flatten().any(|past| past != end && past.starts_with(end));
    ensure!(!goes_on, "something goes on after {current:?}");
    Ok(())
}

const TICK: Duration = Duration::from_micros(1);

pub(crate) fn check(case: &Case<'_, '_>, instants: &[Timestamp]) -> Checked {
    let window = recovery_window(case.catalog, case.world().branch(case.past.timeline));
    let apart = |pair: &[pitr::plan::RestorableInterval]| pair[0].until.saturating_add(TICK) < pair[1].from;
    ensure!(window.intervals.windows(2).all(apart), "not apart: {window:?}");
    for interval in &window.intervals {
        ensure!(interval.from <= interval.until, "empty: {window:?}");
        let inside = [interval.from, interval.until].map(|at| case.restorable(Target::time(at)));
        let outside = [interval.from.saturating_sub(TICK), interval.until.saturating_add(TICK)];
        let outside = outside.map(|at| case.restorable(Target::time(at)));
        ensure!(inside == [true; 2] && outside == [false; 2], "{inside:?} {outside:?} around {interval:?}");
    }
    let wrong = instants.iter().find(|&&at| window.contains(at) != case.restorable(Target::time(at)));
    ensure!(wrong.is_none(), "{wrong:?} and {window:?}");
    Ok(())
}
