//! Compaction: merges small log backups, and deletes those of which all is in larger ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::decoding::{self, Decoding};
use super::error::{Context, Error, ErrorKind, Result};
use super::index_builder::Passed;
use super::inventory::{Inventory, Unreadable, blame};
use super::log_builder::{Knowledge, LogBuilder, LogFormat};
use super::log_stream::{self, LogStream};
use super::progress::Observer;
use super::server::ServerRepository;
use crate::format::block::Compression;
use crate::format::wal::WalIdentity;
use crate::model::{Branch, Catalog, LogBackup, LogRef, Lsn, ObjectKey, Timestamp};
use crate::plan::compaction::{CompactionPolicy, Merge, Redundant, plan_compaction};
use crate::plan::retention::Protections;
use crate::port::PortErrorKind;

/// How log backups are compacted.
#[derive(Clone, Debug)]
pub struct CompactSettings {
    policy: CompactionPolicy,
    grace: Duration,
    compression: Compression,
    observer: Observer<CompactEvent>,
}

impl Default for CompactSettings {
    fn default() -> Self {
        Self {
            policy: CompactionPolicy::default(),
            grace: Duration::from_secs(24 * 60 * 60),
            compression: Compression::log(),
            observer: Observer::default(),
        }
    }
}

impl CompactSettings {
    /// Which log backups are merged.
    #[must_use]
    pub fn policy(self, policy: CompactionPolicy) -> Self {
        Self { policy, ..self }
    }

    /// For how long what was merged stays, for restores that were planned before. A day by default. Restores that take longer, or are planned
    /// later, need a lease.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// How the log is compressed.
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// Who is told of everything that happens.
    #[must_use]
    pub fn observer(self, observer: Observer<CompactEvent>) -> Self {
        Self { observer, ..self }
    }
}

/// What a [`Compactor`] tells of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CompactEvent {
    /// This log backup was stored, made of others.
    Merged(LogBackup),
    /// This one was deleted: all of it is in another one.
    Deleted(LogBackup),
}

/// What was compacted.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CompactReport {
    /// How many log backups were merged; they are deleted by a later run.
    pub merged: u64,
    /// How many were made of them.
    pub made: u64,
    /// How many were deleted, since larger ones hold all that they do.
    pub deleted: u64,
    /// The bytes that those took.
    pub deleted_bytes: u64,
    /// What could not be read, or not be deleted, and why. What depends on it stays as it is.
    pub failed: Vec<(ObjectKey, Error)>,
}

/// Merges the small log backups of one server.
///
/// Log is decoded again while it is merged, as when it was archived. What was merged is deleted by a later run, after a grace, once the log
/// backup that took its place was read back whole. An archiver, restores, snapshots and sweeps may go on meanwhile; one compactor a server.
#[derive(Debug)]
pub struct Compactor {
    server: ServerRepository,
    settings: CompactSettings,
}

impl Compactor {
    /// Compacts the log backups of `server`.
    #[must_use]
    pub fn new(server: &ServerRepository) -> Self {
        Self { server: server.clone(), settings: CompactSettings::default() }
    }

    /// With these settings.
    #[must_use]
    pub fn settings(self, settings: CompactSettings) -> Self {
        Self { settings, ..self }
    }

    /// Deletes what earlier runs merged, but for what the leases of `protections` need, and merges what has gathered since. Interrupted at
    /// any moment, nothing is lost; run it again.
    ///
    /// # Errors
    /// If the storage cannot be read or written. [`ErrorKind::Corrupt`] if a snapshot's record or a history cannot be read: then nothing was
    /// done. What is wrong with single log backups is in the report.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "compact", skip_all, fields(server = %self.server.name())))]
    pub async fn run(&self, protections: &Protections) -> Result<CompactReport> {
        let (now, catalog) = (self.server.clock.now(), self.catalog().await?);
        let plan = plan_compaction(&catalog, &self.settings.policy, protections, now);
        let seen = catalog.current().and_then(|branch| catalog.last_seen(branch));
        let horizon = seen.map_or(now, |seen| seen.min(now));
        // What is made counts since its log was written.
        if !(plan.redundant.is_empty() && plan.merges.is_empty()) {
            self.server.note_usage(&catalog).await?;
        }
        let (made, report) = (BTreeMap::new(), CompactReport::default());
        let mut run = Run { compactor: self, catalog, horizon, made, report };
        let deleted = run.delete(plan.redundant).await?;
        run.forget(&deleted)?;
        for merge in plan.merges {
            run.merge(merge).await?;
        }
        Ok(run.report)
    }

    /// Log backups that cannot be read are left alone. But a snapshot or a history tells where log must not be merged.
    async fn catalog(&self) -> Result<Catalog> {
        let Inventory { catalog, unreadable } = self.server.inventory().await?;
        match unreadable.into_iter().find(|(object, _)| self.server.layout.parse_log(object).is_none()) {
            Some((object, error)) => {
                let context =
                    format!("nothing was merged: {object} cannot be read, and may tell where log must not be");
                Err(Error::new(ErrorKind::Corrupt, context).caused_by(error))
            }
            None => Ok(catalog),
        }
    }
}

/// A compaction that is going on.
struct Run<'a> {
    compactor: &'a Compactor,
    /// What is there.
    catalog: Catalog,
    /// Now, or when the server was last seen.
    horizon: Timestamp,
    /// What was made, by where it ends.
    made: BTreeMap<(Branch, Lsn), ObjectKey>,
    report: CompactReport,
}

