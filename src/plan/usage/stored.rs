//! What a catalog says of what is stored.

use super::{StoredBytes, StoredKind};
use crate::model::{Branch, Catalog, LogRef, SnapshotTrigger, StoredObject, Timestamp};
use crate::plan::sharing::{Stored, left_behind};

impl StoredBytes {
    /// Everything that is in `catalog`, since when it is there: what was deleted before is not known to it, and must be added by
    /// whoever remembers.
    ///
    /// A snapshot counts from when it was consistent, with what it added; what it shares with one that is gone, from when the first
    /// was consistent that shares it. A log backup counts from when the server's clock was seen at its end, or
    /// from its latest commit; if neither is known, from the one before it. A history counts from the first log backup or
    /// snapshot of its timeline.
    pub fn of(catalog: &Catalog) -> impl Iterator<Item = Self> + '_ {
        let snapshots = catalog.snapshots().map(|snapshot| {
            let kind = match snapshot.trigger {
                SnapshotTrigger::Scheduled => StoredKind::Snapshot,
                SnapshotTrigger::OnDemand => StoredKind::OnDemandSnapshot,
            };
            Self::new(kind, snapshot.added_bytes(), snapshot.consistent_at)
        });
        let history = |branch| catalog.history_object(branch).map(|object| history(catalog, branch, object));
        let snapshots = snapshots.chain(left(catalog));
        snapshots.chain(catalog.branches().filter_map(history)).chain(catalog.branches().flat_map(|b| logs(catalog, b)))
    }
}

/// What snapshots that are gone left behind for others.
fn left(catalog: &Catalog) -> impl Iterator<Item = StoredBytes> + '_ {
    let stored: Vec<_> = catalog.snapshots().map(Stored::from).collect();
    left_behind(&stored).into_iter().map(|(id, bytes)| {
        let sharers = catalog.snapshots().filter(|snapshot| snapshot.shares.iter().any(|share| share.snapshot == *id));
        let since = sharers.map(|snapshot| snapshot.consistent_at).min().unwrap_or(Timestamp::MIN);
        StoredBytes::new(StoredKind::Snapshot, bytes, since)
    })
}

fn logs(catalog: &Catalog, branch: Branch) -> impl Iterator<Item = StoredBytes> + '_ {
    let mut stored_at = first_seen(catalog, branch);
    catalog.logs(branch).map(move |log| {
        stored_at = log.last_seen().unwrap_or(stored_at);
        StoredBytes::new(StoredKind::Log, log.stored_bytes(), stored_at)
    })
}

fn history(catalog: &Catalog, branch: Branch, object: &StoredObject) -> StoredBytes {
    StoredBytes::new(StoredKind::History, object.bytes, first_seen(catalog, branch))
}

/// The first time that is known of the branch.
fn first_seen(catalog: &Catalog, branch: Branch) -> Timestamp {
    let log = catalog.logs(branch).find_map(LogRef::last_seen);
    let mine = catalog.snapshots().filter(|snapshot| snapshot.branch() == branch);
    let snapshot = mine.map(|snapshot| snapshot.consistent_at).min();
    log.into_iter().chain(snapshot).min().unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LogBackup, Lsn, SegmentSize, SharedPacks, Snapshot, TimelineId, WalRange};
    use crate::plan::usage::UsageHistory;

    #[test]
    fn a_catalog_tells_since_when_what_is_there() {
        let life = "7-15".parse().unwrap();
        let at = |hour: i64| Timestamp::from_unix_micros(hour * 3_600_000_000).unwrap();
        let wal = |start, end| WalRange::new(TimelineId::FIRST, Lsn::new(start), Lsn::new(end)).unwrap();
        let manifest = StoredObject::new("manifest".parse().unwrap(), 1000);
        let mut snapshot = Snapshot::full("one".parse().unwrap(), life, wal(0, 8), SegmentSize::MIN, at(2), manifest);
        snapshot.trigger = SnapshotTrigger::OnDemand;
        snapshot.stored_bytes += 300;
        snapshot.shares = vec![SharedPacks::new("gone".parse().unwrap(), 300, 400)];
        let log = |start, end, hour: Option<i64>, bytes| {
            let mut log = LogBackup::new(life, wal(start, end), "log".parse().unwrap(), bytes);
            log.complete_through = hour.map(at);
            log
        };
        let logs = [log(0, 4, None, 5), log(4, 8, Some(3), 10), log(8, 16, None, 20), log(16, 24, Some(5), 40)];
        let catalog = Catalog::new(logs.into_iter().map(Into::into).chain([snapshot.into()])).unwrap();
        let history = UsageHistory::new(StoredBytes::of(&catalog));
        let totals: Vec<u64> = (1..=5).map(|hour| history.at(at(hour)).total()).collect();
        assert_eq!(totals, [0, 1405, 1435, 1435, 1475], "what has no time of its own counts from what came before it");
        assert_eq!(history.at(at(5)).on_demand_snapshots, 1000);
        assert_eq!(history.at(at(5)).snapshots, 400, "what one that is gone left behind");
    }
}
