//! What the loss of an artifact costs.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::window::{RestorableInterval, TICK, recovery_windows};
use crate::model::{Artifact, Branch, Catalog, CatalogError, ObjectKey};

/// The instants of one branch that can no longer be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Loss {
    /// The branch.
    pub branch: Branch,
    /// The intervals: apart from each other, in order.
    pub intervals: Vec<RestorableInterval>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {}", self.branch)?;
        self.intervals.iter().enumerate().try_for_each(|(i, interval)| {
            write!(f, "{} from {} to {}", if i == 0 { "" } else { "," }, interval.from, interval.until)
        })
    }
}

/// Which instants of `window` can be restored from `catalog`, but not without the artifacts whose objects are `lost` (of a snapshot,
/// its manifest). Only branches that lose any are told of.
///
/// Takes as long as to index the catalog twice.
///
/// # Errors
/// If what remains contradicts itself: a history that is lost can have been what told two timelines apart.
pub fn loss(
    catalog: &Catalog,
    lost: &BTreeSet<ObjectKey>,
    window: RestorableInterval,
) -> Result<Vec<Loss>, CatalogError> {
    let remains = |artifact: &Artifact| !lost.contains(&artifact.object().key);
    let remaining = Catalog::new(catalog.artifacts().filter(remains))?;
    let after = recovery_windows(&remaining);
    let losses = recovery_windows(catalog).into_iter().map(|before| {
        let left = after.iter().find(|after| after.branch == before.branch);
        let of_window = before.intervals.into_iter().filter_map(|interval| interval.within(window));
        let left = left.map_or(&[][..], |after| &after.intervals);
        Loss { branch: before.branch, intervals: of_window.flat_map(|interval| without(interval, left)).collect() }
    });
    Ok(losses.filter(|loss| !loss.intervals.is_empty()).collect())
}

/// What of `interval` lies in none of `others`, which are apart from each other and in order.
fn without(interval: RestorableInterval, others: &[RestorableInterval]) -> Vec<RestorableInterval> {
    let first = others.partition_point(|other| other.until < interval.from);
    let mut rest = Some(interval);
    let mut parts = Vec::new();
    for other in &others[first..] {
        let Some(left) = rest.filter(|left| other.from <= left.until) else { break };
        if left.from < other.from {
            parts.push((left.from, other.from.saturating_sub(TICK)).into());
        }
        rest = (other.until < left.until).then(|| (other.until.saturating_add(TICK), left.until).into());
    }
    parts.extend(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LogBackup, Lsn, SegmentSize, Snapshot, StoredObject, TimelineId, Timestamp, WalRange};

    fn interval((from, until): (i64, i64)) -> RestorableInterval {
        let at = |micros| Timestamp::from_unix_micros(micros).unwrap();
        (at(from), at(until)).into()
    }

    /// A snapshot, and log of two days after it.
    #[test]
    fn a_log_backup_costs_the_instants_behind_its_beginning() {
        let life = "7-15".parse().unwrap();
        let wal = |start: u64, end: u64| {
            WalRange::new(TimelineId::FIRST, Lsn::new(start << 20), Lsn::new(end << 20)).unwrap()
        };
        let at = |day: i64| Timestamp::from_unix_micros(day * 86_400_000_000).unwrap();
        let log = |start, end, day| {
            let mut log = LogBackup::new(life, wal(start, end), "log".parse().unwrap(), 1);
            log.complete_through = Some(at(day));
            log
        };
        let manifest = StoredObject::new("manifest".parse().unwrap(), 1);
        let snapshot = Snapshot::full("s".parse().unwrap(), life, wal(1, 2), SegmentSize::MIN, at(10), manifest);
        let logs = [log(1, 2, 10), log(2, 3, 11), log(3, 4, 12)];
        let artifacts = logs.iter().cloned().map(Artifact::from).chain([snapshot.into()]);
        let catalog = Catalog::new(artifacts).unwrap();
        let costs = |object: ObjectKey, from, until| {
            let losses = loss(&catalog, &BTreeSet::from([object]), (from, until).into()).unwrap();
            losses.into_iter().flat_map(|loss| loss.intervals).map(|lost| (lost.from, lost.until)).collect::<Vec<_>>()
        };
        let after = |day: i64| at(day).saturating_add(TICK);
        let window = (at(0), at(20));
        assert_eq!(costs(logs[2].key(), window.0, window.1), [(after(11), at(12))]);
        assert_eq!(costs(logs[1].key(), window.0, window.1), [(after(10), at(12))]);
        assert_eq!(costs("manifest".parse().unwrap(), window.0, window.1), [(after(10), at(12))]);
        assert_eq!(costs(logs[1].key(), at(11), window.1), [(at(11), at(12))], "of the window");
        assert_eq!(costs("another".parse().unwrap(), window.0, window.1), []);
    }

    #[test]
    fn what_is_in_no_other_interval_is_left() {
        for (others, left) in [
            (&[][..], &[(10, 20)][..]),
            (&[(0, 9), (21, 30)], &[(10, 20)]),
            (&[(0, 10)], &[(11, 20)]),
            (&[(20, 20)], &[(10, 19)]),
            (&[(12, 13), (15, 15)], &[(10, 11), (14, 14), (16, 20)]),
            (&[(5, 11), (18, 40)], &[(12, 17)]),
            (&[(10, 20)], &[]),
            (&[(0, 40)], &[]),
        ] {
            let others: Vec<_> = others.iter().copied().map(interval).collect();
            let left: Vec<_> = left.iter().copied().map(interval).collect();
            assert_eq!(without(interval((10, 20)), &others), left, "{others:?}");
        }
    }
}
