//! Snapshots: streams a base backup into the repository.

mod base;
mod cutter;
mod earlier;
mod extents;
mod findings;
mod layers;
mod pack_writer;
mod running;
mod workshop;
mod writing;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::base::Base;
use self::extents::ExtentReader;
pub use self::findings::DamagedPage;
use self::findings::Noticed;
use self::running::RunningNote;
use self::writing::{Writing, Written};
use super::error::{Context, Error, ErrorKind, Result};
use super::names;
use super::progress::{Observer, Progress};
use super::server::ServerRepository;
use crate::format::block::Compression;
use crate::format::manifest::ManifestError;
use crate::model::{Incarnation, ObjectKey, Snapshot, SnapshotId, SnapshotTrigger};
use crate::port::{PutMode, SnapshotSource, SnapshotStart};

/// How snapshots are taken.
#[derive(Clone, Debug, Default)]
pub struct SnapshotSettings {
    compression: Compression,
    mistrusted: BTreeSet<ObjectKey>,
    reads_all: bool,
    refuses_damaged_pages: bool,
    trigger: SnapshotTrigger,
    observer: Observer<Progress>,
}

impl SnapshotSettings {
    /// How blocks are compressed: by default as [suits pages](Compression::pages).
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// Which packs of earlier snapshots are not used, though they are there: what a verification found damaged. What is in them is
    /// stored anew, if the server still has it.
    #[must_use]
    pub fn mistrust(self, packs: impl IntoIterator<Item = ObjectKey>) -> Self {
        Self { mistrusted: packs.into_iter().collect(), ..self }
    }

    /// Reads all files, also those whose [stamps](crate::model::FileStamp) say that they have not changed: what proves now and then
    /// that stamps tell the truth. Those that do not are [reported](SnapshotReport::contradicted).
    #[must_use]
    pub fn read_all(self) -> Self {
        Self { reads_all: true, ..self }
    }

    /// Takes no snapshot if any page of the server has a wrong checksum: [`ErrorKind::Corrupt`]. Otherwise they are stored as they
    /// are, and reported, as an older snapshot may have them sound, and this one everything else.
    #[must_use]
    pub fn refuse_damaged_pages(self) -> Self {
        Self { refuses_damaged_pages: true, ..self }
    }

    /// Why snapshots are taken: as the schedule says, unless told otherwise.
    #[must_use]
    pub fn trigger(self, trigger: SnapshotTrigger) -> Self {
        Self { trigger, ..self }
    }

    /// Who is told of progress.
    #[must_use]
    pub fn observer(self, observer: Observer<Progress>) -> Self {
        Self { observer, ..self }
    }
}

/// A snapshot that was taken, and what was noticed on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotReport {
    /// The snapshot, which knows how many pages had a wrong checksum.
    pub snapshot: Snapshot,
    /// These pages, if the source says which: the first 1000.
    pub damaged_pages: Vec<DamagedPage>,
    /// Files that had changed though their stamps had not: the first 1000. Only a snapshot that [reads
    /// all](SnapshotSettings::read_all) notices them; if there are any, every snapshot must. Their last content is in this one.
    pub contradicted: Vec<String>,
    /// What was left out because it is neither a file nor a directory, such as a symbolic link: the first 1000.
    pub skipped: Vec<String>,
}

/// Takes snapshots of one server.
#[derive(Debug)]
pub struct Snapshotter {
    server: ServerRepository,
    source: Arc<dyn SnapshotSource>,
    settings: SnapshotSettings,
}

impl Snapshotter {
    /// Takes snapshots of `server`, as `source` gives it.
    #[must_use]
    pub fn new(server: &ServerRepository, source: Arc<dyn SnapshotSource>) -> Self {
        Self { server: server.clone(), source, settings: SnapshotSettings::default() }
    }

    /// With these settings.
    #[must_use]
    pub fn settings(self, settings: SnapshotSettings) -> Self {
        Self { settings, ..self }
    }

