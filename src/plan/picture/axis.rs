//! From times to pixels.

use crate::model::Timestamp;

/// Left of it stand the names of lanes.
const LEFT: u32 = 132;
const RIGHT: u32 = 28;
/// Between the marks of the axis there is room for their text.
const TICK_PIXELS: i64 = 116;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// How far marks may be apart, in microseconds.
const STEPS: [i64; 18] = [
    SECOND,
    5 * SECOND,
    15 * SECOND,
    MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    5 * DAY,
    10 * DAY,
    30 * DAY,
    100 * DAY,
    400 * DAY,
];

/// A coordinate, in tenths of a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tenths(pub(super) i64);

impl std::fmt::Display for Tenths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, tenth) = (self.0 / 10, self.0 % 10);
        if tenth == 0 { write!(f, "{whole}") } else { write!(f, "{whole}.{tenth}") }
    }
}

/// The times that are drawn, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// `None` if there is nothing to draw.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    pub(super) width: u32,
}

impl Axis {
    pub(super) const fn new(span: Option<(Timestamp, Timestamp)>, width: u32) -> Self {
        Self { span, width }
    }

    pub(super) const fn left(self) -> u32 {
        LEFT
    }

    pub(super) const fn right(self) -> u32 {
        self.width - RIGHT
    }

    /// Where `time` is; at the edge, if it lies beyond.
    pub(super) fn x(self, time: Timestamp) -> Tenths {
        let (left, right) = (i64::from(self.left()) * 10, i64::from(self.right()) * 10);
        let Some((from, until)) = self.span else { return Tenths(left) };
        let (passed, all) = (distance(from, time.clamp(from, until)), distance(from, until).max(1));
        let offset = passed * i128::from(right - left) / all;
        Tenths(left.saturating_add(i64::try_from(offset).unwrap_or(0)))
    }

    /// What of the time from `from` to `until` is drawn.
    pub(super) fn clip(self, from: Timestamp, until: Timestamp) -> Option<(Tenths, Tenths)> {
        let (first, last) = self.span?;
        (from <= last && until >= first).then(|| (self.x(from), self.x(until)))
    }

    pub(super) fn shows(self, time: Timestamp) -> bool {
        self.span.is_some_and(|(from, until)| from <= time && time <= until)
    }

    /// The marks of the axis.
    pub(super) fn ticks(self) -> Vec<Tick> {
        let Some((from, until)) = self.span else { return Vec::new() };
        let (first, last) = (from.as_unix_micros(), until.as_unix_micros());
        let most = (i64::from(self.right() - self.left()) / TICK_PIXELS).max(1);
        let apart = |step: &&i64| distance(from, until) / i128::from(**step) <= i128::from(most);
        let step = STEPS.iter().find(apart).copied().unwrap_or_else(|| (last / most - first / most).max(1));
        let begin = first.div_euclid(step).saturating_mul(step);
        let times = (0..=most.saturating_add(1)).map(|number| begin.saturating_add(step.saturating_mul(number)));
        let shown = times.filter(|micros| (first..=last).contains(micros)).filter_map(Timestamp::from_unix_micros);
        shown.enumerate().map(|(number, time)| Tick::new(self.x(time), time, step, number == 0)).collect()
    }
}

/// A mark of the axis.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) x: Tenths,
    pub(super) label: String,
    /// The day, where the label is a time of day, and the day begins or is the first one.
    pub(super) day: Option<String>,
}

impl Tick {
    fn new(x: Tenths, time: Timestamp, step: i64, is_first: bool) -> Self {
        let text = time.to_string();
        let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default().to_owned();
        let begins_day = time.as_unix_micros().rem_euclid(DAY) == 0;
        let label = match step {
            step if step < MINUTE => part(11..19),
            step if step < DAY => part(11..16),
            _ => part(0..10),
        };
        let day = (step < DAY && (is_first || begins_day)).then(|| part(0..10));
        Self { x, label, day }
    }
}

/// In microseconds.
fn distance(from: Timestamp, until: Timestamp) -> i128 {
    i128::from(until.as_unix_micros()) - i128::from(from.as_unix_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(from: &str, until: &str) -> Axis {
        Axis::new(Some((from.parse().unwrap(), until.parse().unwrap())), 960)
    }

    fn labels(from: &str, until: &str) -> Vec<String> {
        let text = |tick: Tick| match tick.day {
            Some(day) => format!("{} of {day}", tick.label),
            None => tick.label,
        };
        axis(from, until).ticks().into_iter().map(text).collect()
    }

    #[test]
    fn times_have_their_places() {
        let axis = axis("2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z");
        let x = |time: &str| axis.x(time.parse().unwrap()).to_string();
        assert_eq!(x("2026-11-23T00:00:00Z"), "132");
        assert_eq!(x("2026-11-23T12:00:00Z"), "532");
        assert_eq!(x("2026-11-23T12:01:00Z"), "532.5");
        assert_eq!((x("2026-11-24T00:00:00Z"), x("2027-01-01T00:00:00Z")), ("932".into(), "932".into()));
        assert_eq!(x("2025-01-01T00:00:00Z"), "132");
        let clip = |from: &str, until: &str| axis.clip(from.parse().unwrap(), until.parse().unwrap());
        assert_eq!(clip("2026-11-22T00:00:00Z", "2026-11-23T12:00:00Z"), Some((Tenths(1320), Tenths(5320))));
        assert_eq!(clip("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"), None);
    }

    #[test]
    fn marks_are_as_far_apart_as_they_are_long() {
        let seconds = ["21:09:08 of 2026-11-23", "21:09:09", "21:09:10", "21:09:11", "21:09:12"];
        assert_eq!(labels("2026-11-23T21:09:08Z", "2026-11-23T21:09:12Z"), seconds);
        let night = ["20:00 of 2026-11-23", "21:00", "22:00", "23:00", "00:00 of 2026-11-24", "01:00", "02:00"];
        assert_eq!(labels("2026-11-23T20:00:00Z", "2026-11-24T02:00:00Z"), night);
        let week = labels("2026-11-23T20:00:00Z", "2026-11-30T02:00:00Z");
        assert_eq!((week.len(), &*week[0]), (7, "2026-11-24"));
        let (first, last) = (Timestamp::MIN.to_string(), Timestamp::MAX.to_string());
        assert!((1..=8).contains(&labels(&first, &last).len()), "{:?}", labels(&first, &last));
        assert_eq!(labels("2026-11-23T20:00:00.1Z", "2026-11-23T20:00:00.2Z"), Vec::<String>::new());
    }
}
