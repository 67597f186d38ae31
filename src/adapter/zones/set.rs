//! The zones that belong together, and which of them can be asked.

use std::fmt;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::Zone;
use super::answers::{Answer, gather, given, too_few};
use super::behind::Behind;
use super::health::Health;
use super::membership::Membership;
use super::record::Id;
use crate::adapter::RetryPolicy;
use crate::adapter::wrappers::retry::Retrier;
use crate::port::{Environment, PortError, PortErrorKind};

/// How zones are treated that are slow or away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZoneSettings {
    /// How long the others are waited for, once a quorum has answered; with a second more for each megabyte of a long content that they may
    /// still have to send.
    pub patience: Duration,
    /// How long a zone that failed is left alone.
    pub pause: Duration,
    /// How long a zone that holds what it should is taken for one that does: a zone that is emptied while it is used is noticed after that.
    pub trust: Duration,
    /// How long what is deleted is remembered, so that no zone brings it back. No writer may stand still for so long in the middle of
    /// a write.
    pub memory: Duration,
}

impl Default for ZoneSettings {
    /// 5 s; 10 s; a minute; a day.
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(5),
            pause: Duration::from_secs(10),
            trust: Duration::from_secs(60),
            memory: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// All zones of a set.
#[derive(Debug)]
pub(super) struct Zones {
    pub(super) zones: Vec<Zone>,
    pub(super) settings: ZoneSettings,
    pub(super) environment: Environment,
    /// Whose writes meet those of others tries again.
    pub(super) contention: Retrier,
    pub(super) behind: Behind,
    health: Vec<Health>,
    set: String,
}

/// The zone in which whoever writes first is the one who writes.
pub(super) const HOME: usize = 0;

/// Those who meet try again soon, and apart from each other.
const CONTENTION: fn() -> RetryPolicy = || {
    let mut policy = RetryPolicy::default();
    (policy.attempts_max, policy.budget) = (100, u32::MAX);
    (policy.pause, policy.pause_max) = (Duration::from_millis(20), Duration::from_secs(1));
    policy.deadline = Duration::from_secs(30);
    policy
};

impl Zones {
    pub(super) async fn open(
        zones: Vec<Zone>,
        settings: ZoneSettings,
        environment: Environment,
    ) -> Result<Self, PortError> {
        let health = zones.iter().map(|_| Health::default()).collect();
        let contention = Retrier::new(CONTENTION(), environment.clone());
        let behind = Behind::default();
        let mut zones = Self { zones, settings, environment, contention, behind, health, set: String::new() };
        zones.set = super::membership::open(&zones).await?;
        Ok(zones)
    }

    /// How many zones make a decision: any two such groups have one in common.
    pub(super) fn quorum(&self) -> usize {
        self.zones.len() / 2 + 1
    }

    /// Puts a question to some `zones`. Who cannot be reached is left alone for a while.
    pub(super) async fn ask<'a, T: Send>(
        &'a self,
        zones: Vec<usize>,
        quorum: usize,
        enough: impl Fn(&[Answer<T>]) -> bool + Send + Sync,
        question: impl Fn(usize, &'a Zone) -> BoxFuture<'a, Result<T, PortError>> + Send,
    ) -> Vec<Answer<T>> {
        self.ask_within(self.settings.patience, zones, quorum, enough, question).await
    }

    async fn ask_within<'a, T: Send>(
        &'a self,
        patience: Duration,
        zones: Vec<usize>,
        quorum: usize,
        enough: impl Fn(&[Answer<T>]) -> bool + Send + Sync,
        question: impl Fn(usize, &'a Zone) -> BoxFuture<'a, Result<T, PortError>> + Send,
    ) -> Vec<Answer<T>> {
        let questions: Vec<_> = zones.iter().map(|index| (*index, question(*index, &self.zones[*index]))).collect();
        let answers = gather(questions, quorum, patience, &*self.environment.clock, &enough).await;
        // Who was not waited for is not late.
        let (is_enough, has_answered) =
            (enough(&answers), |zone: &usize| answers.iter().any(|answer| answer.zone == *zone));
        let asked = zones.into_iter().filter(|zone| !is_enough || has_answered(zone)).collect();
        self.blame(asked, &answers);
        answers
    }

