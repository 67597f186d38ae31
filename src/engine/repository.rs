//! The repository: the servers that are protected in one storage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future, stream};
use zeroize::Zeroizing;

use super::error::{Context, Error, ErrorKind, Result};
use super::inventory::{READS_IN_FLIGHT, blame};
use super::vault::Vault;
use crate::format::layout::{self, CatalogEntry, ServerLayout};
use crate::format::record::{self, Record, ServerRecord};
use crate::format::seal::{KeyRing, KeyRingError, ServerKey, WrappedKey};
use crate::model::{Catalog, Incarnation, ObjectKey, ServerName, ServerSpec, Snapshot, SnapshotId, StoredObject};
use crate::port::{Clock, Environment, KeyProvider, PortErrorKind, PutMode, Storage, StorageExt, Version};

/// No record, history or wrapped key is longer.
pub(crate) const RECORD_BYTES_MAX: usize = 16 << 20;

/// The servers that are protected in one storage.
///
/// Cheap to clone. Several processes may work on one storage; what only one of them may do at a time is said there.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) environment: Environment,
    keys: Arc<dyn KeyProvider>,
}

impl Repository {
    /// The repository in `storage`, whose servers' keys `keys` wraps.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, keys: Arc<dyn KeyProvider>, environment: Environment) -> Self {
        Self { storage, environment, keys }
    }

    /// Begins to protect a server: gives it a key and a record.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if a server of this name is protected already. Interrupted, it can be called again.
    pub async fn create_server(&self, spec: ServerSpec) -> Result<ServerRepository> {
        let layout = ServerLayout::new(&spec.name);
        let key = self.create_key(&spec.name).await?;
        let vault = self.vault(&spec.name, self.ring_of(&spec.name, key).await?);
        let record = ServerRecord::new(spec);
        match vault.put(&layout.record(), encode(&record)?, PutMode::Create).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let context = format!("a server {} is protected in {} already", record.spec.name, self.storage);
                Err(Error::new(ErrorKind::Conflict, context).caused_by(error))
            }
            stored => stored.map(|_| self.open(record.spec.name, vault)),
        }
    }

    /// The server `name`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it is not protected here; [`ErrorKind::Denied`] if the key provider has not the key that
    /// its key is wrapped with.
    pub async fn server(&self, name: &ServerName) -> Result<ServerRepository> {
        let server = self.unlock(name).await?;
        server.record().await?;
        Ok(server)
    }

    /// The server `name`, of which nothing was read but its key.
    pub(super) async fn unlock(&self, name: &ServerName) -> Result<ServerRepository> {
        match self.find_key(name).await? {
            Some(key) => Ok(self.open(name.clone(), self.vault(name, self.ring_of(name, key).await?))),
            None => Err(self.without_key(name).await?),
        }
    }

    /// The object that stands in the way, if the server `name` cannot be unlocked.
    pub(super) async fn lock_of(&self, name: &ServerName) -> ObjectKey {
        let layout = ServerLayout::new(name);
        match self.find_key(name).await {
            Ok(Some(key)) => layout.retired_keys(key.id()),
            _ => layout.key(),
        }
    }

    /// Whether a server `name` was ever protected: it has a record, whatever that holds.
    pub(super) async fn knows(&self, name: &ServerName) -> Result<bool> {
        let record = ServerLayout::new(name).record();
        self.storage.exists(&record).await.context(|| format!("looking for {record}"))
    }

    /// The servers that are protected, in order of their names.
    ///
    /// # Errors
    /// If the storage cannot be listed.
    pub async fn servers(&self) -> Result<Vec<ServerName>> {
        let listed = self.listed_servers().await?.into_iter();
        let known = stream::iter(listed).map(async |name| Ok(self.knows(&name).await?.then_some(name)));
        known.buffered(READS_IN_FLIGHT).try_filter_map(future::ok).try_collect().await
    }

    /// What may be servers: what has a directory.
    pub(super) async fn listed_servers(&self) -> Result<BTreeSet<ServerName>> {
        let servers = layout::servers();
        let directories = self.storage.list_directories(Some(&servers));
        let names = directories.try_filter_map(|directory| future::ok(directory.name().parse::<ServerName>().ok()));
        names.try_collect().await.context(|| format!("listing the servers in {}", self.storage))
    }

    /// Wraps the key of the server `name` anew, by `keys`: the wrapping key is rotated, or another provider takes over. No other
    /// object changes. From then on this repository's own provider can open the server only if it knows the new wrapping key too (a
    /// chain of both providers does); whoever opened it before goes on.
    ///
    /// Before the wrapped key is replaced, `keys` has proved that it can unwrap the new one. Interrupted at any moment, one of the two
    /// opens the server; call it again. Only when it has returned may the old wrapping key be destroyed.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if neither provider can unwrap the key; [`ErrorKind::Corrupt`] if `keys` cannot unwrap what it wrapped. Then
    /// nothing was replaced.
    pub async fn rewrap_key(&self, name: &ServerName, keys: &dyn KeyProvider) -> Result<()> {
        loop {
            let (wrapped, version) = self.wrapped(name).await?;
            let key = match unwrap(&*self.keys, name, &wrapped).await {
                // An interrupted call may have come that far.
                Err(error) if error.kind() == ErrorKind::Denied => unwrap(keys, name, &wrapped).await?,
                key => key?,
            };
            // Whoever can unwrap it need not be who wrapped it: it is wrapped in any case.
            if self.replace_key(name, &wrap(keys, name, &key).await?, version).await? {
                return Ok(());
            }
        }
    }

    /// Gives the server `name` a new key: what is stored from now on is sealed by it. What is there stays as it is, and can be opened by whoever has the
    /// new key, which opens the old ones. Digests of blocks go on with the first key, so snapshots build on older ones as before.
    ///
    /// Whoever opened the server before goes on with the old key, and is told to open it anew ([`ErrorKind::Conflict`]) when it meets something that is
    /// sealed by the new one. Once no such worker is left, the old key seals nothing more. Interrupted at any moment, the server has its old key or its
    /// new one.
    ///
    /// # Errors
    /// As [`server`](Self::server); [`ErrorKind::Corrupt`] also if the provider cannot unwrap what it wrapped. Then the key is the old one.
    pub async fn rotate_key(&self, name: &ServerName) -> Result<ServerRepository> {
        loop {
            let (wrapped, version) = self.wrapped(name).await?;
            let key = unwrap(&*self.keys, name, &wrapped).await?;
            let vault = self.vault(name, self.ring_of(name, key).await?.rotated(self.draw_key()?));
            let current = vault.keys.current();
            let retired = ServerLayout::new(name).retired_keys(current.id());
            vault.put(&retired, Bytes::from_owner(vault.keys.retired_bytes()), PutMode::Create).await?;
            if self.replace_key(name, &wrap(&*self.keys, name, current).await?, version).await? {
                return Ok(self.open(name.clone(), vault));
            }
        }
    }

    /// Replaces the wrapped key of `name`, if it still has this version. If not, somebody else replaced it: whoever won made progress, so whoever tries
    /// until it is replaced comes to an end.
    async fn replace_key(&self, name: &ServerName, wrapped: &WrappedKey, version: PutMode) -> Result<bool> {
        let object = ServerLayout::new(name).key();
        match self.storage.put(&object, wrapped.to_bytes(), version).await {
            Err(error) if error.kind() == PortErrorKind::Conflict => Ok(false),
            replaced => replaced.map(|_| true).context(|| format!("replacing {object}")),
        }
    }

    /// The keys of the server `name`, which seals with `key`.
    async fn ring_of(&self, name: &ServerName, key: ServerKey) -> Result<KeyRing> {
        let object = ServerLayout::new(name).retired_keys(key.id());
        let vault = self.vault(name, (&key).into());
        let Some((retired, _)) = vault.find(&object, RECORD_BYTES_MAX).await? else { return Ok(key.into()) };
        KeyRing::parse(key, retired).map_err(|error| match error {
            KeyRingError::FutureVersion { .. } => {
                Error::new(ErrorKind::InvalidInput, format!("{object} cannot be read")).caused_by(error)
            }
            _ => Error::corrupt(object, error),
        })
    }

    async fn find_key(&self, name: &ServerName) -> Result<Option<ServerKey>> {
        match self.find_wrapped(name).await? {
            Some((wrapped, _)) => unwrap(&*self.keys, name, &wrapped).await.map(Some),
            None => Ok(None),
        }
    }

    /// The wrapped key of `name`, which must be there, and how to replace it.
    async fn wrapped(&self, name: &ServerName) -> Result<(WrappedKey, PutMode)> {
        match self.find_wrapped(name).await? {
            Some(wrapped) => Ok(wrapped),
            None => Err(self.without_key(name).await?),
        }
    }

    /// The wrapped key of `name`, and how to replace it.
    async fn find_wrapped(&self, name: &ServerName) -> Result<Option<(WrappedKey, PutMode)>> {
        let object = ServerLayout::new(name).key();
        let found = self.storage.find(&object, RECORD_BYTES_MAX).await;
        let Some((bytes, meta)) = found.context(|| format!("reading the key of server {name}"))? else {
            return Ok(None);
        };
        let wrapped = WrappedKey::parse(&bytes).map_err(|error| Error::corrupt(object, error))?;
        Ok(Some((wrapped, meta.version.map_or(PutMode::Overwrite, PutMode::Update))))
    }

    /// Why `name` has no key.
    async fn without_key(&self, name: &ServerName) -> Result<Error> {
        let context = if self.knows(name).await? {
            let key = ServerLayout::new(name).key();
            format!("{key} is missing: without it nothing of server {name} can be opened")
        } else {
            format!("no server {name} is protected in {}", self.storage)
        };
        Ok(Error::new(ErrorKind::NotFound, context))
    }

    /// Makes a key, or takes the one that an interrupted call left.
    async fn create_key(&self, name: &ServerName) -> Result<ServerKey> {
        if let Some(key) = self.find_key(name).await? {
            return Ok(key);
        }
        let key = self.draw_key()?;
        let wrapped = wrap(&*self.keys, name, &key).await?;
        let stored = self.storage.put(&ServerLayout::new(name).key(), wrapped.to_bytes(), PutMode::Create).await;
        stored.context(|| format!("storing the key of server {name}"))?;
        Ok(key)
    }

    fn draw_key(&self) -> Result<ServerKey> {
        let mut secret = Zeroizing::new([0; 32]);
        self.environment.entropy.fill(&mut *secret).context(|| "drawing a key")?;
        Ok(ServerKey::new(*secret))
    }

    fn vault(&self, name: &ServerName, keys: KeyRing) -> Vault {
        let Environment { executor, entropy, .. } = self.environment.clone();
        let (digests, wrapped) = (keys.digest_key(), ServerLayout::new(name).key());
        Vault { storage: Arc::clone(&self.storage), executor, entropy, keys, digests, wrapped }
    }

    fn open(&self, name: ServerName, vault: Vault) -> ServerRepository {
        let (layout, clock) = (ServerLayout::new(&name), Arc::clone(&self.environment.clock));
        ServerRepository { layout, vault, clock, token: None, name }
    }
}

