//! What snapshots take together: packs that several of them use are stored once.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{SharedPacks, Snapshot, SnapshotId};

/// What a snapshot added to what is stored, and what it uses of others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    pub(super) id: &'a SnapshotId,
    pub(super) added_bytes: u64,
    pub(super) shares: &'a [SharedPacks],
}

impl<'a> From<&'a Snapshot> for Stored<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        Self { id: &snapshot.id, added_bytes: snapshot.added_bytes(), shares: &snapshot.shares }
    }
}

/// The bytes that these snapshots take together.
pub(super) fn occupied_bytes<'a>(snapshots: impl Iterator<Item = Stored<'a>>) -> u64 {
    let snapshots: Vec<_> = snapshots.collect();
    let added = snapshots.iter().map(|snapshot| snapshot.added_bytes);
    added.chain(left_behind(&snapshots).into_values()).fold(0, u64::saturating_add)
}

/// The bytes that are kept for these snapshots of what others stored, who are not among them.
///
/// Of each of those, as much counts as the one needs that needs most: later ones need what earlier ones did, or less.
pub(super) fn left_behind<'a>(snapshots: &[Stored<'a>]) -> BTreeMap<&'a SnapshotId, u64> {
    let there: BTreeSet<_> = snapshots.iter().map(|snapshot| snapshot.id).collect();
    let shares = snapshots.iter().flat_map(|snapshot| snapshot.shares);
    let mut left = BTreeMap::<_, u64>::new();
    for share in shares.filter(|share| !there.contains(&share.snapshot)) {
        let held = left.entry(&share.snapshot).or_default();
        *held = share.held_bytes.max(*held);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_counts_once_and_for_as_long_as_it_is_used() {
        let id = |name: &str| name.parse::<SnapshotId>().unwrap();
        let (first, second, third) = (id("first"), id("second"), id("third"));
        let shares = [
            vec![],
            vec![SharedPacks::new(first.clone(), 60, 70)],
            vec![SharedPacks::new(first.clone(), 40, 45), SharedPacks::new(second.clone(), 8, 9)],
        ];
        let added = [(&first, 100), (&second, 10), (&third, 5)];
        let pairs = added.iter().zip(&shares);
        let all: Vec<_> = pairs.map(|(&(id, added_bytes), shares)| Stored { id, added_bytes, shares }).collect();
        let occupied = |range: std::ops::Range<usize>| occupied_bytes(all[range].iter().copied());
        assert_eq!(occupied(0..3), 100 + 10 + 5);
        assert_eq!(occupied(1..3), 70 + 10 + 5, "of the first, what is used of it");
        assert_eq!(occupied(2..3), 45 + 9 + 5);
        assert_eq!(occupied(0..1), 100);
    }
}