    /// Takes a snapshot, which stands for itself: everything that the server has.
    ///
    /// Only what the newest snapshot has not is stored; the rest is shared with it. Everything is read, but for files whose
    /// [stamps](crate::model::FileStamp) say that they have not changed since. What of what is shared is missing,
    /// or is [mistrusted](SnapshotSettings::mistrust), is stored again. Of a snapshot that was interrupted within the last 6 hours, the
    /// packs that were finished are used too. Any older snapshot can be deleted at any time; what is shared
    /// stays ([`Sweeper`](super::Sweeper)).
    ///
    /// It is in the catalog when this returns, and not before. It can be restored from once the log from its start to its
    /// end is archived too, which is the [`Archiver`](super::Archiver)'s part. Memory is bounded, but for 16 bytes a file and about
    /// 500 bytes a pack.
    ///
    /// # Errors
    /// Then there is no snapshot; packs that were finished stay behind until they are swept. Only where the answer to the very last
    /// write was lost, the snapshot may be there after all, whole. [`ErrorKind::InvalidInput`] if the
    /// source is another server, or changed its timeline meanwhile; [`ErrorKind::Conflict`] if it stood still for so long that it was
    /// swept away.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "snapshot", skip_all, fields(server = %self.server.name())))]
    pub async fn take(&self) -> Result<SnapshotReport> {
        let incarnation = self.source.identify().await.context(|| "identifying the server")?.incarnation;
        self.server.admit(incarnation).await?;
        let name = names::draw(&*self.server.vault.entropy, self.server.clock.now())?;
        let id: SnapshotId = name.parse().expect("digits and letters joined by a dash are a snapshot ID");
        let mut note = RunningNote::new(&self.server, incarnation, &id);
        let report = self.take_noted(id, incarnation, &mut note).await?;
        note.remove().await;
        Ok(report)
    }

    async fn take_noted(
        &self,
        id: SnapshotId,
        incarnation: Incarnation,
        note: &mut RunningNote,
    ) -> Result<SnapshotReport> {
        let earlier = earlier::find(&self.server, incarnation, note).await?;
        let base = Base::open(&self.server, earlier, &self.settings.mistrusted).await?;
        let stream = self.source.begin(&format!("pitr {id}")).await.context(|| "beginning a base backup")?;
        let start = stream.start().clone();
        is_still(incarnation, &start)?;
        let packs = Arc::clone(&base.packs);
        let reader = ExtentReader::new(stream, self.server.vault.clone(), &self.settings, base);
        let written = Writing::new(&self.server, &id, &start, &self.settings, packs, note).run(reader).await?;
        self.confirm(note, &written).await?;
        self.record(id, &start, written).await
    }

    /// Makes sure once more that nobody took the snapshot for an interrupted one: what it names would be gone.
    async fn confirm(&self, note: &mut RunningNote, written: &Written) -> Result<()> {
        let confirmed = note.confirm().await;
        if confirmed.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict) {
            // Should this fail, a manifest stays that nothing names.
            drop(self.server.vault.storage.delete(&written.manifest.key).await);
        }
        confirmed
    }

    /// Puts the snapshot into the catalog.
    async fn record(&self, id: SnapshotId, start: &SnapshotStart, written: Written) -> Result<SnapshotReport> {
        let Written { wal, end, noticed, manifest, logical_bytes, pack_bytes, shares } = written;
        let SnapshotStart { incarnation, segment_size, role, .. } = *start;
        let mut snapshot = Snapshot::full(id, incarnation, wal, segment_size, end.at, manifest);
        let shared_bytes: u64 = shares.iter().map(|shared| shared.used_bytes).sum();
        snapshot.stored_bytes += pack_bytes + shared_bytes;
        (snapshot.role, snapshot.trigger) = (role, self.settings.trigger);
        (snapshot.logical_bytes, snapshot.shares) = (logical_bytes, shares);
        let Noticed { checksum_failures, damaged_pages, contradicted } = noticed;
        snapshot.checksum_failures = checksum_failures;
        let name = self.server.layout.snapshot(incarnation, &snapshot.id);
        match self.server.write_record(&name, &snapshot, PutMode::Create).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let context = format!("snapshot {} was abandoned while it was taken: take another one", snapshot.id);
                return Err(Error::new(ErrorKind::Conflict, context).caused_by(error));
            }
            recorded => recorded?,
        };
        Ok(SnapshotReport { snapshot, damaged_pages, contradicted, skipped: end.skipped })
    }
}

/// That the base backup is of the server that was asked first: the connections may lead to different ones.
fn is_still(incarnation: Incarnation, start: &SnapshotStart) -> Result<()> {
    if start.incarnation == incarnation {
        return Ok(());
    }
    let context =
        format!("the base backup is of {}, but {incarnation} answered just before: try again", start.incarnation);
    Err(Error::new(ErrorKind::InvalidInput, context))
}

/// The server holds something that no manifest can tell.
fn unlisted(error: ManifestError) -> Error {
    Error::new(ErrorKind::InvalidInput, "listing the files of the snapshot").caused_by(error)
}
