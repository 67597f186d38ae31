//! Zones that missed something get it back.

use std::collections::BTreeSet;
use std::future::ready;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::ZoneStorage;
use super::answers::given;
use super::keys::union;
use super::listing::owner;
use super::membership::Membership;
use super::record::{Content, Header};
use super::register::{Register, Wait};
use super::set::Zones;
use super::sight::{Agreed, Sight, agreed};
use super::zone::{Seen, Zone, apart};
use crate::model::{ObjectKey, Timestamp};
use crate::port::{PortError, PortErrorKind, PutMode, Storage, StorageExt};

/// How many objects are compared at a time.
const AT_A_TIME: usize = 16;

/// What a repair did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// The objects that were compared, those included that are deleted and not yet forgotten.
    pub compared: u64,
    /// The records that were brought to what was agreed on, in all zones.
    pub records: u64,
    /// The contents that were copied into zones that lacked them, counted in each zone.
    pub contents: u64,
    /// The contents that were deleted, as they belong to no object any more, counted in each zone.
    pub discarded: u64,
    /// The objects whose deletion was forgotten.
    pub forgotten: u64,
    /// The zones that came back empty, and were filled again.
    pub refilled: u64,
}

impl Repaired {
    fn and(self, other: Self) -> Self {
        Self {
            compared: self.compared.saturating_add(other.compared),
            records: self.records.saturating_add(other.records),
            contents: self.contents.saturating_add(other.contents),
            discarded: self.discarded.saturating_add(other.discarded),
            forgotten: self.forgotten.saturating_add(other.forgotten),
            refilled: self.refilled.saturating_add(other.refilled),
        }
    }
}

impl ZoneStorage {
    /// Keeps all zones whole, for as long as it is awaited: a [repair](Self::repair) as soon as all of them are there, and each time when one
    /// was away or emptied; and in between what this process sees them miss. Looks `every` so often, and tells `tell` what came of it; what
    /// fails is tried again.
    pub async fn keep_whole(&self, every: Duration, mut tell: impl FnMut(Result<Repaired, PortError>)) {
        let mut is_repair_due = true;
        loop {
            tell(self.tend(&mut is_repair_due).await);
            self.zones.environment.clock.sleep(every).await;
        }
    }

    async fn tend(&self, is_repair_due: &mut bool) -> Result<Repaired, PortError> {
        let ready = self.zones.ready().await?;
        let emptied = self.zones.emptied(&ready).await;
        *is_repair_due |= ready.len() < self.zones.zones.len();
        if ready.len() + emptied.len() < self.zones.zones.len() {
            return Ok(Repaired::default());
        }
        if !*is_repair_due {
            return self.catch_up().await.inspect_err(|_| *is_repair_due = true);
        }
        self.repair().await.inspect(|_| *is_repair_due = false)
    }

    /// How many objects are known to be missing in some zone, or older there. Others may have left more behind.
    #[must_use]
    pub fn behind(&self) -> usize {
        self.zones.behind.count()
    }

    /// Brings to all zones what this process knows that one of them missed. As long as a zone is away, this does nothing.
    ///
    /// # Errors
    /// If a zone fails; what was not brought is still known.
    pub async fn catch_up(&self) -> Result<Repaired, PortError> {
        let ready = self.zones.ready().await?;
        if ready.len() < self.zones.zones.len() {
            return Ok(Repaired::default());
        }
        let Some(keys) = self.zones.behind.take() else { return self.repair().await };
        let repair = Repair { zones: &self.zones, counted: ready, emptied: Vec::new() };
        let mended = repair.mend_all(stream::iter(keys.iter().cloned().map(Ok)).boxed()).await;
        mended.inspect_err(|_| keys.iter().for_each(|key| self.zones.behind.add(key)))
    }

