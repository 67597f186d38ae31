//! The snapshot before: what it stored need not be stored again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::running::RunningNote;
use crate::engine::error::{Context, Error, Result};
use crate::engine::inventory::READS_IN_FLIGHT;
use crate::engine::manifest;
use crate::engine::packs::Packs;
use crate::engine::repository::ServerRepository;
use crate::format::digest::Digest;
use crate::format::layout::{DataEntry, DataPart};
use crate::format::manifest::{BlockRef, Entry, Manifest, PackId, PackTable};
use crate::model::{Incarnation, ObjectKey, Snapshot, SnapshotId};

/// Packs below this size are small.
const SMALL_PACK_BYTES: u64 = 16 << 20;
/// If more small packs than this are used, none is any more: what is in them is stored anew, together.
const SMALL_PACKS_MAX: usize = 64;
/// Files come in nearly the same order every time, so few parts need be remembered.
const PARTS_REMEMBERED: usize = 4;

/// What is known of the packs of the snapshot before.
#[derive(Debug)]
pub(super) struct BasePacks {
    /// Blocks name the packs by their places in here.
    pub(super) table: PackTable,
    /// What each of them takes in the storage, in bytes; 0 if it is not there.
    sizes: Vec<u64>,
    /// Which of them go on being used.
    reusable: Vec<bool>,
    /// The blocks of its parts.
    parts: BTreeMap<Digest, BlockRef>,
}

impl BasePacks {
    /// Whether `block` can be used.
    pub(super) fn has(&self, block: &BlockRef) -> bool {
        self.reusable.get(block.pack as usize).copied().unwrap_or(false)
    }

    /// What the pack `id` takes in the storage, in bytes.
    pub(super) fn size(&self, id: &PackId) -> u64 {
        let place = self.table.find(id);
        place.and_then(|place| self.sizes.get(place as usize)).copied().unwrap_or(0)
    }

    /// The block of a part that has this digest.
    pub(super) fn part_block(&self, digest: &Digest) -> Option<BlockRef> {
        self.parts.get(digest).filter(|block| self.has(block)).copied()
    }
}

/// The snapshot before, of which the blocks of any file can be looked up.
///
/// What of it cannot be read is passed over: the files that it would tell of are stored anew.
#[derive(Debug)]
pub(super) struct Base {
    server: ServerRepository,
    manifest: ObjectKey,
    pub(super) packs: Arc<BasePacks>,
    reader: Packs,
    parts: Vec<Vec<BlockRef>>,
    /// The hash of each file's path, and the part that tells of it; in order. 16 bytes a file.
    index: Vec<(u64, u32)>,
    remembered: VecDeque<(u32, Part)>,
}

/// The blocks of the files that a part tells of.
type Part = BTreeMap<String, Vec<BlockRef>>;

impl Base {
    /// Opens the snapshot `id`, of which the packs `mistrusted` are not used.
    async fn open(
        server: &ServerRepository,
        incarnation: Incarnation,
        id: &SnapshotId,
        mistrusted: &BTreeSet<ObjectKey>,
    ) -> Result<Self> {
        let snapshot: Snapshot = server.read_record(&server.layout.snapshot(incarnation, id)).await?;
        let Manifest { packs: table, parts, .. } = manifest::read(server, &snapshot).await?;
        let reader = Packs::new(server.clone(), Arc::new(table.clone()));
        let sizes = sizes(server, &table).await?;
        let trusted =
            table.iter().map(|pack| !mistrusted.contains(&server.layout.pack(&pack.id.snapshot, pack.id.number)));
        let uses = table.iter().map(|pack| pack.bytes).zip(&sizes).zip(trusted);
        let reusable = reusable(uses.map(|((used, size), is_trusted)| (used, if is_trusted { *size } else { 0 })));
        let part_blocks = parts.iter().flatten().map(|block| (block.digest, *block)).collect();
        let packs = BasePacks { table, sizes, reusable, parts: part_blocks };
        let mut base = Self {
            server: server.clone(),
            manifest: snapshot.manifest.key,
            packs: Arc::new(packs),
            reader,
            parts,
            index: Vec::new(),
            remembered: VecDeque::new(),
        };
        base.index = base.read_index().await?;
        Ok(base)
    }

    /// The blocks of the file `path` as it was, none if it was not there.
    pub(super) async fn file(&mut self, path: &str) -> Result<Vec<BlockRef>> {
        let hash = hash(path);
        let first = self.index.partition_point(|(other, _)| *other < hash);
        let candidates: Vec<_> = self.index[first..].iter().take_while(|(other, _)| *other == hash).copied().collect();
        for (_, number) in candidates {
            if let Some(blocks) = self.part(number).await?.get(path) {
                return Ok(blocks.clone());
            }
        }
        Ok(Vec::new())
    }

