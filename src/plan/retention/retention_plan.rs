//! What is kept and what expires, each with its reason.

use std::collections::BTreeMap;

use serde::Serialize;

use super::RetentionPolicy;
use crate::model::{
    Artifact, Branch, LogBackup, Lsn, Period, SharedPacks, Snapshot, SnapshotId, StoredHistory, StoredObject, Timestamp,
};
use crate::plan::sharing::{Stored, occupied_bytes};

/// Why an artifact is kept. Of several reasons the first in this order is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeepReason {
    /// The current branch has no snapshot that can be restored: nothing expires.
    NothingRestorable,
    /// An instant of the window can be restored by it, on this branch.
    Window(Branch),
    /// It is the snapshot from which the window's first instants are restored, on this branch.
    Anchor(Branch),
    /// It is one of the newest usable snapshots.
    Minimum,
    /// It stands for this period, of a sparse tier.
    Sparse(Period),
    /// It is held, under this name.
    Held(String),
    /// It is being read, by this one.
    Leased(String),
    /// A snapshot is being taken that needs it.
    Running,
    /// This snapshot builds on it.
    ParentOf(SnapshotId),
    /// It makes this snapshot consistent.
    LogOf(SnapshotId),
    /// It tells when the server left this branch, which without it would seem to be the current one.
    EndOf(Branch),
    /// It tells how a branch came to be on which something is kept.
    HistoryOf(Branch),
}

/// Why an artifact expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExpireReason {
    /// It is only of use for instants before the window.
    BeforeWindow,
    /// The server left its branch before the window: it was last seen there at this instant.
    #[non_exhaustive]
    OrphanedBranch {
        /// When the server was last seen on the branch.
        last_seen: Timestamp,
    },
    /// Nothing is kept of its timeline.
    Unneeded,
}

/// A snapshot that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeptSnapshot {
    /// The snapshot.
    pub id: SnapshotId,
    /// The bytes that it added to what is stored.
    pub added_bytes: u64,
    /// What it uses of others, which stays with it.
    pub shares: Vec<SharedPacks>,
    /// Why.
    pub reason: KeepReason,
}

/// A snapshot that expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExpiredSnapshot {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Why.
    pub reason: ExpireReason,
}

/// Log backups of one branch, one after another, that are kept for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeptLogs {
    /// The branch.
    pub branch: Branch,
    /// Where the first one begins.
    pub start: Lsn,
    /// Where the furthest one ends.
    pub end: Lsn,
    /// How many they are.
    pub count: u64,
    /// Their size as stored, in bytes.
    pub stored_bytes: u64,
    /// Why.
    pub reason: KeepReason,
}

/// Log backups of one branch that expire for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExpiredLogs {
    /// The branch.
    pub branch: Branch,
    /// The log backups, the first in the log first.
    pub logs: Vec<LogBackup>,
    /// Why.
    pub reason: ExpireReason,
}

impl ExpiredLogs {
    fn end(&self) -> Option<(Branch, Lsn)> {
        Some((self.branch, self.logs.iter().map(|log| log.wal.end).max()?))
    }
}

/// A timeline history that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeptHistory {
    /// Where it is stored.
    pub object: StoredObject,
    /// Why.
    pub reason: KeepReason,
}

/// A timeline history that expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExpiredHistory {
    /// The history.
    pub history: StoredHistory,
    /// Why.
    pub reason: ExpireReason,
}

/// What is kept and what expires. It holds everything that is to be deleted: whoever does that looks at nothing else.
///
/// `Display` explains it to an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use = "a plan deletes nothing by itself"]
#[non_exhaustive]
pub struct RetentionPlan {
    /// By what it was decided.
    pub policy: RetentionPolicy,
    /// The end of the window: now, or when the server was last seen. `None` if it never was.
    pub horizon: Option<Timestamp>,
    /// The snapshots that are kept, by ID.
    pub kept_snapshots: Vec<KeptSnapshot>,
    /// The snapshots that expire, in the order in which they are to be deleted: none before one that builds on it.
    pub expired_snapshots: Vec<ExpiredSnapshot>,
    /// The log backups that are kept, by branch, then position.
    pub kept_logs: Vec<KeptLogs>,
    /// The log backups that expire, by branch, then position.
    pub expired_logs: Vec<ExpiredLogs>,
    /// The histories that are kept, by branch.
    pub kept_histories: Vec<KeptHistory>,
    /// The histories that expire, by branch.
    pub expired_histories: Vec<ExpiredHistory>,
}

impl RetentionPlan {
    /// The first instant of the window; `None` if the server was never seen.
    #[must_use]
    pub fn window_start(&self) -> Option<Timestamp> {
        self.horizon.map(|horizon| self.policy.window_start(horizon))
    }

