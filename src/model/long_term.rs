//! What is kept beyond the window.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Timestamp, seconds};

/// What is kept beyond the recovery window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LongTermRetention {
    /// How many of the newest usable snapshots are kept, however old; the last one always is. Default: 1.
    pub minimum_snapshots: u32,
    /// Single snapshots that are kept beyond the window. Default: none.
    pub sparse: Vec<SparseTier>,
    /// For how long a snapshot is kept after its hold was released, so that a release by mistake can be undone: whole seconds. Default: a day.
    #[serde(with = "seconds")]
    pub release_grace: Duration,
}

impl Default for LongTermRetention {
    fn default() -> Self {
        Self { minimum_snapshots: 1, sparse: Vec::new(), release_grace: Duration::from_secs(24 * 60 * 60) }
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

impl SparseTier {
    /// One snapshot of each of the last `count` periods.
    #[must_use]
    pub const fn new(every: Period, count: u32) -> Self {
        Self { every, count }
    }
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
    pub(crate) fn number(self, at: Timestamp) -> i64 {
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
}
