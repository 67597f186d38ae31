//! When to try again, and when to give up.

use std::sync::Arc;
use std::time::Duration;

use crate::adapter::wrappers::budget::Budget;
use crate::port::{Environment, PortError, PortErrorKind};

/// How often, and how long, what failed in passing is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How often something is attempted at most, the first time included.
    pub attempts_max: u32,
    /// Before the second attempt passes a random part of this, before each later one of twice as much as before the last.
    pub pause: Duration,
    /// Of no more than this, though: but for a store that asks for more.
    pub pause_max: Duration,
    /// No attempt is begun later than this after the first.
    pub deadline: Duration,
    /// How many more attempts may be made than things were done. Each that succeeds at once pays for a tenth of one.
    ///
    /// So a store that fails every time is asked little more than once for everything, by however many.
    pub budget: u32,
}

impl Default for RetryPolicy {
    /// Ten attempts in two minutes, after 0.1 s, 0.2 s, … and 20 s at most; a budget of 100.
    fn default() -> Self {
        Self {
            attempts_max: 10,
            pause: Duration::from_millis(100),
            pause_max: Duration::from_secs(20),
            deadline: Duration::from_secs(120),
            budget: 100,
        }
    }
}

/// How many successes pay for another attempt.
const PRICE: u32 = 10;

/// Tries again by a policy. Clones share the budget.
#[derive(Clone, Debug)]
pub(crate) struct Retrier {
    policy: RetryPolicy,
    environment: Environment,
    budget: Arc<Budget>,
}

impl Retrier {
    pub(crate) fn new(policy: RetryPolicy, environment: Environment) -> Self {
        Self { policy, environment, budget: Arc::new(Budget::new(policy.budget, PRICE)) }
    }

    /// What `attempt` gives, as soon as it does not fail in passing.
    pub(crate) async fn run<T, F: Future<Output = Result<T, PortError>>>(
        &self,
        attempt: impl FnMut() -> F,
    ) -> Result<T, PortError> {
        self.begin().run(attempt).await
    }

    /// The first attempt begins.
    pub(crate) fn begin(&self) -> Attempts<'_> {
        Attempts { retrier: self, made: 1, begun: self.environment.clock.elapsed() }
    }

    /// A random part of what the policy says, so that those who failed together do not come back together.
    fn pause(&self, made: u32) -> Result<Duration, PortError> {
        let doubled = self.policy.pause.saturating_mul(1_u32.checked_shl(made - 1).unwrap_or(u32::MAX));
        let mut random = [0; 4];
        self.environment.entropy.fill(&mut random)?;
        let part = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
        Ok(doubled.min(self.policy.pause_max).mul_f64(part))
    }
}

/// The attempts at one thing.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    retrier: &'a Retrier,
    made: u32,
    begun: Duration,
}

impl Attempts<'_> {
    /// What `attempt` gives, as soon as it does not fail in passing.
    pub(crate) async fn run<T, F: Future<Output = Result<T, PortError>>>(
        &mut self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, PortError> {
        loop {
            match attempt().await {
                Err(error) => self.after(error).await?,
                done => {
                    self.succeeded();
                    return done;
                }
            }
        }
    }

    /// As [`run`](Self::run), for what can succeed only once: a refusal that follows a lost answer may come of an attempt that
    /// succeeded, so it is [`Unavailable`](PortErrorKind::Unavailable) as well: not known.
    pub(crate) async fn run_once<T, F: Future<Output = Result<T, PortError>>>(
        &mut self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, PortError> {
        let mut is_known = true;
        loop {
            match attempt().await {
                Err(error) if error.kind() == PortErrorKind::Unavailable => self.after(error).await?,
                Err(error) => return Err(if is_known { error } else { not_known(error) }),
                done => {
                    self.succeeded();
                    return done;
                }
            }
            is_known = false;
        }
    }

    /// Waits until the next attempt is due.
    ///
    /// # Errors
    /// `error`, if there is no use in it; or if it is too late for it, or there were too many.
    pub(crate) async fn after(&mut self, error: PortError) -> Result<(), PortError> {
        if error.kind() != PortErrorKind::Unavailable {
            return Err(error);
        }
        let (policy, clock) = (&self.retrier.policy, &self.retrier.environment.clock);
        let pause = self.retrier.pause(self.made)?.max(error.retry_after().unwrap_or_default());
        let waited = clock.elapsed().saturating_sub(self.begun);
        if self.made >= policy.attempts_max || waited.saturating_add(pause) > policy.deadline {
            return Err(self.given_up(waited, "", error));
        }
        if !self.retrier.budget.pay() {
            return Err(self.given_up(waited, ", as nearly everything fails", error));
        }
        clock.sleep(pause).await;
        self.made += 1;
        Ok(())
    }

    /// It went well.
    pub(crate) fn succeeded(&self) {
        if self.made == 1 {
            self.retrier.budget.earn();
        }
    }

    fn given_up(&self, waited: Duration, why: &str, error: PortError) -> PortError {
        let context = format!("gave up after {} attempts in {:.1} s{why}", self.made, waited.as_secs_f32());
        PortError::new(PortErrorKind::Unavailable, context).caused_by(error)
    }
}

/// What `error` says after an attempt whose outcome is not known.
fn not_known(error: PortError) -> PortError {
    if !matches!(error.kind(), PortErrorKind::Conflict | PortErrorKind::NotFound) {
        return error;
    }
    let context = "an attempt was refused after another one whose outcome is not known";
    PortError::new(PortErrorKind::Unavailable, context).caused_by(error)
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::adapter::system;

    /// How it ends if the attempts at what can succeed only once end so.
    fn end(kinds: &[PortErrorKind]) -> PortErrorKind {
        let policy = RetryPolicy { pause: Duration::ZERO, ..RetryPolicy::default() };
        let mut attempts = kinds.iter();
        let attempt = || {
            let kind = *attempts.next().expect("no attempt follows");
            async move { Err::<(), _>(PortError::new(kind, "told to fail")) }
        };
        block_on(Retrier::new(policy, system()).begin().run_once(attempt)).unwrap_err().kind()
    }

    #[test]
    fn a_conflict_after_a_lost_answer_is_not_known() {
        use PortErrorKind::{Conflict, Denied, NotFound, Unavailable};
        assert_eq!(end(&[Conflict]), Conflict);
        assert_eq!(end(&[Unavailable, Conflict]), Unavailable);
        assert_eq!(end(&[Unavailable, Unavailable, NotFound]), Unavailable);
        assert_eq!(end(&[Unavailable, Denied]), Denied);
    }
}
