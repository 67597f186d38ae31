//! Reading a server's catalog.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::error::{Error, ErrorKind, Result};
use super::log_stream;
use super::server::{RECORD_BYTES_MAX, ServerRepository};
use crate::format::history;
use crate::format::layout::CatalogEntry;
use crate::model::{Artifact, Branch, Catalog, LogBackup, Lsn, ObjectKey, StoredHistory, StoredObject};

/// How many objects are read at a time.
pub(super) const READS_IN_FLIGHT: usize = 16;

/// A server's catalog, and what could not be read into it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inventory {
    /// What can be restored from.
    pub catalog: Catalog,
    /// Objects among the catalog's that are damaged, foreign, or of a newer version: they are as good as missing.
    pub unreadable: Vec<(ObjectKey, Error)>,
}

/// What only one object is to blame for.
pub(super) type Unreadable = (ObjectKey, Error);

impl ServerRepository {
    /// Reads the catalog: one listing, one small object for each snapshot and for each timeline after the first, and the
    /// commit index of each log backup in which a snapshot or a timeline ends, since there it decides what can be restored.
    ///
    /// An object that cannot be understood does not stand in the way of the others.
    ///
    /// # Errors
    /// If the storage cannot be read, or what it holds contradicts itself.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "inventory", skip_all, fields(server = %self.name())))]
    pub async fn inventory(&self) -> Result<Inventory> {
        let (mut artifacts, mut unreadable) = (Vec::new(), Vec::new());
        let directory = self.layout.catalog();
        let listing = self.vault.storage.list(Some(&directory), None);
        let read = listing
            .map_err(|error| Error::new(error.kind().into(), format!("listing {directory}")).caused_by(error))
            .map_ok(|meta| self.read_entry(StoredObject::new(meta.key, meta.bytes)))
            .try_buffered(READS_IN_FLIGHT);
        sort_out(read, &mut artifacts, &mut unreadable).await?;
        let cuts = cuts(&artifacts);
        let (cut, mut artifacts): (Vec<_>, Vec<_>) =
            artifacts.into_iter().partition(|artifact| is_cut(artifact, &cuts));
        let indexed = stream::iter(cut).map(|artifact| self.with_index(artifact)).buffered(READS_IN_FLIGHT);
        sort_out(indexed, &mut artifacts, &mut unreadable).await?;
        let contradiction = |error| Error::corrupt(format!("the catalog of server {}", self.name()), error);
        Ok(Inventory { catalog: Catalog::new(artifacts).map_err(contradiction)?, unreadable })
    }

    async fn read_entry(&self, object: StoredObject) -> Result<Result<Artifact, Unreadable>> {
        let read = self.read_artifact(&object).await;
        blame(object.key, read)
    }

    async fn read_artifact(&self, object: &StoredObject) -> Result<Artifact> {
        let foreign = |error| Error::new(ErrorKind::InvalidInput, "a foreign object in the catalog").caused_by(error);
        match self.layout.parse_catalog(object).map_err(foreign)? {
            CatalogEntry::Log(log) => Ok(log.into()),
            CatalogEntry::Snapshot { .. } => Ok(self.read_snapshot(&object.key).await?.into()),
            CatalogEntry::History { incarnation, timeline } => {
                let file = self.vault.get(&object.key, RECORD_BYTES_MAX).await?;
                let history = history::parse(timeline, &file).map_err(|error| Error::corrupt(&object.key, error))?;
                Ok(StoredHistory::new(incarnation, history, object.clone()).into())
            }
        }
    }

    async fn with_index(&self, artifact: Artifact) -> Result<Result<Artifact, Unreadable>> {
        let Artifact::Log(mut log) = artifact else { return Ok(Ok(artifact)) };
        let key = log.key();
        let read = log_stream::read_footer(self, &log).await.map(|footer| {
            log.index = Some(Arc::new(footer.index));
            log.into()
        });
        blame(key, read)
    }
}

/// What is wrong with the object alone becomes the inner error; what would befall every object stays the outer one.
pub(super) fn blame<T>(key: ObjectKey, read: Result<T>) -> Result<Result<T, Unreadable>> {
    match read {
        Ok(good) => Ok(Ok(good)),
        Err(error) if error.is_of_object() => Ok(Err((key, error))),
        Err(error) => Err(error),
    }
}

async fn sort_out(
    read: impl futures::Stream<Item = Result<Result<Artifact, Unreadable>>>,
    artifacts: &mut Vec<Artifact>,
    unreadable: &mut Vec<Unreadable>,
) -> Result<()> {
    let mut read = std::pin::pin!(read);
    while let Some(entry) = read.try_next().await? {
        match entry {
            Ok(artifact) => artifacts.push(artifact),
            // It was deleted since it was listed, or is of an abandoned snapshot.
            Err((_, error)) if error.kind() == ErrorKind::NotFound => {}
            Err(failure) => unreadable.push(failure),
        }
    }
    Ok(())
}

/// The positions at which a snapshot or a timeline ends.
fn cuts(artifacts: &[Artifact]) -> BTreeMap<Branch, BTreeSet<Lsn>> {
    let mut cuts: BTreeMap<Branch, BTreeSet<Lsn>> = BTreeMap::new();
    let mut cut = |incarnation, timeline, lsn| cuts.entry(Branch::new(incarnation, timeline)).or_default().insert(lsn);
    for artifact in artifacts {
        match artifact {
            Artifact::Snapshot(snapshot) => {
                cut(snapshot.incarnation, snapshot.wal.timeline, snapshot.wal.end);
            }
            Artifact::History(stored) => {
                for ancestor in stored.history.ancestors() {
                    cut(stored.incarnation, ancestor.timeline, ancestor.switch);
                }
            }
            Artifact::Log(_) => {}
        }
    }
    cuts
}

/// Whether such a position lies inside the artifact, a log backup with commits.
fn is_cut(artifact: &Artifact, cuts: &BTreeMap<Branch, BTreeSet<Lsn>>) -> bool {
    let Artifact::Log(LogBackup { incarnation, wal, max_commit_time: Some(_), .. }) = artifact else { return false };
    let inside = |lsns: &BTreeSet<Lsn>| lsns.range(wal.start..wal.end).any(|lsn| *lsn > wal.start);
    cuts.get(&Branch::new(*incarnation, wal.timeline)).is_some_and(inside)
}
