//! What somebody wants to be kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{SnapshotId, Timestamp};

/// Keeps a snapshot, with the log that makes it consistent, beyond the window: a copy for years, a legal hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hold {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What it is called by whoever placed it.
    pub name: String,
    /// When it ends by itself; `None` is never.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// When it was released, if it was: after the policy's grace it is over.
    #[serde(default)]
    pub released_at: Option<Timestamp>,
}

impl Hold {
    /// A hold on `snapshot` without an end.
    #[must_use]
    pub fn new(snapshot: SnapshotId, name: impl Into<String>) -> Self {
        Self { snapshot, name: name.into(), until: None, released_at: None }
    }

    /// One that ends at this instant.
    #[must_use]
    pub const fn until(mut self, until: Timestamp) -> Self {
        self.until = Some(until);
        self
    }

    /// One that was released at this instant.
    #[must_use]
    pub const fn released_at(mut self, released_at: Timestamp) -> Self {
        self.released_at = Some(released_at);
        self
    }

    /// Whether it keeps its snapshot at `now`, if released holds last for `grace`.
    #[must_use]
    pub fn is_active(&self, now: Timestamp, grace: Duration) -> bool {
        let released = self.released_at.is_some_and(|released| now >= released.saturating_add(grace));
        let ended = self.until.is_some_and(|until| now >= until);
        // An end that comes first counts; a release never makes a hold last longer.
        !released && !ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_a_grace_and_an_end_has_none() {
        let at = |hour: i64| Timestamp::from_unix_micros(hour * 3_600_000_000).unwrap();
        let grace = Duration::from_secs(2 * 3600);
        let hold = Hold::new("one".parse().unwrap(), "audit");
        assert!(hold.is_active(Timestamp::MAX, grace));
        let ending = hold.clone().until(at(10));
        assert!(ending.is_active(at(9), grace) && !ending.is_active(at(10), grace));
        let released = hold.released_at(at(10));
        assert!(released.is_active(at(11), grace) && !released.is_active(at(12), grace));
        assert!(!released.until(at(11)).is_active(at(11), grace), "the end comes before the grace is over");
    }
}
