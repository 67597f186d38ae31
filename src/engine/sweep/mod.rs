//! Sweeping: deletes what has expired, and what interrupted snapshots left behind.

mod data;
mod renewal;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::delete::{self, DELETED_AT_A_TIME, Deletion};
use super::error::{Context, Error, ErrorKind, Result};
use super::inventory::Inventory;
use super::names;
use super::progress::Observer;
use super::server::ServerRepository;
use crate::format::layout::{ChangeEntry, DataPart};
use crate::model::{Artifact, Branch, Catalog, LogBackup, ObjectKey, Snapshot, SnapshotId, StoredObject, Timestamp};
use crate::plan::retention::{Protections, RetentionPlan};
use crate::port::{PutMode, StorageExt};

/// A snapshot that was interrupted is built on for half as long.
const GRACE_MIN: Duration = Duration::from_secs(12 * 60 * 60);
/// Records of test restores, of changes and of what was stored are kept for a year and a month, as auditors ask for a year; and those that a snapshot was abandoned, as no
/// worker stands still for longer.
pub(super) const RECORD_AGE_MAX: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// How a repository is swept.
#[derive(Clone, Debug)]
pub struct SweepSettings {
    grace: Duration,
    despite_unreadable: bool,
    observer: Observer<StoredObject>,
}

impl Default for SweepSettings {
    fn default() -> Self {
        let grace = Duration::from_secs(24 * 60 * 60);
        Self { grace, despite_unreadable: false, observer: Observer::default() }
    }
}

impl SweepSettings {
    /// A snapshot without a record counts as interrupted once nothing was stored of it for so long before the plan's horizon. A day
    /// by default, and half a day at least. It must be longer than a pack takes to be stored, and than the clocks of server and storage
    /// differ: else a snapshot is lost that is being taken, or that builds on an interrupted one.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace: grace.max(GRACE_MIN), ..self }
    }

    /// Sweeps even if objects of the catalog, or manifests, cannot be read. What they would tell is not known then, and what they need
    /// may be among what is deleted. By default nothing of that is until they were mended or removed.
    #[must_use]
    pub fn despite_unreadable(self) -> Self {
        Self { despite_unreadable: true, ..self }
    }

    /// Who is told of every object that was deleted.
    #[must_use]
    pub fn observer(self, observer: Observer<StoredObject>) -> Self {
        Self { observer, ..self }
    }
}

/// What was swept.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SweepReport {
    /// How many objects were deleted.
    pub objects: u64,
    /// The bytes that they took, but for those of snapshots' records.
    pub bytes: u64,
    /// What the storage would not let go, by an object lock or for want of permission, and why. The next sweep tries again.
    pub refused: Vec<(ObjectKey, Error)>,
    /// How many objects the store was asked to keep immutable for longer, since they are still in use
    /// ([`Storage::renew`](crate::port::Storage::renew)).
    pub renewed: u64,
    /// Of which objects it refused that, and why. The next sweep tries again.
    pub not_renewed: Vec<(ObjectKey, Error)>,
    /// How much longer the store should keep objects immutable: by less than the server's retention and three days, the window can be shortened by who
    /// has the credentials. Zero if it is long enough, or if the store makes no promise at all.
    pub immutability_missing: Duration,
    /// Snapshots that are complete but for their record. Either that was lost, or they were interrupted at the very last: they are
    /// left for somebody to decide.
    pub unrecorded: Vec<SnapshotId>,
    /// Manifests that cannot be read, and notes of snapshots that are being taken. Which packs these need is not known, so of the data of
    /// snapshots nothing was deleted, unless that was [asked for](SweepSettings::despite_unreadable).
    pub unreadable: Vec<ObjectKey>,
}

/// Deletes what has expired from one server's repository, and what interrupted snapshots left behind.
#[derive(Debug)]
pub struct Sweeper {
    server: ServerRepository,
    settings: SweepSettings,
}

impl Sweeper {
    /// Sweeps the repository of `server`.
    #[must_use]
    pub fn new(server: &ServerRepository) -> Self {
        Self { server: server.clone(), settings: SweepSettings::default() }
    }

    /// With these settings.
    #[must_use]
    pub fn settings(self, settings: SweepSettings) -> Self {
        Self { settings, ..self }
    }

