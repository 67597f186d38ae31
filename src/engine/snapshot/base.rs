//! What earlier snapshots stored, and need not be stored again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::earlier::Earlier;
use super::layers::KnownExtent;
use crate::engine::error::{Error, Result};
use crate::engine::inventory::READS_IN_FLIGHT;
use crate::engine::manifest;
use crate::engine::packs::Packs;
use crate::engine::server::ServerRepository;
use crate::format::digest::Digest;
use crate::format::manifest::{BlockRef, Entry, Extent, ManifestFile, PackId, PackTable};
use crate::model::ObjectKey;

/// Packs below this size are small.
const SMALL_PACK_BYTES: u64 = 16 << 20;
/// If more small packs than this are used, none is any more: what is in them is stored anew, together.
const SMALL_PACKS_MAX: usize = 64;
/// Files come in nearly the same order every time, so few parts need be remembered.
const PARTS_REMEMBERED: usize = 4;

/// What is known of the packs of earlier snapshots.
#[derive(Debug)]
pub(super) struct BasePacks {
    /// Blocks name the packs by their places in here.
    pub(super) table: Arc<PackTable>,
    /// What each of them takes in the storage, in bytes; 0 if it is not there.
    sizes: Vec<u64>,
    /// Which of them go on being used.
    reusable: Vec<bool>,
    /// Blocks of parts, and of files of which no part tells.
    by_digest: BTreeMap<Digest, BlockRef>,
}

impl BasePacks {
    /// Whether `block` can be used.
    fn has(&self, block: &BlockRef) -> bool {
        self.reusable.get(block.pack as usize).copied().unwrap_or(false)
    }

    /// Whether all of `blocks` can be used.
    pub(super) fn has_all<'a>(&self, blocks: impl IntoIterator<Item = &'a BlockRef>) -> bool {
        blocks.into_iter().all(|block| self.has(block))
    }

    /// What the pack `id` takes in the storage, in bytes.
    pub(super) fn size(&self, id: &PackId) -> u64 {
        let place = self.table.find(id);
        place.and_then(|place| self.sizes.get(place as usize)).copied().unwrap_or(0)
    }

    /// A block that holds the `plain_bytes` bytes that have this digest.
    pub(super) fn find(&self, digest: Digest, plain_bytes: usize) -> Option<BlockRef> {
        let found = self.by_digest.get(&digest).copied();
        found.filter(|block| self.has(block) && block.is_of(digest, plain_bytes))
    }
}

/// Earlier snapshots, of which any file can be looked up.
///
/// What of them cannot be read is passed over: the files that it would tell of are stored anew.
#[derive(Debug)]
pub(super) struct Base {
    server: ServerRepository,
    pub(super) packs: Arc<BasePacks>,
    reader: Packs,
    /// Later ones tell of a file better than earlier ones.
    parts: Vec<Vec<BlockRef>>,
    /// The hash of each file's path, and the part that tells of it; in order. 16 bytes a file.
    index: Vec<(u64, u32)>,
    remembered: VecDeque<(u32, Part)>,
}

/// The files that a part tells of.
type Part = BTreeMap<String, ManifestFile>;

impl Base {
    /// What `earlier` snapshots stored, but for the packs `mistrusted`.
    pub(super) async fn open(
        server: &ServerRepository,
        earlier: Earlier,
        mistrusted: &BTreeSet<ObjectKey>,
    ) -> Result<Self> {
        let Earlier { table, mut sizes, reader, parts, loose } = earlier;
        let (index, unreadable) = read_index(server, &reader, &parts).await?;
        // What cannot be read must not be named by this snapshot, either.
        unreadable.iter().flat_map(|number| &parts[*number as usize]).for_each(|block| sizes[block.pack as usize] = 0);
        let is_trusted = |id: &PackId| !mistrusted.contains(&server.layout.pack(&id.snapshot, id.number));
        let uses = table.iter().zip(&sizes);
        let reusable = reusable(uses.map(|(pack, size)| (pack.bytes, if is_trusted(&pack.id) { *size } else { 0 })));
        let by_digest = parts.iter().flatten().chain(&loose).map(|block| (block.digest, *block)).collect();
        let packs = Arc::new(BasePacks { table, sizes, reusable, by_digest });
        Ok(Self { server: server.clone(), packs, reader, parts, index, remembered: VecDeque::new() })
    }

