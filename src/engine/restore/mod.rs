//! Restoring: executes a plan.

mod databases;
mod fate;
mod feed;
mod files;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use self::databases::Databases;
pub use self::databases::MissingDatabases;
use self::fate::Fates;
pub use self::feed::WalFeed;
use self::feed::{Recovery, Segments};
use self::files::FileRestore;
use super::error::{Context, Error, ErrorKind, Result};
use super::manifest::{self, EntryStream, Group};
use super::progress::{Observer, Progress};
use super::server::{RECORD_BYTES_MAX, ServerRepository};
use crate::format::history;
use crate::format::layout::CatalogEntry;
use crate::model::{Snapshot, SnapshotKind, StoredObject, TimelineId};
use crate::plan::RestorePlan;
use crate::port::{RecoverySettings, RestoreOutline, RestoreTarget, StorageExt};

/// How many groups of files are written at a time, however many threads there are: each has up to 32 MiB in memory.
const GROUPS_IN_FLIGHT_MAX: usize = 8;

/// How a restore is executed.
#[derive(Clone, Debug, Default)]
pub struct RestoreSettings {
    databases: Databases,
    observer: Observer<Progress>,
}

impl RestoreSettings {
    /// Restores of the databases of users only those with these object identifiers (`pg_database.oid`). Of the others, all files are
    /// there, but read as zeros, are not fetched, and take no room. Databases with object identifiers below 16384 are always restored:
    /// those that the server came with, not a `template1` or `postgres` that was made anew.
    ///
    /// - Each one must be in the snapshot, else [`Restore::run`] fails before anything is written. A database that was created later comes
    ///   with the log, wanted or not; but not if it was copied with `STRATEGY = FILE_COPY` from one that is left out.
    /// - PostgreSQL refuses connections to a database that is left out. Drop it soon: until then it holds back the age at which old
    ///   transactions are forgotten. It is no template for others, but PostgreSQL does not refuse that.
    /// - If it has subscriptions, `DROP DATABASE` is refused, and they cannot be dropped from elsewhere. A superuser deletes them:
    ///   `DELETE FROM pg_subscription WHERE subdbid = …`.
    /// - The log changes pages that were left out. So if any database is, PostgreSQL recovers with `ignore_invalid_pages`: it warns in its log of each change to a page
    ///   that is missing or all zeros, and goes on, also in databases that are wanted. A page that is missing there is then told by these warnings
    ///   alone. The setting ends with the recovery settings, and is in force until the server is restarted.
    #[must_use]
    pub fn only_databases(self, oids: impl IntoIterator<Item = u32>) -> Self {
        Self { databases: Databases::Only(oids.into_iter().collect()), ..self }
    }

    /// Who is told of progress: first of the files', then of the log's.
    #[must_use]
    pub fn observer(self, observer: Observer<Progress>) -> Self {
        Self { observer, ..self }
    }
}

/// A plan that is to be executed: the files first, then the log while the new server recovers.
#[derive(Debug)]
pub struct Restore {
    server: ServerRepository,
    plan: RestorePlan,
    target: Arc<dyn RestoreTarget>,
    settings: RestoreSettings,
}

impl Restore {
    /// Restores `server` into `target` as `plan` says.
    #[must_use]
    pub fn new(server: &ServerRepository, plan: RestorePlan, target: Arc<dyn RestoreTarget>) -> Self {
        Self { server: server.clone(), plan, target, settings: RestoreSettings::default() }
    }

    /// With these settings.
    #[must_use]
    pub fn settings(self, settings: RestoreSettings) -> Self {
        Self { settings, ..self }
    }

    /// Writes all files and the recovery settings. When it returns, the server can be started; run the [`WalFeed`] while it
    /// recovers.
    ///
    /// Every byte is authenticated and checked against the snapshot's manifest before it is written. What the target
    /// [has already](RestoreTarget::standing), is compared with the manifest; extents of 1 MiB that differ are fetched and written, and the few that are the same in the midst of 32 MiB
    /// or more of a file that differ. Memory is bounded, whatever the server's size.
    ///
    /// # Errors
    /// Then what was written cannot start. [`ErrorKind::InvalidInput`], by [`MissingDatabases`], if the snapshot does not have all
    /// databases that are wanted: the target was not touched. [`ErrorKind::Conflict`] if something is in the target's place that does not belong there: it was not
    /// touched. [`ErrorKind::Corrupt`] and [`ErrorKind::NotFound`] name the object that is damaged or missing.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "restore", skip_all, fields(server = %self.server.name())))]
    pub async fn run(self) -> Result<WalFeed> {
        let snapshot = self.snapshot()?;
        let leaves_out_any = self.write_files(snapshot).await?;
        self.stage_histories().await?;
        let logs = self.plan.logs().to_vec();
        let end = logs.last().map_or(snapshot.wal.end, |log| log.needed.end);
        let start = logs.first().map_or(snapshot.wal.start, |log| log.needed.start);
        let segments = Segments::new(self.plan.path().clone(), snapshot.segment_size, end);
        let recovery = RecoverySettings::new(
            self.plan.recovery(),
            self.plan.timeline(),
            snapshot.segment_size,
            segments.names(start),
        )
        .ignore_invalid_pages(leaves_out_any);
        self.target.commit(&recovery).await.context(|| "committing the restored files")?;
        let Self { server, target, settings: RestoreSettings { observer, .. }, .. } = self;
        Ok(WalFeed { server, recovery: Recovery::waiting(target), logs, segments, observer })
    }

