//! The packs that a snapshot uses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::SnapshotId;

/// A pack: the snapshot that stored it, and its number there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(from = "(SnapshotId, u32)", into = "(SnapshotId, u32)")]
pub struct PackId {
    /// Who stored it.
    pub snapshot: SnapshotId,
    /// Counted from 0.
    pub number: u32,
}

impl PackId {
    /// The pack `number` of `snapshot`.
    #[must_use]
    pub const fn new(snapshot: SnapshotId, number: u32) -> Self {
        Self { snapshot, number }
    }
}

impl From<(SnapshotId, u32)> for PackId {
    fn from((snapshot, number): (SnapshotId, u32)) -> Self {
        Self { snapshot, number }
    }
}

impl From<PackId> for (SnapshotId, u32) {
    fn from(pack: PackId) -> Self {
        (pack.snapshot, pack.number)
    }
}

/// A pack that a snapshot uses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackUse {
    /// The pack.
    pub id: PackId,
    /// The bytes of those of its blocks that the snapshot uses, as stored.
    pub bytes: u64,
}

/// The packs that a snapshot uses. Blocks name a pack by its place in here, counted from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackTable {
    packs: Vec<PackUse>,
    places: BTreeMap<PackId, u32>,
}

impl PackTable {
    /// The place of `id`, which it gets if it has none.
    ///
    /// # Panics
    /// Beyond 2³² packs, which hold 256 PiB.
    pub fn place(&mut self, id: &PackId) -> u32 {
        if let Some(place) = self.find(id) {
            return place;
        }
        let place = u32::try_from(self.packs.len()).expect("there are at most 2^32 packs");
        self.packs.push(PackUse { id: id.clone(), bytes: 0 });
        self.places.insert(id.clone(), place);
        place
    }

    /// The place of `id`, if it has one.
    #[must_use]
    pub fn find(&self, id: &PackId) -> Option<u32> {
        self.places.get(id).copied()
    }

    /// The pack at `place`, if there is one.
    #[must_use]
    pub fn get(&self, place: u32) -> Option<&PackUse> {
        self.packs.get(place as usize)
    }

    /// Notes that `bytes` more bytes are used of the pack at `place`.
    pub fn add_use(&mut self, place: u32, bytes: u64) {
        if let Some(pack) = self.packs.get_mut(place as usize) {
            pack.bytes = pack.bytes.saturating_add(bytes);
        }
    }

    /// All packs, in order of their places.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &PackUse> {
        self.packs.iter()
    }

    /// The bytes of all blocks that are used, as stored.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.packs.iter().fold(0, |sum: u64, pack| sum.saturating_add(pack.bytes))
    }

    /// The same packs in order of their names, and the new place of each.
    pub(super) fn sorted(self) -> (Self, Vec<u32>) {
        let mut new_places = vec![0; self.packs.len()];
        let mut sorted = Self::default();
        for (id, old) in &self.places {
            let place = sorted.place(id);
            sorted.add_use(place, self.packs[*old as usize].bytes);
            new_places[*old as usize] = place;
        }
        (sorted, new_places)
    }
}