    /// Deletes what `plan` lists, which must have been made just now, with all protections that are in force; then those packs of
    /// expired snapshots that no other snapshot uses, what snapshots left behind that were interrupted, and the records of test restores and of changes after 400 days.
    ///
    /// What the server's [configuration](ServerRepository::config) holds is not deleted, whether or not the plan knows of the hold.
    ///
    /// Before anything is deleted, the catalog is read anew, and the plan proved on it ([`RetentionPlan::check`]); and what was stored until now is noted
    /// ([`ServerRepository::usage_by_day`]). An archiver, a
    /// snapshot, or another sweep may go on meanwhile. Interrupted at any moment, it leaves a repository that is as good as
    /// before; plan and sweep again.
    ///
    /// Where the store keeps objects immutable, those that are in use are renewed, so that they stay so for the server's retention and three days, if
    /// the store was told to keep them for that long at least.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the plan does not fit the catalog any more, or would lose what it must not, and
    /// [`ErrorKind::Corrupt`] if the catalog cannot be read in full: then nothing was deleted. Else if the storage fails.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "sweep", skip_all, fields(server = %self.server.name())))]
    pub async fn run(&self, plan: &RetentionPlan) -> Result<SweepReport> {
        let catalog = self.catalog().await?;
        let unfit = |fault| Error::new(ErrorKind::Conflict, "nothing was deleted: plan again").caused_by(fault);
        plan.check(&catalog).map_err(unfit)?;
        let mut sweep =
            Sweep { sweeper: self, report: SweepReport::default(), stuck: BTreeSet::new(), left: BTreeSet::new() };
        if !plan.is_empty() {
            self.server.note_usage(&catalog).await?;
        }
        sweep.announce(plan).await?;
        sweep.delete_expired(plan).await?;
        sweep.delete_data(&catalog, plan.horizon).await?;
        sweep.delete_proofs(plan.horizon).await?;
        sweep.delete_changes(plan.horizon).await?;
        sweep.delete_restores(plan.horizon).await?;
        sweep.renew(&catalog, plan).await?;
        Ok(sweep.report)
    }

    async fn catalog(&self) -> Result<Catalog> {
        let Inventory { catalog, unreadable } = self.server.inventory().await?;
        match unreadable.into_iter().next() {
            Some((object, error)) if !self.settings.despite_unreadable => {
                let context = format!("nothing was deleted: {object} cannot be read, and may need what expires");
                Err(Error::new(ErrorKind::Corrupt, context).caused_by(error))
            }
            _ => Ok(catalog),
        }
    }
}

/// A sweep that is going on.
struct Sweep<'a> {
    sweeper: &'a Sweeper,
    report: SweepReport,
    /// Where the storage would not let something go: what comes after that in the order stays too.
    stuck: BTreeSet<Branch>,
    /// What should have been deleted, and was not.
    left: BTreeSet<ObjectKey>,
}