    /// Leaves those of the `asked` zones alone that cannot be reached, or take too long.
    pub(super) fn blame<T>(&self, asked: Vec<usize>, answers: &[Answer<T>]) {
        let has_answered = |zone: &usize| {
            let answer = answers.iter().find(|answer| answer.zone == *zone).map(|answer| &answer.result);
            answer.is_some_and(|result| !is_away(result))
        };
        asked.into_iter().filter(|zone| !has_answered(zone)).for_each(|zone| self.leave_alone(zone));
    }

    /// Leaves a zone alone for a while.
    pub(super) fn leave_alone(&self, zone: usize) {
        self.health[zone].leave_alone_until(self.now().saturating_add(self.settings.pause));
    }

    /// Does not leave a zone alone any more.
    pub(super) fn ask_again(&self, zone: usize) {
        self.health[zone].leave_alone_until(Duration::ZERO);
    }

    /// The zones that count, and can be reached as far as is known.
    ///
    /// # Errors
    /// If they are fewer than a quorum.
    pub(super) async fn ready(&self) -> Result<Vec<usize>, PortError> {
        let now = self.now();
        let mut ready: Vec<usize> = self.all().filter(|zone| self.health[*zone].is_trusted(now)).collect();
        self.verify(&mut ready, self.all().filter(|zone| self.health[*zone].is_due(now)).collect()).await;
        if ready.len() < self.quorum() {
            let others = self.all().filter(|zone| !ready.contains(zone)).collect();
            let answers = self.verify(&mut ready, others).await;
            if ready.len() < self.quorum() {
                return Err(too_few(self, self.zones.len(), answers));
            }
        }
        ready.sort_unstable();
        Ok(ready)
    }

    /// Adds to `ready` those of `zones` that can be reached and hold what they should.
    async fn verify(&self, ready: &mut Vec<usize>, zones: Vec<usize>) -> Vec<Answer<()>> {
        let missing = self.quorum().saturating_sub(ready.len());
        // Nobody should wait long for a zone that is not needed.
        let patience = if missing > 0 { self.settings.patience } else { self.settings.patience / 10 };
        let verify = |_, zone| self.verify_zone(zone).boxed();
        let answers = self.ask_within(patience, zones, missing, |_| false, verify).await;
        for (zone, ()) in given(&answers) {
            self.health[zone].trust_until(self.now().saturating_add(self.settings.trust));
            ready.push(zone);
        }
        answers
    }

    async fn verify_zone(&self, zone: &Zone) -> Result<(), PortError> {
        match Membership::find(zone).await? {
            Some(note) => note.check(self, zone, &self.set),
            None => {
                let context = format!("the zone {} has lost what it had; a repair fills it again", zone.name);
                Err(PortError::new(PortErrorKind::Unavailable, context))
            }
        }
    }

    /// The note that makes `zone` one that counts.
    pub(super) fn membership(&self, zone: &Zone) -> Membership {
        Membership::of(self, zone, &self.set)
    }

    /// A name that nothing else has.
    pub(super) fn id(&self) -> Result<Id, PortError> {
        let mut id = Id::default();
        self.environment.entropy.fill(&mut id.0)?;
        Ok(id)
    }

    pub(super) fn all(&self) -> std::ops::Range<usize> {
        0..self.zones.len()
    }

    fn now(&self) -> Duration {
        self.environment.clock.elapsed()
    }
}

fn is_away<T>(result: &Result<T, PortError>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == PortErrorKind::Unavailable)
}

impl fmt::Display for Zones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.zones.iter().map(|zone| zone.name.as_str()).collect();
        write!(f, "the zones {}", names.join(", "))
    }
}
