//! How well a server is protected, and what to do about it.

mod explain;
mod finding;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;

pub use self::finding::{Finding, Status};
use super::schedule::Schedule;
use super::{RestorableInterval, recovery_window, restorable_snapshots};
use crate::model::{Catalog, RestoreProof, RetentionDays, Timestamp};

const MINUTE: Duration = Duration::from_secs(60);

/// How well a server is protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// The worst of what was found; [`Status::Green`] if nothing was.
    pub status: Status,
    /// The last instant that can be restored, or the last snapshot if no instant can: what a disaster would cost now is what came after it.
    pub latest: Option<Timestamp>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

/// What is known of a server beside its catalog.
#[derive(Clone, Debug)]
#[must_use]
pub struct HealthCheck<'a> {
    schedule: &'a Schedule,
    retention: RetentionDays,
    protected_since: Option<Timestamp>,
    proofs: &'a [RestoreProof],
    faults: u64,
}

impl<'a> HealthCheck<'a> {
    /// Of a server that is to be backed up by `schedule`, and restorable for `retention`.
    pub const fn new(schedule: &'a Schedule, retention: RetentionDays) -> Self {
        Self { schedule, retention, protected_since: None, proofs: &[], faults: 0 }
    }

    /// When its protection began, or a longer retention could begin to fill: before that, nothing is missed.
    pub const fn protected_since(self, since: Timestamp) -> Self {
        Self { protected_since: Some(since), ..self }
    }

    /// What test restores have shown, in any order.
    pub const fn proofs(self, proofs: &'a [RestoreProof]) -> Self {
        Self { proofs, ..self }
    }

    /// How many faults the last verification found.
    pub const fn faults(self, faults: u64) -> Self {
        Self { faults, ..self }
    }