impl Sweep<'_> {
    /// Deletes the records of old test restores. Others that a clock ahead of ours has made, stay.
    async fn delete_proofs(&mut self, horizon: Option<Timestamp>) -> Result<()> {
        let Some(horizon) = horizon else { return Ok(()) };
        let (server, first) = (&self.sweeper.server, names::prefix(horizon.saturating_sub(RECORD_AGE_MAX)));
        let directory = server.layout.proofs();
        let listed = server.vault.storage.list_all(Some(&directory)).await;
        let mut old = listed.context(|| format!("listing {directory}"))?;
        old.retain(|object| object.key.parts().next_back().is_some_and(|name| *name < *first));
        let old = old.into_iter().map(|object| StoredObject::new(object.key, object.bytes)).collect();
        self.delete(old).await.map(drop)
    }

    /// Deletes the records of old changes, but for the last of them: it says what the server was until the next.
    async fn delete_changes(&mut self, horizon: Option<Timestamp>) -> Result<()> {
        let Some(horizon) = horizon else { return Ok(()) };
        let (server, first) = (&self.sweeper.server, horizon.saturating_sub(RECORD_AGE_MAX));
        let entries = server.recorded_changes().await?;
        let is_old = |entry: &&ChangeEntry| entry.at < first;
        let kept = entries.iter().rfind(is_old).map(|entry| entry.revision);
        let old = entries.iter().filter(is_old).filter(|entry| Some(entry.revision) < kept);
        let old = old.map(|entry| StoredObject::new(server.layout.change(entry), 0)).collect();
        self.delete(old).await.map(drop)
    }

    /// Deletes the records of old restores, but for those that are not over.
    async fn delete_restores(&mut self, horizon: Option<Timestamp>) -> Result<()> {
        let Some(horizon) = horizon else { return Ok(()) };
        let (server, first) = (&self.sweeper.server, horizon.saturating_sub(RECORD_AGE_MAX));
        let directory = server.layout.restores();
        let listed = server.vault.storage.list_all(Some(&directory)).await;
        let mut old = listed.context(|| format!("listing {directory}"))?;
        old.retain(|object| server.layout.parse_restore(&object.key).is_some_and(|(at, _)| at < first));
        if old.is_empty() {
            return Ok(());
        }
        let config = server.config().await?;
        let going: Vec<_> = config.restores.iter().map(|order| server.layout.restore(order.at, &order.id)).collect();
        old.retain(|object| !going.contains(&object.key));
        let old = old.into_iter().map(|object| StoredObject::new(object.key, object.bytes)).collect();
        self.delete(old).await.map(drop)
    }

    /// Notes of each snapshot that expires that it does: its data are then not taken for those of a snapshot of which the record was lost. Whoever
    /// held one before that, or began to restore it, since the plan was made, is seen here; who does so later sees the note.
    async fn announce(&self, plan: &RetentionPlan) -> Result<()> {
        let (server, Some(horizon)) = (&self.sweeper.server, plan.horizon) else { return Ok(()) };
        let ids = plan.expired_snapshots.iter().map(|expired| &expired.snapshot.id);
        let notes: BTreeMap<_, _> = ids.map(|id| (id, server.layout.data_part(id, DataPart::Expired))).collect();
        for note in notes.values() {
            match server.vault.put(note, Bytes::new(), PutMode::Create).await {
                Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
                _ => {}
            }
        }
        if notes.is_empty() {
            return Ok(());
        }
        let config = server.config().await?;
        let Protections { holds, leases, .. } = server.protections_of(&config).await?;
        let active = holds.iter().filter(|hold| hold.is_active(horizon, config.long_term.release_grace));
        let wanted = active.map(|hold| &hold.snapshot).chain(leases.iter().flat_map(|lease| &lease.snapshots));
        let held: BTreeSet<_> = wanted.filter_map(|id| notes.get(id).cloned()).collect();
        let held = Vec::from_iter(held);
        if held.is_empty() {
            return Ok(());
        }
        server.vault.storage.delete_all(&held).await.context(|| "taking back that snapshots expire that are wanted")?;
        Err(Error::new(
            ErrorKind::Conflict,
            "nothing was deleted: since the plan was made, somebody held what expires, or began to restore it: plan again",
        ))
    }

    /// In the order of the plan. Log of one branch goes at once, but for its end, which goes last. Of a branch of which something stays,
    /// so does everything that is to go after that.
    async fn delete_expired(&mut self, plan: &RetentionPlan) -> Result<()> {
        let mut logs: Vec<LogBackup> = Vec::new();
        for artifact in plan.expired() {
            match artifact {
                Artifact::Log(log) => {
                    if logs.last().is_some_and(|last| branch(last) != branch(&log)) {
                        self.delete_logs(&mut logs).await?;
                    }
                    logs.push(log);
                }
                Artifact::Snapshot(snapshot) => {
                    self.delete_logs(&mut logs).await?;
                    self.delete_snapshot(&snapshot).await?;
                }
                Artifact::History(history) => {
                    self.delete_logs(&mut logs).await?;
                    let branch = Branch::new(history.incarnation, history.history.timeline());
                    self.delete_of(branch, vec![history.object]).await?;
                }
            }
        }
        self.delete_logs(&mut logs).await
    }

    async fn delete_logs(&mut self, logs: &mut Vec<LogBackup>) -> Result<()> {
        let Some(branch) = logs.first().map(branch) else { return Ok(()) };
        let end = logs.iter().map(|log| log.wal.end).max();
        let (last, before): (Vec<_>, Vec<_>) = logs.drain(..).partition(|log| Some(log.wal.end) == end);
        for logs in [before, last] {
            self.delete_of(branch, logs.iter().map(LogBackup::object).collect()).await?;
        }
        Ok(())
    }

    /// Deletes objects of a branch, unless something of it stayed before. Whether all are gone.
    async fn delete_of(&mut self, branch: Branch, objects: Vec<StoredObject>) -> Result<bool> {
        if self.stuck.contains(&branch) {
            self.left.extend(objects.into_iter().map(|object| object.key));
            return Ok(false);
        }
        let are_gone = self.delete(objects).await?;
        if !are_gone {
            self.stuck.insert(branch);
        }
        Ok(are_gone)
    }

    /// Its record, with which the snapshot is gone. Its data go later.
    async fn delete_snapshot(&mut self, snapshot: &Snapshot) -> Result<()> {
        let (server, branch) = (&self.sweeper.server, Branch::new(snapshot.incarnation, snapshot.wal.timeline));
        if self.stuck.contains(&branch) {
            self.left.insert(server.layout.snapshot(snapshot.incarnation, &snapshot.id));
            return Ok(());
        }
        let record = server.layout.snapshot(snapshot.incarnation, &snapshot.id);
        self.delete_of(branch, vec![StoredObject::new(record, 0)]).await.map(drop)
    }

    /// Deletes objects, in no order. Whether all are gone.
    async fn delete(&mut self, objects: Vec<StoredObject>) -> Result<bool> {
        let (storage, mut are_gone) = (&*self.sweeper.server.vault.storage, true);
        for objects in objects.chunks(DELETED_AT_A_TIME) {
            for deletion in delete::delete_all(storage, objects).await? {
                if deletion.1.is_some() {
                    are_gone = false;
                    self.left.insert(deletion.0.key.clone());
                }
                note(&mut self.report, &self.sweeper.settings.observer, deletion);
            }
        }
        Ok(are_gone)
    }
}

fn note(report: &mut SweepReport, observer: &Observer<StoredObject>, (object, refused): Deletion) {
    match refused {
        Some(error) => report.refused.push((object.key, error)),
        None => {
            report.objects += 1;
            report.bytes += object.bytes;
            observer.tell(&object);
        }
    }
}

fn branch(log: &LogBackup) -> Branch {
    Branch::new(log.incarnation, log.wal.timeline)
}
