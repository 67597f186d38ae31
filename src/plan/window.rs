//! When: all instants that can be restored.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::past::{Obstacle, Path};
use crate::model::{Branch, Catalog, Lsn, SnapshotId, Timestamp, WalRange};

/// The resolution of time.
pub(super) const TICK: Duration = Duration::from_micros(1);

/// An interval of which every instant can be restored, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct RestorableInterval {
    /// The first instant.
    pub from: Timestamp,
    /// The last instant.
    pub until: Timestamp,
}

impl RestorableInterval {
    /// What of it is also in `other`.
    pub(super) fn within(self, other: Self) -> Option<Self> {
        let both = Self { from: self.from.max(other.from), until: self.until.min(other.until) };
        (both.from <= both.until).then_some(both)
    }
}

impl From<(Timestamp, Timestamp)> for RestorableInterval {
    fn from((from, until): (Timestamp, Timestamp)) -> Self {
        Self { from, until }
    }
}

/// Every instant of the past of one branch that can be restored, as maximal intervals in order.
///
/// An instant is in the window if and only if a request for it (inclusive) has a plan. A snapshot itself can be restored a
/// microsecond before its first instant, by naming it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecoveryWindow {
    /// The branch.
    pub branch: Branch,
    /// The intervals: apart from each other, in order.
    pub intervals: Vec<RestorableInterval>,
    /// What it takes for later instants to become restorable.
    pub next: NextRestorable,
}

impl RecoveryWindow {
    /// One of its instants, each as likely as any other if `random` is uniformly so; `None` if there is none.
    #[must_use]
    pub fn instant(&self, random: u64) -> Option<Timestamp> {
        let length =
            |interval: &RestorableInterval| u128::from(micros(interval.until.duration_since(interval.from))) + 1;
        let all: u128 = self.intervals.iter().map(length).sum();
        let mut place = (u128::from(random) * all) >> 64;
        for interval in &self.intervals {
            if let Ok(micros) = u64::try_from(place)
                && place < length(interval)
            {
                return Some(interval.from.saturating_add(Duration::from_micros(micros)));
            }
            place -= length(interval);
        }
        None
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What it takes for instants to become restorable that are later than all that can be restored now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NextRestorable {
    /// The next log backup, which begins here: then this instant is the first that becomes restorable.
    #[non_exhaustive]
    NextLog {
        /// Where the log backup begins.
        start: Lsn,
        /// The first instant, if the log goes on that long.
        from: Timestamp,
    },
    /// The rest of the log that makes this snapshot consistent, and what follows it.
    #[non_exhaustive]
    LogOf {
        /// The snapshot.
        snapshot: SnapshotId,
        /// What is missing of its log.
        missing: WalRange,
        /// The first instant, if the log goes on that long.
        from: Timestamp,
    },
    /// A new snapshot: from none that is there the end of the log can be reached.
    NewSnapshot,
}

impl fmt::Display for NextRestorable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NextLog { start, from } => write!(f, "{from}, with the next log backup, from {start} on"),
            Self::LogOf { snapshot, missing, from } => {
                write!(f, "{from}, with the rest of the log of snapshot {snapshot}, {missing}")
            }
            Self::NewSnapshot => f.write_str("only with a new snapshot"),
        }
    }
}

/// The recovery windows of all branches, by incarnation and timeline; see [`recovery_window`].
#[must_use]
pub fn recovery_windows(catalog: &Catalog) -> Vec<RecoveryWindow> {
    catalog.branches().map(|branch| recovery_window(catalog, branch)).collect()
}

/// Computes the recovery window of `branch`, by the rules by which a time is planned. Empty if nothing can be restored,
/// or the branch is unknown.
///
/// Takes time proportional to the number of snapshots, not of log backups.
#[must_use]
pub fn recovery_window(catalog: &Catalog, branch: Branch) -> RecoveryWindow {
    let empty = || RecoveryWindow { branch, intervals: Vec::new(), next: NextRestorable::NewSnapshot };
    Path::new(catalog, branch).map_or_else(empty, |path| window(&path))
}

pub(super) fn window(path: &Path<'_>) -> RecoveryWindow {
    let mut all: Vec<RestorableInterval> = Vec::new();
    for candidate in path.candidates() {
        all.extend(candidate.intervals());
    }
    let intervals = merged(all);
    let next = next(path, intervals.last().map(|last| last.until.saturating_add(TICK)));
    RecoveryWindow { branch: path.branch, intervals, next }
}

/// What it takes for instants from `later` on.
fn next(path: &Path<'_>, later: Option<Timestamp>) -> NextRestorable {
    let end = path.archived_end();
    let at_end = path.candidates().find(|candidate| Some(candidate.reach) >= end);
    if let Some(candidate) = at_end {
        let from = later.map_or(candidate.floor, |later| later.max(candidate.floor));
        return NextRestorable::NextLog { start: candidate.reach, from };
    }
    let waiting = path.snapshots().find_map(|(_, id)| match path.candidate(id) {
        Some(Err(Obstacle::Log(missing))) if Some(missing.start) >= end => Some((id, missing)),
        _ => None,
    });
    let snapshot = waiting.and_then(|(id, missing)| Some((path.catalog.snapshot(id)?, missing)));
    snapshot.map_or(NextRestorable::NewSnapshot, |(snapshot, missing)| NextRestorable::LogOf {
        snapshot: snapshot.id.clone(),
        missing,
        from: snapshot.consistent_at.saturating_add(TICK),
    })
}