    /// How well the server of `catalog` is protected at `now`.
    ///
    /// What is amber and what is red, by the schedule's own measures:
    ///
    /// | | amber | red |
    /// |---|---|---|
    /// | the last restorable instant is older than | 2 cadences of log backups and a minute | 12 cadences, and an hour at least |
    /// | the last snapshot that can be restored is older than | 5 quarters of their interval, and the jitter | 3 intervals |
    /// | nothing can be restored, not even a snapshot | | always, 2 cadences and a minute after protection began |
    /// | within the window, instants cannot be restored | always | |
    /// | the window is shorter than the retention, and protection is not | by more than an interval of snapshots | |
    /// | a snapshot cannot be restored | always | |
    /// | the last snapshot found pages with wrong checksums | | always |
    /// | the last verification found faults | | always |
    /// | the last test restore | was longer ago than 2 of their intervals; if none are scheduled, than 2 of verifications, if there ever was one | failed |
    /// | the server's clock is ahead | by more than a minute | |
    #[must_use]
    pub fn of(&self, catalog: &Catalog, now: Timestamp) -> Health {
        let window = catalog.current().map(|branch| recovery_window(catalog, branch));
        let intervals = window.map_or_else(Vec::new, |window| window.intervals);
        let latest = intervals.last().map(|last| last.until).or_else(|| last_snapshot(catalog));
        let mut findings: Vec<Finding> = [
            self.recovery_point(latest, now),
            self.snapshot_age(catalog, now),
            self.holes(&intervals, now),
            self.short_window(&intervals, now),
            damaged(catalog),
            (self.faults > 0).then_some(Finding::Faults { count: self.faults }),
            self.proof(now),
            clock_ahead(latest, now),
        ]
        .into_iter()
        .flatten()
        .chain(unusable(catalog))
        .collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.status()));
        let status = findings.first().map_or(Status::Green, Finding::status);
        Health { status, latest, findings }
    }

    /// How long ago the last instant was that can be restored.
    fn recovery_point(&self, latest: Option<Timestamp>, now: Timestamp) -> Option<Finding> {
        let cadence = self.schedule.settings().log_backup_every;
        let allowed = cadence.saturating_mul(2).saturating_add(MINUTE);
        let Some(latest) = latest else {
            let is_young = self.protected_since.is_some_and(|since| now.duration_since(since) <= allowed);
            return (!is_young).then_some(Finding::NothingRestorable);
        };
        let age = now.duration_since(latest);
        let is_red = age > cadence.saturating_mul(12).max(MINUTE.saturating_mul(60));
        (age > allowed).then_some(Finding::RecoveryPointOld { latest, age, is_red })
    }

    fn snapshot_age(&self, catalog: &Catalog, now: Timestamp) -> Option<Finding> {
        let settings = self.schedule.settings();
        let usable = catalog.snapshots().filter(|snapshot| catalog.unusable(&snapshot.id).is_none());
        let taken = usable.map(|snapshot| snapshot.consistent_at).max()?;
        let (age, every) = (now.duration_since(taken), settings.snapshot_every);
        let allowed = every.saturating_add(every / 4).saturating_add(settings.snapshot_jitter);
        // A server to which nothing is written may wait for its snapshot.
        let is_late = age > allowed && !settings.skip_idle_snapshots;
        is_late.then_some(Finding::SnapshotOld { taken, age, is_red: age > every.saturating_mul(3) })
    }

    /// From when on instants are promised.
    fn promised_from(&self, now: Timestamp) -> Timestamp {
        let start = now.saturating_sub(self.retention.duration());
        self.protected_since.map_or(start, |since| since.max(start))
    }

    /// What of the window cannot be restored, between instants that can.
    fn holes(&self, intervals: &[RestorableInterval], now: Timestamp) -> Option<Finding> {
        let start = self.promised_from(now);
        let pairs = intervals.iter().zip(intervals.iter().skip(1));
        let holes = pairs.map(|(before, after)| RestorableInterval::from((before.until.max(start), after.from)));
        let holes: Vec<RestorableInterval> = holes.filter(|hole| hole.from < hole.until).collect();
        let lost = holes.iter().map(|hole| hole.until.duration_since(hole.from)).sum();
        let last = holes.last()?.until;
        let until = last.saturating_add(self.retention.duration());
        Some(Finding::WindowHasHoles { holes, lost, until })
    }

    fn short_window(&self, intervals: &[RestorableInterval], now: Timestamp) -> Option<Finding> {
        let (start, earliest) = (self.promised_from(now), intervals.first()?.from);
        let due = self.protected_since.map(|_| start)?.saturating_add(self.schedule.settings().snapshot_every);
        (earliest > due).then_some(Finding::WindowShort { earliest, missing: earliest.duration_since(start) })
    }

    fn proof(&self, now: Timestamp) -> Option<Finding> {
        let settings = self.schedule.settings();
        let allowed = settings.test_restore_every.unwrap_or(settings.verification_every).saturating_mul(2);
        let Some(last) = self.proofs.iter().max_by_key(|proof| proof.ended) else {
            let since = self.protected_since.filter(|since| now.duration_since(*since) > allowed);
            return since.filter(|_| settings.test_restore_every.is_some()).map(|since| Finding::NeverProven { since });
        };
        if let Some(why) = &last.failure {
            return Some(Finding::NotProven { at: last.ended, why: why.clone() });
        }
        let age = now.duration_since(last.ended);
        (age > allowed).then_some(Finding::ProofOld { at: last.ended, age })
    }
}

/// The last snapshot that can be restored by itself: so much there is, even if no instant after it can be.
fn last_snapshot(catalog: &Catalog) -> Option<Timestamp> {
    restorable_snapshots(catalog).map(|snapshot| snapshot.consistent_at).max()
}

fn damaged(catalog: &Catalog) -> Option<Finding> {
    let last = catalog.snapshots().max_by_key(|snapshot| snapshot.consistent_at)?;
    let (snapshot, pages) = (last.id.clone(), last.checksum_failures);
    (pages > 0).then_some(Finding::PagesDamaged { snapshot, pages })
}

fn unusable(catalog: &Catalog) -> impl Iterator<Item = Finding> {
    catalog.snapshots().filter_map(|snapshot| {
        let reason = catalog.unusable(&snapshot.id)?.clone();
        Some(Finding::SnapshotUnusable { snapshot: snapshot.id.clone(), reason })
    })
}

fn clock_ahead(latest: Option<Timestamp>, now: Timestamp) -> Option<Finding> {
    let by = latest?.duration_since(now);
    (by > MINUTE).then_some(Finding::ClockAhead { by })
}