    /// Compares all that zones have, and brings each what it lacks. A zone that came back empty is filled, and counts again from then on.
    /// Contents that nobody refers to any more are deleted, and deletions are forgotten that are older than the
    /// [memory](super::ZoneSettings::memory).
    ///
    /// It takes one request a zone for every object, and two more for those longer than 1 MiB. One repair at a time is enough; should
    /// there be several, none must stand still for as long as the memory lasts, and then go on.
    ///
    /// # Errors
    /// If a zone that could be reached when it began fails. What was repaired until then stays so.
    pub async fn repair(&self) -> Result<Repaired, PortError> {
        let counted = self.zones.ready().await?;
        let emptied = self.zones.emptied(&counted).await;
        if !emptied.is_empty() {
            // Who counts what one of them took before it lost it, does so no longer than that.
            self.zones.environment.clock.sleep(self.zones.settings.patience.saturating_mul(2)).await;
        }
        let is_complete = counted.len() + emptied.len() == self.zones.zones.len();
        let known = if is_complete { self.zones.behind.take().unwrap_or_default() } else { BTreeSet::new() };
        let repair = Repair { zones: &self.zones, counted, emptied };
        repair.run().await.inspect_err(|_| known.iter().for_each(|key| self.zones.behind.add(key)))
    }
}

impl Zones {
    /// The zones that can be reached, but have lost what they had.
    async fn emptied(&self, counted: &[usize]) -> Vec<usize> {
        let others = self.all().filter(|zone| !counted.contains(zone)).collect();
        let answers = self.ask(others, 0, |_| false, |_, zone| Membership::find(zone).boxed()).await;
        given(&answers).filter(|(_, note)| note.is_none()).map(|(zone, _)| zone).collect()
    }
}

/// A repair that is under way.
struct Repair<'a> {
    zones: &'a Zones,
    /// The zones that decide.
    counted: Vec<usize>,
    /// Those that are filled.
    emptied: Vec<usize>,
}

impl<'a> Repair<'a> {
    fn all(&self) -> impl Iterator<Item = (usize, &'a Zone)> {
        self.counted.iter().chain(&self.emptied).map(|zone| (*zone, &self.zones.zones[*zone]))
    }

    async fn run(&self) -> Result<Repaired, PortError> {
        let mended = self.mend_all(union(self.all().map(|(_, zone)| &zone.records as &dyn Storage))).await?;
        // What a zone that is away has accepted may still become the object.
        let is_complete = self.all().count() == self.zones.zones.len();
        let discarded = if is_complete { self.discard_all().await? } else { Repaired::default() };
        Ok(mended.and(discarded).and(self.admit().await?))
    }

    async fn mend_all(&self, keys: BoxStream<'_, Result<ObjectKey, PortError>>) -> Result<Repaired, PortError> {
        let mend = |key: ObjectKey| async move { self.mend(&key).await };
        keys.map_ok(mend)
            .try_buffer_unordered(AT_A_TIME)
            .try_fold(Repaired::default(), |sum, mended| ready(Ok(sum.and(mended))))
            .await
    }

    /// Brings all zones to what was agreed on of one object; or on, if it is being forgotten.
    async fn mend(&self, key: &ObjectKey) -> Result<Repaired, PortError> {
        let register = Register { zones: self.zones, key };
        let sight = register.see(&self.counted, Wait::ForAll).await?;
        if self.can_be_forgotten(&sight) {
            let forgotten = u64::from(self.forget(key, sight).await?);
            return Ok(Repaired { compared: 1, forgotten, ..Repaired::default() });
        }
        if is_being_forgotten(&sight, self.zones.quorum()) {
            let records = self.make_way(key, &sight).await?;
            return Ok(Repaired { compared: 1, records, ..Repaired::default() });
        }
        let (agreed, reconciled, damaged) = match register.reconcile(&self.counted, sight).await {
            Err(error) => self.reconcile_sound(&register, error).await?,
            Ok((agreed, reconciled)) => (agreed, reconciled, Vec::new()),
        };
        let mut repaired = Repaired { compared: 1, records: u64::from(reconciled), ..Repaired::default() };
        repaired.records += self.revive(&register, &agreed).await?;
        for zone in self.emptied.iter().chain(&damaged) {
            repaired.records += u64::from(self.refill(&register, &self.zones.zones[*zone], &agreed).await?);
        }
        if let Some(content) = apart(key, &agreed.header.value)? {
            repaired.contents = self.spread(&content).await?;
        }
        Ok(repaired)
    }

