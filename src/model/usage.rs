//! What backups take.

use std::iter::Sum;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// The bytes that are stored at an instant, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes of daily snapshots.
    pub snapshots: u64,
    /// Bytes of snapshots that somebody asked for.
    pub on_demand_snapshots: u64,
    /// Bytes of log backups.
    pub logs: u64,
    /// Bytes of timeline histories.
    pub histories: u64,
}

impl Usage {
    /// The bytes of all kinds.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let snapshots = self.snapshots.saturating_add(self.on_demand_snapshots);
        snapshots.saturating_add(self.logs).saturating_add(self.histories)
    }
}

impl From<[u64; 4]> for Usage {
    fn from([snapshots, on_demand_snapshots, logs, histories]: [u64; 4]) -> Self {
        Self { snapshots, on_demand_snapshots, logs, histories }
    }
}

/// That of several servers.
impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), |all, one| Self {
            snapshots: all.snapshots.saturating_add(one.snapshots),
            on_demand_snapshots: all.on_demand_snapshots.saturating_add(one.on_demand_snapshots),
            logs: all.logs.saturating_add(one.logs),
            histories: all.histories.saturating_add(one.histories),
        })
    }
}

/// What was stored on a UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DayUsage {
    /// The first instant of the day.
    pub day: Timestamp,
    /// Where the part of the day starts that was asked about.
    pub from: Timestamp,
    /// Where that part ends; not part of it.
    pub until: Timestamp,
    /// The bytes in the last microsecond before `until`.
    pub at_end: Usage,
    /// The most bytes of all kinds at once.
    pub maximum: u64,
    /// The average of the bytes of all kinds, weighted by time and rounded down.
    pub average: u64,
}

impl DayUsage {
    /// Both parts of a day as one; the average is rounded down once more.
    fn with(self, later: Self) -> Self {
        let micros = |part: &Self| part.until.duration_since(part.from).as_micros();
        let (earlier_micros, later_micros) = (micros(&self), micros(&later));
        let integral = u128::from(self.average) * earlier_micros + u128::from(later.average) * later_micros;
        let average = integral.checked_div(earlier_micros + later_micros).unwrap_or_default();
        Self {
            until: later.until,
            at_end: later.at_end,
            maximum: self.maximum.max(later.maximum),
            average: u64::try_from(average).unwrap_or(u64::MAX),
            ..self
        }
    }
}

/// What was stored in the past, day by day: of what was deleted since, nothing else tells.
///
/// The days are in order, each once, and without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UsageLog {
    /// The days; the first and the last one may be parts.
    pub days: Vec<DayUsage>,
}

impl UsageLog {
    /// Up to which instant it tells; `None` if of nothing.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.days.last().map(|day| day.until)
    }

    /// The same with what follows: `parts` of days, which go on where it ends. Days that ended longer than `kept` before its end are forgotten.
    #[must_use]
    pub fn followed_by(mut self, parts: impl IntoIterator<Item = DayUsage>, kept: Duration) -> Self {
        for part in parts {
            match self.days.last_mut() {
                Some(last) if last.day == part.day => *last = last.with(part),
                _ => self.days.push(part),
            }
        }
        if let Some(first) = self.until().map(|until| until.saturating_sub(kept)) {
            self.days.retain(|day| day.until > first);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn part(day: Timestamp, hours: (u64, u64), bytes: u64) -> DayUsage {
        let hour = |hour: u64| day.saturating_add(Duration::from_secs(3600 * hour));
        let at_end = Usage::from([bytes, 0, 0, 0]);
        DayUsage { day, from: hour(hours.0), until: hour(hours.1), at_end, maximum: bytes, average: bytes }
    }

    #[test]
    fn parts_of_a_day_become_one() {
        let (monday, tuesday) = (at("2026-11-23T00:00:00Z"), at("2026-11-24T00:00:00Z"));
        let log = UsageLog::default().followed_by([part(monday, (6, 12), 100)], 400 * DAY);
        let log = log.followed_by([part(monday, (12, 24), 40), part(tuesday, (0, 1), 7)], 400 * DAY);
        let [first, last] = log.days[..] else { panic!("{log:?}") };
        assert_eq!((first.from, first.until), (part(monday, (6, 12), 0).from, tuesday));
        assert_eq!((first.average, first.maximum, first.at_end.total()), (60, 100, 40));
        assert_eq!(last, part(tuesday, (0, 1), 7));
        assert_eq!(log.until(), Some(last.until));
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let first = at("2026-01-01T00:00:00Z");
        let days = (0..500).map(|day| part(first.saturating_add(DAY * day), (0, 24), 1));
        let log = UsageLog::default().followed_by(days, 400 * DAY);
        assert_eq!((log.days.len(), log.days[0].day), (400, first.saturating_add(100 * DAY)));
    }

    #[test]
    fn a_fleet_takes_what_its_servers_take() {
        let usages = [Usage::from([1, 2, 3, 4]), Usage::from([10, 20, 30, u64::MAX])];
        assert_eq!(usages.into_iter().sum::<Usage>(), Usage::from([11, 22, 33, u64::MAX]));
    }
}
