//! No more bytes a second than allowed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Makes readers wait for each other.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second_max: Option<u32>,
    /// When what was read so far is paid for.
    paid_at: Mutex<Instant>,
}

impl Pace {
    /// So many bytes a second, any number if `None`.
    pub(super) fn new(bytes_per_second_max: Option<u32>) -> Self {
        Self { bytes_per_second_max, paid_at: Mutex::new(Instant::now()) }
    }

    /// Waits until `bytes` more bytes may be read.
    pub(super) async fn wait(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second_max else { return };
        let cost = Duration::from_secs_f64(bytes as f64 / f64::from(rate.max(1)));
        let now = Instant::now();
        let begin = {
            let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = (*paid_at).max(now);
            *paid_at = begin + cost;
            begin
        };
        sleep_until(begin).await;
    }
}
