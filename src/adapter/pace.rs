//! No more bytes a second than allowed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::port::Clock;

/// Makes those who share it wait for each other. What comes after a rest may come at once.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second_max: Option<u64>,
    clock: Arc<dyn Clock>,
    /// When what passed so far is paid for.
    paid_at: Mutex<Duration>,
}

impl Pace {
    /// So many bytes a second, any number if `None`.
    pub(crate) fn new(bytes_per_second_max: Option<u64>, clock: Arc<dyn Clock>) -> Self {
        let paid_at = Mutex::new(clock.elapsed());
        Self { bytes_per_second_max, clock, paid_at }
    }

    /// Waits until `bytes` more bytes may pass.
    pub(crate) async fn wait(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second_max else { return };
        let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        let now = self.clock.elapsed();
        let begin = {
            let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = now.max(*paid_at);
            *paid_at = begin.saturating_add(cost);
            begin
        };
        if begin > now {
            self.clock.sleep(begin - now).await;
        }
    }
}
