//! The clock of this machine.

use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt;
use futures::future::BoxFuture;
use futures_timer::Delay;

use crate::model::Timestamp;
use crate::port::Clock;

/// The clock of this machine.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// The clock; its [`elapsed`](Clock::elapsed) counts from now.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Timestamp::UNIX_EPOCH.saturating_add(since),
            Err(before) => Timestamp::UNIX_EPOCH.saturating_sub(before.duration()),
        }
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Delay::new(duration).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_time_of_day() {
        let (clock, before) = (SystemClock::new(), SystemTime::now());
        let now = clock.now().duration_since(Timestamp::UNIX_EPOCH);
        let expected = before.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert!(now.abs_diff(expected) < Duration::from_secs(60), "{now:?} is not {expected:?}");
        assert!(clock.elapsed() <= clock.elapsed());
    }

    #[test]
    fn sleeps_as_long_as_it_was_told_to() {
        let clock = SystemClock::new();
        let before = clock.elapsed();
        futures::executor::block_on(clock.sleep(Duration::from_millis(20)));
        assert!(clock.elapsed() - before >= Duration::from_millis(20));
    }
}