    /// The snapshot to restore, which stands alone: this version takes no others.
    fn snapshot(&self) -> Result<&Snapshot> {
        match self.plan.snapshots() {
            [snapshot] if snapshot.kind == SnapshotKind::Full => Ok(snapshot),
            _ => Err(Error::new(ErrorKind::InvalidInput, "the plan needs incremental snapshots: choose a full one")),
        }
    }

    /// Writes the files. Whether they are those of some databases only.
    async fn write_files(&self, snapshot: &Snapshot) -> Result<bool> {
        let manifest = manifest::read(&self.server, snapshot).await?;
        let packs = manifest::packs_of(&self.server, &manifest);
        let entries = || EntryStream::new(&self.server, &snapshot.manifest.key, &manifest, &packs);
        let databases = &self.settings.databases;
        // The list is read a second time, which costs little beside the files: a mistake then costs nothing that stands in the target.
        let leave_out_any = databases.leave_out_any(entries()).await?;
        let mut outline = RestoreOutline::new(snapshot.incarnation, &*manifest.head.tablespaces);
        (outline.file_bytes, outline.log_bytes) = (snapshot.logical_bytes, self.plan.log_bytes());
        let prepared = self.target.prepare(&outline).await;
        prepared.context(|| "preparing the target")?;
        let (target, observer) = (Arc::clone(&self.target), self.settings.observer.clone());
        let fates = Fates::new(self.server.vault.clone(), Arc::clone(&target), databases.clone());
        let files = FileRestore::new(packs.clone(), fates, target, observer, snapshot.logical_bytes);
        let in_flight = (self.server.vault.executor.parallelism().get() * 2).min(GROUPS_IN_FLIGHT_MAX);
        let groups = stream::try_unfold(entries(), |entries| self.next_group(entries)).boxed();
        let written = groups.map_ok(|group| files.restore(group)).try_buffer_unordered(in_flight);
        written.try_collect::<()>().await?;
        Ok(leave_out_any)
    }

    /// The next files, of which the directories were made.
    async fn next_group(&self, mut entries: EntryStream) -> Result<Option<(Group, EntryStream)>> {
        let Some(group) = entries.next_group().await? else { return Ok(None) };
        for entry in &group.directories {
            let made = self.target.directory(entry).await;
            made.context(|| format!("making the directory {}", entry.path))?;
        }
        Ok(Some((group, entries)))
    }

    /// Stages the history of the timeline to recover along, and those of all timelines that are known beside it: PostgreSQL
    /// gives the new server the first number of which it finds no history, and that must not be one of the source's.
    async fn stage_histories(&self) -> Result<()> {
        let path = self.plan.path();
        let own: BTreeMap<_, _> = path.timelines().map(|past| (past.timeline(), history::print(&past))).collect();
        let directory = self.server.layout.histories(self.plan.incarnation());
        let listed = self.server.vault.storage.list_all(Some(&directory)).await;
        for object in listed.context(|| format!("listing {directory}"))? {
            let object = StoredObject::new(object.key, object.bytes);
            if let Ok(CatalogEntry::History { timeline, .. }) = self.server.layout.parse_catalog(&object)
                && !own.contains_key(&timeline)
            {
                self.stage_history(timeline, self.foreign_history(&object).await?).await?;
            }
        }
        for (timeline, file) in own.into_iter().filter(|(timeline, _)| *timeline != TimelineId::FIRST) {
            self.stage_history(timeline, file.into()).await?;
        }
        Ok(())
    }

    /// The history file of a timeline that the plan does not touch. If it is damaged, its number is still taken.
    async fn foreign_history(&self, object: &StoredObject) -> Result<Bytes> {
        match self.server.vault.get(&object.key, RECORD_BYTES_MAX).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                Ok(Bytes::from_static(b"# the history of this timeline is damaged\n"))
            }
            file => file,
        }
    }

    async fn stage_history(&self, timeline: TimelineId, file: Bytes) -> Result<()> {
        let staged = self.target.history(timeline, file).await;
        staged.context(|| format!("staging the history of timeline {timeline}"))
    }
}
