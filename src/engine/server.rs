//! One protected server.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future, stream};

use super::error::{Context, Error, ErrorKind, Result};
use super::inventory::{READS_IN_FLIGHT, Unreadable, blame};
use super::vault::Vault;
use crate::format::layout::{CatalogEntry, ServerLayout};
use crate::format::record::{self, Record, ServerRecord};
use crate::model::{
    Catalog, Incarnation, ObjectKey, ServerConfig, ServerName, ServerSpec, Snapshot, SnapshotId, StoredObject,
};
use crate::port::{Clock, PutMode, Storage, Version};

/// No record, history or wrapped key is longer.
pub(crate) const RECORD_BYTES_MAX: usize = 16 << 20;

/// One protected server: its record, its catalog, its backups.
#[derive(Clone, Debug)]
pub struct ServerRepository {
    pub(crate) layout: ServerLayout,
    pub(crate) vault: Vault,
    pub(crate) clock: Arc<dyn Clock>,
    /// Of the lease under which it is changed, if it is under one.
    pub(crate) token: Option<u64>,
    name: ServerName,
}

impl ServerRepository {
    pub(super) fn new(name: ServerName, vault: Vault, clock: Arc<dyn Clock>) -> Self {
        Self { layout: ServerLayout::new(&name), vault, clock, token: None, name }
    }

    /// The server's name.
    #[must_use]
    pub fn name(&self) -> &ServerName {
        &self.name
    }

    /// Whether the server's key was rotated since it was opened: what is stored should be sealed by the new one.
    pub(crate) async fn is_rotated(&self) -> Result<bool> {
        self.vault.is_rotated().await
    }

    /// The same server, changed by way of `storage`, under the lease with this token.
    pub(super) fn under(self, storage: Arc<dyn Storage>, token: u64) -> Self {
        Self { vault: Vault { storage, ..self.vault }, token: Some(token), ..self }
    }

    /// The server as its owner configured it.
    ///
    /// # Errors
    /// If its record cannot be read.
    pub async fn config(&self) -> Result<ServerConfig> {
        Ok(self.record().await?.latest.config)
    }

    /// What the server is.
    ///
    /// # Errors
    /// If its record cannot be read.
    pub async fn spec(&self) -> Result<ServerSpec> {
        Ok(self.config().await?.spec)
    }

    /// Lets backups of `incarnation` in, if it is the server's own: the first one is taken on trust.
    pub(crate) async fn admit(&self, incarnation: Incarnation) -> Result<()> {
        let foreign = |known: &Incarnation| {
            let context = format!(
                "server {} is {known}, but the source is {incarnation}: it is another server, or was upgraded; \
                 admit the new incarnation explicitly",
                self.name
            );
            Err(Error::new(ErrorKind::InvalidInput, context))
        };
        self.admit_if(incarnation, |record| record.incarnations.last().map_or(Ok(()), foreign)).await
    }

    /// Accepts that the server was upgraded by `pg_upgrade` or initialized anew: from now on backups of `incarnation` are
    /// let in too. Those of earlier incarnations stay restorable.
    ///
    /// # Errors
    /// If the server's record cannot be changed.
    pub async fn admit_incarnation(&self, incarnation: Incarnation) -> Result<()> {
        self.admit_if(incarnation, |_| Ok(())).await
    }

    async fn admit_if(&self, incarnation: Incarnation, may: impl Fn(&ServerRecord) -> Result<()> + Sync) -> Result<()> {
        loop {
            let (mut record, version) = self.versioned_record().await?;
            if let Some(deletion) = &record.config().deletion {
                return Err(Error::deleted(&self.name, deletion.clone()));
            }
            if record.incarnations.contains(&incarnation) {
                return Ok(());
            }
            may(&record)?;
            record.incarnations.push(incarnation);
            let replaced = self.vault.put(&self.layout.record(), encode(&record)?, version).await;
            match replaced {
                // Somebody changed the record meanwhile: whoever won made progress, so this ends.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                replaced => return replaced.map(drop),
            }
        }
    }

    /// The snapshots that have a record, and of which life of the server they are.
    pub(super) async fn recorded_snapshots(&self) -> Result<BTreeMap<SnapshotId, Incarnation>> {
        let mut recorded = BTreeMap::new();
        for incarnation in self.record().await?.incarnations {
            recorded.extend(self.snapshots_of(incarnation).await?.into_iter().map(|id| (id, incarnation)));
        }
        Ok(recorded)
    }

