//! A time of day, the same on every day of the year.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ParseError, text_serde};

const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;
const DAY: u32 = 24 * HOUR;

/// A time of day in UTC with whole seconds, 00:00 to 23:59:59. Daylight saving has no effect on it.
///
/// Prints as `02:30`, or `02:30:15` if it is between minutes, and parses either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(u32);

impl TimeOfDay {
    /// 00:00.
    pub const MIDNIGHT: Self = Self(0);

    /// The time so many whole seconds after midnight, and after as many midnights as fit.
    #[must_use]
    pub fn wrapping(after_midnight: Duration) -> Self {
        let seconds = after_midnight.as_secs() % u64::from(DAY);
        Self(u32::try_from(seconds).expect("a day has fewer seconds"))
    }

    /// The time since midnight.
    #[must_use]
    pub fn since_midnight(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / HOUR, self.0 / MINUTE % 60)?;
        match self.0 % MINUTE {
            0 => Ok(()),
            second => write!(f, ":{second:02}"),
        }
    }
}

impl FromStr for TimeOfDay {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts: Vec<&str> = text.split(':').collect();
        let seconds = match *parts {
            [hour, minute] => seconds(hour, minute, "00"),
            [hour, minute, second] => seconds(hour, minute, second),
            _ => None,
        };
        seconds.map(Self).ok_or_else(|| ParseError::new("time of day", text, "hours and minutes in UTC, as in 02:30"))
    }
}

fn seconds(hour: &str, minute: &str, second: &str) -> Option<u32> {
    Some(two_digits(hour, 24)? * HOUR + two_digits(minute, 60)? * MINUTE + two_digits(second, 60)?)
}

/// Exactly two digits, of a number below `end`.
fn two_digits(text: &str, end: u32) -> Option<u32> {
    let well_formed = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    well_formed.then(|| text.parse().ok()).flatten().filter(|&number| number < end)
}

text_serde!(TimeOfDay);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parses() {
        for text in ["00:00", "02:30", "23:59", "02:30:15", "23:59:59"] {
            assert_eq!(text.parse::<TimeOfDay>().unwrap().to_string(), text);
        }
        assert_eq!("02:30:00".parse::<TimeOfDay>().unwrap().to_string(), "02:30");
        let half_past_two = Duration::from_secs(9000);
        assert_eq!("02:30".parse::<TimeOfDay>().unwrap().since_midnight(), half_past_two);
        assert_eq!(TimeOfDay::wrapping(half_past_two + Duration::from_secs(86_400)).to_string(), "02:30");
    }

    #[test]
    fn refuses_what_is_no_time_of_day_in_utc() {
        for text in ["", "2:30", "24:00", "02:60", "02:30:60", "02:30Z", "02:30+01:00", "+2:30", "02", "02:30:00:00"] {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text:?}");
        }
    }
}