async fn unwrap(keys: &dyn KeyProvider, name: &ServerName, wrapped: &WrappedKey) -> Result<ServerKey> {
    match keys.unwrap(name, wrapped).await {
        Err(error) if error.kind() == PortErrorKind::Invalid => {
            Err(Error::corrupt(ServerLayout::new(name).key(), error))
        }
        unwrapped => unwrapped.context(|| format!("opening server {name}")),
    }
}

/// Wraps `key`, and proves that it can be unwrapped: with the key everything would be lost.
async fn wrap(keys: &dyn KeyProvider, name: &ServerName, key: &ServerKey) -> Result<WrappedKey> {
    let wrapped = keys.wrap(name, key).await.context(|| format!("wrapping the key of server {name}"))?;
    let proof = unwrap(keys, name, &wrapped).await;
    let wrong = || {
        Error::new(
            ErrorKind::Corrupt,
            format!("the key provider cannot unwrap the key of server {name} as it wrapped it"),
        )
    };
    match proof {
        Ok(unwrapped) if unwrapped.id() == key.id() => Ok(wrapped),
        Ok(_) => Err(wrong()),
        Err(error) => Err(wrong().caused_by(error)),
    }
}

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
    /// The server's name.
    #[must_use]
    pub fn name(&self) -> &ServerName {
        &self.name
    }

    /// The same server, changed by way of `storage`, under the lease with this token.
    pub(super) fn under(self, storage: Arc<dyn Storage>, token: u64) -> Self {
        Self { vault: Vault { storage, ..self.vault }, token: Some(token), ..self }
    }

    /// The server as its owner configured it.
    ///
    /// # Errors
    /// If its record cannot be read.
    pub async fn spec(&self) -> Result<ServerSpec> {
        Ok(self.record().await?.spec)
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
        let unknown: Vec<_> = recorded.iter().filter(|(id, _)| catalog.snapshot(id).is_none()).collect();
        let judged = stream::iter(unknown).map(async |(id, incarnation)| {
            let read = blame(self.layout.snapshot(*incarnation, id), self.is_abandoned(*incarnation, id).await)?;
            Ok(read.is_ok_and(|is_abandoned| is_abandoned).then(|| (id.clone(), *incarnation)))
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

    async fn versioned_record(&self) -> Result<(ServerRecord, PutMode)> {
        let name = self.layout.record();
        let missing =
            || Error::new(ErrorKind::NotFound, format!("{name} is missing: create server {} again", self.name));
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
