//! How long backups are kept.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{RetentionDays, Timestamp};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long backups are kept: every instant for some days, and beyond them, if wanted, sparse points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetentionPolicy {
    /// For how long every instant stays restorable.
    pub window: RetentionDays,
    /// How many of the newest usable snapshots are kept, however old; the last one always is.
    #[serde(default)]
    pub minimum_snapshots: u32,
    /// Single snapshots that are kept beyond the window.
    #[serde(default)]
    pub sparse: Vec<SparseTier>,
    /// For how long a snapshot is kept after its hold was released, so that a release by mistake can be undone. Default: a day.
    #[serde(default = "one_day")]
    pub release_grace: Duration,
}

const fn one_day() -> Duration {
    DAY
}

impl RetentionPolicy {
    /// Every instant for so many days, and nothing beyond.
    #[must_use]
    pub const fn new(window: RetentionDays) -> Self {
        Self { window, minimum_snapshots: 1, sparse: Vec::new(), release_grace: DAY }
    }

    /// At least so many snapshots, however old.
    #[must_use]
    pub fn with_minimum_snapshots(mut self, minimum_snapshots: u32) -> Self {
        self.minimum_snapshots = minimum_snapshots;
        self
    }

    /// And of each of the last `count` periods, the current one among them, one snapshot.
    #[must_use]
    pub fn with_sparse(mut self, every: Period, count: u32) -> Self {
        self.sparse.push(SparseTier { every, count });
        self
    }

    /// With another time to undo the release of a hold.
    #[must_use]
    pub const fn with_release_grace(mut self, release_grace: Duration) -> Self {
        self.release_grace = release_grace;
        self
    }

    /// The first instant of the window that ends at `end`.
    #[must_use]
    pub fn window_start(&self, end: Timestamp) -> Timestamp {
        end.saturating_sub(self.window.duration())
    }
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        Self::new(RetentionDays::default())
    }
}

/// One snapshot of each of the last so many periods: of each the first, so that the choice never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SparseTier {
    /// How far the snapshots are apart.
    pub every: Period,
    /// How many periods, the current one among them.
    pub count: u32,
}

/// A period of the calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// A month of the calendar.
    Month,
    /// A year of the calendar.
    Year,
}

impl Period {
    /// The number of the period that `at` lies in, counted from the year 0.
    pub(super) fn number(self, at: Timestamp) -> i64 {
        let date = at.date();
        let days = i64::from(date.to_julian_day());
        let (year, month) = (i64::from(date.year()), i64::from(u8::from(date.month())));
        match self {
            Self::Day => days,
            // The first day of the Julian calendar was a Monday.
            Self::Week => days.div_euclid(7),
            Self::Month => year * 12 + month,
            Self::Year => year,
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_those_of_the_calendar() {
        let number = |period: Period, text: &str| period.number(text.parse().unwrap());
        let cases = [
            (Period::Day, "2026-11-23T23:59:59.999999Z", "2026-11-24T00:00:00Z"),
            (Period::Week, "2026-11-22T23:59:59.999999Z", "2026-11-23T00:00:00Z"),
            (Period::Month, "2026-11-30T23:59:59.999999Z", "2026-12-01T00:00:00Z"),
            (Period::Month, "2026-12-31T23:59:59.999999Z", "2027-01-01T00:00:00Z"),
            (Period::Year, "2026-12-31T23:59:59.999999Z", "2027-01-01T00:00:00Z"),
        ];
        for (period, last, first) in cases {
            assert_eq!(number(period, last) + 1, number(period, first), "{period} at {first}");
        }
        assert_eq!(number(Period::Week, "2026-11-23T00:00:00Z"), number(Period::Week, "2026-11-29T23:00:00Z"));
    }

    #[test]
    fn a_policy_reads_back_and_keeps_to_the_allowed_days() {
        let policy = RetentionPolicy::default().with_minimum_snapshots(3).with_sparse(Period::Month, 12);
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<RetentionPolicy>(&json).unwrap(), policy);
        assert!(serde_json::from_str::<RetentionPolicy>(&json.replace("\"window\":7", "\"window\":6")).is_err());
        let end: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
        assert_eq!(policy.window_start(end), "2026-11-17T00:00:00Z".parse().unwrap());
    }
}
