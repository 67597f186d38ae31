//! How often a server is backed up, as its owner wants it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Schedule, ScheduleError, TimeOfDay};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a [`Schedule`] is made of, not checked yet.
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
    #[serde(with = "optional_seconds")]
    pub recovery_time_objective: Option<Duration>,
    /// Bytes of log a second that one recovery process replays: at least 1. Default: 50 MB/s; 30 to 130 are usual.
    pub replay_bytes_per_second: u64,
    /// The longest time between the beginnings of two log backups: 1 second to 1 hour. Default: 5 minutes.
    #[serde(with = "seconds")]
    pub log_backup_every: Duration,
    /// So many bytes of log that is not archived make a log backup due: at least 1 MiB. Default: 16 MiB.
    pub log_backup_bytes: u64,
    /// The time between two verifications: 1 hour to 35 days, the longest retention. Default: 7 days.
    #[serde(with = "seconds")]
    pub verification_every: Duration,
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

impl ScheduleSettings {
    pub(super) fn check(&self) -> Result<(), ScheduleError> {
        self.durations().into_iter().try_for_each(in_range)?;
        self.numbers().into_iter().try_for_each(large_enough)?;
        let even = DAY.as_secs().is_multiple_of(self.snapshot_every.as_secs());
        if even { Ok(()) } else { Err(ScheduleError::UnevenPeriod { value: self.snapshot_every }) }
    }

    /// Name, value, least and greatest.
    fn durations(&self) -> [(&'static str, Duration, Duration, Duration); 11] {
        const SECOND: Duration = Duration::from_secs(1);
        let objective = self.recovery_time_objective.unwrap_or(MINUTE);
        [
            ("snapshot_every", self.snapshot_every, HOUR, DAY),
            ("snapshot_jitter", self.snapshot_jitter, Duration::ZERO, self.snapshot_every),
            ("recovery_time_objective", objective, MINUTE, 365 * DAY),
            ("log_backup_every", self.log_backup_every, SECOND, HOUR),
            ("verification_every", self.verification_every, HOUR, 35 * DAY),
            ("compaction_every", self.compaction_every, MINUTE, 35 * DAY),
            ("retry_min", self.retry_min, SECOND, DAY),
            ("retry_max", self.retry_max, self.retry_min, DAY),
            ("log_backup_retry_max", self.log_backup_retry_max, SECOND, HOUR),
            ("run_timeout", self.run_timeout, MINUTE, 7 * DAY),
            ("log_backup_timeout", self.log_backup_timeout, 10 * SECOND, DAY),
        ]
    }

    /// Name, value and least.
    fn numbers(&self) -> [(&'static str, u64, u64); 3] {
        [
            ("replay_bytes_per_second", self.replay_bytes_per_second, 1),
            ("log_backup_bytes", self.log_backup_bytes, 1 << 20),
            ("compaction_log_backups", self.compaction_log_backups, 2),
        ]
    }
}

fn in_range((setting, value, min, max): (&'static str, Duration, Duration, Duration)) -> Result<(), ScheduleError> {
    if !(min..=max).contains(&value) {
        Err(ScheduleError::OutOfRange { setting, value, min, max })
    } else if value.subsec_nanos() > 0 {
        Err(ScheduleError::Fraction { setting, value })
    } else {
        Ok(())
    }
}

fn large_enough((setting, value, min): (&'static str, u64, u64)) -> Result<(), ScheduleError> {
    if value >= min { Ok(()) } else { Err(ScheduleError::TooSmall { setting, value, min }) }
}

impl TryFrom<ScheduleSettings> for Schedule {
    type Error = ScheduleError;

    fn try_from(settings: ScheduleSettings) -> Result<Self, ScheduleError> {
        Self::new(settings)
    }
}

impl From<Schedule> for ScheduleSettings {
    fn from(schedule: Schedule) -> Self {
        schedule.settings
    }
}

/// Durations as numbers of whole seconds.
mod seconds {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        value.as_secs().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}

/// The same for what may not be set.
mod optional_seconds {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(|value| value.as_secs()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Option::<u64>::deserialize(deserializer).map(|value| value.map(Duration::from_secs))
    }
}