    /// The file `path` as it was, if it was there.
    pub(super) async fn file(&mut self, path: &str) -> Result<Option<ManifestFile>> {
        let hash = hash(path);
        let first = self.index.partition_point(|(other, _)| *other < hash);
        let candidates: Vec<_> = self.index[first..].iter().take_while(|(other, _)| *other == hash).copied().collect();
        for (_, number) in candidates.into_iter().rev() {
            if let Some(file) = self.part(number).await?.get(path) {
                return Ok(Some(file.clone()));
            }
        }
        Ok(None)
    }

    /// What there is to know of `extent`, which an earlier snapshot has.
    pub(super) async fn known(&self, extent: Extent) -> Result<KnownExtent> {
        let mut pages = self.reader.page_digests(&extent).await?;
        for (page, digest) in pages.iter_mut().enumerate() {
            let layer = extent.source(page).and_then(|source| extent.layers.get(source.layer));
            *digest = digest.filter(|_| layer.is_some_and(|layer| self.packs.has(&layer.block)));
        }
        Ok(KnownExtent { extent, pages })
    }

    /// The part `number`, which is then remembered. Empty if it cannot be read.
    async fn part(&mut self, number: u32) -> Result<&Part> {
        let found = self.remembered.iter().rposition(|(remembered, _)| *remembered == number);
        let part = match found.and_then(|place| self.remembered.remove(place)) {
            Some((_, part)) => part,
            None => self.read_part(number).await?.into_iter().filter_map(file_of).collect(),
        };
        if self.remembered.len() >= PARTS_REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back((number, part));
        Ok(self.remembered.back().map(|(_, part)| part).expect("it was pushed just now"))
    }

    async fn read_part(&self, number: u32) -> Result<Vec<Entry>> {
        let read = read_part(&self.server, &self.reader, &self.parts[number as usize]).await?;
        Ok(read.unwrap_or_default())
    }
}

/// Which part tells of which file, by the hash of its path, in order; and the parts that cannot be read.
async fn read_index(
    server: &ServerRepository,
    reader: &Packs,
    parts: &[Vec<BlockRef>],
) -> Result<(Vec<(u64, u32)>, Vec<u32>)> {
    let (mut index, mut unreadable) = (Vec::new(), Vec::new());
    let numbers = 0..u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let read = stream::iter(numbers)
        .map(async |number| Ok::<_, Error>((number, read_part(server, reader, &parts[number as usize]).await?)));
    let mut read = std::pin::pin!(read.buffered(READS_IN_FLIGHT / 4));
    while let Some((number, entries)) = read.try_next().await? {
        match entries {
            Some(entries) => {
                index.extend(entries.into_iter().filter_map(file_of).map(|(path, _)| (hash(&path), number)));
            }
            None => unreadable.push(number),
        }
    }
    index.sort_unstable();
    Ok((index, unreadable))
}

/// The entries of the part that consists of `blocks`; `None` if it cannot be read.
async fn read_part(server: &ServerRepository, reader: &Packs, blocks: &[BlockRef]) -> Result<Option<Vec<Entry>>> {
    match manifest::read_part(server, reader, &server.layout.data(), blocks).await {
        Err(error) if error.is_of_object() => Ok(None),
        entries => entries.map(Some),
    }
}

fn file_of(entry: Entry) -> Option<(String, ManifestFile)> {
    match entry {
        Entry::File(file) => Some((file.entry.path.clone(), file)),
        _ => None,
    }
}

fn hash(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
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