    /// Brings those zones to agree whose records can be read, and says which of the others are damaged; `error` if none is.
    async fn reconcile_sound(
        &self,
        register: &Register<'_>,
        error: PortError,
    ) -> Result<(Agreed, bool, Vec<usize>), PortError> {
        let (mut sound, mut damaged) = (Vec::new(), Vec::new());
        for zone in &self.counted {
            let seen = self.zones.zones[*zone].see(register.key).await;
            let is_damaged = seen.is_err_and(|error| error.kind() == PortErrorKind::Invalid);
            if is_damaged { &mut damaged } else { &mut sound }.push(*zone);
        }
        if damaged.is_empty() {
            return Err(error);
        }
        register.renew(&sound).await?;
        let sight = register.see(&sound, Wait::ForAll).await?;
        let (agreed, _) = register.reconcile(&sound, sight).await?;
        Ok((agreed, true, damaged))
    }

    /// Writes over records that were to be deleted long ago, of an object that exists again; says over how many.
    async fn revive(&self, register: &Register<'_>, agreed: &Agreed) -> Result<u64, PortError> {
        let mut revived = 0;
        if agreed.holders.len() < self.counted.len() && agreed.header != Header::NOTHING {
            for (zone, seen) in register.see(&self.counted, Wait::ForAll).await? {
                if seen.header.is_retired() && self.is_old(&seen) {
                    revived += u64::from(register.teach(agreed, &vec![(zone, seen)]).await.is_ok());
                }
            }
        }
        Ok(revived)
    }

    /// Makes the record in `zone`, which does not count, what was agreed on; says whether it was something else.
    async fn refill(&self, register: &Register<'_>, zone: &Zone, agreed: &Agreed) -> Result<bool, PortError> {
        let seen = match zone.see(register.key).await {
            Err(error) if error.kind() == PortErrorKind::Invalid => zone.see_damaged(register.key).await?,
            seen => seen?,
        };
        if seen.header == agreed.header.settled() {
            return Ok(false);
        }
        if agreed.header == Header::NOTHING {
            return zone.records.delete(register.key).await.map(|()| true);
        }
        let body = register.body(agreed).await?;
        zone.write(register.key, agreed.header.settled(), &body, &seen).await.map(|_| true)
    }

    /// Copies the content to the zones that lack it, and says to how many.
    async fn spread(&self, content: &ObjectKey) -> Result<u64, PortError> {
        let (mut holder, mut lacking) = (None, Vec::new());
        for (_, zone) in self.all() {
            if zone.contents.exists(content).await? {
                holder = holder.or(Some(zone));
            } else {
                lacking.push(zone);
            }
        }
        // If none has it, the object was changed since.
        let Some(holder) = holder else { return Ok(0) };
        for zone in &lacking {
            copy(content, holder, zone).await?;
        }
        Ok(lacking.len() as u64)
    }

    /// Whether all zones hold nothing of an object, and have done so for long.
    fn can_be_forgotten(&self, sight: &Sight) -> bool {
        let is_nothing = |(_, seen): &(usize, Seen)| seen.header.value.content.bytes().is_none() && self.is_old(seen);
        let is_known = sight.iter().any(|(_, seen)| seen.stored.is_some());
        sight.len() == self.zones.zones.len() && sight.iter().all(is_nothing) && is_known
    }

    /// Forgets an object that was deleted long ago, or never became one, and says whether that could be done.
    ///
    /// First every zone's record becomes one that counts for nothing, and that nobody writes over: so whoever goes on with something that he
    /// began before finds no zone that takes it, and no zone outranks whoever begins anew. Then they are deleted.
    async fn forget(&self, key: &ObjectKey, sight: Sight) -> Result<bool, PortError> {
        let stored: Sight = sight.into_iter().filter(|(_, seen)| seen.stored.is_some()).collect();
        for (zone, seen) in stored.iter().filter(|(_, seen)| !seen.header.is_retired()) {
            let mut header = seen.header;
            header.value.content = Content::Retired;
            match self.zones.zones[*zone].write(key, header, &[], seen).await {
                Err(error) if error.kind() == PortErrorKind::Conflict => return Ok(false),
                written => written?,
            };
        }
        for (zone, _) in stored {
            self.zones.zones[zone].records.delete(key).await?;
        }
        Ok(true)
    }

