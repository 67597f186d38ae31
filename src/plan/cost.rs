//! What a restore takes.

use std::time::Duration;

use serde::Serialize;

/// How fast a restore goes. Rates of 0 count as 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
