//! A clock that goes when it is told to.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::model::Timestamp;
use crate::port::Clock;

/// A clock that goes when it is told to. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    now: Timestamp,
    elapsed: Duration,
    /// Who sleeps, and until when.
    sleepers: Vec<(Duration, Waker)>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Hands { now, elapsed: Duration::ZERO, sleepers: Vec::new() })))
    }

    /// Lets `duration` pass, and wakes those who have slept long enough.
    pub fn advance(&self, duration: Duration) {
        let mut hands = self.hands();
        hands.now = hands.now.saturating_add(duration);
        hands.elapsed = hands.elapsed.saturating_add(duration);
        let elapsed = hands.elapsed;
        let awake: Vec<_> = hands.sleepers.extract_if(.., |(until, _)| *until <= elapsed).collect();
        drop(hands);
        awake.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Lets as much time pass as the first of those who sleep wants to; `false` if nobody sleeps.
    #[must_use]
    pub fn advance_to_next(&self) -> bool {
        let hands = self.hands();
        let next = hands.sleepers.iter().map(|(until, _)| until.saturating_sub(hands.elapsed)).min();
        drop(hands);
        next.inspect(|duration| self.advance(*duration)).is_some()
    }

    /// What `future` gives, where time passes as soon as everybody waits for it. Nothing else may be waited for.
    ///
    /// # Panics
    /// If nobody sleeps, and the future still waits.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(done) => return done,
                Poll::Pending => assert!(self.advance_to_next(), "nobody waits for the time to pass"),
            }
        }
    }

    /// Steps the time of day to `now`, as an administrator may, in either direction; no time passes.
    pub fn set(&self, now: Timestamp) {
        self.hands().now = now;
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hands {
    fn sleep_until(&mut self, until: Duration, waker: &Waker) -> Poll<()> {
        if self.elapsed >= until {
            return Poll::Ready(());
        }
        self.sleepers.push((until, waker.clone()));
        Poll::Pending
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.hands().now
    }

    fn elapsed(&self) -> Duration {
        self.hands().elapsed
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (clock, until) = (self.clone(), self.elapsed().saturating_add(duration));
        poll_fn(move |context| clock.hands().sleep_until(until, context.waker())).boxed()
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

    #[test]
    fn wakes_who_has_slept_long_enough() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        let [mut short, mut long] = [1, 60].map(|seconds| clock.sleep(Duration::from_secs(seconds)));
        assert!((&mut short).now_or_never().is_none() && (&mut long).now_or_never().is_none());
        assert!(clock.advance_to_next());
        assert!(short.now_or_never().is_some() && (&mut long).now_or_never().is_none());
        assert!(clock.advance_to_next());
        assert!(long.now_or_never().is_some());
        assert!(!clock.advance_to_next());
        assert_eq!(clock.elapsed(), Duration::from_secs(60));
    }
}
