//! Days and months of UTC.

use std::iter;
use std::ops::Range;
use std::time::Duration;

use ::time::{Date, OffsetDateTime};

use crate::model::Timestamp;

/// Microseconds of a day; UTC as PostgreSQL counts it has no leap seconds.
pub(super) const DAY_MICROS: u64 = 86_400_000_000;

/// `range`, cut wherever a day begins.
pub(super) fn days(range: Range<Timestamp>) -> impl Iterator<Item = Range<Timestamp>> {
    cut(range, |at| day_start(at).saturating_add(of_days(1)))
}

/// `range`, cut wherever a month begins.
pub(super) fn months(range: Range<Timestamp>) -> impl Iterator<Item = Range<Timestamp>> {
    cut(range, |at| {
        let left = date(at).month().length(date(at).year()) - date(at).day();
        day_start(at).saturating_add(of_days(u64::from(left) + 1))
    })
}

/// How long the whole month is that `at` lies in, in microseconds.
pub(super) fn month_micros(at: Timestamp) -> u64 {
    u64::from(date(at).month().length(date(at).year())) * DAY_MICROS
}

/// The first instant of the day that `at` lies in.
pub(super) fn day_start(at: Timestamp) -> Timestamp {
    let into_day = at.as_unix_micros().rem_euclid(DAY_MICROS.cast_signed());
    at.saturating_sub(Duration::from_micros(into_day.unsigned_abs()))
}

/// So many days.
pub(super) const fn of_days(days: u64) -> Duration {
    Duration::from_micros(days.saturating_mul(DAY_MICROS))
}

fn date(at: Timestamp) -> Date {
    let seconds = at.as_unix_micros().div_euclid(1_000_000);
    OffsetDateTime::from_unix_timestamp(seconds).expect("timestamps keep to years 0001 to 9999").date()
}

/// `range` in parts, each until what follows its start.
fn cut(range: Range<Timestamp>, following: fn(Timestamp) -> Timestamp) -> impl Iterator<Item = Range<Timestamp>> {
    let mut from = range.start;
    iter::from_fn(move || {
        let part = from..following(from).min(range.end);
        from = part.end;
        (!part.is_empty()).then_some(part)
    })
}