    /// Whether nothing expires.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expired_snapshots.is_empty() && self.expired_logs.is_empty() && self.expired_histories.is_empty()
    }

    /// Everything that expires, in the order in which it is to be deleted: an interruption leaves nothing behind that needs
    /// what is gone, and nothing that claims to be later than what told better. Snapshots come first, then log, by position; then
    /// the snapshots behind which there was no log of their branch, then histories.
    pub fn expired(&self) -> impl Iterator<Item = Artifact> + '_ {
        let ends: BTreeMap<Branch, Lsn> = self.expired_logs.iter().filter_map(ExpiredLogs::end).collect();
        let is_last = move |snapshot: &Snapshot| {
            let branch = Branch::new(snapshot.incarnation, snapshot.wal.timeline);
            ends.get(&branch).is_some_and(|end| *end <= snapshot.wal.end)
        };
        let snapshots = self.expired_snapshots.iter().map(|expired| &expired.snapshot);
        let (last, first): (Vec<_>, Vec<_>) = snapshots.partition(|snapshot| is_last(snapshot));
        let logs = self.expired_logs.iter().flat_map(|expired| expired.logs.iter().cloned().map(Artifact::from));
        let histories = self.expired_histories.iter().map(|expired| expired.history.clone().into());
        let of = |snapshots: Vec<&Snapshot>| snapshots.into_iter().cloned().map(Artifact::from).collect::<Vec<_>>();
        of(first).into_iter().chain(logs).chain(of(last)).chain(histories)
    }

    /// What is kept, as stored, in bytes: also what kept snapshots share with those that expire.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        let logs = self.kept_logs.iter().map(|kept| kept.stored_bytes);
        let histories = self.kept_histories.iter().map(|kept| kept.object.bytes);
        sum(logs.chain(histories).chain([occupied_bytes(self.kept())]))
    }

    /// What deleting all that expires frees, in bytes.
    #[must_use]
    pub fn freed_bytes(&self) -> u64 {
        let expired = self.expired_snapshots.iter().map(|expired| Stored::from(&expired.snapshot));
        let snapshots = occupied_bytes(self.kept().chain(expired)).saturating_sub(occupied_bytes(self.kept()));
        let logs = self.expired_logs.iter().flat_map(|expired| &expired.logs).map(|log| log.stored_bytes);
        let histories = self.expired_histories.iter().map(|expired| expired.history.object.bytes);
        sum(logs.chain(histories).chain([snapshots]))
    }

    fn kept(&self) -> impl Iterator<Item = Stored<'_>> {
        self.kept_snapshots.iter().map(|kept| Stored {
            id: &kept.id,
            added_bytes: kept.added_bytes,
            shares: &kept.shares,
        })
    }
}

fn sum(bytes: impl Iterator<Item = u64>) -> u64 {
    bytes.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RetentionDays, SegmentSize, TimelineId, WalRange};

    /// What says last where the server was must outlive what says so earlier: that may claim to be later.
    #[test]
    fn what_tells_the_end_of_a_branch_goes_last() {
        let life = "7-15".parse().unwrap();
        let wal = |timeline, start, end| {
            WalRange::new(TimelineId::new(timeline).unwrap(), Lsn::new(start), Lsn::new(end)).unwrap()
        };
        let snapshot = |id: &str, wal| {
            let manifest = StoredObject::new(id.parse().unwrap(), 1);
            let at = Timestamp::UNIX_EPOCH;
            let snapshot = Snapshot::full(id.parse().unwrap(), life, wal, SegmentSize::MIN, at, manifest);
            ExpiredSnapshot { snapshot, reason: ExpireReason::BeforeWindow }
        };
        let logs = |wal: WalRange| {
            let log = LogBackup::new(life, wal, format!("log/{}", wal.timeline).parse().unwrap(), 1);
            let (branch, reason) = (Branch::new(life, wal.timeline), ExpireReason::BeforeWindow);
            ExpiredLogs { branch, logs: vec![log], reason }
        };
        let plan = RetentionPlan {
            policy: RetentionPolicy::new(RetentionDays::MIN),
            horizon: None,
            kept_snapshots: Vec::new(),
            expired_snapshots: vec![
                snapshot("end-of-2", wal(2, 30, 40)),
                snapshot("of-2", wal(2, 5, 20)),
                snapshot("of-1", wal(1, 5, 8)),
                snapshot("of-3", wal(3, 5, 8)),
            ],
            kept_logs: Vec::new(),
            expired_logs: vec![logs(wal(1, 0, 10)), logs(wal(2, 0, 25)), logs(wal(2, 25, 40))],
            kept_histories: Vec::new(),
            expired_histories: Vec::new(),
        };
        let order: Vec<_> = plan
            .expired()
            .map(|artifact| match artifact {
                Artifact::Snapshot(snapshot) => snapshot.id.to_string(),
                artifact => artifact.object().key.split_name().unwrap().0.to_owned(),
            })
            .collect();
        assert_eq!(order, ["of-2", "of-1", "of-3", "log/1", "log/2", "log/2", "end-of-2"]);
    }
}
