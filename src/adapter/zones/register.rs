//! One object in several zones, read and changed as if it were in one (docs/DESIGN.md, "How do zones agree?").

use std::pin::pin;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{Either, select};

use super::answers::{Answer, given, too_few};
use super::proposal::{Halt, Proposal};
use super::record::Header;
use super::set::{HOME, Zones};
use super::sight::{Agreed, Sight, agreed, home, is_free, latest};
use super::zone::{Seen, Zone};
use crate::model::ObjectKey;
use crate::port::{PortError, PortErrorKind, Version};

/// One object in all zones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Register<'a> {
    pub(super) zones: &'a Zones,
    pub(super) key: &'a ObjectKey,
}

/// How long zones are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Until enough of them agree.
    ForAgreement,
    /// Until all have answered, or a quorum and patience is over.
    ForAll,
}

impl<'a> Register<'a> {
    /// What the object is.
    ///
    /// If the zones do not agree, somebody is changing it, or was interrupted; then that is brought to its end. Who may not write is told
    /// what was proposed last.
    pub(super) async fn read(&self) -> Result<Agreed, PortError> {
        let mut attempts = self.zones.contention.begin();
        let mut has_met = false;
        loop {
            let ready = self.zones.ready().await?;
            let sight = match self.see(&ready, Wait::ForAgreement).await {
                Ok(sight) => sight,
                Err(error) => {
                    attempts.after(error).await?;
                    continue;
                }
            };
            if let Some(agreed) = agreed(&sight, self.zones.quorum()) {
                return Ok(agreed);
            }
            match self.settle(&sight, &mut Proposal::keep(), has_met).await {
                Ok(_) => {}
                Err(Halt::Settled(error) | Halt::Deserted(error)) if error.kind() == PortErrorKind::Denied => {
                    return Ok(latest(sight));
                }
                Err(Halt::Contended(error) | Halt::Deserted(error)) => attempts.after(error).await?,
                Err(Halt::Settled(error)) => return Err(error),
            }
            has_met = true;
        }
    }

    /// Makes the change that is proposed, and returns what the object was before: `None` if that is not known, or nothing was changed.
    ///
    /// # Errors
    /// As [`Proposal::judge`]; [`PortErrorKind::Unavailable`] if too few zones can be reached, or others change the object all the time.
    /// Then it is not known whether it happened.
    pub(super) async fn change(&self, mut proposal: Proposal) -> Result<Option<Header>, PortError> {
        let mut attempts = self.zones.contention.begin();
        if proposal.is_creation() {
            match self.create(&mut proposal).await {
                Err(Halt::Contended(_) | Halt::Deserted(_)) => {}
                Err(Halt::Settled(error)) => return Err(error),
                Ok(before) => return Ok(before),
            }
        }
        let mut has_met = false;
        loop {
            match self.attempt(&mut proposal, has_met).await {
                Err(Halt::Contended(error) | Halt::Deserted(error)) => attempts.after(error).await?,
                Err(Halt::Settled(error)) => return Err(error),
                Ok(before) => return Ok(before),
            }
            has_met = true;
        }
    }

    /// What the zones hold, of a quorum at least.
    pub(super) async fn see(&self, ready: &[usize], wait: Wait) -> Result<Sight, PortError> {
        let quorum = self.zones.quorum();
        let is_enough = |answers: &[Answer<Seen>]| {
            wait == Wait::ForAgreement
                && agreed(&given(answers).map(|(zone, seen)| (zone, seen.clone())).collect::<Sight>(), quorum).is_some()
        };
        let key = self.key;
        let see = |_, zone: &'a Zone| zone.see(key).boxed();
        let answers = self.zones.ask(ready.to_vec(), quorum, is_enough, see).await;
        if given(&answers).count() < quorum {
            return Err(too_few(format_args!("cannot read {}", self.key), self.zones.zones.len(), answers));
        }
        Ok(answers.into_iter().filter_map(|answer| Some((answer.zone, answer.result.ok()?))).collect())
    }

    /// Creates the object, as if there were none.
    async fn create(&self, proposal: &mut Proposal) -> Result<Option<Header>, Halt> {
        let ready = self.zones.ready().await?;
        let nothing = ready.into_iter().map(|zone| (zone, Seen::NOTHING)).collect();
        self.step(nothing, Header::NOTHING, proposal).await
    }

