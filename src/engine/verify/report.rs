//! What a verification found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::VerifyDepth;
use crate::engine::error::{Error, ErrorKind};
use crate::format::layout::{CatalogEntry, DataPart, ServerLayout};
use crate::model::{Catalog, ObjectKey, StoredObject, Timestamp};
use crate::plan::{Loss, RestorableInterval, loss};
use crate::port::explain;

/// What a verification found.
#[derive(Debug)]
#[non_exhaustive]
pub struct VerifyReport {
    /// How thoroughly was looked.
    pub depth: VerifyDepth,
    /// How many log backups, manifests and packs were verified.
    pub objects: u64,
    /// The bytes that they take.
    pub bytes: u64,
    /// What is wrong, by object, one fault an object.
    pub faults: Vec<Fault>,
    /// Data of snapshots that are being taken, or were interrupted: no snapshot in the catalog needs them. None are named while a
    /// manifest or a record is damaged or missing, as then nobody knows what is needed.
    pub unreferenced: Vec<StoredObject>,
    pub(super) layout: ServerLayout,
    /// As it would be without the faults, as far as that is known.
    pub(super) catalog: Catalog,
    /// The manifests of the snapshots that need a pack, of those that have a fault.
    pub(super) needed_by: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    pub(super) window: RestorableInterval,
}

/// Something that is not as it was written.
#[derive(Debug)]
#[non_exhaustive]
pub struct Fault {
    /// The object.
    pub object: ObjectKey,
    /// What is wrong with it.
    pub kind: FaultKind,
    /// The same in detail.
    pub error: Error,
}

/// What is wrong with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// It is not there. Get it back from another copy of the storage.
    Missing,
    /// It is not what was written. Get it back from another copy of the storage.
    Damaged,
    /// It is nothing that this version knows: a foreign object, or a newer pitr's.
    Foreign,
}

/// What a fault costs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cost {
    /// These instants of the retention window cannot be restored; none, if other artifacts serve all of them.
    Instants(Vec<Loss>),
    /// Nothing of the server can be restored.
    Everything,
    /// What the object held is known from nowhere else.
    Unknown,
}

impl VerifyReport {
    /// The report on a server of which the key is lost, and so everything: `lock` cannot be opened.
    pub(super) fn locked(depth: VerifyDepth, layout: ServerLayout, lock: ObjectKey, error: Error) -> Self {
        Self {
            depth,
            objects: 0,
            bytes: 0,
            faults: vec![Fault::new(lock, error)],
            unreferenced: Vec::new(),
            layout,
            catalog: Catalog::default(),
            needed_by: BTreeMap::new(),
            window: (Timestamp::MIN, Timestamp::MAX).into(),
        }
    }

    /// The retention window, of which the instants count: up to when the server was seen last. All time, if the server's record is
    /// lost.
    #[must_use]
    pub fn window(&self) -> RestorableInterval {
        self.window
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// What `fault` costs, if it were the only one.
    ///
    /// Judged by what is known without the object. Where a snapshot ends inside a log backup that is lost, it may cost the first
    /// instants after the snapshot too, up to the last commit in the log backup.
    #[must_use]
    pub fn costs(&self, fault: &Fault) -> Cost {
        match self.lost_with(&fault.object) {
            Lost::Artifacts(artifacts) => self.costs_of(&artifacts),
            Lost::Nothing => Cost::Instants(Vec::new()),
            Lost::Everything => Cost::Everything,
            Lost::Unknown => Cost::Unknown,
        }
    }

    /// What all faults cost together, but for those of which it is unknown.
    #[must_use]
    pub fn costs_in_all(&self) -> Cost {
        let mut artifacts = BTreeSet::new();
        for fault in &self.faults {
            match self.lost_with(&fault.object) {
                Lost::Artifacts(lost) => artifacts.extend(lost),
                Lost::Everything => return Cost::Everything,
                Lost::Nothing | Lost::Unknown => {}
            }
        }
        self.costs_of(&artifacts)
    }

    fn costs_of(&self, artifacts: &BTreeSet<ObjectKey>) -> Cost {
        loss(&self.catalog, artifacts, self.window).map_or(Cost::Unknown, Cost::Instants)
    }

    fn lost_with(&self, object: &ObjectKey) -> Lost {
        if *object == self.layout.key() {
            return Lost::Everything;
        }
        if let Some(entry) = self.layout.parse_data(object) {
            return match entry.part {
                DataPart::Pack(_) => self.needed_by.get(object).cloned().map_or(Lost::Nothing, Lost::Artifacts),
                DataPart::Manifest if self.catalog.snapshot(&entry.snapshot).is_some() => Lost::artifact(object),
                _ => Lost::Nothing,
            };
        }
        match self.layout.parse_catalog(&StoredObject::new(object.clone(), 0)) {
            Ok(CatalogEntry::Log(_)) => Lost::artifact(object),
            Ok(CatalogEntry::Snapshot { .. } | CatalogEntry::History { .. }) => Lost::Unknown,
            Err(_) => Lost::Nothing,
        }
    }
}

/// What is lost with an object.
enum Lost {
    Artifacts(BTreeSet<ObjectKey>),
    Everything,
    Nothing,
    Unknown,
}

impl Lost {
    fn artifact(object: &ObjectKey) -> Self {
        Self::Artifacts(BTreeSet::from([object.clone()]))
    }
}

impl Fault {
    pub(super) fn new(object: ObjectKey, error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => FaultKind::Missing,
            ErrorKind::InvalidInput => FaultKind::Foreign,
            _ => FaultKind::Damaged,
        };
        Self { object, kind, error }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&explain(&self.error))
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instants(lost) if lost.is_empty() => f.write_str("no instant: other artifacts serve all of them"),
            Self::Instants(lost) => {
                f.write_str("instants ")?;
                lost.iter().enumerate().try_for_each(|(i, loss)| write!(f, "{}{loss}", if i == 0 { "" } else { "; " }))
            }
            Self::Everything => f.write_str("everything of the server"),
            Self::Unknown => f.write_str("what nobody knows: what it held is known from nowhere else"),
        }
    }
}
