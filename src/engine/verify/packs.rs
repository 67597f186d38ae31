//! Verifying packs, each once, however many snapshots use it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::contents::{Contents, Data};
use super::{Examined, Place, Verification, VerifyDepth};
use crate::engine::error::Result;
use crate::engine::packs::{Packs, runs};
use crate::format::layout::{DataPart, ServerLayout};
use crate::format::manifest::{Manifest, PackId, PackTable};
use crate::model::{ObjectKey, Snapshot, StoredObject};

/// How many runs of blocks of one pack are read at a time.
const RUNS_IN_FLIGHT: usize = 2;

/// The packs of snapshots, and which of these use them.
pub(super) struct PackUsers {
    layout: ServerLayout,
    users: Vec<User>,
    /// By their places in `users`.
    packs: BTreeMap<PackId, Vec<usize>>,
}

/// A snapshot that uses packs.
pub(super) struct User {
    pub(super) record: ObjectKey,
    pub(super) manifest: ObjectKey,
}

impl PackUsers {
    pub(super) fn new(layout: &ServerLayout) -> Self {
        Self { layout: layout.clone(), users: Vec::new(), packs: BTreeMap::new() }
    }

    /// Notes that `snapshot` uses the packs of its `manifest`. If that is damaged, nobody knows which; but of what it stored itself
    /// it can be told whether it is sound.
    pub(super) fn add(&mut self, snapshot: &Snapshot, manifest: Option<&Manifest>, stored: &Data) {
        let user = self.users.len();
        let record = self.layout.snapshot(snapshot.incarnation, &snapshot.id);
        self.users.push(User { record, manifest: snapshot.manifest.key.clone() });
        let used = manifest.into_iter().flat_map(|manifest| manifest.packs.iter()).map(|pack| pack.id.clone());
        let own = stored.keys().filter_map(|part| part.pack()).map(|number| PackId::new(snapshot.id.clone(), number));
        for pack in used.chain(own).collect::<BTreeSet<_>>() {
            self.packs.entry(pack).or_default().push(user);
        }
    }

    /// The snapshots that use the pack, if `object` is one that any uses.
    pub(super) fn of(&self, object: &ObjectKey) -> Option<impl Iterator<Item = &User>> {
        let entry = self.layout.parse_data(object)?;
        let pack = PackId::new(entry.snapshot, entry.part.pack()?);
        Some(self.packs.get(&pack)?.iter().map(|user| &self.users[*user]))
    }

    fn table(&self) -> PackTable {
        let mut table = PackTable::default();
        for id in self.packs.keys() {
            table.place(id);
        }
        table
    }
}

impl Verification {
    /// Verifies all packs, in order of their names.
    pub(super) fn packs<'a>(&'a self, users: &PackUsers, contents: &'a Contents) -> BoxStream<'a, Result<Examined>> {
        let table = Arc::new(users.table());
        let packs = Packs::new(self.server.clone(), Arc::clone(&table));
        let places = 0..u32::try_from(table.iter().len()).unwrap_or(u32::MAX);
        let pack = move |place: u32| table.get(place).map(|pack| (place, pack.id.clone()));
        let due = places.filter_map(pack).filter(|(_, id)| self.is_due(&Place::Pack(id.clone())));
        let examined = due.map(move |(place, id)| {
            let (packs, object) = (packs.clone(), self.pack_object(&id, contents));
            async move {
                let read = match self.depth {
                    VerifyDepth::Quick => self.check_end(&object.key).await,
                    VerifyDepth::Full => check_blocks(&packs, place).await,
                };
                Ok(Examined::of(object, read)?.0)
            }
        });
        stream::iter(examined).buffered(self.in_flight()).boxed()
    }

    fn pack_object(&self, id: &PackId, contents: &Contents) -> StoredObject {
        let bytes = contents.data_of(&id.snapshot).get(&DataPart::Pack(id.number)).copied();
        StoredObject::new(self.server.layout.pack(&id.snapshot, id.number), bytes.unwrap_or(0))
    }

    async fn check_end(&self, name: &ObjectKey) -> Result<()> {
        self.server.vault.open(name).await?.check_end().await
    }
}

/// Reads the whole pack, by its own index: of that it is known that it is as long as the pack.
async fn check_blocks(packs: &Packs, place: u32) -> Result<()> {
    let index = packs.read_index(place).await?;
    let blocks: Vec<_> = index.entries().iter().map(|entry| packs.block(place, &index, entry)).collect();
    let fetched = stream::iter(runs(&blocks)).map(|run| packs.fetch(run)).buffer_unordered(RUNS_IN_FLIGHT);
    fetched.try_for_each(|_| future::ready(Ok(()))).await
}
