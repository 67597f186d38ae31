//! The way to a decision that always leads on, whatever others left.

use futures::FutureExt;

use super::answers::{Answer, given, too_few};
use super::ballot::Ballot;
use super::proposal::{Halt, Proposal};
use super::record::{Header, Record};
use super::register::Register;
use super::sight::{Sight, highest};
use super::zone::{Seen, Zone};
use crate::port::{PortError, PortErrorKind};

/// A promise of a zone, and what it had accepted before.
struct Promise {
    before: Record,
    /// What it holds now.
    seen: Seen,
}

impl<'a> Register<'a> {
    /// The way that always leads on: a quorum promises to accept nothing below a new ballot, and tells what it has accepted; of that the
    /// latest, or what is to become of it, is accepted under the new ballot.
    pub(super) async fn recover(&self, sight: &Sight, proposal: &mut Proposal) -> Result<Option<Header>, Halt> {
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
            return Err(Halt::Deserted(error));
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
}
