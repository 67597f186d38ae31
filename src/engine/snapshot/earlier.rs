//! Finding what earlier snapshots stored: the newest that can be read, and those that were interrupted since.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::running::RunningNote;
use crate::engine::error::{Context, Error, Result};
use crate::engine::inventory::blame;
use crate::engine::manifest;
use crate::engine::packs::Packs;
use crate::engine::server::ServerRepository;
use crate::format::layout::{DataEntry, DataPart};
use crate::format::manifest::{BlockRef, Manifest, PackId, PackTable};
use crate::format::pack::{Content, PackIndex};
use crate::format::record::RunningSnapshot;
use crate::model::{Incarnation, SnapshotId, Timestamp};

/// An interrupted snapshot is built on while it is younger. Well before a sweep takes it for one, whose grace is longer.
const INTERRUPTED_AGE_MAX: Duration = Duration::from_secs(6 * 60 * 60);
/// Of how many that were interrupted the packs are used, at most.
const INTERRUPTED_MAX: usize = 8;
/// How many indexes of packs are read at a time.
const INDEXES_IN_FLIGHT: usize = 4;

/// What earlier snapshots stored.
pub(super) struct Earlier {
    /// The packs.
    pub(super) table: Arc<PackTable>,
    /// What each of them takes in the storage, in bytes; 0 if it is not there.
    pub(super) sizes: Vec<u64>,
    /// Reads them.
    pub(super) reader: Packs,
    /// The blocks of parts of manifests; the later the better.
    pub(super) parts: Vec<Vec<BlockRef>>,
    /// Blocks of files of which no part tells.
    pub(super) loose: Vec<BlockRef>,
}

/// Finds what can be built on, and lets `note` say so.
///
/// First the note, then the record: whoever sweeps has either seen the note, or deleted the record before, which is then not found.
pub(super) async fn find(
    server: &ServerRepository,
    incarnation: Incarnation,
    note: &mut RunningNote,
) -> Result<Earlier> {
    let data = StoredData::list(server).await?;
    let mut recorded = server.recorded_snapshots().await?;
    abandon_others(server, &data, &mut recorded).await?;
    for (id, _) in recorded.iter().rev().filter(|(_, of)| **of == incarnation) {
        let interrupted = announce(server, &data, &recorded, Some(id), note).await?;
        match read_manifest(server, incarnation, id).await {
            // It expired just now, or is damaged.
            Err(error) if error.is_of_object() => {}
            manifest => return data.earlier(server, Some(manifest?), &interrupted).await,
        }
    }
    let interrupted = announce(server, &data, &recorded, None, note).await?;
    data.earlier(server, None, &interrupted).await
}

/// Abandons the snapshots of those who had the lease before: should they still be at it, they can record nothing. Leaves among `recorded` what is
/// not abandoned.
async fn abandon_others(
    server: &ServerRepository,
    data: &StoredData,
    recorded: &mut BTreeMap<SnapshotId, Incarnation>,
) -> Result<()> {
    for id in data.noted() {
        let note = server.layout.data_part(id, DataPart::Running);
        let Ok(RunningSnapshot { incarnation, token, .. }) = blame(note.clone(), server.read_record(&note).await)?
        else {
            continue;
        };
        let is_over = token.is_some() && token < server.token;
        if recorded.contains_key(id) {
            if server.is_abandoned(incarnation, id).await? {
                recorded.remove(id);
            }
        } else if is_over && !server.abandon(incarnation, id).await? {
            recorded.insert(id.clone(), incarnation);
        }
    }
    Ok(())
}

/// Lets `note` say that `base` is built on, and what was interrupted since; gives the latter.
///
/// They are young when the note is there: no sweep can have taken them for old that has not seen it. What stood still meanwhile may
/// come too late.
async fn announce(
    server: &ServerRepository,
    data: &StoredData,
    recorded: &BTreeMap<SnapshotId, Incarnation>,
    base: Option<&SnapshotId>,
    note: &mut RunningNote,
) -> Result<Vec<SnapshotId>> {
    let mut interrupted = data.interrupted(recorded, base);
    interrupted.retain(|id| data.is_young(id, server.clock.now()));
    note.say(base.into_iter().chain(&interrupted).cloned().collect()).await?;
    let now = server.clock.now();
    interrupted.retain(|id| data.is_young(id, now));
    Ok(interrupted)
}

async fn read_manifest(server: &ServerRepository, incarnation: Incarnation, id: &SnapshotId) -> Result<Manifest> {
    let snapshot = server.read_snapshot(&server.layout.snapshot(incarnation, id)).await?;
    manifest::read(server, &snapshot).await
}

/// The packs that are stored, by snapshot.
#[derive(Default)]
struct StoredData(BTreeMap<SnapshotId, StoredPacks>);

#[derive(Default)]
struct StoredPacks {
    /// Their sizes in bytes.
    packs: BTreeMap<u32, u64>,
    is_expired: bool,
    /// Whether there is a note that it is being taken.
    is_noted: bool,
    /// When anything was stored last.
    modified: Option<Timestamp>,
}

