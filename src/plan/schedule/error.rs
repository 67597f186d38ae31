//! Why settings are no schedule.

use std::time::Duration;

use super::explain::Span;

/// A setting that no schedule can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A duration that is too short or too long.
    #[error("{setting} cannot be {}: it must be {} to {}", Span(*value), Span(*min), Span(*max))]
    OutOfRange {
        /// The field of [`ScheduleSettings`](crate::model::ScheduleSettings).
        setting: &'static str,
        /// Its value.
        value: Duration,
        /// The least that it can be.
        min: Duration,
        /// The most that it can be.
        max: Duration,
    },
    /// A duration with parts of a second.
    #[error("{setting} cannot be {}: it must be whole seconds", Span(*value))]
    Fraction {
        /// The field of [`ScheduleSettings`](crate::model::ScheduleSettings).
        setting: &'static str,
        /// Its value.
        value: Duration,
    },
    /// A number that is too small.
    #[error("{setting} cannot be {value}: it must be at least {min}")]
    TooSmall {
        /// The field of [`ScheduleSettings`](crate::model::ScheduleSettings).
        setting: &'static str,
        /// Its value.
        value: u64,
        /// The least that it can be.
        min: u64,
    },
    /// Slots would lie at other times each day.
    #[error("snapshot_every cannot be {}: a day must be a whole number of them, as of 1, 2, 3, 4, 6, 8, 12 or 24 h", Span(*value))]
    UnevenPeriod {
        /// The period.
        value: Duration,
    },
}
