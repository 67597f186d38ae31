//! What a restore takes, and by what one is better than another.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Load, RestoreRates};

/// By what the best of several ways to one point is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Objective {
    /// The least time, as the [`CostModel`] estimates it: fetching and then replaying.
    #[default]
    RecoveryTime,
    /// The fewest bytes to fetch.
    Bytes,
    /// The fewest objects to fetch.
    Artifacts,
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RecoveryTime => "the fastest recovery",
            Self::Bytes => "the fewest bytes to fetch",
            Self::Artifacts => "the fewest objects to fetch",
        })
    }
}

/// How fast a restore goes. Rates of 0 count as 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CostModel {
    /// Bytes a second from the storage, all transfers together. Default: 200 MB/s.
    pub fetch_bytes_per_second: u64,
    /// Bytes of log a second that PostgreSQL's one recovery process replays. Default: 50 MB/s; 30 to 130 are usual.
    pub replay_bytes_per_second: u64,
    /// What each object adds beyond its bytes. Default: 5 ms, a latency of 40 ms shared by 8 transfers.
    pub object_latency: Duration,
}

impl Default for CostModel {
    fn default() -> Self {
        Self {
            fetch_bytes_per_second: 200_000_000,
            replay_bytes_per_second: 50_000_000,
            object_latency: Duration::from_millis(5),
        }
    }
}

impl CostModel {
    /// The model that a restore which was measured implies: to fetch `fetched` bytes took `fetching`, and then `replayed`
    /// bytes of log took `replaying`. What took no time keeps its default.
    #[must_use]
    pub fn measured(fetched: u64, fetching: Duration, replayed: u64, replaying: Duration) -> Self {
        let model = Self::default();
        Self {
            fetch_bytes_per_second: rate(fetched, fetching).unwrap_or(model.fetch_bytes_per_second),
            replay_bytes_per_second: rate(replayed, replaying).unwrap_or(model.replay_bytes_per_second),
            ..model
        }
    }

    /// What was measured, and for the rest what is usual.
    #[must_use]
    pub fn calibrated(rates: RestoreRates) -> Self {
        let usual = Self::default();
        Self {
            fetch_bytes_per_second: rates.fetch_bytes_per_second.unwrap_or(usual.fetch_bytes_per_second),
            replay_bytes_per_second: rates.replay_bytes_per_second.unwrap_or(usual.replay_bytes_per_second),
            ..usual
        }
    }

    /// The cost of fetching `bytes_to_fetch` in `objects`, then replaying `wal_bytes_to_replay`.
    #[must_use]
    pub fn cost(&self, bytes_to_fetch: u64, objects: u64, wal_bytes_to_replay: u64) -> Cost {
        let latency = self.object_latency.as_micros().saturating_mul(u128::from(objects));
        let fetch = micros(bytes_to_fetch, self.fetch_bytes_per_second).saturating_add(latency);
        let total = fetch.saturating_add(micros(wal_bytes_to_replay, self.replay_bytes_per_second));
        let estimated_duration = Duration::from_micros(u64::try_from(total).unwrap_or(u64::MAX));
        Cost { bytes_to_fetch, objects, wal_bytes_to_replay, estimated_duration }
    }
}

fn micros(bytes: u64, bytes_per_second: u64) -> u128 {
    u128::from(bytes) * 1_000_000 / u128::from(bytes_per_second.max(1))
}

fn rate(bytes: u64, took: Duration) -> Option<u64> {
    let rate = (u128::from(bytes) * 1_000_000).checked_div(took.as_micros())?;
    Some(u64::try_from(rate).unwrap_or(u64::MAX)).filter(|&rate| rate > 0)
}

/// What a restore takes, and how long that will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cost {
    /// The stored bytes of all snapshots, log backups and histories.
    pub bytes_to_fetch: u64,
    /// The objects to fetch; a snapshot counts as one.
    pub objects: u64,
    /// The log that PostgreSQL replays, from the snapshot's start to the stop.
    pub wal_bytes_to_replay: u64,
    /// How long it takes to fetch and then replay; a restore that does both at once is faster.
    pub estimated_duration: Duration,
}

/// An objective, and the rates that it is judged by.
#[derive(Clone, Copy, Debug)]
pub(in crate::plan) struct Scale {
    pub(in crate::plan) objective: Objective,
    pub(in crate::plan) costs: CostModel,
}

/// How bad something is: first by the objective, then by bytes, then by objects. No object weighs nothing, and weights add up
/// exactly: no rounding can make a part of a worse whole look better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::plan) struct Weight {
    objective: u128,
    bytes: u64,
    objects: u64,
}

impl Add for Weight {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            objective: self.objective.saturating_add(other.objective),
            bytes: self.bytes.saturating_add(other.bytes),
            objects: self.objects.saturating_add(other.objects),
        }
    }
}

impl Scale {
    /// The weight of fetching `load`.
    pub(in crate::plan) fn fetch(&self, load: Load) -> Weight {
        let Load { objects, bytes } = load;
        let objective = match self.objective {
            Objective::RecoveryTime => self.fetch_time(load),
            Objective::Bytes => bytes.into(),
            Objective::Artifacts => objects.into(),
        };
        Weight { objective, bytes, objects }
    }

    /// The weight of replaying so many bytes of log.
    pub(in crate::plan) fn replay(&self, wal_bytes: u64) -> Weight {
        let objective = match self.objective {
            Objective::RecoveryTime => u128::from(wal_bytes).saturating_mul(1_000_000).saturating_mul(self.rates().0),
            Objective::Bytes | Objective::Artifacts => 0,
        };
        Weight { objective, ..Weight::default() }
    }

    /// In microseconds, times both rates, so that nothing is divided.
    fn fetch_time(&self, Load { objects, bytes }: Load) -> u128 {
        let (fetch, replay) = self.rates();
        let latency = self.costs.object_latency.as_micros().saturating_mul(objects.into()).saturating_mul(fetch);
        u128::from(bytes).saturating_mul(1_000_000).saturating_add(latency).saturating_mul(replay)
    }

    fn rates(&self) -> (u128, u128) {
        let CostModel { fetch_bytes_per_second, replay_bytes_per_second, .. } = self.costs;
        (fetch_bytes_per_second.max(1).into(), replay_bytes_per_second.max(1).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_what_is_estimated() {
        let (minute, second) = (Duration::from_secs(60), Duration::from_secs(1));
        let model = CostModel::measured(6_000_000_000, minute, 30_000_000, second);
        assert_eq!((model.fetch_bytes_per_second, model.replay_bytes_per_second), (100_000_000, 30_000_000));
        assert_eq!(model.cost(200_000_000, 0, 60_000_000).estimated_duration, Duration::from_secs(4));
        assert_eq!(CostModel::measured(0, Duration::ZERO, 0, second), CostModel::default());
    }

    #[test]
    fn weights_are_exact_and_nothing_weighs_nothing() {
        for objective in [Objective::RecoveryTime, Objective::Bytes, Objective::Artifacts] {
            let costs = CostModel { object_latency: Duration::ZERO, ..CostModel::default() };
            let scale = Scale { objective, costs };
            let one = scale.fetch(Load::object(1));
            assert!(scale.fetch(Load::object(0)) > Weight::default());
            assert_eq!(one + one, scale.fetch(Load { objects: 2, bytes: 2 }));
        }
        let scale = Scale { objective: Objective::RecoveryTime, costs: CostModel::default() };
        assert!(
            scale.fetch(Load { objects: 0, bytes: 4 }).objective == scale.replay(1).objective,
            "four times as fast"
        );
    }
}
