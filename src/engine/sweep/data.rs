//! Sweeping the data of snapshots: of what has no record, all goes that nobody uses.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};

use super::{RECORD_AGE_MAX, Sweep};
use crate::engine::error::{Context, ErrorKind, Result};
use crate::engine::inventory::{READS_IN_FLIGHT, Unreadable, blame};
use crate::engine::server::ServerRepository;
use crate::engine::{manifest, names};
use crate::format::layout::{DataEntry, DataPart};
use crate::format::manifest::{Manifest, PackId};
use crate::format::record::RunningSnapshot;
use crate::model::{Catalog, Incarnation, SnapshotId, StoredObject, Timestamp};

/// The data of one snapshot, as listed.
#[derive(Default)]
struct Data {
    parts: BTreeMap<DataPart, StoredObject>,
    /// When anything was stored of it last.
    modified: Option<Timestamp>,
    /// Whether nobody can record it any more.
    is_abandoned: bool,
}

impl Data {
    fn has(&self, part: DataPart) -> bool {
        self.parts.contains_key(&part)
    }

    fn packs(&self, id: &SnapshotId) -> impl Iterator<Item = PackId> {
        self.parts.keys().filter_map(|part| Some(PackId::new(id.clone(), part.pack()?)))
    }

    /// Whether it is complete but for its record.
    fn is_unrecorded(&self) -> bool {
        self.has(DataPart::Manifest) && !self.is_over()
    }

    /// Whether it has no record, and never will have one.
    fn is_over(&self) -> bool {
        self.is_abandoned || self.has(DataPart::Expired)
    }
}

/// What must stay of data without a record.
#[derive(Default)]
struct Uses {
    packs: BTreeSet<PackId>,
    /// The snapshots that are being built on: their manifests tell what is used.
    bases: BTreeSet<SnapshotId>,
    /// Those that are being taken, and of which life of the server they are.
    running: BTreeMap<SnapshotId, Incarnation>,
    unreadable: Vec<Unreadable>,
}

/// The data of snapshots, and which of them have a record.
struct Census {
    data: BTreeMap<SnapshotId, Data>,
    recorded: BTreeMap<SnapshotId, Incarnation>,
    /// Those that had none before the data were listed, nor after it.
    unrecorded: BTreeSet<SnapshotId>,
    /// Those that will never have one.
    abandoned: BTreeMap<SnapshotId, Incarnation>,
}

