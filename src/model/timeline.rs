//! Timelines and how they descend from each other.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Lsn, ParseError};

/// A timeline of a server: 1 after `initdb`, a new one after every promotion.
///
/// Prints in decimal, as PostgreSQL's messages do; WAL file names and object keys use eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimelineId(NonZeroU32);

impl TimelineId {
    /// The timeline that `initdb` starts.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The timeline with this number, or `None` for 0, which is no timeline.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The timeline's number.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for TimelineId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .then(|| text.parse().ok().and_then(Self::new))
            .flatten()
            .ok_or_else(|| ParseError::new("timeline ID", text, "a decimal number from 1 to 4294967295"))
    }
}

/// One line of a timeline history: the server was on `timeline` until `switch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TimelineSwitch {
    /// The timeline that was left.
    pub timeline: TimelineId,
    /// The first position that belongs to the next timeline.
    pub switch: Lsn,
    /// What PostgreSQL wrote as the reason.
    pub reason: String,
}

impl TimelineSwitch {
    /// A switch away from `timeline` at `switch`.
    #[must_use]
    pub fn new(timeline: TimelineId, switch: Lsn, reason: impl Into<String>) -> Self {
        Self { timeline, switch, reason: reason.into() }
    }
}

/// The ancestry of one timeline, oldest ancestor first.
///
/// - the ancestors' numbers and their switch points increase (numbers strictly, switch points weakly), and every ancestor's
///   number is below the timeline's own;
/// - timeline 1 has no ancestors and, in PostgreSQL, no history file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TimelineHistory {
    timeline: TimelineId,
    ancestors: Vec<TimelineSwitch>,
}

/// A timeline history that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimelineHistoryError {
    /// Timelines must be listed in increasing order, below the timeline that they lead to.
    #[error(
        "timeline {timeline} is listed after or as its own descendant {descendant}: timeline numbers must increase"
    )]
    TimelineOrder {
        /// The timeline that is out of order.
        timeline: TimelineId,
        /// The one it should be below.
        descendant: TimelineId,
    },
    /// Switch points cannot go back in the log.
    #[error("timeline {timeline} ends at {switch}, before it began at {begin}")]
    SwitchOrder {
        /// The timeline whose switch point is wrong.
        timeline: TimelineId,
        /// Where it began.
        begin: Lsn,
        /// Where it is said to end.
        switch: Lsn,
    },
}

impl TimelineHistory {
    /// The history of `timeline` with these `ancestors`, oldest first.
    ///
    /// # Errors
    /// If the ancestors are not in order.
    pub fn new(timeline: TimelineId, ancestors: Vec<TimelineSwitch>) -> Result<Self, TimelineHistoryError> {
        let descendants = ancestors.iter().skip(1).map(|next| next.timeline).chain([timeline]);
        let mut begin = Lsn::ZERO;
        for (ancestor, descendant) in ancestors.iter().zip(descendants) {
            let TimelineSwitch { timeline, switch, .. } = *ancestor;
            if timeline >= descendant {
                return Err(TimelineHistoryError::TimelineOrder { timeline, descendant });
            }
            if switch < begin {
                return Err(TimelineHistoryError::SwitchOrder { timeline, begin, switch });
            }
            begin = switch;
        }
        Ok(Self { timeline, ancestors })
    }

    /// A timeline without ancestors.
    #[must_use]
    pub const fn root(timeline: TimelineId) -> Self {
        Self { timeline, ancestors: Vec::new() }
    }

    /// The timeline whose history this is.
    #[must_use]
    pub fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// The switches that led to this timeline, oldest first.
    #[must_use]
    pub fn ancestors(&self) -> &[TimelineSwitch] {
        &self.ancestors
    }

    /// Where this timeline left its parent; [`Lsn::ZERO`] if it has none.
    #[must_use]
    pub fn begin(&self) -> Lsn {
        self.ancestors.last().map_or(Lsn::ZERO, |parent| parent.switch)
    }

    /// The stretches of log that make up this timeline's past, in order: each timeline with its first position and the
    /// position where it was left, which is `None` for the timeline itself.
    pub fn stretches(&self) -> impl Iterator<Item = (TimelineId, Lsn, Option<Lsn>)> + '_ {
        let begins = std::iter::once(Lsn::ZERO).chain(self.ancestors.iter().map(|ancestor| ancestor.switch));
        let ends = self.ancestors.iter().map(|a| (a.timeline, Some(a.switch))).chain([(self.timeline, None)]);
        begins.zip(ends).map(|(begin, (timeline, end))| (timeline, begin, end))
    }

    /// The histories of all timelines on the way to this one, oldest first, and its own.
    pub fn timelines(&self) -> impl Iterator<Item = Self> + '_ {
        let timelines = self.stretches().map(|(timeline, ..)| timeline);
        timelines.enumerate().map(|(index, timeline)| Self { timeline, ancestors: self.ancestors[..index].to_vec() })
    }

    /// The timeline that wrote the byte at `lsn`, on the way to this timeline.
    #[must_use]
    pub fn timeline_at(&self, lsn: Lsn) -> TimelineId {
        self.ancestors.iter().find(|ancestor| lsn < ancestor.switch).map_or(self.timeline, |ancestor| ancestor.timeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tli(number: u32) -> TimelineId {
        TimelineId::new(number).unwrap()
    }

    fn switch(timeline: u32, lsn: u64) -> TimelineSwitch {
        TimelineSwitch::new(tli(timeline), Lsn::new(lsn), "no recovery target specified")
    }

    #[test]
    fn a_timeline_id_is_a_positive_decimal_number() {
        assert_eq!("7".parse(), Ok(tli(7)));
        assert_eq!(tli(4_294_967_295).to_string(), "4294967295");
        for text in ["", "0", "-1", "+1", "4294967296", "0x1", "latest"] {
            assert!(text.parse::<TimelineId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn each_byte_belongs_to_one_timeline_of_the_path() {
        let history = TimelineHistory::new(tli(5), vec![switch(1, 100), switch(3, 200)]).unwrap();
        let stretches: Vec<_> = history.stretches().collect();
        let at = Lsn::new;
        assert_eq!(
            stretches,
            [(tli(1), at(0), Some(at(100))), (tli(3), at(100), Some(at(200))), (tli(5), at(200), None)]
        );
        for (lsn, timeline) in [(0, 1), (99, 1), (100, 3), (199, 3), (200, 5), (u64::MAX, 5)] {
            assert_eq!(history.timeline_at(at(lsn)), tli(timeline), "at {lsn}");
        }
        assert_eq!(history.begin(), at(200));
        let pasts: Vec<_> = history.timelines().map(|past| (past.timeline(), past.ancestors().len())).collect();
        assert_eq!(pasts, [(tli(1), 0), (tli(3), 1), (tli(5), 2)]);
    }

    #[test]
    fn contradictions_are_refused() {
        let error = TimelineHistory::new(tli(3), vec![switch(3, 1)]).unwrap_err();
        assert_eq!(error, TimelineHistoryError::TimelineOrder { timeline: tli(3), descendant: tli(3) });
        let error = TimelineHistory::new(tli(3), vec![switch(1, 200), switch(2, 100)]).unwrap_err();
        let (begin, switch) = (Lsn::new(200), Lsn::new(100));
        assert_eq!(error, TimelineHistoryError::SwitchOrder { timeline: tli(2), begin, switch });
    }
}
