//! When a server that wants to hear from us is answered, and what it means if it never has enough. Pure.

use std::time::Duration;

/// A server is answered at once, but not more often than this.
///
/// A server that shuts down waits until all its log is acknowledged, and meets every answer that does not acknowledge it with
/// the next request at once (`WalSndDone` of `src/backend/replication/walsender.c`).
const INTERVAL: Duration = Duration::from_millis(100);

/// Requests that follow answers as closely as this come from a server that shuts down: a server that merely has not heard from
/// us for a while waits for half its `wal_sender_timeout`.
const CLOSE: Duration = Duration::from_millis(100);

/// The requests of a server for an answer. Times are those of any clock that does not go back.
#[derive(Debug, Default)]
pub(super) struct Answers {
    due: Option<Duration>,
    answered: Option<Duration>,
    /// Since when every request has come closely after an answer.
    pressed: Option<Duration>,
}

impl Answers {
    /// The server wants an answer.
    pub(super) fn request(&mut self, now: Duration) {
        let since_answer = self.answered.map(|answered| now.saturating_sub(answered));
        match since_answer {
            Some(since) if since <= CLOSE => self.pressed = self.pressed.or(Some(now)),
            _ => self.pressed = None,
        }
        let earliest = self.answered.map_or(now, |answered| answered + INTERVAL);
        self.due = Some(earliest.max(now));
    }

    /// When to answer.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// An answer was sent because it was due.
    pub(super) fn answered(&mut self, now: Duration) {
        self.due = None;
        self.answered = Some(now);
    }

    /// How long the server has been shutting down, as far as can be told.
    pub(super) fn pressed(&self, now: Duration) -> Duration {
        self.pressed.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_first_request_is_answered_at_once_and_the_next_after_a_while() {
        let mut answers = Answers::default();
        answers.request(ms(1000));
        assert_eq!(answers.due(), Some(ms(1000)));
        answers.answered(ms(1000));
        assert_eq!(answers.due(), None);
        answers.request(ms(1001));
        assert_eq!(answers.due(), Some(ms(1100)));
    }

    #[test]
    fn only_a_server_that_never_has_enough_presses() {
        let mut answers = Answers::default();
        for now in [0, 1000, 2000, 3000] {
            answers.request(ms(now));
            answers.answered(ms(now));
        }
        assert_eq!(answers.pressed(ms(3000)), ms(0));
        for now in [3100, 3200, 3300] {
            answers.request(ms(now - 99));
            answers.answered(ms(now));
        }
        assert_eq!(answers.pressed(ms(3301)), ms(300));
        answers.request(ms(4000));
        assert_eq!(answers.pressed(ms(4000)), ms(0));
    }
}