    /// The part `number`, which is then remembered. Empty if it cannot be read.
    async fn part(&mut self, number: u32) -> Result<&Part> {
        let found = self.remembered.iter().rposition(|(remembered, _)| *remembered == number);
        let part = match found.and_then(|place| self.remembered.remove(place)) {
            Some((_, part)) => part,
            None => self.read_part(number).await?.into_iter().filter_map(blocks_of).collect(),
        };
        if self.remembered.len() >= PARTS_REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back((number, part));
        Ok(self.remembered.back().map(|(_, part)| part).expect("it was pushed just now"))
    }

    async fn read_part(&self, number: u32) -> Result<Vec<Entry>> {
        let blocks = &self.parts[number as usize];
        match manifest::read_part(&self.server, &self.reader, &self.manifest, blocks).await {
            Err(error) if error.is_of_object() => Ok(Vec::new()),
            entries => entries,
        }
    }

    async fn read_index(&self) -> Result<Vec<(u64, u32)>> {
        let numbers = 0..u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        let parts = stream::iter(numbers).map(async |number| {
            let files = self.read_part(number).await?.into_iter().filter_map(blocks_of);
            Ok::<Vec<_>, Error>(files.map(|(path, _)| (hash(&path), number)).collect())
        });
        let mut index = parts.buffered(READS_IN_FLIGHT / 4).try_concat().await?;
        index.sort_unstable();
        Ok(index)
    }
}

fn blocks_of(entry: Entry) -> Option<(String, Vec<BlockRef>)> {
    match entry {
        Entry::File(file) => Some((file.entry.path, file.blocks)),
        _ => None,
    }
}

fn hash(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// What each pack of `table` takes in the storage; 0 if it is not there.
async fn sizes(server: &ServerRepository, table: &PackTable) -> Result<Vec<u64>> {
    let (directory, mut sizes) = (server.layout.data(), vec![0; table.iter().len()]);
    let mut listing = server.vault.storage.list(Some(&directory), None);
    while let Some(object) = listing.try_next().await.context(|| format!("listing {directory}"))? {
        let Some(DataEntry { snapshot, part: DataPart::Pack(number), .. }) = server.layout.parse_data(&object.key)
        else {
            continue;
        };
        if let Some(place) = table.find(&PackId::new(snapshot, number)) {
            sizes[place as usize] = object.bytes;
        }
    }
    Ok(sizes)
}

/// Which packs go on being used, of each of which so many bytes are used, and which takes so many, 0 if it must not be used.
///
/// Not one of which less than half is used: what is left of it is stored anew, and the rest can be deleted once no older snapshot
/// needs it. So no snapshot keeps more than twice what the one before it used. And not many small ones, which would make a restore
/// a matter of very many requests.
fn reusable(packs: impl Iterator<Item = (u64, u64)>) -> Vec<bool> {
    let packs: Vec<_> = packs.collect();
    let is_alive = |(used, size): (u64, u64)| size > 0 && used.saturating_mul(2) >= size;
    let is_small = |(_, size): (u64, u64)| size < SMALL_PACK_BYTES;
    let small = packs.iter().filter(|pack| is_alive(**pack) && is_small(**pack)).count();
    packs.into_iter().map(|pack| is_alive(pack) && !(is_small(pack) && small > SMALL_PACKS_MAX)).collect()
}

/// The newest snapshot of `incarnation` that can be built on, as `note` then says; `None` if there is none.
///
/// First the note, then the record: whoever sweeps has either seen the note, or deleted the record before, which is then not found.
pub(super) async fn open(
    server: &ServerRepository,
    incarnation: Incarnation,
    mistrusted: &BTreeSet<ObjectKey>,
    note: &mut RunningNote,
) -> Result<Option<Base>> {
    for id in server.snapshots_of(incarnation).await?.into_iter().rev() {
        note.rebase(Some(id.clone())).await?;
        match Base::open(server, incarnation, &id, mistrusted).await {
            // It expired just now, or is damaged.
            Err(error) if error.is_of_object() => {}
            base => return base.map(Some),
        }
    }
    note.rebase(None).await?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_pack_is_used_while_half_of_it_is_alive() {
        let packs = [(32 * MIB, 64 * MIB), (32 * MIB - 1, 64 * MIB), (64 * MIB, 0), (MIB / 2, MIB), (0, MIB)];
        assert_eq!(reusable(packs.into_iter()), [true, false, false, true, false]);
    }

    #[test]
    fn many_small_packs_are_stored_anew_together() {
        let small = |count: usize| std::iter::repeat_n((MIB, MIB), count).chain([(64 * MIB, 64 * MIB), (1, MIB)]);
        let used = |count| reusable(small(count)).into_iter().filter(|used| *used).count();
        assert_eq!(used(SMALL_PACKS_MAX), SMALL_PACKS_MAX + 1);
        assert_eq!(used(SMALL_PACKS_MAX + 1), 1);
    }
}
