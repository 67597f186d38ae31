//! Snapshots: base backups.

use serde::{Deserialize, Serialize};

use super::{Branch, Incarnation, SegmentSize, SnapshotId, StoredObject, Timestamp, WalRange};

/// Whether a snapshot stands alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SnapshotKind {
    /// It needs no other snapshot.
    Full,
    /// It holds what changed since its parent, and needs it, with all of its ancestors.
    Incremental {
        /// The snapshot that it builds on.
        parent: SnapshotId,
    },
}

/// Why a snapshot was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SnapshotTrigger {
    /// The schedule said so.
    #[default]
    Scheduled,
    /// A user asked for it.
    OnDemand,
}

/// What the server was that a snapshot was taken of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServerRole {
    /// The one that is written to: its clock is that of the commits.
    #[default]
    Primary,
    /// A standby, which has a clock of its own.
    Standby,
}

/// A base backup: everything under the data directory and its tablespaces, consistent once the log of `wal` is replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its name.
    pub id: SnapshotId,
    /// Which life of the server it is of.
    pub incarnation: Incarnation,
    /// The log that makes it consistent: from the redo point of its starting checkpoint to the end of the backup.
    pub wal: WalRange,
    /// The size of the server's WAL segments.
    pub segment_size: SegmentSize,
    /// The server's clock when the backup was complete: no earlier instant can be restored from it.
    pub consistent_at: Timestamp,
    /// Whether it stands alone.
    pub kind: SnapshotKind,
    /// Why it was taken.
    #[serde(default)]
    pub trigger: SnapshotTrigger,
    /// What the server was whose files and clock these are.
    #[serde(default)]
    pub role: ServerRole,
    /// The bytes of all files that a restore of it writes.
    pub logical_bytes: u64,
    /// The bytes that a restore of it fetches, its manifest among them.
    pub stored_bytes: u64,
    /// How many pages the server had with a wrong checksum, as far as its source checks. They are stored as they were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub checksum_failures: u64,
    /// What it uses of the packs that others stored, in order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<SharedPacks>,
    /// Where its manifest is stored.
    pub manifest: StoredObject,
}

/// What a snapshot uses of the packs that another one stored. They stay as long as it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SharedPacks {
    /// Who stored them.
    pub snapshot: SnapshotId,
    /// The bytes in them that a restore fetches.
    pub used_bytes: u64,
    /// The bytes that they take.
    pub held_bytes: u64,
}

impl SharedPacks {
    /// Packs of `snapshot` that take `held_bytes` bytes, of which a restore fetches `used_bytes`.
    #[must_use]
    pub const fn new(snapshot: SnapshotId, used_bytes: u64, held_bytes: u64) -> Self {
        Self { snapshot, used_bytes, held_bytes }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Snapshot {
    /// The branch that it was taken on.
    #[must_use]
    pub const fn branch(&self) -> Branch {
        Branch::new(self.incarnation, self.wal.timeline)
    }

    /// A full snapshot, of which nothing but its manifest is counted yet.
    #[must_use]
    pub fn full(
        id: SnapshotId,
        incarnation: Incarnation,
        wal: WalRange,
        segment_size: SegmentSize,
        consistent_at: Timestamp,
        manifest: StoredObject,
    ) -> Self {
        let stored_bytes = manifest.bytes;
        Self {
            id,
            incarnation,
            wal,
            segment_size,
            consistent_at,
            kind: SnapshotKind::Full,
            trigger: SnapshotTrigger::default(),
            role: ServerRole::default(),
            logical_bytes: 0,
            stored_bytes,
            checksum_failures: 0,
            shares: Vec::new(),
            manifest,
        }
    }

    /// The bytes that it added to what is stored: its own packs and its manifest.
    #[must_use]
    pub fn added_bytes(&self) -> u64 {
        self.shares.iter().fold(self.stored_bytes, |bytes, shared| bytes.saturating_sub(shared.used_bytes))
    }
}
