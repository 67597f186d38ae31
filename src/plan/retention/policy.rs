//! How long backups are kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{LongTermRetention, Period, RetentionDays, ServerConfig, SparseTier, Timestamp};

/// How long backups are kept: every instant for some days, and beyond them, if wanted, sparse points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetentionPolicy {
    /// For how long every instant stays restorable.
    pub window: RetentionDays,
    /// What is kept beyond that.
    #[serde(flatten)]
    pub long_term: LongTermRetention,
}

impl RetentionPolicy {
    /// Every instant for so many days, and nothing beyond.
    #[must_use]
    pub fn new(window: RetentionDays) -> Self {
        Self { window, long_term: LongTermRetention::default() }
    }

    /// As a server is configured.
    #[must_use]
    pub fn of(config: &ServerConfig) -> Self {
        Self { window: config.spec.retention, long_term: config.long_term.clone() }
    }

    /// At least so many snapshots, however old.
    #[must_use]
    pub fn with_minimum_snapshots(mut self, minimum_snapshots: u32) -> Self {
        self.long_term.minimum_snapshots = minimum_snapshots;
        self
    }

    /// And of each of the last `count` periods, the current one among them, one snapshot.
    #[must_use]
    pub fn with_sparse(mut self, every: Period, count: u32) -> Self {
        self.long_term.sparse.push(SparseTier::new(every, count));
        self
    }

    /// With another time to undo the release of a hold.
    #[must_use]
    pub const fn with_release_grace(mut self, release_grace: Duration) -> Self {
        self.long_term.release_grace = release_grace;
        self
    }

    /// The first instant of the window that ends at `end`.
    #[must_use]
    pub fn window_start(&self, end: Timestamp) -> Timestamp {
        end.saturating_sub(self.window.duration())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
