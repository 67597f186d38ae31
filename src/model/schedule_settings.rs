//! How often a server is backed up, as its owner wants it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{TimeOfDay, seconds};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a [`Schedule`](https://docs.rs/pitr/latest/pitr/plan/schedule/struct.Schedule.html) is made of, not checked yet.
///
/// In serde a duration is a number of whole seconds, a missing setting has its default, and an unknown one is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ScheduleSettings {
    /// The time between the slots of two snapshots: 1 hour to 1 day, and a day is a whole number of them. Default: 1 day.
    #[serde(with = "seconds")]
    pub snapshot_every: Duration,
    /// The time of day of one slot, before the server's own delay. Default: 02:00 UTC.
    pub snapshot_at: TimeOfDay,
    /// The delays of all servers are spread evenly from zero to this: at most `snapshot_every`. Default: 1 hour.
    #[serde(with = "seconds")]
    pub snapshot_jitter: Duration,
    /// Whether a slot waits for the first write if nothing was written since the last snapshot. Default: no.
    pub skip_idle_snapshots: bool,
    /// How long replaying the log may take: at least 1 minute. A snapshot is due as soon as it would take longer. Only
    /// replay counts, not what precedes it: fetching the snapshot. Default: no objective.
    #[serde(with = "seconds::optional")]
    pub recovery_time_objective: Option<Duration>,
    /// Bytes of log a second that one recovery process replays, as long as no test restore has measured it: at least 1. Default: 50 MB/s; 30
    /// to 130 are usual.
    pub replay_bytes_per_second: u64,
    /// The longest time between the beginnings of two log backups: 1 second to 1 hour. Default: 5 minutes.
    #[serde(with = "seconds")]
    pub log_backup_every: Duration,
    /// So many bytes of log that is not archived make a log backup due: at least 1 MiB. Default: 16 MiB.
    pub log_backup_bytes: u64,
    /// The time between two verifications: 1 hour to 35 days, the longest retention. Default: 7 days.
    #[serde(with = "seconds")]
    pub verification_every: Duration,
    /// The time between two test restores: 1 minute to 35 days. Default: none are made.
    #[serde(with = "seconds::optional")]
    pub test_restore_every: Option<Duration>,
    /// The longest time between two compactions, if there are small log backups: 1 minute to 35 days. Default: 1 day.
    #[serde(with = "seconds")]
    pub compaction_every: Duration,
    /// So many small log backups make a compaction due: at least 2. Default: 256.
    pub compaction_log_backups: u64,
    /// The delay after a first failure, doubled by each further one: 1 second to 1 day. Default: 10 seconds.
    ///
    /// A log backup waits no longer than its cadence.
    #[serde(with = "seconds")]
    pub retry_min: Duration,
    /// The longest delay after a failure: `retry_min` to 1 day. Default: 1 hour.
    #[serde(with = "seconds")]
    pub retry_max: Duration,
    /// The longest delay after a failed log backup: 1 second to 1 hour. Default: 1 minute.
    ///
    /// It adds to what a disaster loses, hence it is shorter.
    #[serde(with = "seconds")]
    pub log_backup_retry_max: Duration,
    /// A run that began, or showed progress, so long ago counts as dead: 1 minute to 7 days. Default: 1 day.
    #[serde(with = "seconds")]
    pub run_timeout: Duration,
    /// The same for log backups: 10 seconds to 1 day. Default: 10 minutes.
    #[serde(with = "seconds")]
    pub log_backup_timeout: Duration,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self {
            snapshot_every: DAY,
            snapshot_at: TimeOfDay::wrapping(2 * HOUR),
            snapshot_jitter: HOUR,
            skip_idle_snapshots: false,
            recovery_time_objective: None,
            replay_bytes_per_second: 50_000_000,
            log_backup_every: 5 * MINUTE,
            log_backup_bytes: 16 << 20,
            verification_every: 7 * DAY,
            test_restore_every: None,
            compaction_every: DAY,
            compaction_log_backups: 256,
            retry_min: Duration::from_secs(10),
            retry_max: HOUR,
            log_backup_retry_max: MINUTE,
            run_timeout: DAY,
            log_backup_timeout: 10 * MINUTE,
        }
    }
}
