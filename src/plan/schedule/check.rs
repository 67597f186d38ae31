//! Which settings make a schedule.

use std::time::Duration;

use super::{Schedule, ScheduleError};
use crate::model::ScheduleSettings;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl ScheduleSettings {
    pub(super) fn check(&self) -> Result<(), ScheduleError> {
        self.durations().into_iter().try_for_each(in_range)?;
        self.numbers().into_iter().try_for_each(large_enough)?;
        let even = DAY.as_secs().is_multiple_of(self.snapshot_every.as_secs());
        if even { Ok(()) } else { Err(ScheduleError::UnevenPeriod { value: self.snapshot_every }) }
    }

    /// Name, value, least and greatest.
    fn durations(&self) -> [(&'static str, Duration, Duration, Duration); 12] {
        const SECOND: Duration = Duration::from_secs(1);
        let objective = self.recovery_time_objective.unwrap_or(MINUTE);
        [
            ("snapshot_every", self.snapshot_every, HOUR, DAY),
            ("snapshot_jitter", self.snapshot_jitter, Duration::ZERO, self.snapshot_every),
            ("recovery_time_objective", objective, MINUTE, 365 * DAY),
            ("log_backup_every", self.log_backup_every, SECOND, HOUR),
            ("verification_every", self.verification_every, HOUR, 35 * DAY),
            ("test_restore_every", self.test_restore_every.unwrap_or(DAY), MINUTE, 35 * DAY),
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
