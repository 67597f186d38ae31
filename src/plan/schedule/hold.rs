//! Intervals in which a task is not due, whatever else makes it so.

use std::time::Duration;

use crate::model::Timestamp;

/// An interval with its beginning and without its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    /// What it counts from.
    pub(super) recorded: Timestamp,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Hold {
    /// Until `until`, after something that is recorded for `recorded`.
    ///
    /// Whoever looks at it more than `trusted` before that knows that the clock was set back since, and nothing else: it
    /// does not hold then.
    pub(super) fn new(recorded: Timestamp, trusted: Duration, until: Timestamp) -> Self {
        Self { recorded, from: recorded.saturating_sub(trusted), until }
    }

    /// For `span`, trusted up to half of it ahead.
    pub(super) fn lasting(recorded: Timestamp, span: Duration) -> Self {
        Self::new(recorded, span / 2, recorded.saturating_add(span))
    }

    fn covers(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

/// The first instant at or after `at` that none of `holds` covers.
pub(super) fn first_free(at: Timestamp, holds: &[Hold]) -> Timestamp {
    let mut free = at;
    // Ends: each hold moves it beyond itself, at most once.
    while let Some(hold) = holds.iter().find(|hold| hold.covers(free)) {
        free = hold.until;
    }
    free
}

/// Since when none of `holds` covers `at`, but not before `from`.
pub(super) fn free_since(from: Timestamp, at: Timestamp, holds: &[Hold]) -> Timestamp {
    holds.iter().map(|hold| hold.until).filter(|&until| until <= at).fold(from, Timestamp::max)
}
