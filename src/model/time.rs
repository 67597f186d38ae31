//! Instants, as PostgreSQL counts them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ::time::format_description::well_known::Rfc3339;
use ::time::{Date, OffsetDateTime, UtcOffset};
use serde::{Deserialize, Serialize};

use super::{ParseError, text_serde};

/// An instant in UTC with microseconds, the resolution of PostgreSQL's `timestamptz`.
///
/// Prints as RFC 3339 in UTC with six digits of a second (`2026-11-23T21:09:08.000000Z`) and parses RFC 3339 with any
/// offset. A text without an offset is refused: nobody knows which instant it means. Years 0001 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's epoch (`src/include/datatype/timestamp.h`).
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self(0);
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// The last microsecond of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// The instant `micros` microseconds after 1970, or `None` outside the years 0001 to 9999.
    #[must_use]
    pub const fn from_unix_micros(micros: i64) -> Option<Self> {
        if Self::MIN.0 <= micros && micros <= Self::MAX.0 { Some(Self(micros)) } else { None }
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn as_unix_micros(self) -> i64 {
        self.0
    }

    /// The instant that PostgreSQL writes as `micros` (a `TimestampTz`: microseconds after 2000), or `None` outside the
    /// years 0001 to 9999, `infinity` among them.
    #[must_use]
    pub const fn from_postgres_micros(micros: i64) -> Option<Self> {
        match micros.checked_add(POSTGRES_EPOCH_MICROS) {
            Some(unix) => Self::from_unix_micros(unix),
            None => None,
        }
    }

    /// The instant as PostgreSQL writes it: microseconds after 2000.
    #[must_use]
    pub const fn as_postgres_micros(self) -> i64 {
        self.0 - POSTGRES_EPOCH_MICROS
    }

    /// The instant `duration` later, or [`Timestamp::MAX`]; parts of a microsecond are dropped.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration))).min(Self::MAX)
    }

    /// The instant `duration` earlier, or [`Timestamp::MIN`]; parts of a microsecond are dropped.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration))).max(Self::MIN)
    }

    /// The time from `earlier` to this instant; zero if `earlier` is not earlier.
    #[must_use]
    pub fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }
}

impl Timestamp {
    /// The day in UTC.
    pub(crate) fn date(self) -> Date {
        self.calendar().date()
    }

    fn calendar(self) -> OffsetDateTime {
        let nanos = i128::from(self.0) * 1000;
        OffsetDateTime::from_unix_timestamp_nanos(nanos).expect("the constructors keep to years 0001 to 9999")
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, time) = (self.date(), self.calendar().time());
        let (hour, minute, second) = time.as_hms();
        let day = format_args!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day());
        write!(f, "{day}T{hour:02}:{minute:02}:{second:02}.{:06}Z", time.microsecond())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let expected = "RFC 3339 with an offset and at most six digits of a second, as in 2026-11-23T21:09:08.5Z";
        let error = || ParseError::new("timestamp", text, expected);
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| error())?;
        let at = at.checked_to_offset(UtcOffset::UTC).ok_or_else(error)?;
        let nanos = at.unix_timestamp_nanos();
        let whole = (nanos % 1000 == 0).then_some(nanos / 1000).ok_or_else(error)?;
        i64::try_from(whole).ok().and_then(Self::from_unix_micros).ok_or_else(error)
    }
}

text_serde!(Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_utc_and_parses_any_offset() {
        let at = Timestamp::from_unix_micros(1_795_468_148_000_001).unwrap();
        assert_eq!(at.to_string(), "2026-11-23T21:09:08.000001Z");
        for text in
            ["2026-11-23T21:09:08.000001Z", "2026-11-23T22:09:08.000001+01:00", "2026-11-23T15:39:08.000001-05:30"]
        {
            assert_eq!(text.parse(), Ok(at), "{text}");
        }
    }

    #[test]
    fn refuses_a_time_that_could_mean_several_instants() {
        for text in ["2026-11-23T21:09:08", "2026-11-23 21:09", "10:00", "2026-11-23T21:09:08 Europe/Paris", "now", ""]
        {
            let error = text.parse::<Timestamp>().unwrap_err();
            assert!(error.to_string().contains("offset"), "{error}");
        }
        assert!("2026-11-23T21:09:08.0000001Z".parse::<Timestamp>().is_err(), "finer than a microsecond");
    }

    #[test]
    fn postgres_counts_from_2000() {
        let epoch = Timestamp::from_postgres_micros(0).unwrap();
        assert_eq!(epoch.to_string(), "2000-01-01T00:00:00.000000Z");
        assert_eq!(epoch.as_postgres_micros(), 0);
        assert_eq!(Timestamp::from_postgres_micros(i64::MAX), None, "infinity");
        assert_eq!(Timestamp::from_postgres_micros(i64::MIN), None, "-infinity");
    }

    #[test]
    fn the_ends_of_time_print_and_parse() {
        for at in [Timestamp::MIN, Timestamp::MAX] {
            assert_eq!(at.to_string().parse(), Ok(at));
        }
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.saturating_sub(Duration::MAX), Timestamp::MIN);
        assert_eq!(Timestamp::MIN.duration_since(Timestamp::MAX), Duration::ZERO);
    }
}
