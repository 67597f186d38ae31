//! Renewing what the store promised: of what is needed for longer than it was made immutable for.
//!
//! What is stored is immutable for as long as the store was told, which should be the retention and more. It is needed for longer if the latest instant
//! needs it, whenever it was stored: packs that snapshots share, log since the latest snapshot, keys; and if it is kept beyond its time, as by a hold.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{TryStreamExt, future};

use super::Sweep;
use crate::engine::error::{Context, Error, ErrorKind, Result};
use crate::engine::inventory::{READS_IN_FLIGHT, blame};
use crate::engine::manifest;
use crate::engine::server::ServerRepository;
use crate::format::layout::{CatalogEntry, DataPart, Permanence, ServerLayout, permanence_of};
use crate::format::record::Renewal;
use crate::model::{
    Artifact, Catalog, Incarnation, LogBackup, Lsn, ObjectKey, RetentionDays, SegmentNumber, Snapshot, SnapshotId,
    StoredObject, Timestamp,
};
use crate::plan::retention::RetentionPlan;
use crate::port::{ObjectMeta, PortErrorKind, PutMode};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Beyond the retention: for a day between snapshots, a day between sweeps, and one for whichever comes late.
const MARGIN: Duration = DAY.saturating_mul(3);

/// Which promises are due.
struct Due {
    now: Timestamp,
    /// When those that were due were renewed; `None` if they never were.
    renewed: Option<Timestamp>,
    /// How long they last for, beyond what is `needed`: so often they are renewed.
    step: Duration,
    /// For how long an object that is in use should be immutable.
    needed: Duration,
    /// What is not needed any more, but still there.
    left: BTreeSet<ObjectKey>,
    /// Where the log begins that the latest snapshot needs.
    log: Option<(Incarnation, Lsn)>,
    /// Of the latest snapshot, and those that are kept beyond their time: their records, manifests and packs.
    used: BTreeSet<ObjectKey>,
    /// Whether some of their packs are not known.
    has_unknown: bool,
}

impl Sweep<'_> {
    /// Renews the promises that are due, if the store makes any.
    pub(super) async fn renew(&mut self, catalog: &Catalog, plan: &RetentionPlan) -> Result<()> {
        let server = &self.sweeper.server;
        let Some(period) = server.vault.storage.immutable_for() else { return Ok(()) };
        let (now, name) = (server.clock.now(), server.layout.renewal());
        let (renewed, mode) = last(server, &name).await?;
        let mut due = Due::new(now, renewed, period, server.spec().await?.retention);
        self.report.immutability_missing = due.needed.saturating_sub(period);
        due.left = std::mem::take(&mut self.left);
        due.find_used(server, catalog, plan).await?;
        self.renew_due(&due).await?;
        if !self.report.not_renewed.is_empty() {
            return Ok(());
        }
        match self.sweeper.server.write_record(&name, &Renewal::new(now), mode).await {
            // Another sweep was faster.
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }

    async fn renew_due(&mut self, due: &Due) -> Result<()> {
        let server = &self.sweeper.server;
        let (directory, storage) = (server.layout.root(), &*server.vault.storage);
        let listed = storage.list(Some(directory), None).try_filter_map(|object| {
            let is_due = due.is_time(object.modified) && due.is_in_use(&server.layout, &object);
            future::ready(Ok(is_due.then_some(object.key)))
        });
        let renewed = listed.map_ok(|key| async move { Ok((storage.renew(&key).await, key)) });
        let mut renewed = std::pin::pin!(renewed.try_buffer_unordered(READS_IN_FLIGHT));
        while let Some((renewed, key)) = renewed.try_next().await.context(|| format!("listing {directory}"))? {
            match renewed {
                Ok(()) => self.report.renewed += 1,
                Err(error) if error.kind() == PortErrorKind::Denied => {
                    self.report.not_renewed.push((key, Error::from(error)));
                }
                Err(error) => return Err(error).context(|| format!("renewing {key}")),
            }
        }
        Ok(())
    }
}

/// When promises were renewed last, and how to note that they were. A note that is damaged is as good as none.
async fn last(server: &ServerRepository, name: &ObjectKey) -> Result<(Option<Timestamp>, PutMode)> {
    match server.find_record::<Renewal>(name).await {
        Ok(Some((renewal, mode))) => Ok((Some(renewal.at), mode)),
        Ok(None) => Ok((None, PutMode::Create)),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok((None, PutMode::Overwrite)),
        Err(error) => Err(error),
    }
}

