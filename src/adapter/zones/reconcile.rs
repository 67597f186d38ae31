//! Zones that lag behind are brought what the others agree on.

use bytes::Bytes;

use super::proposal::{Halt, Proposal};
use super::register::{Register, Wait};
use super::sight::{Agreed, Sight, agreed, highest, lagging};
use crate::port::{PortError, PortErrorKind};

impl Register<'_> {
    /// Brings the `ready` zones, of which `sight` was seen, to agree, all of them, and says on what; and whether anything had to be written for
    /// it. Records that are being deleted stay as they are.
    pub(super) async fn reconcile(&self, ready: &[usize], mut sight: Sight) -> Result<(Agreed, bool), PortError> {
        let mut attempts = self.zones.contention.begin();
        let mut has_written = false;
        loop {
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
                Err(Halt::Settled(error) | Halt::Deserted(error)) => return Err(error),
                Ok(()) => has_written = true,
            }
            sight = self.see(ready, Wait::ForAll).await?;
        }
    }

    /// Brings those that lag behind what the others agree on.
    pub(super) async fn teach(&self, agreed: &Agreed, lagging: &Sight) -> Result<(), Halt> {
        let body = self.body(agreed).await?;
        let written = self.write(lagging, lagging.len(), agreed.header.settled(), &body).await;
        if written == lagging.len() { Ok(()) } else { Err(self.contended("a zone did not take what it lacks")) }
    }

    /// What stands behind the header of the record that zones agree on.
    pub(super) async fn body(&self, agreed: &Agreed) -> Result<Bytes, PortError> {
        for (zone, _) in &agreed.holders {
            match self.zones.zones[*zone].see_whole(self.key).await {
                Ok((seen, body)) if seen.header.accepted == agreed.header.accepted => return Ok(body),
                _ => {}
            }
        }
        Err(PortError::new(
            PortErrorKind::Unavailable,
            format!("no zone has {} any more as it was agreed on", self.key),
        ))
    }

    /// Lets `ready` zones accept once more what they have accepted, under a ballot that is greater than all before: so nobody can go on with
    /// what he began earlier, whatever another zone has forgotten of it.
    pub(super) async fn renew(&self, ready: &[usize]) -> Result<(), PortError> {
        let mut attempts = self.zones.contention.begin();
        loop {
            let sight = self.see(ready, Wait::ForAll).await?;
            match self.recover(&sight, &mut Proposal::keep()).await {
                Err(Halt::Contended(error)) => attempts.after(error).await?,
                Err(Halt::Settled(error) | Halt::Deserted(error)) => return Err(error),
                Ok(_) => return Ok(()),
            }
        }
    }
}
