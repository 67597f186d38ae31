//! A clock that goes when it is told to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::Timestamp;
use crate::port::Clock;

/// A clock that goes when it is told to. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Hands>>);

#[derive(Clone, Copy, Debug)]
struct Hands {
    now: Timestamp,
    elapsed: Duration,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Hands { now, elapsed: Duration::ZERO })))
    }

    /// Lets `duration` pass.
    pub fn advance(&self, duration: Duration) {
        let mut hands = self.hands();
        hands.now = hands.now.saturating_add(duration);
        hands.elapsed = hands.elapsed.saturating_add(duration);
    }

    /// Steps the time of day to `now`, as an administrator may, in either direction; no time passes.
    pub fn set(&self, now: Timestamp) {
        self.hands().now = now;
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.hands().now
    }

    fn elapsed(&self) -> Duration {
        self.hands().elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_when_told_and_steps_without_time_passing() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let other = clock.clone();
        clock.advance(Duration::from_secs(90));
        assert_eq!(other.now(), Timestamp::UNIX_EPOCH.saturating_add(Duration::from_secs(90)));
        other.set(Timestamp::UNIX_EPOCH);
        assert_eq!((clock.now(), clock.elapsed()), (Timestamp::UNIX_EPOCH, Duration::from_secs(90)));
    }
}
