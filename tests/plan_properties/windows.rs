//! Recovery windows: exactly the instants for which there is a plan, as maximal intervals.

use std::time::Duration;

use pitr::model::Timestamp;
use pitr::plan::{Target, recovery_window};

use crate::case::{Case, Checked, ensure};

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
