//! Compaction: which small log backups become one, and which are of no more use.
//!
//! A short cadence makes many small log backups. Each costs a request when it is listed by the thousand, and one when it is restored. So
//! neighbours are merged, once the server has gone on; and what a larger one holds too is deleted later, when nobody reads it any more.
//!
//! Nothing that can be restored changes by that: a plan is made only if it is proved that the recovery window of every branch stays what
//! it was. Log is never merged over a position at which a snapshot begins or ends, or a timeline: there it counts what is on either side.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::retention::Protections;
use super::window::recovery_windows;
use crate::model::{Artifact, Branch, Catalog, Lease, LogBackup, LogRef, Lsn, ObjectKey, Timestamp, WalRange};

/// When log backups are merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CompactionPolicy {
    /// The most log that one of them holds afterwards, in bytes. Those that hold half of it stay as they are. Default: 64 MiB, of which
    /// about three times as much memory is used.
    pub bytes_max: u64,
    /// The fewest that are merged: so log is rewritten a few times at most, however slowly it gathers. Default: 8.
    pub count_min: usize,
    /// How long ago the server was there. Default: an hour.
    pub settled_for: Duration,
}

impl Default for CompactionPolicy {
    fn default() -> Self {
        Self { bytes_max: 64 << 20, count_min: 8, settled_for: Duration::from_secs(3600) }
    }
}

/// What is to be merged, and what of earlier merges, or of two archivers, is of no more use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CompactionPlan {
    /// Log backups that become one.
    pub merges: Vec<Merge>,
    /// Log backups of which all is in another one.
    pub redundant: Vec<Redundant>,
}

/// Log backups that become one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Merge {
    /// The log backups: each begins where the one before it ends.
    pub logs: Vec<LogBackup>,
    /// What they become; of its size only that of what it is made of is known.
    pub into: LogBackup,
}

/// A log backup of which all is in another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Redundant {
    /// The log backup.
    pub log: LogBackup,
    /// The one that holds all of its log, and from which the same is known.
    pub within: LogBackup,
}

/// Decides what to compact. What a lease of `protections` needs is not redundant as long as it lasts. A branch of which compaction would
/// change what can be restored, because a clock was wrong, is left as it is.
#[must_use]
pub fn plan_compaction(
    catalog: &Catalog,
    policy: &CompactionPolicy,
    protections: &Protections,
    now: Timestamp,
) -> CompactionPlan {
    let leases: Vec<_> = protections.leases.iter().filter(|lease| now < lease.until).collect();
    let limit = now.saturating_sub(policy.settled_for);
    let of = |branch| {
        let mut settled = settled(catalog, branch, limit);
        let redundant = redundant(settled.clone());
        let no_use: BTreeSet<_> = redundant.iter().map(|redundant| redundant.log.key()).collect();
        settled.retain(|log| !no_use.contains(&log.key()));
        let merges = merges(catalog, branch, policy, settled);
        let free = |redundant: &Redundant| !leases.iter().any(|lease| reads(lease, &redundant.log));
        CompactionPlan { merges, redundant: redundant.into_iter().filter(free).collect() }
    };
    let all: Vec<_> = catalog.branches().map(of).collect();
    let together = all.iter().cloned().fold(CompactionPlan::default(), CompactionPlan::and);
    if together.changes_nothing(catalog) {
        return together;
    }
    all.into_iter().filter(|plan| plan.changes_nothing(catalog)).fold(CompactionPlan::default(), CompactionPlan::and)
}

impl CompactionPlan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.merges.is_empty() && self.redundant.is_empty()
    }

    fn and(mut self, other: Self) -> Self {
        self.merges.extend(other.merges);
        self.redundant.extend(other.redundant);
        self
    }

    /// Whether the same can be restored when it has been obeyed, and what was merged deleted.
    fn changes_nothing(&self, catalog: &Catalog) -> bool {
        let redundant = self.redundant.iter().map(|redundant| &redundant.log);
        let deleted: BTreeSet<ObjectKey> =
            self.merges.iter().flat_map(|merge| &merge.logs).chain(redundant).map(LogBackup::key).collect();
        let kept = catalog.artifacts().filter(|artifact| !deleted.contains(&artifact.object().key));
        let merged = self.merges.iter().map(|merge| Artifact::from(merge.into.clone()));
        let windows = |catalog: &Catalog| -> BTreeMap<_, _> {
            recovery_windows(catalog).into_iter().map(|window| (window.branch, window.intervals)).collect()
        };
        let after = Catalog::new(kept.chain(merged));
        after.is_ok_and(|after| after.current() == catalog.current() && windows(&after) == windows(catalog))
    }
}

/// The log backups of `branch` that the server had left behind at `limit`, but for what stands at the end.
fn settled(catalog: &Catalog, branch: Branch, limit: Timestamp) -> Vec<LogRef<'_>> {
    let mut logs: Vec<_> = catalog.logs(branch).collect();
    let last = logs.iter().rposition(|log| log.last_seen().is_some_and(|at| at <= limit));
    logs.truncate(last.map_or(0, |last| last + 1));
    let end = catalog.archived_through(branch);
    logs.retain(|log| Some(log.end()) < end);
    logs
}

