//! What was found, and what of it is a fault.

use std::collections::{BTreeMap, BTreeSet};

use super::contents::{Contents, Data};
use super::packs::PackUsers;
use super::report::{Fault, VerifyReport};
use super::{Examined, VerifyDepth, VerifyProgress};
use crate::engine::error::{Context, Error, ErrorKind, Result};
use crate::engine::inventory::blame;
use crate::engine::manifest;
use crate::engine::server::ServerRepository;
use crate::format::layout::{CatalogEntry, DataPart};
use crate::format::manifest::Manifest;
use crate::model::{
    Artifact, Branch, Catalog, LogBackup, ObjectKey, Snapshot, SnapshotId, StoredObject, TimelineId, Timestamp,
};
use crate::plan::retention::RetentionPolicy;
use crate::plan::{RestorableInterval, loss};
use crate::port::StorageExt;

/// What was found of a server, and what must be known to judge it.
pub(super) struct Findings<'a> {
    server: &'a ServerRepository,
    objects: u64,
    bytes: u64,
    faults: BTreeMap<ObjectKey, Error>,
    /// Log backups that others name, but that are not there.
    missing: BTreeMap<ObjectKey, LogBackup>,
}

/// Whose data something is.
enum Owner {
    /// A snapshot with a record, whatever that holds.
    Snapshot,
    /// A snapshot that was complete, and whose record is lost.
    Lost(ObjectKey),
    /// A snapshot that is being taken, or was interrupted.
    Nobody,
}