impl Run<'_> {
    /// Deletes what is redundant, if what holds it has been there for long enough, and is whole; gives what is gone.
    async fn delete(&mut self, redundant: Vec<Redundant>) -> Result<BTreeSet<ObjectKey>> {
        let (mut sound, mut unfit, mut deleted) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for Redundant { log, within } in redundant {
            let key = within.key();
            if !sound.contains(&key) && !unfit.contains(&key) {
                let fits = self.is_old(&within).await? && self.is_sound(within).await?;
                if fits {
                    sound.insert(key.clone())
                } else {
                    unfit.insert(key.clone())
                };
            }
            if sound.contains(&key) {
                deleted.insert(log.key());
                self.delete_log(log).await?;
            }
        }
        Ok(deleted)
    }

    /// Nothing is read any more of what was deleted.
    fn forget(&mut self, deleted: &BTreeSet<ObjectKey>) -> Result<()> {
        let left = self.catalog.artifacts().filter(|artifact| !deleted.contains(&artifact.object().key));
        let unfit = |error| Error::new(ErrorKind::Conflict, "what is left contradicts itself").caused_by(error);
        self.catalog = Catalog::new(left).map_err(unfit)?;
        Ok(())
    }

    /// So a clock of ours that jumps ahead takes no log from a restore that goes on.
    async fn is_old(&self, log: &LogBackup) -> Result<bool> {
        let key = log.key();
        match self.compactor.server.vault.storage.head(&key).await {
            Err(error) if error.kind() == PortErrorKind::NotFound => Ok(false),
            head => {
                let modified = head.context(|| format!("looking up {key}"))?.modified;
                Ok(modified.saturating_add(self.compactor.settings.grace) <= self.horizon)
            }
        }
    }

    async fn is_sound(&mut self, log: LogBackup) -> Result<bool> {
        let key = log.key();
        let read = log_stream::read_whole(&self.compactor.server, log).await;
        Ok(self.good(blame(key, read)?).is_some())
    }

    async fn delete_log(&mut self, log: LogBackup) -> Result<()> {
        let key = log.key();
        match self.compactor.server.vault.storage.delete(&key).await {
            Err(error) if error.kind() == PortErrorKind::Denied => self.report.failed.push((key, error.into())),
            deleted => {
                deleted.context(|| format!("deleting {key}"))?;
                self.report.deleted += 1;
                self.report.deleted_bytes += log.stored_bytes;
                self.compactor.settings.observer.tell(&CompactEvent::Deleted(log));
            }
        }
        Ok(())
    }

    async fn merge(&mut self, merge: Merge) -> Result<()> {
        let (key, count) = (merge.into.key(), merge.logs.len() as u64);
        let merged = self.store(merge).await;
        if let Some(log) = self.good(blame(key, merged)?).flatten() {
            self.report.merged += count;
            self.report.made += 1;
            self.made.insert((Branch::new(log.incarnation, log.wal.timeline), log.wal.end), log.key());
            self.compactor.settings.observer.tell(&CompactEvent::Merged(log));
        }
        Ok(())
    }

    /// Archives the log anew, as one log backup; `None` if it begins in a record of which the beginning has expired.
    async fn store(&self, Merge { logs, into }: Merge) -> Result<Option<LogBackup>> {
        let server = &self.compactor.server;
        let unknown = || Error::new(ErrorKind::NotFound, "the history of its timeline is missing");
        let (history, first) = decoding::history(&self.catalog, &into).zip(logs.first()).ok_or_else(unknown)?;
        let footer = log_stream::read_footer(server, first).await?;
        let whose = WalIdentity::new(into.incarnation, footer.segment_size, history);
        let Decoding { mut decoder, is_primed } =
            decoding::begin(server, &whose, &self.catalog, into.wal.start).await?;
        if footer.previous.is_some() && !is_primed {
            if !self.has_log_before(&into) {
                return Ok(None);
            }
            let context = format!("the log before {} cannot be read, in which a record may begin", first.key());
            return Err(Error::new(ErrorKind::Corrupt, context));
        }
        let previous = self.previous(&into).or(footer.previous);
        let compression = self.compactor.settings.compression;
        let format = LogFormat { incarnation: into.incarnation, segment_size: footer.segment_size, compression };
        let mut builder = LogBuilder::new(server.clone(), format, into.wal.timeline, into.wal.start);
        for log in logs {
            let key = log.key();
            let mut stream = LogStream::open(server, log).await?;
            while let Some(bytes) = stream.next().await? {
                let passed = Passed::of(&mut decoder, &bytes).map_err(|error| Error::corrupt(&key, error))?;
                builder.push(&bytes, passed);
            }
            stream.finish()?;
        }
        let found = builder.describe(into.complete_through).key();
        if found != into.key() {
            return Err(Error::new(ErrorKind::Corrupt, format!("merging gave {found} instead of {}", into.key())));
        }
        builder.store(Knowledge::of(&decoder, into.complete_through), previous).await.map(Some)
    }

    fn has_log_before(&self, log: &LogBackup) -> bool {
        let (branch, start) = (Branch::new(log.incarnation, log.wal.timeline), log.wal.start);
        self.catalog.logs(branch).any(|log| log.start() < start && start <= log.end())
    }

    /// The log backup that ends where `log` begins, and that will stay: the longest.
    fn previous(&self, log: &LogBackup) -> Option<ObjectKey> {
        let (branch, end) = (Branch::new(log.incarnation, log.wal.timeline), log.wal.start);
        let known = || {
            let ending = self.catalog.logs(branch).filter(|log| log.end() == end);
            ending.min_by_key(|log| log.start()).map(LogRef::key)
        };
        self.made.get(&(branch, end)).cloned().or_else(known)
    }

    fn good<T>(&mut self, read: Result<T, Unreadable>) -> Option<T> {
        read.map_err(|failure| self.report.failed.push(failure)).ok()
    }
}