/// Whether any of `log` is read under `lease`; of what is empty, where it stands.
fn reads(lease: &Lease, log: &LogBackup) -> bool {
    let (wal, is_empty) = (log.wal, log.wal.start == log.wal.end);
    let meets = |read: &WalRange| {
        let overlaps = read.start < wal.end && wal.start < read.end;
        read.timeline == wal.timeline && (overlaps || is_empty && read.start <= wal.start && wal.end <= read.end)
    };
    lease.incarnation == log.incarnation && lease.logs.iter().any(meets)
}

/// The positions of a branch at which a snapshot begins or ends, or a timeline.
fn cuts(catalog: &Catalog, branch: Branch) -> BTreeSet<Lsn> {
    let snapshots =
        catalog.snapshots().filter(|snapshot| Branch::new(snapshot.incarnation, snapshot.wal.timeline) == branch);
    let mut cuts: BTreeSet<Lsn> = snapshots.flat_map(|snapshot| [snapshot.wal.start, snapshot.wal.end]).collect();
    for history in
        catalog.branches().filter(|of| of.incarnation == branch.incarnation).filter_map(|of| catalog.history(of))
    {
        cuts.extend(
            history
                .ancestors()
                .iter()
                .filter(|ancestor| ancestor.timeline == branch.timeline)
                .map(|ancestor| ancestor.switch),
        );
        cuts.extend(Some(history.begin()).filter(|_| history.timeline() == branch.timeline));
    }
    cuts
}

fn merges(catalog: &Catalog, branch: Branch, policy: &CompactionPolicy, settled: Vec<LogRef<'_>>) -> Vec<Merge> {
    let cuts = cuts(catalog, branch);
    let is_cut = |log: &LogRef<'_>| cuts.range(log.start()..log.end()).any(|cut| *cut > log.start());
    let is_small = |log: &LogRef<'_>| log.wal().bytes() < policy.bytes_max / 2;
    let mut runs: Vec<Run<'_>> = Vec::new();
    for log in settled.into_iter().filter(|log| is_small(log) && !is_cut(log)) {
        match runs.last_mut() {
            Some(run) if run.holds(log) => {}
            Some(run) if run.is_continued_by(log, policy.bytes_max) && !cuts.contains(&log.start()) => run.0.push(log),
            _ => runs.push(Run(vec![log])),
        }
    }
    runs.into_iter()
        .filter(|run| run.0.len() >= policy.count_min.max(2))
        .map(Run::merge)
        .filter(Merge::is_new)
        .collect()
}

/// Log backups one after another; never empty.
struct Run<'a>(Vec<LogRef<'a>>);

impl<'a> Run<'a> {
    fn first(&self) -> LogRef<'a> {
        self.0[0]
    }

    fn last(&self) -> LogRef<'a> {
        self.0[self.0.len() - 1]
    }

    /// Whether all of `log` is in the run already. What is empty and stands at its end says something of its own.
    fn holds(&self, log: LogRef<'_>) -> bool {
        log.start() < self.last().end() && log.end() <= self.last().end()
    }

    /// Where the clock was set back, or not observed any more, a run ends: it tells the last observation only.
    fn is_continued_by(&self, log: LogRef<'_>, bytes_max: u64) -> bool {
        let bytes = log.end().bytes_since(self.first().start());
        log.start() == self.last().end()
            && bytes <= bytes_max
            && log.complete_through() >= self.last().complete_through()
    }

    fn merge(self) -> Merge {
        let (first, last) = (self.first(), self.last());
        let mut into =
            LogBackup { wal: WalRange { start: first.start(), ..last.wal() }, index: None, ..last.to_backup() };
        into.max_commit_time = self.0.iter().filter_map(|log| log.max_commit_time()).max();
        into.restore_points = self.0.iter().map(|log| log.restore_points()).fold(0, u32::saturating_add);
        into.stored_bytes = self.0.iter().map(|log| log.stored_bytes()).fold(0, u64::saturating_add);
        Merge { logs: self.0.into_iter().map(LogRef::to_backup).collect(), into }
    }
}

impl Merge {
    /// Of log backups that are all empty the last one is what they would become.
    fn is_new(&self) -> bool {
        self.logs.iter().all(|log| log.key() != self.into.key())
    }
}

/// Of several that hold a log backup, the one is told that is nearest to it: it can have been there longest.
fn redundant(mut settled: Vec<LogRef<'_>>) -> Vec<Redundant> {
    settled.sort_by_key(|log| (log.start(), Reverse((log.end(), log.max_commit_time(), log.complete_through()))));
    let mut redundant = Vec::new();
    let (mut widest, mut previous): (Option<LogRef<'_>>, Option<LogRef<'_>>) = (None, None);
    for log in settled {
        let within = [previous, widest].into_iter().flatten().find(|other| holds(*other, log));
        redundant.extend(within.map(|within| Redundant { log: log.to_backup(), within: within.to_backup() }));
        if widest.is_none_or(|widest| widest.end() < log.end()) {
            widest = Some(log);
        }
        previous = Some(log);
    }
    redundant
}

/// Whether from `other` all is known that `log` tells. One that was listed twice does not hold itself.
fn holds(other: LogRef<'_>, log: LogRef<'_>) -> bool {
    other.start() <= log.start()
        && log.end() <= other.end()
        && log.max_commit_time() <= other.max_commit_time()
        && log.complete_through() <= other.complete_through()
        && log.restore_points() <= other.restore_points()
        && other.key() != log.key()
}

#[cfg(test)]
mod tests;