impl<'a> Findings<'a> {
    pub(super) fn new(server: &'a ServerRepository) -> Self {
        Self { server, objects: 0, bytes: 0, faults: BTreeMap::new(), missing: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, examined: Examined) -> VerifyProgress {
        let Examined { object: StoredObject { key: object, bytes, .. }, fault, missing } = examined;
        self.objects += 1;
        self.bytes += bytes;
        self.missing.extend(missing.map(|log| (log.key(), log)));
        self.faults.extend(fault.map(|error| (object.clone(), error)));
        VerifyProgress { object, objects: self.objects, bytes: self.bytes }
    }

    /// Says what of it is a fault.
    pub(super) async fn judge(
        mut self,
        depth: VerifyDepth,
        contents: Contents,
        users: &PackUsers,
    ) -> Result<VerifyReport> {
        let Contents { inventory, data, foreign } = contents;
        let catalog = inventory.catalog;
        self.faults.extend(inventory.unreadable);
        self.faults.extend(foreign.into_iter().map(|object| (object.clone(), stranger(&object))));
        let window = self.window(&catalog).await?;
        self.look_for_histories(&catalog);
        let unreferenced = self.look_for_records(&catalog, &data, users).await?;
        self.forget_what_was_deleted(&catalog, users).await?;
        let catalog = self.look_for_logs(catalog, window)?;
        let layout = self.server.layout.clone();
        let needed_by = self.faults.keys().filter_map(|object| {
            let users = users.of(object)?;
            Some((object.clone(), users.map(|user| user.manifest.clone()).collect()))
        });
        let needed_by = needed_by.collect();
        let faults = self.faults.into_iter().map(|(object, error)| Fault::new(object, error)).collect();
        let (objects, bytes) = (self.objects, self.bytes);
        Ok(VerifyReport { depth, objects, bytes, faults, unreferenced, layout, catalog, needed_by, window })
    }

    /// The retention window; all time if the server's record is lost. It ends where the server was seen last.
    async fn window(&mut self, catalog: &Catalog) -> Result<RestorableInterval> {
        let (now, last) = (self.server.clock.now(), catalog.current().and_then(|branch| catalog.last_seen(branch)));
        let end = last.map_or(now, |last| last.min(now));
        match blame(self.server.layout.record(), self.server.spec().await)? {
            Ok(spec) => Ok((RetentionPolicy::new(spec.retention).window_start(end), end).into()),
            Err((record, error)) => {
                self.faults.insert(record, error);
                Ok((Timestamp::MIN, Timestamp::MAX).into())
            }
        }
    }

    /// Of every timeline but the first from which anything is there, the history must be.
    fn look_for_histories(&mut self, catalog: &Catalog) {
        let used = |branch: &Branch| {
            let snapshots = catalog.record(*branch).is_some_and(|record| !record.snapshots.is_empty());
            branch.timeline != TimelineId::FIRST && (snapshots || catalog.logs(*branch).next().is_some())
        };
        for branch in catalog.branches().filter(used).filter(|branch| catalog.history_object(*branch).is_none()) {
            let name = self.server.layout.history(branch.incarnation, branch.timeline);
            self.faults
                .entry(name)
                .or_insert_with_key(|name| gone(name, "there is log or a snapshot of that timeline"));
        }
    }

    /// Finds what of the data belongs to no snapshot.
    async fn look_for_records(
        &mut self,
        catalog: &Catalog,
        data: &BTreeMap<SnapshotId, Data>,
        users: &PackUsers,
    ) -> Result<Vec<StoredObject>> {
        let mut unreferenced = Vec::new();
        for (id, data) in data.iter().filter(|(id, _)| catalog.snapshot(id).is_none()) {
            match self.owner(id, data).await? {
                Owner::Snapshot => {}
                Owner::Lost(record) => {
                    let error = gone(&record, "there is a complete manifest of that snapshot");
                    self.faults.insert(record, error);
                }
                Owner::Nobody => {
                    let object = |(&part, &bytes)| StoredObject::new(self.server.layout.data_part(id, part), bytes);
                    unreferenced.extend(data.iter().map(object).filter(|object| users.of(&object.key).is_none()));
                }
            }
        }
        Ok(if self.is_use_unknown(catalog) { Vec::new() } else { unreferenced })
    }

    /// Whether there is a snapshot of which nobody can say what it needs.
    fn is_use_unknown(&self, catalog: &Catalog) -> bool {
        let is_record = |object: &ObjectKey| {
            let entry = self.server.layout.parse_catalog(&StoredObject::new(object.clone(), 0));
            matches!(entry, Ok(CatalogEntry::Snapshot { .. }))
        };
        catalog.snapshots().any(|snapshot| self.faults.contains_key(&snapshot.manifest.key))
            || self.faults.keys().any(is_record)
    }

    async fn owner(&mut self, id: &SnapshotId, data: &Data) -> Result<Owner> {
        if self.faults.keys().any(|object| self.is_record_of(object, id)) {
            return Ok(Owner::Snapshot);
        }
        let is_noted = data.contains_key(&DataPart::Expired) || data.contains_key(&DataPart::Running);
        if is_noted || !data.contains_key(&DataPart::Manifest) {
            return Ok(Owner::Nobody);
        }
        let manifest = self.server.layout.manifest(id);
        let record = match blame(manifest.clone(), manifest::read_named(self.server, &manifest, id).await)? {
            Ok(read) if is_swept(&read, data) => return Ok(Owner::Nobody),
            Ok(read) => self.server.layout.snapshot(read.head.incarnation, id),
            Err((_, error)) if error.kind() == ErrorKind::NotFound => return Ok(Owner::Nobody),
            Err((manifest, error)) => {
                self.faults.insert(manifest, error);
                return Ok(Owner::Nobody);
            }
        };
        // A sweep may have come since: its note is there before the record goes.
        let is_expiring = self.server.layout.data_part(id, DataPart::Expired);
        Ok(match (self.exists(&record).await?, self.exists(&is_expiring).await?) {
            (true, _) => Owner::Snapshot,
            (false, true) => Owner::Nobody,
            (false, false) if self.exists(&manifest).await? => Owner::Lost(record),
            (false, false) => Owner::Nobody,
        })
    }

    fn is_record_of(&self, object: &ObjectKey, snapshot: &SnapshotId) -> bool {
        let entry = self.server.layout.parse_catalog(&StoredObject::new(object.clone(), 0));
        matches!(entry, Ok(CatalogEntry::Snapshot { id, .. }) if id == *snapshot)
    }

    async fn exists(&self, object: &ObjectKey) -> Result<bool> {
        self.server.vault.storage.exists(object).await.context(|| format!("looking for {object}"))
    }

    /// What was listed but is missing may have expired meanwhile: of a snapshot the record went first then.
    async fn forget_what_was_deleted(&mut self, catalog: &Catalog, users: &PackUsers) -> Result<()> {
        let missing = self.faults.iter().filter(|(_, error)| error.kind() == ErrorKind::NotFound);
        for object in missing.map(|(object, _)| object.clone()).collect::<Vec<_>>() {
            if let Some(log) = self.server.layout.parse_log(&object) {
                self.faults.remove(&object);
                self.missing.insert(object, log);
            } else if self.is_of_deleted(&object, catalog, users).await? {
                self.faults.remove(&object);
            }
        }
        Ok(())
    }

    /// Whether `object` is of the data of snapshots that are there no more.
    async fn is_of_deleted(&self, object: &ObjectKey, catalog: &Catalog, users: &PackUsers) -> Result<bool> {
        let of_snapshot = |snapshot: &Snapshot| self.server.layout.snapshot(snapshot.incarnation, &snapshot.id);
        let owner = self.server.layout.parse_data(object).and_then(|entry| catalog.snapshot(&entry.snapshot));
        let records: Vec<_> = match users.of(object) {
            Some(users) => users.map(|user| user.record.clone()).collect(),
            None => owner.map(of_snapshot).into_iter().collect(),
        };
        for record in &records {
            if self.exists(record).await? {
                return Ok(false);
            }
        }
        Ok(!records.is_empty())
    }

    /// Of the log backups that are not there, those are faults without which instants of the window cannot be restored; the
    /// others expired. Gives the catalog as it would be without any fault of a log backup.
    fn look_for_logs(&mut self, catalog: Catalog, window: RestorableInterval) -> Result<Catalog> {
        let is_held = |lost: &LogBackup| {
            let branch = Branch::new(lost.incarnation, lost.wal.timeline);
            catalog.logs(branch).any(|log| log.start() <= lost.wal.start && lost.wal.end <= log.end())
        };
        // What was merged is deleted; the log backup after it still names it.
        self.missing.retain(|object, lost| !self.faults.contains_key(object) && !is_held(lost));
        let damaged = self.faults.keys().filter_map(|object| self.server.layout.parse_log(object));
        let damaged = damaged.filter(|log| !catalog.has_log(log));
        let lost: Vec<_> = self.missing.values().cloned().chain(damaged).map(Artifact::from).collect();
        let intact = self.index(catalog.artifacts().chain(lost))?;
        let mut expired = BTreeSet::new();
        for object in std::mem::take(&mut self.missing).into_keys() {
            let costs = loss(&intact, &BTreeSet::from([object.clone()]), window);
            if costs.is_ok_and(|costs| costs.is_empty()) {
                expired.insert(object);
            } else {
                let error = gone(&object, "the log backup that goes on where it ends is there");
                self.faults.insert(object, error);
            }
        }
        self.index(intact.artifacts().filter(|artifact| !expired.contains(&artifact.object().key)))
    }

    fn index(&self, artifacts: impl Iterator<Item = Artifact>) -> Result<Catalog> {
        let contradiction = |error| Error::corrupt(format!("the catalog of server {}", self.server.name()), error);
        Catalog::new(artifacts).map_err(contradiction)
    }
}

fn stranger(object: &ObjectKey) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{object} is a foreign object"))
}

fn gone(object: &ObjectKey, evidence: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("{object} is missing, but {evidence}"))
}

/// Whether packs of its own are missing that `manifest` names: a sweep came while the snapshot was being taken.
fn is_swept(manifest: &Manifest, data: &Data) -> bool {
    let own = manifest.packs.iter().filter(|pack| pack.id.snapshot == manifest.head.snapshot);
    own.map(|pack| pack.id.number).any(|number| !data.contains_key(&DataPart::Pack(number)))
}
