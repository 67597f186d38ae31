//! What is stored of one timeline, in time.

use crate::model::{Branch, Catalog, LogRef, Lsn, Snapshot, Timestamp, WalRange};

/// One timeline of a server.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    pub(super) branch: Branch,
    pub(super) is_current: bool,
    /// Where it left another one, and when, as near as is known.
    pub(super) left: Option<(Branch, Lsn, Option<Timestamp>)>,
    /// Its log, from hole to hole.
    pub(super) stretches: Vec<Stretch>,
    pub(super) snapshots: Vec<&'a Snapshot>,
    /// Where each of its log backups ends, and when that was.
    ends: Vec<(Lsn, Timestamp)>,
}

/// Log without a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) wal: WalRange,
    /// Known only as well as the log backups tell.
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    pub(super) backups: u64,
    pub(super) stored_bytes: u64,
}

impl<'a> Lane<'a> {
    pub(super) fn of(catalog: &'a Catalog, branch: Branch) -> Self {
        let ends = ends(catalog, branch);
        let left = left(catalog, branch);
        let begin = left.and_then(|(.., time)| time);
        let stretches = stretches(catalog.logs(branch), begin);
        let mut snapshots: Vec<_> = catalog.snapshots().filter(|snapshot| snapshot.branch() == branch).collect();
        snapshots.sort_by(|a, b| (a.consistent_at, &a.id).cmp(&(b.consistent_at, &b.id)));
        let is_current = catalog.current() == Some(branch);
        Self { branch, is_current, left, stretches, snapshots, ends }
    }

    /// When the log was at `lsn`: at the end of the first log backup that reaches it, as near as is known.
    pub(super) fn time_of(&self, lsn: Lsn) -> Option<Timestamp> {
        time_of(&self.ends, lsn)
    }

    /// All times that it is about.
    pub(super) fn times(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let stretches = self.stretches.iter().flat_map(|stretch| [stretch.from, stretch.until]);
        stretches.chain(self.snapshots.iter().map(|snapshot| snapshot.consistent_at))
    }

    /// The holes between its stretches.
    pub(super) fn holes(&self) -> impl Iterator<Item = (WalRange, Timestamp, Timestamp)> + '_ {
        let pairs = self.stretches.iter().zip(self.stretches.iter().skip(1));
        pairs.map(|(before, after)| {
            let wal = WalRange { timeline: before.wal.timeline, start: before.wal.end, end: after.wal.start };
            (wal, before.until, after.from.max(before.until))
        })
    }
}

/// The last time that is known of the log: a commit of it can be later than the clock that was observed before.
fn seen(log: LogRef<'_>) -> Option<Timestamp> {
    log.complete_through().max(log.max_commit_time())
}

fn ends(catalog: &Catalog, branch: Branch) -> Vec<(Lsn, Timestamp)> {
    let mut ends: Vec<_> = catalog.logs(branch).filter_map(|log| Some((log.end(), seen(log)?))).collect();
    ends.sort_unstable();
    ends
}

fn time_of(ends: &[(Lsn, Timestamp)], lsn: Lsn) -> Option<Timestamp> {
    let reaching = ends.partition_point(|(end, _)| *end < lsn);
    ends.get(reaching).or_else(|| ends.last()).map(|(_, time)| *time)
}

/// Which timeline the one of `branch` left, and where.
fn left(catalog: &Catalog, branch: Branch) -> Option<(Branch, Lsn, Option<Timestamp>)> {
    let ancestor = catalog.history(branch)?.ancestors().last()?;
    let parent = Branch::new(branch.incarnation, ancestor.timeline);
    Some((parent, ancestor.switch, time_of(&ends(catalog, parent), ancestor.switch)))
}

/// Log backups, which may overlap, put together. What they do not tell of times, the one before tells; of the first one, `begin`.
fn stretches<'a>(logs: impl Iterator<Item = LogRef<'a>>, begin: Option<Timestamp>) -> Vec<Stretch> {
    let (mut stretches, mut last): (Vec<Stretch>, _) = (Vec::new(), begin);
    for log in logs {
        let seen = seen(log).or(last);
        let Some(until) = seen else { continue };
        match stretches.last_mut() {
            Some(stretch) if log.start() <= stretch.wal.end => {
                stretch.wal.end = stretch.wal.end.max(log.end());
                stretch.until = stretch.until.max(until);
                stretch.backups = stretch.backups.saturating_add(1);
                stretch.stored_bytes = stretch.stored_bytes.saturating_add(log.stored_bytes());
            }
            before => {
                let from = if before.is_none() { begin.map_or(until, |begin| begin.min(until)) } else { until };
                stretches.push(Stretch { wal: log.wal(), from, until, backups: 1, stored_bytes: log.stored_bytes() });
            }
        }
        last = last.max(Some(until));
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Artifact, LogBackup, TimelineId};

    fn at(second: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH.saturating_add(std::time::Duration::from_secs(second))
    }

    fn branch() -> Branch {
        Branch::new("7301234567890123456-18".parse().unwrap(), TimelineId::FIRST)
    }

    fn log(start: u64, end: u64, commit: Option<u64>, complete: Option<u64>) -> Artifact {
        let wal = WalRange::new(TimelineId::FIRST, Lsn::new(start), Lsn::new(end)).unwrap();
        let mut log = LogBackup::new(branch().incarnation, wal, "log/x".parse().unwrap(), 7);
        (log.max_commit_time, log.complete_through) = (commit.map(at), complete.map(at));
        log.into()
    }

    fn lane(logs: impl IntoIterator<Item = Artifact>) -> (Vec<Stretch>, Vec<(WalRange, Timestamp, Timestamp)>) {
        let catalog = Catalog::new(logs).unwrap();
        let lane = Lane::of(&catalog, branch());
        (lane.stretches.clone(), lane.holes().collect())
    }

    #[test]
    fn log_backups_are_put_together_to_the_last_time_that_is_known() {
        // A commit that is later than the clock that was observed; one that tells nothing; one that overlaps.
        let (stretches, holes) = lane([
            log(100, 200, None, Some(10)),
            log(200, 300, Some(25), Some(20)),
            log(250, 280, Some(22), None),
            log(300, 400, None, None),
        ]);
        let [stretch] = &*stretches else { panic!("{stretches:?}") };
        assert_eq!((stretch.from, stretch.until), (at(10), at(25)));
        assert_eq!((stretch.wal.start, stretch.wal.end), (Lsn::new(100), Lsn::new(400)));
        assert_eq!((stretch.backups, stretch.stored_bytes), (4, 28));
        assert_eq!(holes, []);
    }

    #[test]
    fn holes_are_between_what_is_known_on_either_side() {
        let (stretches, holes) = lane([log(100, 200, None, Some(10)), log(300, 400, None, Some(40))]);
        assert_eq!(stretches.len(), 2);
        let wal = WalRange::new(TimelineId::FIRST, Lsn::new(200), Lsn::new(300)).unwrap();
        assert_eq!(holes, [(wal, at(10), at(40))]);
        // Of log without any time, nobody knows where to draw it.
        assert_eq!(lane([log(100, 200, None, None)]), (Vec::new(), Vec::new()));
    }
}