impl Due {
    fn new(now: Timestamp, renewed: Option<Timestamp>, period: Duration, retention: RetentionDays) -> Self {
        let needed = retention.duration().saturating_add(MARGIN);
        let step = period.saturating_sub(needed).max(DAY);
        // That of a clock that was ahead is none.
        let renewed = renewed.filter(|renewed| *renewed <= now);
        let (left, used) = (BTreeSet::new(), BTreeSet::new());
        Self { now, renewed, step, needed, left, log: None, used, has_unknown: false }
    }

    async fn find_used(&mut self, server: &ServerRepository, catalog: &Catalog, plan: &RetentionPlan) -> Result<()> {
        let expired: BTreeSet<SnapshotId> = plan.expired().filter_map(id).collect();
        let kept = || catalog.snapshots().filter(|snapshot| !expired.contains(&snapshot.id));
        let latest = kept().max_by_key(|snapshot| snapshot.consistent_at);
        self.log = latest.map(|latest| (latest.incarnation, segment_start(latest)));
        let overdue = kept().filter(|snapshot| self.is_overdue(snapshot.consistent_at));
        let users: Vec<Snapshot> = latest.into_iter().chain(overdue).flat_map(|user| catalog.chain(user)).collect();
        for snapshot in users {
            self.add(server, &snapshot).await?;
        }
        Ok(())
    }

    /// What `snapshot` consists of is in use.
    async fn add(&mut self, server: &ServerRepository, snapshot: &Snapshot) -> Result<()> {
        let layout = &server.layout;
        if !self.used.insert(layout.snapshot(snapshot.incarnation, &snapshot.id)) {
            return Ok(());
        }
        let name = snapshot.manifest.key.clone();
        match blame(name.clone(), manifest::read(server, snapshot).await)? {
            Ok(manifest) => {
                self.used.extend(manifest.packs.iter().map(|pack| layout.pack(&pack.id.snapshot, pack.id.number)));
            }
            Err(_) => self.has_unknown = true,
        }
        self.used.insert(name);
        Ok(())
    }

    /// Whether what was made at `made` is kept beyond its time.
    fn is_overdue(&self, made: Timestamp) -> bool {
        made.saturating_add(self.needed) < self.now
    }

    /// Whether another step has passed since promises were renewed, of all those from when the object was made. So nobody need remember when each
    /// was renewed.
    fn is_time(&self, made: Timestamp) -> bool {
        let steps = |at: Timestamp| at.duration_since(made).as_micros() / self.step.as_micros();
        self.renewed.is_none_or(|renewed| steps(renewed) < steps(self.now))
    }

    /// Whether the latest instant needs the object, or it is kept beyond its time. If promises were never renewed, it may have none yet.
    fn is_in_use(&self, layout: &ServerLayout, object: &ObjectMeta) -> bool {
        let key = &object.key;
        if permanence_of(key) == Permanence::Note || self.left.contains(key) {
            return false;
        }
        let is_used = || self.used.contains(key) || self.renewed.is_none();
        match layout.parse_data(key).map(|entry| entry.part) {
            Some(DataPart::Pack(_)) => return is_used() || self.has_unknown,
            Some(_) => return is_used() || self.is_overdue(object.modified),
            None => {}
        }
        match layout.parse_catalog(&StoredObject::new(key.clone(), object.bytes)) {
            Ok(CatalogEntry::Log(log)) => is_used() || self.is_overdue(object.modified) || self.is_recent(&log),
            Ok(CatalogEntry::Snapshot { .. }) => is_used() || self.is_overdue(object.modified),
            // Histories, keys, the server's record, proofs: few, and small.
            Ok(CatalogEntry::History { .. }) | Err(_) => true,
        }
    }

    fn is_recent(&self, log: &LogBackup) -> bool {
        self.log.is_none_or(|(incarnation, start)| log.incarnation == incarnation && log.wal.end > start)
    }
}

/// A restore stages whole segments.
fn segment_start(snapshot: &Snapshot) -> Lsn {
    SegmentNumber::containing(snapshot.wal.start, snapshot.segment_size).start(snapshot.segment_size)
}

fn id(artifact: Artifact) -> Option<SnapshotId> {
    match artifact {
        Artifact::Snapshot(snapshot) => Some(snapshot.id),
        _ => None,
    }
}
