//! The names of objects: where everything stands in a storage (docs/FORMAT.md).
//!
//! The name of a log backup carries all that planning needs of it, so a catalog is read from a listing. Sealing binds the name
//! to the content: an object under a name that lies does not open.

mod purpose;

pub use self::purpose::{ObjectKind, Permanence, kind_of, permanence_of};
use super::seal::KeyId;
use crate::model::{
    ConfigChange, Incarnation, LogBackup, ObjectKey, ParseError, RequestId, Role, ServerName, SnapshotId, StoredObject,
    TimelineId, Timestamp, WorkerId, hex_u64,
};

/// The directory of all servers.
const SERVERS: &str = "servers";
/// The directory of all workers.
const WORKERS: &str = "workers";
const MANIFEST: &str = "manifest";
const EXPIRED: &str = "expired";
const RUNNING: &str = "running";
const CHANGES: &str = "changes";
const DELETIONS: &str = "deletions";
const RESTORES: &str = "restores";
/// Where a zone of several keeps a record of each object, beside the contents of those that are long.
pub(crate) const ZONE_RECORDS: &str = "zone-records";
pub(crate) const ZONE_CONTENTS: &str = "zone-contents";

/// The names of one server's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLayout {
    root: ObjectKey,
}

/// What the name of an object in a catalog says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CatalogEntry {
    /// A log backup, complete but for its index.
    Log(LogBackup),
    /// The record of a snapshot.
    #[non_exhaustive]
    Snapshot {
        /// The life of the server that it is of.
        incarnation: Incarnation,
        /// Its name.
        id: SnapshotId,
    },
    /// A timeline history.
    #[non_exhaustive]
    History {
        /// The life of the server that it is of.
        incarnation: Incarnation,
        /// Its timeline.
        timeline: TimelineId,
    },
}

/// What the name of an object of a snapshot's data says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct DataEntry {
    /// The snapshot that stored it.
    pub snapshot: SnapshotId,
    /// What it is.
    pub part: DataPart,
}

/// What the name of the record of a change says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct ChangeEntry {
    /// How many changes there were by then.
    pub revision: u64,
    /// When it was made.
    pub at: Timestamp,
    /// In which request.
    pub request: RequestId,
}

impl From<&ConfigChange> for ChangeEntry {
    fn from(change: &ConfigChange) -> Self {
        Self { revision: change.revision, at: change.at, request: change.caller.request.clone() }
    }
}

/// A part of a snapshot's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DataPart {
    /// What it uses, and where the list of its files is.
    Manifest,
    /// The pack with this number.
    Pack(u32),
    /// A note that the snapshot is being taken, and what it builds on. Renewed meanwhile.
    Running,
    /// A note that the snapshot expired and its data are being deleted.
    Expired,
}

impl DataPart {
    /// The number of the pack that it is, if it is one.
    #[must_use]
    pub const fn pack(self) -> Option<u32> {
        match self {
            Self::Pack(number) => Some(number),
            Self::Manifest | Self::Running | Self::Expired => None,
        }
    }
}

/// The directory below which every server has one of its own.
#[must_use]
pub fn servers() -> ObjectKey {
    SERVERS.parse().expect("the constant is a key")
}

/// The directory of the heartbeats of those who work as `role`.
#[must_use]
pub fn workers(role: Role) -> ObjectKey {
    let workers: ObjectKey = WORKERS.parse().expect("the constant is a key");
    below(&workers, role)
}

/// The heartbeat of `worker`, who works as `role`.
#[must_use]
pub fn heartbeat(role: Role, worker: &WorkerId) -> ObjectKey {
    below(&workers(role), worker)
}

impl ServerLayout {
    /// The layout of the server `name`.
    #[must_use]
    pub fn new(name: &ServerName) -> Self {
        Self { root: below(&servers(), name) }
    }

    /// The directory of everything that the server has.
    #[must_use]
    pub fn root(&self) -> &ObjectKey {
        &self.root
    }

