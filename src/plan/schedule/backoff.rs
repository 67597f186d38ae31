//! How long a task waits after it failed.

use std::time::Duration;

use super::spread::{Purpose, spread};

use crate::model::{ScheduleSettings, ServerName, Task};

/// The delay after the last of `failures` in a row: doubled by each, up to the greatest one, and of that three quarters or
/// more, so that servers that failed together do not try again together.
pub(super) fn retry_delay(settings: &ScheduleSettings, server: &ServerName, task: Task, failures: u32) -> Duration {
    let (min, max) = limits(settings, task);
    let doublings = failures.saturating_sub(1).min(31);
    let delay = min.saturating_mul(1 << doublings).min(max);
    delay - spread(server, Purpose::Retry { task, failures }, delay / 4)
}

/// The delay after one failure, and the one after many.
fn limits(settings: &ScheduleSettings, task: Task) -> (Duration, Duration) {
    let max = match task {
        Task::LogBackup => settings.log_backup_retry_max,
        _ => return (settings.retry_min, settings.retry_max),
    };
    (settings.retry_min.min(settings.log_backup_every).min(max), max)
}
