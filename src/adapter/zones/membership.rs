//! Which zones belong together, and how a zone that lost what it had is told from one that never had it.

use futures::FutureExt;
use serde::{Deserialize, Serialize};

use super::Zone;
use super::answers::{Answer, because, gather, given};
use super::set::{HOME, Zones};
use crate::model::ObjectKey;
use crate::port::{PortError, PortErrorKind, PutMode, StorageExt};

/// The version of the note that this pitr writes.
const VERSION: u32 = 1;
const BYTES_MAX: usize = 64 << 10;

/// What stands in every zone of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Membership {
    version: u32,
    /// Drawn at random when the set began.
    pub(super) set: String,
    /// All of its zones, in their order: the first is the home zone.
    zones: Vec<ObjectKey>,
    /// The one that this is.
    zone: ObjectKey,
    /// `false` as long as some zone may have none of these. Until then nothing is stored.
    is_complete: bool,
}

impl Membership {
    fn name() -> ObjectKey {
        "zone".parse().expect("the constant is a key")
    }

    /// What stands in `zone`.
    pub(super) async fn find(zone: &Zone) -> Result<Option<Self>, PortError> {
        let found = zone.storage.find(&Self::name(), BYTES_MAX).await?;
        found.map(|(bytes, _)| Self::parse(zone, &bytes)).transpose()
    }

    fn parse(zone: &Zone, bytes: &[u8]) -> Result<Self, PortError> {
        let invalid =
            |why: &str| PortError::new(PortErrorKind::Invalid, format!("the note in the zone {} {why}", zone.name));
        let note: Self = serde_json::from_slice(bytes).map_err(|error| invalid("is damaged").caused_by(error))?;
        if note.version == VERSION { Ok(note) } else { Err(invalid("was written by a later version of pitr")) }
    }

    pub(super) fn of(zones: &Zones, zone: &Zone, set: &str) -> Self {
        let names = zones.zones.iter().map(|zone| zone.name.clone()).collect();
        Self { version: VERSION, set: set.to_owned(), zones: names, zone: zone.name.clone(), is_complete: true }
    }

    pub(super) async fn write(&self, zone: &Zone, mode: PutMode) -> Result<(), PortError> {
        let bytes = serde_json::to_vec(self).map_err(|error| {
            PortError::new(PortErrorKind::Invalid, format!("the note of the zone {}", zone.name)).caused_by(error)
        })?;
        zone.storage.put(&Self::name(), bytes.into(), mode).await.map(drop)
    }

    /// # Errors
    /// If it is not what must stand in `zone`.
    pub(super) fn check(&self, zones: &Zones, zone: &Zone, set: &str) -> Result<(), PortError> {
        let expected = Self { is_complete: self.is_complete, ..Self::of(zones, zone, set) };
        if *self == expected {
            return Ok(());
        }
        let context = format!(
            "the zone {} is {} of the zones {:?} of the set {}, not of the zones {:?} of the set {set}",
            zone.name, self.zone, self.zones, self.set, expected.zones
        );
        Err(PortError::new(PortErrorKind::Invalid, context))
    }
}

/// The name of the set that `zones` are; begins one if they are none yet.
pub(super) async fn open(zones: &Zones) -> Result<String, PortError> {
    let questions = zones.zones.iter().enumerate().map(|(index, zone)| (index, Membership::find(zone).boxed()));
    let answers =
        gather(questions, zones.quorum(), zones.settings.patience, &*zones.environment.clock, |_| false).await;
    let notes: Vec<(usize, &Membership)> =
        given(&answers).filter_map(|(zone, note)| Some((zone, note.as_ref()?))).collect();
    let complete = notes.iter().find(|(_, note)| note.is_complete);
    if let Some((_, complete)) = complete {
        notes.iter().try_for_each(|(zone, note)| note.check(zones, &zones.zones[*zone], &complete.set))?;
        return Ok(complete.set.clone());
    }
    let set = notes.iter().map(|(_, note)| note.set.clone()).next();
    all(zones, answers)?;
    begin(zones, set).await
}

/// # Errors
/// If not all of the zones answered, as they must before a set begins.
fn all<T>(zones: &Zones, answers: Vec<Answer<T>>) -> Result<(), PortError> {
    if given(&answers).count() == zones.zones.len() {
        return Ok(());
    }
    let failure = answers.into_iter().find_map(|answer| answer.result.err());
    let error = PortError::new(PortErrorKind::Unavailable, "to begin a set of zones, all of them must be there");
    Err(because(error, failure))
}

/// Begins a set: a note in every zone, and then in every zone that all have one.
async fn begin(zones: &Zones, set: Option<String>) -> Result<String, PortError> {
    let set = match set {
        Some(set) => set,
        None => agree(zones).await?,
    };
    for is_complete in [false, true] {
        for zone in &zones.zones {
            let note = Membership { is_complete, ..Membership::of(zones, zone, &set) };
            let mode = if is_complete { PutMode::Overwrite } else { PutMode::Create };
            match note.write(zone, mode).await {
                Err(error) if error.kind() == PortErrorKind::Conflict => found(zone).await?.check(zones, zone, &set)?,
                written => written?,
            }
        }
    }
    Ok(set)
}

/// The name of a new set. If several begin one, that which is in the home zone first.
async fn agree(zones: &Zones) -> Result<String, PortError> {
    let home = &zones.zones[HOME];
    let note = Membership { is_complete: false, ..Membership::of(zones, home, &zones.id()?.hex()) };
    match note.write(home, PutMode::Create).await {
        Err(error) if error.kind() == PortErrorKind::Conflict => Ok(found(home).await?.set),
        written => written.map(|()| note.set),
    }
}

async fn found(zone: &Zone) -> Result<Membership, PortError> {
    let missing = || PortError::new(PortErrorKind::Unavailable, format!("the zone {} is being emptied", zone.name));
    Membership::find(zone).await?.ok_or_else(missing)
}