impl RecoveryWindow {
    /// The first instant that can be restored.
    #[must_use]
    pub fn earliest(&self) -> Option<Timestamp> {
        self.intervals.first().map(|interval| interval.from)
    }

    /// The last instant that can be restored.
    #[must_use]
    pub fn latest(&self) -> Option<Timestamp> {
        self.intervals.last().map(|interval| interval.until)
    }

    /// Whether `at` can be restored.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.last_by(at) == Some(at)
    }

    /// The last instant at or before `at` that can be restored.
    #[must_use]
    pub fn last_by(&self, at: Timestamp) -> Option<Timestamp> {
        let begun = self.intervals.partition_point(|interval| interval.from <= at);
        Some(self.intervals[begun.checked_sub(1)?].until.min(at))
    }

    /// The first instant at or after `at` that can be restored.
    #[must_use]
    pub fn first_from(&self, at: Timestamp) -> Option<Timestamp> {
        let ended = self.intervals.partition_point(|interval| interval.until < at);
        self.intervals.get(ended).map(|interval| interval.from.max(at))
    }
}

/// Whether one of `intervals`, which are apart from each other and in order, holds all of `part`.
pub(super) fn covers(intervals: &[RestorableInterval], part: RestorableInterval) -> bool {
    let begun = intervals.partition_point(|interval| interval.from <= part.from);
    begun.checked_sub(1).is_some_and(|last| intervals[last].until >= part.until)
}

/// What overlaps or touches becomes one.
pub(super) fn merged(mut intervals: Vec<RestorableInterval>) -> Vec<RestorableInterval> {
    intervals.sort_unstable();
    let mut merged: Vec<RestorableInterval> = Vec::new();
    for next in intervals {
        match merged.last_mut() {
            Some(last) if next.from <= last.until.saturating_add(TICK) => {
                last.until = last.until.max(next.until);
            }
            _ => merged.push(next),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TimelineId;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_micros(second * 1_000_000).unwrap()
    }

    fn interval(from: i64, until: i64) -> RestorableInterval {
        (at(from), at(until)).into()
    }

    fn of(intervals: &[(i64, i64)]) -> RecoveryWindow {
        let branch = Branch::new("7-15".parse().unwrap(), TimelineId::FIRST);
        let intervals = intervals.iter().map(|&(from, until)| interval(from, until)).collect();
        RecoveryWindow { branch, intervals, next: NextRestorable::NewSnapshot }
    }

    #[test]
    fn the_instant_next_to_any_other_is_found() {
        let window = of(&[(10, 20), (30, 30)]);
        for (asked, last_by, first_from) in [
            (9, None, Some(10)),
            (10, Some(10), Some(10)),
            (20, Some(20), Some(20)),
            (21, Some(20), Some(30)),
            (30, Some(30), Some(30)),
            (31, Some(30), None),
        ] {
            assert_eq!(window.last_by(at(asked)), last_by.map(at), "{asked}");
            assert_eq!(window.first_from(at(asked)), first_from.map(at), "{asked}");
            assert_eq!(window.contains(at(asked)), last_by == Some(asked) && first_from == Some(asked), "{asked}");
        }
        assert_eq!((window.earliest(), window.latest()), (Some(at(10)), Some(at(30))));
    }

    #[test]
    fn every_instant_is_as_likely_as_any_other() {
        let window = of(&[(10, 10), (20, 20)]);
        assert_eq!(
            [0, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX].map(|random| window.instant(random)),
            [Some(at(10)), Some(at(10)), Some(at(20)), Some(at(20))]
        );
        let window = of(&[(10, 20), (30, 60)]);
        assert_eq!((window.instant(0), window.instant(u64::MAX)), (Some(at(10)), Some(at(60))));
        let early = (0..1000).filter(|part| window.instant(u64::MAX / 1000 * part) <= Some(at(20))).count();
        assert!((245..=255).contains(&early), "a quarter of all instants, {early} of 1000");
        assert_eq!(of(&[]).instant(7), None);
    }

    #[test]
    fn intervals_are_parts_of_others_up_to_their_ends() {
        let intervals = of(&[(10, 20), (30, 40)]).intervals;
        for (part, covered) in
            [((10, 20), true), ((30, 40), true), ((9, 20), false), ((10, 21), false), ((20, 30), false)]
        {
            assert_eq!(covers(&intervals, interval(part.0, part.1)), covered, "{part:?}");
        }
        assert_eq!(interval(10, 20).within(interval(20, 30)), Some(interval(20, 20)));
        assert_eq!(interval(10, 20).within(interval(21, 30)), None);
    }

    #[test]
    fn what_touches_becomes_one_and_what_is_a_microsecond_apart_does_not() {
        let after = |second: i64, micros| at(second).saturating_add(TICK * micros);
        let touching = vec![interval(10, 20), (after(20, 1), at(25)).into(), interval(12, 15)];
        assert_eq!(merged(touching), [interval(10, 25)]);
        let apart = vec![(after(20, 2), at(25)).into(), interval(10, 20)];
        assert_eq!(merged(apart.clone()), [apart[1], apart[0]]);
    }
}