    /// The server's wrapped key.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        below(&self.root, "key")
    }

    /// The keys that `key` has taken the place of.
    #[must_use]
    pub fn retired_keys(&self, key: KeyId) -> ObjectKey {
        below(&self.all_retired_keys(), key)
    }

    /// The directory of the keys that others have taken the place of.
    #[must_use]
    pub fn all_retired_keys(&self) -> ObjectKey {
        below(&self.root, "keys")
    }

    /// The server's record: its spec and its incarnations.
    #[must_use]
    pub fn record(&self) -> ObjectKey {
        below(&self.root, "server")
    }

    /// When the store's promises for the server's objects were renewed last.
    #[must_use]
    pub fn renewal(&self) -> ObjectKey {
        below(&self.root, "renewal")
    }

    /// The directory of the records of changes.
    #[must_use]
    pub fn changes(&self) -> ObjectKey {
        below(&self.root, CHANGES)
    }

    /// The record of a change.
    #[must_use]
    pub fn change(&self, entry: &ChangeEntry) -> ObjectKey {
        let ChangeEntry { revision, at, request } = entry;
        below(&self.changes(), format!("{revision:016X}-{:016X}-{request}", at.as_unix_micros()))
    }

    /// What the name of an object below [`changes`](Self::changes) says; `None` if it is no name that this version writes.
    #[must_use]
    pub fn parse_change(&self, key: &ObjectKey) -> Option<ChangeEntry> {
        let mut parts = key.name().splitn(3, '-');
        let revision = upper_hex(parts.next()?, 16)?;
        let at = Timestamp::from_unix_micros(upper_hex(parts.next()?, 16)?.cast_signed())?;
        let entry = ChangeEntry { revision, at, request: parts.next()?.parse().ok()? };
        (self.change(&entry) == *key).then_some(entry)
    }

    /// Who deleted the server, when its key was destroyed, and `key` took its place, by which nothing else is sealed.
    #[must_use]
    pub fn deletion(&self, key: KeyId) -> ObjectKey {
        below(&self.deletions(), key)
    }

    /// The directory of what says that the server was deleted.
    #[must_use]
    pub fn deletions(&self) -> ObjectKey {
        below(&self.root, DELETIONS)
    }

    /// The directory of what became of the server's restores.
    #[must_use]
    pub fn restores(&self) -> ObjectKey {
        below(&self.root, RESTORES)
    }

    /// What became of the restore that was ordered at `at` in `request`.
    #[must_use]
    pub fn restore(&self, at: Timestamp, request: &RequestId) -> ObjectKey {
        below(&self.restores(), format!("{:016X}-{request}", at.as_unix_micros()))
    }

    /// When the restore was ordered, and in which request, of which the object is called so; `None` if it is no name that this version writes.
    #[must_use]
    pub fn parse_restore(&self, key: &ObjectKey) -> Option<(Timestamp, RequestId)> {
        let (at, request) = key.name().split_once('-')?;
        let at = Timestamp::from_unix_micros(upper_hex(at, 16)?.cast_signed())?;
        let request = request.parse().ok()?;
        (self.restore(at, &request) == *key).then_some((at, request))
    }

    /// What became of the work for the server.
    #[must_use]
    pub fn runs(&self) -> ObjectKey {
        below(&self.root, "runs")
    }

    /// What was stored in the past, day by day.
    #[must_use]
    pub fn usage(&self) -> ObjectKey {
        below(&self.root, "usage")
    }

    /// Who works as `role` for the server.
    #[must_use]
    pub fn lease(&self, role: Role) -> ObjectKey {
        below(&below(&self.root, "leases"), role)
    }

    /// The directory of the facts that make up the catalog.
    #[must_use]
    pub fn catalog(&self) -> ObjectKey {
        below(&self.root, "catalog")
    }

    /// The directory of the log backups of `timeline`; how they are called is [`LogBackup::name`]'s to say.
    #[must_use]
    pub fn logs(&self, incarnation: Incarnation, timeline: TimelineId) -> ObjectKey {
        below(&self.facts(incarnation, "logs"), hex8(timeline))
    }

    /// The directory of the records of all snapshots.
    #[must_use]
    pub fn snapshots(&self, incarnation: Incarnation) -> ObjectKey {
        self.facts(incarnation, "snapshots")
    }

    /// The record of the snapshot `id`.
    #[must_use]
    pub fn snapshot(&self, incarnation: Incarnation, id: &SnapshotId) -> ObjectKey {
        below(&self.snapshots(incarnation), id)
    }

    /// The directory of all histories.
    #[must_use]
    pub fn histories(&self, incarnation: Incarnation) -> ObjectKey {
        self.facts(incarnation, "timelines")
    }

    /// The history of `timeline`.
    #[must_use]
    pub fn history(&self, incarnation: Incarnation, timeline: TimelineId) -> ObjectKey {
        below(&self.histories(incarnation), hex8(timeline))
    }

    /// The directory of the records of test restores.
    #[must_use]
    pub fn proofs(&self) -> ObjectKey {
        below(&self.root, "proofs")
    }

    /// The record of the test restore `name`, which begins with its time as the names of snapshots do.
    ///
    /// # Panics
    /// If it is no part of a key.
    #[must_use]
    pub fn proof(&self, name: &str) -> ObjectKey {
        below(&self.proofs(), name)
    }

    /// The directory of the data of all snapshots.
    #[must_use]
    pub fn data(&self) -> ObjectKey {
        below(&self.root, "data")
    }

    /// The directory of the data that the snapshot `id` stored.
    #[must_use]
    pub fn snapshot_data(&self, id: &SnapshotId) -> ObjectKey {
        below(&self.data(), id)
    }

    /// The manifest of the snapshot `id`.
    #[must_use]
    pub fn manifest(&self, id: &SnapshotId) -> ObjectKey {
        below(&self.snapshot_data(id), MANIFEST)
    }

    /// The pack `number` of the snapshot `id`.
    #[must_use]
    pub fn pack(&self, id: &SnapshotId, number: u32) -> ObjectKey {
        below(&self.snapshot_data(id), format!("pack-{number:08X}"))
    }

    /// What the name of an object below [`catalog`](Self::catalog) says.
    ///
    /// # Errors
    /// If it is no name that this version writes.
    pub fn parse_catalog(&self, object: &StoredObject) -> Result<CatalogEntry, ParseError> {
        let error = || ParseError::new("catalog entry", &object.key, "the name of a log backup, snapshot or history");
        let inside = object.key.as_str().strip_prefix(self.root.as_str());
        let relative = inside.and_then(|inside| inside.strip_prefix("/catalog/")).ok_or_else(error)?;
        let mut parts = relative.split('/');
        let mut part = || parts.next().ok_or_else(error);
        let incarnation = part()?.parse()?;
        let entry = match part()? {
            "logs" => {
                let timeline = timeline(part()?).ok_or_else(error)?;
                part()?;
                CatalogEntry::Log(LogBackup::named(incarnation, timeline, object)?)
            }
            "snapshots" => CatalogEntry::Snapshot { incarnation, id: part()?.parse()? },
            "timelines" => CatalogEntry::History { incarnation, timeline: timeline(part()?).ok_or_else(error)? },
            _ => return Err(error()),
        };
        if parts.next().is_none() { Ok(entry) } else { Err(error()) }
    }

    /// The part `part` of the data of the snapshot `id`.
    #[must_use]
    pub fn data_part(&self, id: &SnapshotId, part: DataPart) -> ObjectKey {
        match part {
            DataPart::Manifest => self.manifest(id),
            DataPart::Pack(number) => self.pack(id, number),
            DataPart::Running => below(&self.snapshot_data(id), RUNNING),
            DataPart::Expired => below(&self.snapshot_data(id), EXPIRED),
        }
    }

    /// The log backup that is called so, of which the size is not known; `None` if it is no name of one.
    #[must_use]
    pub fn parse_log(&self, key: &ObjectKey) -> Option<LogBackup> {
        match self.parse_catalog(&StoredObject::new(key.clone(), 0)) {
            Ok(CatalogEntry::Log(log)) => Some(log),
            _ => None,
        }
    }

    /// What the name of an object below [`data`](Self::data) says; `None` if it is no name that this version writes.
    #[must_use]
    pub fn parse_data(&self, key: &ObjectKey) -> Option<DataEntry> {
        let mut parts = key.as_str().strip_prefix(self.root.as_str())?.strip_prefix("/data/")?.split('/');
        let (snapshot, part) = (parts.next()?.parse().ok()?, parts.next()?);
        let part = match part {
            MANIFEST => DataPart::Manifest,
            RUNNING => DataPart::Running,
            EXPIRED => DataPart::Expired,
            _ => DataPart::Pack(u32::try_from(upper_hex(part.strip_prefix("pack-")?, 8)?).ok()?),
        };
        parts.next().is_none().then_some(DataEntry { snapshot, part })
    }

    fn facts(&self, incarnation: Incarnation, kind: &str) -> ObjectKey {
        below(&below(&self.catalog(), incarnation), kind)
    }
}

fn below(directory: &ObjectKey, part: impl std::fmt::Display) -> ObjectKey {
    directory.join(part).expect("names of servers, snapshots, workers and incarnations are parts of keys, and few")
}

fn hex8(timeline: TimelineId) -> String {
    format!("{:08X}", timeline.as_u32())
}

fn timeline(part: &str) -> Option<TimelineId> {
    TimelineId::new(u32::try_from(upper_hex(part, 8)?).ok()?)
}

/// Names have one spelling only: they must print as they were parsed.
fn upper_hex(part: &str, digits: usize) -> Option<u64> {
    let upper = part.bytes().all(|byte| !byte.is_ascii_lowercase());
    upper.then(|| hex_u64(part, digits..=digits)).flatten()
}

#[cfg(test)]
mod tests;
