//! Whether a zone is worth asking.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is known of a zone, by the clock that never goes back.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Nothing.
    #[default]
    Unknown,
    /// It holds what it should; until then nobody looks again.
    Trusted(Duration),
    /// It failed; until then nobody asks it.
    Away(Duration),
}

impl Health {
    pub(super) fn is_trusted(&self, now: Duration) -> bool {
        matches!(*self.state(), State::Trusted(until) if now < until)
    }

    /// Whether it may be asked whether it holds what it should, and was not just now.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        match *self.state() {
            State::Unknown => true,
            State::Trusted(until) | State::Away(until) => now >= until,
        }
    }

    pub(super) fn trust_until(&self, until: Duration) {
        *self.state() = State::Trusted(until);
    }

    pub(super) fn leave_alone_until(&self, until: Duration) {
        *self.state() = State::Away(until);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