impl Sweep<'_> {
    /// Deletes the data of snapshots that have no record: of those that expired, and of those that were interrupted long before
    /// `horizon`. So a clock of ours that jumps ahead takes nothing from a snapshot that is being taken.
    pub(super) async fn delete_data(&mut self, catalog: &Catalog, horizon: Option<Timestamp>) -> Result<()> {
        let Census { mut data, recorded, unrecorded, abandoned } = Census::take(&self.sweeper.server, catalog).await?;
        self.delete_abandoned(abandoned.iter().filter(|(id, _)| !data.contains_key(*id)), horizon).await?;
        self.delete_notes(&data, &recorded).await?;
        data.retain(|id, _| unrecorded.contains(id));
        if data.is_empty() {
            return Ok(());
        }
        let uses = Uses::read(&self.sweeper.server, &data, recorded).await?;
        let is_known = uses.unreadable.is_empty() || self.sweeper.settings.despite_unreadable;
        self.report.unreadable.extend(uses.unreadable.iter().map(|(key, _)| key.clone()));
        let grace = self.sweeper.settings.grace;
        for (id, data) in data {
            let is_old = data.modified.map(|modified| modified.saturating_add(grace)) < horizon;
            if data.is_unrecorded() {
                self.report.unrecorded.push(id);
            } else if is_known && (is_old || data.has(DataPart::Expired)) && self.is_over(&id, &data, &uses).await? {
                self.delete_unused(&id, data, &uses.packs, uses.bases.contains(&id)).await?;
            }
        }
        Ok(())
    }

    /// Makes sure that a snapshot that stood still for long is not recorded when it goes on. `false` if it was just now.
    async fn is_over(&self, id: &SnapshotId, data: &Data, uses: &Uses) -> Result<bool> {
        match uses.running.get(id) {
            Some(incarnation) if !data.is_over() => self.sweeper.server.abandon(*incarnation, id).await,
            _ => Ok(true),
        }
    }

    /// Deletes what says that snapshots were abandoned, once nobody can be at them any more.
    async fn delete_abandoned(
        &mut self,
        abandoned: impl Iterator<Item = (&SnapshotId, &Incarnation)>,
        horizon: Option<Timestamp>,
    ) -> Result<()> {
        let first = horizon.map(|horizon| names::prefix(horizon.saturating_sub(RECORD_AGE_MAX)));
        let old = abandoned.filter(|(id, _)| first.as_deref().is_some_and(|first| id.as_str() < first));
        let layout = &self.sweeper.server.layout;
        let old = old.map(|(id, incarnation)| StoredObject::new(layout.snapshot(*incarnation, id), 0)).collect();
        self.delete(old).await.map(drop)
    }

    /// Takes back the notes of snapshots that are being taken, of those that have a record by now.
    async fn delete_notes(
        &mut self,
        data: &BTreeMap<SnapshotId, Data>,
        recorded: &BTreeMap<SnapshotId, Incarnation>,
    ) -> Result<()> {
        let done = data.iter().filter(|(id, _)| recorded.contains_key(*id));
        let notes = done.filter_map(|(_, data)| data.parts.get(&DataPart::Running)).cloned().collect();
        self.delete(notes).await.map(drop)
    }

    /// Deletes what nobody uses of the data of a snapshot. The note that it is being taken goes first: should it still be, that ends then. The
    /// note that it expired goes last: before, its data are not taken for those of a snapshot of which
    /// the record was lost.
    async fn delete_unused(
        &mut self,
        id: &SnapshotId,
        data: Data,
        used: &BTreeSet<PackId>,
        is_base: bool,
    ) -> Result<()> {
        let is_used = |part: &DataPart| match part {
            DataPart::Manifest => is_base,
            DataPart::Pack(number) => used.contains(&PackId::new(id.clone(), *number)),
            DataPart::Running | DataPart::Expired => false,
        };
        let (used, mut unused): (BTreeMap<_, _>, BTreeMap<_, _>) =
            data.parts.into_iter().partition(|(part, _)| is_used(part));
        let expired = unused.remove(&DataPart::Expired);
        let running = unused.remove(&DataPart::Running);
        let are_gone =
            self.delete(running.into_iter().collect()).await? && self.delete(unused.into_values().collect()).await?;
        if are_gone && used.is_empty() {
            self.delete(expired.into_iter().collect()).await?;
        }
        Ok(())
    }
}

impl Census {
    /// First the records, then the data, then the records again. A snapshot that is being taken first notes what it builds on, and
    /// then looks whether that has a record. So if it builds on one that had none at first, its note is among the data, unless
    /// it was done with it: then it has a record at last.
    ///
    /// Of those that are not in `catalog`, the record may say that the snapshot was abandoned: it is none.
    async fn take(server: &ServerRepository, catalog: &Catalog) -> Result<Self> {
        let mut before = server.recorded_snapshots().await?;
        let mut data = list(server).await?;
        let mut recorded = server.recorded_snapshots().await?;
        let abandoned = server.abandoned_of(&recorded, catalog).await?;
        for id in abandoned.keys() {
            before.remove(id);
            recorded.remove(id);
            data.entry(id.clone()).and_modify(|data| data.is_abandoned = true);
        }
        let is_unrecorded = |id: &&SnapshotId| !before.contains_key(*id) && !recorded.contains_key(*id);
        let unrecorded = data.keys().filter(is_unrecorded).cloned().collect();
        Ok(Self { data, recorded, unrecorded, abandoned })
    }
}