    /// Makes the change in the zones that can be reached now.
    async fn attempt(&self, proposal: &mut Proposal, has_met: bool) -> Result<Option<Header>, Halt> {
        let ready = self.zones.ready().await?;
        let sight = self.see(&ready, Wait::ForAll).await.map_err(Halt::Deserted)?;
        self.advance(&sight, proposal, has_met).await
    }

    /// Makes the change where the zones hold what is in `sight`.
    async fn advance(&self, sight: &Sight, proposal: &mut Proposal, has_met: bool) -> Result<Option<Header>, Halt> {
        let Some(base) = agreed(sight, self.zones.quorum()) else {
            return self.settle(sight, proposal, has_met).await;
        };
        if !proposal.judge(self.key, &base.header)? {
            return Ok(None);
        }
        match home(sight, &base.header) {
            Some(_) if !has_met => self.step(sight.clone(), base.header, proposal).await,
            _ => self.recover(sight, proposal).await,
        }
    }

    /// Brings the zones to agree: at first by waiting for whoever may be changing the object just now.
    async fn settle(&self, sight: &Sight, proposal: &mut Proposal, has_met: bool) -> Result<Option<Header>, Halt> {
        if has_met { self.recover(sight, proposal).await } else { Err(self.contended("the zones do not agree yet")) }
    }

    /// The quick way, for whoever is alone: the home zone first, and then the others. The ballot directly after `base`, on which a quorum
    /// agreed, is that of the one who takes it in the home zone.
    async fn step(&self, sight: Sight, base: Header, proposal: &mut Proposal) -> Result<Option<Header>, Halt> {
        let Some(home) = home(&sight, &base) else { return Err(self.contended("the home zone is away, or behind")) };
        let ballot = base.accepted.next();
        let header = Header::accepting(ballot, proposal.following(&base));
        match self.write_home(header, home, proposal).await {
            Err(error) if error.kind() == PortErrorKind::Conflict => {
                return Err(self.contended("another one was first"));
            }
            written => {
                proposal.attempt(ballot, &base);
                written.map_err(Halt::Contended)?;
            }
        }
        let others = sight.iter().filter(|(zone, seen)| *zone != HOME && is_free(seen, &base)).cloned().collect();
        let written = self.write(&others, self.zones.quorum() - 1, header, &proposal.body).await;
        self.count(1 + written).map(|()| Some(base))
    }

    async fn write_home(&self, header: Header, home: &Seen, proposal: &Proposal) -> Result<Version, PortError> {
        let zone = &self.zones.zones[HOME];
        let late = self.zones.environment.clock.sleep(self.zones.settings.patience);
        let write = pin!(zone.write(self.key, header, &proposal.body, home));
        let written = match select(write, late).await {
            Either::Left((written, _)) => written,
            Either::Right(_) => {
                Err(PortError::new(PortErrorKind::Unavailable, format!("the zone {} is slow", zone.name)))
            }
        };
        written.inspect_err(|error| {
            if error.kind() == PortErrorKind::Unavailable {
                self.zones.leave_alone(HOME);
            }
        })
    }

    /// Writes `header` with `body` in place of what is in `sight`, and says in how many zones that worked.
    pub(super) async fn write(&self, sight: &Sight, needed: usize, header: Header, body: &Bytes) -> usize {
        let seen = |index| sight.iter().find(|(zone, _)| *zone == index).map(|(_, seen)| seen);
        let zones = sight.iter().map(|(zone, _)| *zone).collect();
        let write = |index, zone: &'a Zone| {
            let (seen, body, key) = (seen(index).cloned(), body.clone(), self.key);
            async move { zone.write(key, header, &body, &seen.unwrap_or(Seen::NOTHING)).await }.boxed()
        };
        given(&self.zones.ask(zones, needed, |_| false, write).await).count()
    }

    /// Whether `written` zones are a quorum. What is not in all of them is remembered.
    pub(super) fn count(&self, written: usize) -> Result<(), Halt> {
        if written < self.zones.zones.len() {
            self.zones.behind.add(self.key);
        }
        if written >= self.zones.quorum() { Ok(()) } else { Err(self.contended("too few zones have taken it")) }
    }

    pub(super) fn contended(&self, why: &str) -> Halt {
        let context = format!("{} is being changed by others: {why}", self.key);
        Halt::Contended(PortError::new(PortErrorKind::Unavailable, context))
    }
}