    /// Reads the record of a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] also if the snapshot was abandoned.
    pub(super) async fn read_snapshot(&self, name: &ObjectKey) -> Result<Snapshot> {
        let plain = self.vault.get(name, RECORD_BYTES_MAX).await?;
        if plain.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, format!("{name} says that the snapshot was abandoned")));
        }
        decode(name, &plain)
    }

    /// Makes sure that nobody will ever record the snapshot `id`, by an empty record in the place of its own; `false` if it has one.
    pub(super) async fn abandon(&self, incarnation: Incarnation, id: &SnapshotId) -> Result<bool> {
        match self.vault.put(&self.layout.snapshot(incarnation, id), Bytes::new(), PutMode::Create).await {
            Err(error) if error.kind() == ErrorKind::Conflict => self.is_abandoned(incarnation, id).await,
            stored => stored.map(|_| true),
        }
    }

    /// Whether the record of the snapshot `id` says that it was abandoned.
    pub(super) async fn is_abandoned(&self, incarnation: Incarnation, id: &SnapshotId) -> Result<bool> {
        let found = self.vault.find(&self.layout.snapshot(incarnation, id), RECORD_BYTES_MAX).await?;
        Ok(found.is_some_and(|(plain, _)| plain.is_empty()))
    }

    /// Those of `recorded` that were abandoned. Those in `catalog` are known not to be.
    pub(super) async fn abandoned_of(
        &self,
        recorded: &BTreeMap<SnapshotId, Incarnation>,
        catalog: &Catalog,
    ) -> Result<BTreeMap<SnapshotId, Incarnation>> {
        let unknown = recorded.iter().filter(|(id, _)| catalog.snapshot(id).is_none());
        let unknown: Vec<_> = unknown.map(|(id, incarnation)| (id.clone(), *incarnation)).collect();
        let judged = stream::iter(unknown).map(async |(id, incarnation)| {
            let read = blame(self.layout.snapshot(incarnation, &id), self.is_abandoned(incarnation, &id).await)?;
            Ok(read.is_ok_and(|is_abandoned| is_abandoned).then_some((id, incarnation)))
        });
        judged.buffered(READS_IN_FLIGHT).try_filter_map(future::ok).try_collect().await
    }

    /// The snapshots of `incarnation` that have a record, oldest first.
    async fn snapshots_of(&self, incarnation: Incarnation) -> Result<Vec<SnapshotId>> {
        let directory = self.layout.snapshots(incarnation);
        let listed = self.vault.storage.list(Some(&directory), None);
        let ids = listed.try_filter_map(async |object| {
            let entry = self.layout.parse_catalog(&StoredObject::new(object.key, object.bytes));
            Ok(match entry {
                Ok(CatalogEntry::Snapshot { id, .. }) => Some(id),
                _ => None,
            })
        });
        ids.try_collect().await.context(|| format!("listing {directory}"))
    }

    async fn record(&self) -> Result<ServerRecord> {
        Ok(self.versioned_record().await?.0)
    }

    pub(crate) async fn versioned_record(&self) -> Result<(ServerRecord, PutMode)> {
        let name = self.layout.record();
        let missing = || {
            let context = format!("{name} is missing: create server {} again, if nobody deleted it", self.name);
            Error::new(ErrorKind::NotFound, context)
        };
        self.find_record(&name).await?.ok_or_else(missing)
    }

    /// Reads a record, if there is one, and says how to replace it.
    pub(super) async fn find_record<R: Record>(&self, name: &ObjectKey) -> Result<Option<(R, PutMode)>> {
        let Some((bytes, meta)) = self.vault.find(name, RECORD_BYTES_MAX).await? else { return Ok(None) };
        let version = meta.version.map_or(PutMode::Overwrite, PutMode::Update);
        Ok(Some((decode(name, &bytes)?, version)))
    }

    pub(crate) async fn read_record<R: Record>(&self, name: &ObjectKey) -> Result<R> {
        decode(name, &self.vault.get(name, RECORD_BYTES_MAX).await?)
    }

    /// Reads records, in this order, and says which cannot be read. Those that were deleted since they were listed are passed over.
    pub(super) async fn read_records<R: Record + Send>(
        &self,
        names: Vec<ObjectKey>,
    ) -> Result<(Vec<R>, Vec<Unreadable>)> {
        let read = stream::iter(names).map(async |name| {
            let read = self.read_record(&name).await;
            blame(name, read)
        });
        let mut read = std::pin::pin!(read.buffered(READS_IN_FLIGHT));
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        while let Some(record) = read.try_next().await? {
            match record {
                Ok(record) => records.push(record),
                Err((_, error)) if error.kind() == ErrorKind::NotFound => {}
                Err(failure) => unreadable.push(failure),
            }
        }
        Ok((records, unreadable))
    }

    /// Writes a record, and says which version of it.
    pub(crate) async fn write_record<R: Record + Sync>(
        &self,
        name: &ObjectKey,
        record: &R,
        mode: PutMode,
    ) -> Result<Version> {
        Ok(self.vault.put(name, encode(record)?, mode).await?.1)
    }
}

fn encode<R: Record>(record: &R) -> Result<Bytes> {
    let unfit = |error| Error::new(ErrorKind::InvalidInput, "a record cannot be written").caused_by(error);
    Ok(record::encode(record).map_err(unfit)?.into())
}

fn decode<R: Record>(name: &ObjectKey, bytes: &[u8]) -> Result<R> {
    record::decode(bytes).map_err(|error| match error {
        record::RecordError::FutureVersion { .. } => {
            Error::new(ErrorKind::InvalidInput, format!("{name} cannot be read")).caused_by(error)
        }
        _ => Error::corrupt(name, error),
    })
}