    /// Ends what an interrupted repair left of an object that somebody wants again since: records that were to be deleted long ago. As a zone
    /// holds content, and could not have got it while too few would take it, all had been ready to be deleted. Says how many there were.
    async fn make_way(&self, key: &ObjectKey, sight: &Sight) -> Result<u64, PortError> {
        let is_wanted = sight.iter().any(|(_, seen)| seen.header.value.content.bytes().is_some());
        let is_left = |(_, seen): &&(usize, Seen)| is_wanted && seen.header.is_retired() && self.is_old(seen);
        let left: Vec<usize> = sight.iter().filter(is_left).map(|(zone, _)| *zone).collect();
        for zone in &left {
            self.zones.zones[*zone].records.delete(key).await?;
        }
        Ok(left.len() as u64)
    }

    /// Whether nobody who wrote it, or wrote over it, is still about to go on.
    fn is_old(&self, seen: &Seen) -> bool {
        seen.stored.as_ref().is_none_or(|(_, modified)| self.is_past(*modified))
    }

    fn is_past(&self, modified: Timestamp) -> bool {
        modified.saturating_add(self.zones.settings.memory) <= self.zones.environment.clock.now()
    }

    /// Deletes contents that belong to no object, and are old enough for nobody to be about to make one of them.
    async fn discard_all(&self) -> Result<Repaired, PortError> {
        let contents = union(self.all().map(|(_, zone)| &zone.contents as &dyn Storage));
        let discard = |content: ObjectKey| async move { self.discard_if_unused(&content).await };
        let discarded = contents.map_ok(discard).try_buffer_unordered(AT_A_TIME);
        let discarded = discarded.try_fold(0, |sum, zones| ready(Ok(sum + zones))).await?;
        Ok(Repaired { discarded, ..Repaired::default() })
    }

    /// Says in how many zones it was deleted.
    async fn discard_if_unused(&self, content: &ObjectKey) -> Result<u64, PortError> {
        let Some(owner) = owner(content) else { return Ok(0) };
        let agreed = Register { zones: self.zones, key: &owner }.read().await?;
        if apart(&owner, &agreed.header.value)?.as_ref() == Some(content) {
            return Ok(0);
        }
        let mut discarded = 0;
        for (_, zone) in self.all() {
            match zone.contents.head(content).await {
                Ok(meta) if self.is_past(meta.modified) => zone.contents.delete(content).await?,
                Err(error) if error.kind() != PortErrorKind::NotFound => return Err(error),
                _ => continue,
            }
            discarded += 1;
        }
        Ok(discarded)
    }

    /// Lets the zones count that were filled.
    async fn admit(&self) -> Result<Repaired, PortError> {
        for zone in self.emptied.iter().map(|zone| &self.zones.zones[*zone]) {
            match self.zones.membership(zone).write(zone, PutMode::Create).await {
                Err(error) if error.kind() != PortErrorKind::Conflict => return Err(error),
                _ => {}
            }
        }
        self.emptied.iter().for_each(|zone| self.zones.ask_again(*zone));
        Ok(Repaired { refilled: self.emptied.len() as u64, ..Repaired::default() })
    }
}

/// Whether the records of an object are being deleted, and it is nothing as far as a `quorum` of zones says. Whoever deletes them goes on,
/// or a later repair does.
fn is_being_forgotten(sight: &Sight, quorum: usize) -> bool {
    let is_retired = sight.iter().any(|(_, seen)| seen.header.is_retired());
    is_retired && agreed(sight, quorum).is_none_or(|agreed| agreed.header == Header::NOTHING)
}

async fn copy(content: &ObjectKey, from: &Zone, to: &Zone) -> Result<(), PortError> {
    let mut read = from.contents.get(content, None).await?;
    let mut upload = to.contents.upload(content).await?;
    while let Some(chunk) = read.body.try_next().await? {
        upload.write(chunk).await?;
    }
    match upload.finish().await {
        Err(error) if error.kind() != PortErrorKind::Conflict => Err(error),
        _ => Ok(()),
    }
}