impl StoredData {
    async fn list(server: &ServerRepository) -> Result<Self> {
        let (directory, mut data) = (server.layout.data(), Self::default());
        let mut listing = server.vault.storage.list(Some(&directory), None);
        while let Some(object) = listing.try_next().await.context(|| format!("listing {directory}"))? {
            let Some(DataEntry { snapshot, part, .. }) = server.layout.parse_data(&object.key) else { continue };
            let stored = data.0.entry(snapshot).or_default();
            stored.modified = stored.modified.max(Some(object.modified));
            stored.is_expired |= part == DataPart::Expired;
            stored.is_noted |= part == DataPart::Running;
            stored.packs.extend(part.pack().map(|number| (number, object.bytes)));
        }
        Ok(data)
    }

    /// Those that are being taken, or were when they were interrupted.
    fn noted(&self) -> impl Iterator<Item = &SnapshotId> {
        self.0.iter().filter(|(_, stored)| stored.is_noted).map(|(id, _)| id)
    }

    /// The latest of those without a record that stored packs after `base`, oldest first.
    fn interrupted(&self, recorded: &BTreeMap<SnapshotId, Incarnation>, base: Option<&SnapshotId>) -> Vec<SnapshotId> {
        let is_interrupted = |(id, stored): &(&SnapshotId, &StoredPacks)| {
            let is_fit = !stored.is_expired && !stored.packs.is_empty();
            is_fit && base.is_none_or(|base| *id > base) && !recorded.contains_key(*id)
        };
        let mut latest: Vec<_> =
            self.0.iter().rev().filter(is_interrupted).map(|(id, _)| id.clone()).take(INTERRUPTED_MAX).collect();
        latest.reverse();
        latest
    }

    /// Whether `id` stored something shortly before `now`.
    fn is_young(&self, id: &SnapshotId, now: Timestamp) -> bool {
        let modified = self.0.get(id).and_then(|stored| stored.modified);
        modified.is_some_and(|modified| modified.saturating_add(INTERRUPTED_AGE_MAX) > now)
    }

    /// What there is of the snapshot that has the manifest `base`, and of those that were `interrupted`.
    async fn earlier(
        &self,
        server: &ServerRepository,
        base: Option<Manifest>,
        interrupted: &[SnapshotId],
    ) -> Result<Earlier> {
        let (mut table, mut parts) = base.map(|base| (base.packs, base.parts)).unwrap_or_default();
        let mut unfinished = Vec::new();
        for id in interrupted {
            let mut places = Vec::new();
            for (number, bytes) in self.0.get(id).into_iter().flat_map(|stored| &stored.packs) {
                let place = table.place(&PackId::new(id.clone(), *number));
                table.add_use(place, *bytes);
                places.push(place);
            }
            unfinished.push(places);
        }
        let mut sizes: Vec<_> = table.iter().map(|pack| self.size(&pack.id)).collect();
        let table = Arc::new(table);
        let (reader, mut loose) = (Packs::new(server.clone(), Arc::clone(&table)), Vec::new());
        for places in unfinished {
            let contents = Unfinished::read(&reader, places).await?;
            parts.extend(contents.parts);
            loose.extend(contents.loose);
            for place in contents.unreadable {
                sizes[place as usize] = 0;
            }
        }
        Ok(Earlier { table, sizes, reader, parts, loose })
    }

    fn size(&self, id: &PackId) -> u64 {
        let stored = self.0.get(&id.snapshot);
        stored.and_then(|stored| stored.packs.get(&id.number)).copied().unwrap_or(0)
    }
}

/// What is in the packs of a snapshot that never got a manifest.
#[derive(Default)]
struct Unfinished {
    parts: Vec<Vec<BlockRef>>,
    /// What follows the last part.
    loose: Vec<BlockRef>,
    /// Packs that must not be used.
    unreadable: Vec<u32>,
    /// What comes next follows a block of the last part.
    in_part: bool,
}

impl Unfinished {
    /// Reads the indexes of the packs at `places`, which are in order of their numbers.
    async fn read(packs: &Packs, places: Vec<u32>) -> Result<Self> {
        let read = stream::iter(places).map(async |place| Ok::<_, Error>((place, packs.index(place).await?)));
        let mut indexes = std::pin::pin!(read.buffered(INDEXES_IN_FLIGHT));
        let (mut unfinished, mut due) = (Self::default(), Some(0));
        while let Some((place, index)) = indexes.try_next().await? {
            let number = packs.table().get(place).map(|pack| pack.id.number);
            unfinished.in_part &= number == due;
            due = number.and_then(|number| number.checked_add(1));
            match index {
                Some(index) => unfinished.add_all(packs, place, &index),
                None => unfinished.skip(place),
            }
        }
        Ok(unfinished)
    }

    fn add_all(&mut self, packs: &Packs, place: u32, index: &PackIndex) {
        for entry in index.entries() {
            self.add(entry.content, packs.block(place, index, entry));
        }
    }

    fn skip(&mut self, place: u32) {
        self.unreadable.push(place);
        self.in_part = false;
    }

    fn add(&mut self, content: Content, block: BlockRef) {
        match content {
            Content::File => self.loose.push(block),
            // It tells of all files whose blocks come before it.
            Content::Part => {
                self.loose.clear();
                self.parts.push(vec![block]);
            }
            Content::PartRest if self.in_part => self.parts.last_mut().into_iter().for_each(|part| part.push(block)),
            // Of a part whose beginning is not there.
            Content::PartRest => {}
        }
        self.in_part = content == Content::Part || self.in_part && content == Content::PartRest;
    }
}
