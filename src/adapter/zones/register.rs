//! One object in several zones, read and changed as if it were in one (docs/DESIGN.md, "How do zones agree?").

use std::pin::pin;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{Either, select};

use super::answers::{Answer, given, too_few};
use super::ballot::Ballot;
use super::proposal::{Halt, Proposal};
use super::record::{Header, Record};
use super::set::{HOME, Zones};
use super::zone::{Seen, Zone};
use crate::model::ObjectKey;
use crate::port::{PortError, PortErrorKind, Version};

/// One object in all zones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Register<'a> {
    pub(super) zones: &'a Zones,
    pub(super) key: &'a ObjectKey,
}

/// What zones hold of an object.
pub(super) type Sight = Vec<(usize, Seen)>;

/// What a quorum of zones holds of an object.
#[derive(Clone, Debug)]
pub(super) struct Agreed {
    pub(super) header: Header,
    /// The zones that hold it, in their order.
    pub(super) holders: Sight,
}

/// A promise of a zone, and what it had accepted before.
struct Promise {
    before: Record,
    /// What it holds now.
    seen: Seen,
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
            let sight = self.see(&ready, true).await?;
            if let Some(agreed) = agreed(&sight, self.zones.quorum()) {
                return Ok(agreed);
            }
            match self.settle(&sight, &mut Proposal::keep(), has_met).await {
                Ok(_) => {}
                Err(Halt::Contended(error)) => attempts.after(error).await?,
                Err(Halt::Settled(error)) if error.kind() == PortErrorKind::Denied => return Ok(latest(sight)),
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
                Err(Halt::Contended(_)) => {}
                Err(Halt::Settled(error)) => return Err(error),
                Ok(before) => return Ok(before),
            }
        }
        let mut has_met = false;
        loop {
            let ready = self.zones.ready().await?;
            let sight = self.see(&ready, false).await?;
            match self.advance(&sight, &mut proposal, has_met).await {
                Err(Halt::Contended(error)) => attempts.after(error).await?,
                Err(Halt::Settled(error)) => return Err(error),
                Ok(before) => return Ok(before),
            }
            has_met = true;
        }
    }

    /// What the zones hold, of a quorum at least; no more than it takes to agree, if that is `enough`.
    pub(super) async fn see(&self, ready: &[usize], enough: bool) -> Result<Sight, PortError> {
        let quorum = self.zones.quorum();
        let is_enough = |answers: &[Answer<Seen>]| {
            enough
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

    /// Brings the zones to agree: at first by waiting for whoever may be changing the object just now.
    pub(super) async fn settle(
        &self,
        sight: &Sight,
        proposal: &mut Proposal,
        has_met: bool,
    ) -> Result<Option<Header>, Halt> {
        if has_met { self.recover(sight, proposal).await } else { Err(self.contended("the zones do not agree yet")) }
    }

    /// Lets `ready` zones accept once more what they have accepted, under a ballot that is greater than all before: so nobody can go on with
    /// what he began earlier, whatever another zone has forgotten of it.
    pub(super) async fn renew(&self, ready: &[usize]) -> Result<(), PortError> {
        let mut attempts = self.zones.contention.begin();
        loop {
            let sight = self.see(ready, false).await?;
            match self.recover(&sight, &mut Proposal::keep()).await {
                Err(Halt::Contended(error)) => attempts.after(error).await?,
                Err(Halt::Settled(error)) => return Err(error),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// Brings the `ready` zones to agree, all of them, and says on what; and whether anything had to be written for it. Records that are
    /// being deleted stay as they are.
    pub(super) async fn reconcile(&self, ready: &[usize]) -> Result<(Agreed, bool), PortError> {
        let mut attempts = self.zones.contention.begin();
        let mut has_written = false;
        loop {
            let sight = self.see(ready, false).await?;
            if sight.len() < ready.len() {
                let context = format!("a zone gives no answer about {}", self.key);
                return Err(PortError::new(PortErrorKind::Unavailable, context));
            }
            let agreed = agreed(&sight, self.zones.quorum());
            let done = match agreed.filter(|agreed| agreed.header.accepted == highest(&sight)) {
                None => self.recover(&sight, &mut Proposal::keep()).await.map(drop),
                Some(agreed) => match lagging(&sight, &agreed.header) {
                    lagging if lagging.is_empty() => return Ok((agreed, has_written)),
                    lagging => self.teach(&agreed, &lagging).await,
                },
            };
            match done {
                Err(Halt::Contended(error)) => attempts.after(error).await?,
                Err(Halt::Settled(error)) => return Err(error),
                Ok(()) => has_written = true,
            }
        }
    }

    /// Brings those that lag behind what the others agree on.
    pub(super) async fn teach(&self, agreed: &Agreed, lagging: &Sight) -> Result<(), Halt> {
        let body = self.body(agreed).await?;
        let header = Header::accepting(agreed.header.accepted, agreed.header.value);
        let written = self.write(lagging, lagging.len(), header, &body).await;
        if written == lagging.len() { Ok(()) } else { Err(self.contended("a zone did not take what it lacks")) }
    }

    /// What stands behind the header of the record that zones agree on.
    pub(super) async fn body(&self, agreed: &Agreed) -> Result<Bytes, PortError> {
        for (zone, _) in &agreed.holders {
            let (seen, body) = self.zones.zones[*zone].see_whole(self.key).await?;
            if seen.header.accepted == agreed.header.accepted {
                return Ok(body);
            }
        }
        Err(PortError::new(PortErrorKind::Unavailable, format!("{} was changed meanwhile", self.key)))
    }

    /// The way that always leads on: a quorum promises to accept nothing below a new ballot, and tells what it has accepted; of that the
    /// latest, or what is to become of it, is accepted under the new ballot.
    async fn recover(&self, sight: &Sight, proposal: &mut Proposal) -> Result<Option<Header>, Halt> {
        let promises = self.prepare(sight, highest(sight).recovery(self.proposer()?)).await?;
        let (ballot, base) = match promises.iter().max_by_key(|(_, promise)| promise.before.header.accepted) {
            Some((_, promise)) => (promise.seen.header.promised, promise.before.clone()),
            None => return Err(self.contended("no zone promised anything")),
        };
        let judged = proposal.judge(self.key, &base.header);
        let changes = matches!(judged, Ok(true));
        if changes {
            proposal.attempt(ballot, &base.header);
        }
        let value = if changes { proposal.following(&base.header) } else { base.header.value };
        let body = if changes { proposal.body.clone() } else { base.body };
        let promised: Sight = promises.into_iter().map(|(zone, promise)| (zone, promise.seen)).collect();
        let written = self.write(&promised, self.zones.quorum(), Header::accepting(ballot, value), &body).await;
        self.count(written)?;
        Ok(judged.map(|changed| changed.then_some(base.header))?)
    }

    /// A number that no other proposer has.
    fn proposer(&self) -> Result<u64, PortError> {
        let mut random = [0; 8];
        self.zones.environment.entropy.fill(&mut random)?;
        Ok(u64::from_le_bytes(random))
    }

    /// The promises of a quorum at least.
    async fn prepare(self, sight: &Sight, ballot: Ballot) -> Result<Vec<(usize, Promise)>, Halt> {
        let prepare = |_, zone: &'a Zone| async move { self.prepare_zone(zone, ballot).await }.boxed();
        let answers = self
            .zones
            .ask(sight.iter().map(|(zone, _)| *zone).collect(), self.zones.quorum(), |_| false, prepare)
            .await;
        if given(&answers).count() < self.zones.quorum() {
            let refused = |answer: &Answer<Promise>| {
                answer.result.as_ref().is_err_and(|error| error.kind() == PortErrorKind::Conflict)
            };
            if answers.iter().any(refused) {
                return Err(self.contended("another one was faster"));
            }
            let error = too_few(format_args!("cannot change {}", self.key), self.zones.zones.len(), answers);
            return Err(Halt::Settled(error));
        }
        Ok(answers.into_iter().filter_map(|answer| Some((answer.zone, answer.result.ok()?))).collect())
    }

    async fn prepare_zone(&self, zone: &Zone, ballot: Ballot) -> Result<Promise, PortError> {
        let (seen, body) = zone.see_whole(self.key).await?;
        if seen.header.promised >= ballot || seen.header.is_retired() {
            let context = format!("the zone {} has promised something else of {}", zone.name, self.key);
            return Err(PortError::new(PortErrorKind::Conflict, context));
        }
        let header = Header { promised: ballot, ..seen.header };
        let version = zone.write(self.key, header, &body, &seen).await?;
        let before = Record { header: seen.header, body };
        Ok(Promise { before, seen: Seen::written(header, version) })
    }

    /// Writes `header` with `body` in place of what is in `sight`, and says in how many zones that worked.
    async fn write(&self, sight: &Sight, needed: usize, header: Header, body: &Bytes) -> usize {
        let seen = |index| sight.iter().find(|(zone, _)| *zone == index).map(|(_, seen)| seen);
        let zones = sight.iter().map(|(zone, _)| *zone).collect();
        let write = |index, zone: &'a Zone| {
            let (seen, body, key) = (seen(index).cloned(), body.clone(), self.key);
            async move { zone.write(key, header, &body, &seen.unwrap_or(Seen::NOTHING)).await }.boxed()
        };
        given(&self.zones.ask(zones, needed, |_| false, write).await).count()
    }

    /// Whether `written` zones are a quorum. What is not in all of them is remembered.
    fn count(&self, written: usize) -> Result<(), Halt> {
        if written < self.zones.zones.len() {
            self.zones.behind.add(self.key);
        }
        if written >= self.zones.quorum() { Ok(()) } else { Err(self.contended("too few zones have taken it")) }
    }

    fn contended(&self, why: &str) -> Halt {
        let context = format!("{} is being changed by others: {why}", self.key);
        Halt::Contended(PortError::new(PortErrorKind::Unavailable, context))
    }
}

/// What the home zone holds, if whoever takes the ballot after `base` may take it there.
fn home<'a>(sight: &'a Sight, base: &Header) -> Option<&'a Seen> {
    let (_, home) = sight.iter().find(|(zone, _)| *zone == HOME)?;
    (is_free(home, base) && home.header.accepted == base.accepted).then_some(home)
}

/// Whether a zone has promised nothing beyond `base`.
fn is_free(seen: &Seen, base: &Header) -> bool {
    !seen.header.is_retired() && seen.header.promised <= base.accepted
}

/// What `quorum` of the zones in `sight` hold.
pub(super) fn agreed(sight: &Sight, quorum: usize) -> Option<Agreed> {
    sight.iter().find_map(|(_, seen)| {
        let header = seen.header.standing();
        let same = |(_, other): &&(usize, Seen)| other.header.standing().accepted == header.accepted;
        let mut holders: Sight = sight.iter().filter(same).cloned().collect();
        holders.sort_by_key(|(zone, _)| *zone);
        (holders.len() >= quorum).then_some(Agreed { header, holders })
    })
}

/// Those in `sight` that have something else than `header`, and may be written over.
fn lagging(sight: &Sight, header: &Header) -> Sight {
    let lags = |(_, seen): &&(usize, Seen)| !seen.header.is_retired() && seen.header.accepted != header.accepted;
    sight.iter().filter(lags).cloned().collect()
}

/// What was proposed last, of what is in `sight`.
fn latest(sight: Sight) -> Agreed {
    let header = sight.iter().map(|(_, seen)| seen.header.standing()).max_by_key(|header| header.accepted);
    let header = header.unwrap_or(Header::NOTHING);
    let is_latest = |(_, seen): &(usize, Seen)| seen.header.standing().accepted == header.accepted;
    Agreed { header, holders: sight.into_iter().filter(is_latest).collect() }
}

/// The highest ballot that a zone in `sight` has promised.
fn highest(sight: &Sight) -> Ballot {
    sight.iter().map(|(_, seen)| seen.header.standing().promised).max().unwrap_or_default()
}