/// What is stored of the data of each snapshot.
async fn list(server: &ServerRepository) -> Result<BTreeMap<SnapshotId, Data>> {
    let directory = server.layout.data();
    let mut listing = server.vault.storage.list(Some(&directory), None);
    let mut data: BTreeMap<_, Data> = BTreeMap::new();
    while let Some(object) = listing.try_next().await.context(|| format!("listing {directory}"))? {
        if let Some(DataEntry { snapshot, part, .. }) = server.layout.parse_data(&object.key) {
            let data = data.entry(snapshot).or_default();
            data.parts.insert(part, StoredObject::new(object.key, object.bytes));
            data.modified = data.modified.max(Some(object.modified));
        }
    }
    Ok(data)
}

impl Uses {
    /// Reads what snapshots use: those that are `recorded`, those that are complete but for their record, and those that are being
    /// taken. The latter are among `data`, which are of snapshots without a record.
    async fn read(
        server: &ServerRepository,
        data: &BTreeMap<SnapshotId, Data>,
        recorded: BTreeMap<SnapshotId, Incarnation>,
    ) -> Result<Self> {
        let mut uses = Self::default();
        let unrecorded = data.iter().filter(|(_, data)| data.is_unrecorded()).map(|(id, _)| id.clone());
        let mut users: BTreeSet<_> = unrecorded.collect();
        for (id, _) in data.iter().filter(|(_, data)| data.has(DataPart::Running) && !data.is_abandoned) {
            uses.running(server, id).await?;
            // It may have been done since it was listed.
            users.insert(id.clone());
        }
        for id in &uses.bases {
            match data.get(id) {
                // It was interrupted: nothing says yet what of it is needed.
                Some(data) if !data.has(DataPart::Manifest) => uses.packs.extend(data.packs(id)),
                _ => drop(users.insert(id.clone())),
            }
        }
        let users = users.into_iter().map(|id| (id, false));
        let users: Vec<_> = users.chain(recorded.into_keys().map(|id| (id, true))).collect();
        let read = stream::iter(users).map(|(id, is_recorded)| read_manifest(server, id, is_recorded));
        let mut manifests = read.buffer_unordered(READS_IN_FLIGHT);
        while let Some(read) = manifests.try_next().await? {
            match read {
                Ok(Some(manifest)) => uses.packs.extend(manifest.packs.iter().map(|pack| pack.id.clone())),
                Ok(None) => {}
                Err(unreadable) => uses.unreadable.push(unreadable),
            }
        }
        drop(manifests);
        Ok(uses)
    }

    /// Reads what the snapshot `id` builds on, that is being taken.
    async fn running(&mut self, server: &ServerRepository, id: &SnapshotId) -> Result<()> {
        let note = server.layout.data_part(id, DataPart::Running);
        match blame(note.clone(), server.read_record::<RunningSnapshot>(&note).await)? {
            Ok(RunningSnapshot { incarnation, builds_on, .. }) => {
                self.bases.extend(builds_on);
                self.running.insert(id.clone(), incarnation);
            }
            Err((_, error)) if error.kind() == ErrorKind::NotFound => {}
            Err(unreadable) => self.unreadable.push(unreadable),
        }
        Ok(())
    }
}

/// The manifest of the snapshot `id`; `None` if there is none, which only one that `is_recorded` must have: others were deleted,
/// or came to nothing.
async fn read_manifest(
    server: &ServerRepository,
    id: SnapshotId,
    is_recorded: bool,
) -> Result<Result<Option<Manifest>, Unreadable>> {
    let name = server.layout.manifest(&id);
    let read = manifest::read_named(server, &name, &id).await;
    Ok(match blame(name, read)? {
        Err((_, error)) if error.kind() == ErrorKind::NotFound && !is_recorded => Ok(None),
        read => read.map(Some),
    })
}
