//! When retention has something to do next.

use super::RetentionPolicy;
use crate::model::{Catalog, Snapshot, Timestamp};

/// When something of the current branch falls out of the window next, if nothing is stored and nothing else changes until then: when a snapshot becomes the
/// one from which the window's first instants are restored, and those before it are of no more use. `None` if there is no other one. It may be past: then
/// it is due, unless something else keeps what is there.
///
/// So whoever looks then, and not just daily, keeps no more than a period of snapshots beyond the window.
#[must_use]
pub fn next_expiry(catalog: &Catalog, policy: &RetentionPolicy, now: Timestamp) -> Option<Timestamp> {
    let incarnation = catalog.current()?.incarnation;
    let usable = catalog.snapshots().filter(|snapshot| {
        let is_of_it = snapshot.incarnation == incarnation;
        is_of_it && snapshot.consistent_at <= now && catalog.unusable(&snapshot.id).is_none()
    });
    let mut times: Vec<_> = usable.map(|snapshot: &Snapshot| snapshot.consistent_at).collect();
    times.sort_unstable();
    times.get(1).map(|second| second.saturating_add(policy.window.duration()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Lsn, RetentionDays, SegmentSize, StoredObject, TimelineId, WalRange};

    #[test]
    fn the_oldest_expires_when_the_next_begins_the_window() {
        let at = |day: i64| Timestamp::from_unix_micros(day * 86_400_000_000).unwrap();
        let snapshot = |day: u64| {
            let wal = WalRange::new(TimelineId::FIRST, Lsn::new(day << 20), Lsn::new((day << 20) + 1)).unwrap();
            let (id, manifest) = (format!("day-{day}"), StoredObject::new("manifest".parse().unwrap(), 1));
            let taken = at(i64::try_from(day).unwrap());
            Snapshot::full(id.parse().unwrap(), "7-15".parse().unwrap(), wal, SegmentSize::MIN, taken, manifest)
        };
        let next = |days: &[u64], now| {
            let catalog = Catalog::new(days.iter().map(|day| snapshot(*day).into())).unwrap();
            next_expiry(&catalog, &RetentionPolicy::new(RetentionDays::MIN), at(now))
        };
        assert_eq!(next(&[], 20), None);
        assert_eq!(next(&[10], 20), None, "the last one never expires");
        assert_eq!(next(&[10, 11, 12], 13), Some(at(18)));
        assert_eq!(next(&[10, 11, 12], 30), Some(at(18)), "it is due");
        assert_eq!(next(&[10, 99], 20), None, "a clock that was ahead says nothing yet");
    }
}
