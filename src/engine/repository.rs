//! The repository: the servers that are protected in one storage.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;

use super::error::{Context, Error, ErrorKind, Result};
use super::vault::Vault;
use crate::format::layout::{self, ServerLayout};
use crate::format::record::{self, Record, ServerRecord};
use crate::format::seal::{ServerKey, WrappedKey};
use crate::model::{Incarnation, ObjectKey, ServerName, ServerSpec};
use crate::port::{Clock, Environment, KeyProvider, PortErrorKind, PutMode, Storage, StorageExt};

/// No record, history or wrapped key is longer.
pub(crate) const RECORD_BYTES_MAX: usize = 16 << 20;

/// The servers that are protected in one storage.
///
/// Cheap to clone. Several processes may work on one storage; what only one of them may do at a time is said there.
#[derive(Clone, Debug)]
pub struct Repository {
    storage: Arc<dyn Storage>,
    keys: Arc<dyn KeyProvider>,
    environment: Environment,
}

impl Repository {
    /// The repository in `storage`, whose servers' keys `keys` wraps.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, keys: Arc<dyn KeyProvider>, environment: Environment) -> Self {
        Self { storage, keys, environment }
    }

    /// Begins to protect a server: gives it a key and a record.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if a server of this name is protected already. Interrupted, it can be called again.
    pub async fn create_server(&self, spec: ServerSpec) -> Result<ServerRepository> {
        let layout = ServerLayout::new(&spec.name);
        let key = self.create_key(&spec.name, &layout).await?;
        let vault = self.vault(key);
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
        let layout = ServerLayout::new(name);
        let Some(key) = self.find_key(name, &layout).await? else { return Err(self.without_key(name, &layout).await?) };
        let server = self.open(name.clone(), self.vault(key));
        server.record().await?;
        Ok(server)
    }

    /// The servers that are protected, in order of their names.
    ///
    /// # Errors
    /// If the storage cannot be listed.
    pub async fn servers(&self) -> Result<Vec<ServerName>> {
        let listing = self.storage.list(Some(&layout::servers()), None);
        let keys = listing.try_filter_map(async |object| {
            let name = layout::server_of(&object.key);
            Ok(name.filter(|name| ServerLayout::new(name).record() == object.key))
        });
        keys.try_collect().await.context(|| format!("listing the servers in {}", self.storage))
    }

    async fn find_key(&self, name: &ServerName, layout: &ServerLayout) -> Result<Option<ServerKey>> {
        let reading = || format!("reading the key of server {name}");
        let found = self.storage.find(&layout.key(), RECORD_BYTES_MAX).await.context(reading)?;
        let Some((bytes, _)) = found else { return Ok(None) };
        let wrapped = WrappedKey::parse(&bytes).map_err(|error| Error::corrupt(layout.key(), error))?;
        match self.keys.unwrap(name, &wrapped).await {
            Err(error) if error.kind() == PortErrorKind::Invalid => Err(Error::corrupt(layout.key(), error)),
            unwrapped => unwrapped.map(Some).context(|| format!("opening server {name}")),
        }
    }

    /// Why `name` has no key.
    async fn without_key(&self, name: &ServerName, layout: &ServerLayout) -> Result<Error> {
        let record = self.storage.find(&layout.record(), RECORD_BYTES_MAX).await;
        let found = record.context(|| format!("looking for the record of server {name}"))?.is_some();
        let context = if found {
            format!("{} is missing: without it nothing of server {name} can be opened", layout.key())
        } else {
            format!("no server {name} is protected in {}", self.storage)
        };
        Ok(Error::new(ErrorKind::NotFound, context))
    }

    /// Makes a key, or takes the one that an interrupted call left.
    async fn create_key(&self, name: &ServerName, layout: &ServerLayout) -> Result<ServerKey> {
        if let Some(key) = self.find_key(name, layout).await? {
            return Ok(key);
        }
        let mut secret = [0; 32];
        self.environment.entropy.fill(&mut secret).context(|| "drawing a key")?;
        let key = ServerKey::new(secret);
        let wrapped = self.keys.wrap(name, &key).await.context(|| format!("wrapping the key of server {name}"))?;
        let stored = self.storage.put(&layout.key(), wrapped.to_bytes(), PutMode::Create).await;
        stored.context(|| format!("storing the key of server {name}"))?;
        Ok(key)
    }

    fn vault(&self, key: ServerKey) -> Vault {
        let Environment { executor, entropy, .. } = self.environment.clone();
        Vault { storage: Arc::clone(&self.storage), executor, entropy, key }
    }

    fn open(&self, name: ServerName, vault: Vault) -> ServerRepository {
        ServerRepository { layout: ServerLayout::new(&name), vault, clock: Arc::clone(&self.environment.clock), name }
    }
}

/// One protected server: its record, its catalog, its backups.
#[derive(Clone, Debug)]
pub struct ServerRepository {
    pub(crate) layout: ServerLayout,
    pub(crate) vault: Vault,
    pub(crate) clock: Arc<dyn Clock>,
    name: ServerName,
}

impl ServerRepository {
    /// The server's name.
    #[must_use]
    pub fn name(&self) -> &ServerName {
        &self.name
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

    async fn record(&self) -> Result<ServerRecord> {
        Ok(self.versioned_record().await?.0)
    }

    async fn versioned_record(&self) -> Result<(ServerRecord, PutMode)> {
        let name = self.layout.record();
        let found = self.vault.find(&name, RECORD_BYTES_MAX).await?;
        let missing =
            || Error::new(ErrorKind::NotFound, format!("server {} has no record: create it again", self.name));
        let (bytes, meta) = found.ok_or_else(missing)?;
        let version = meta.version.map_or(PutMode::Overwrite, PutMode::Update);
        Ok((decode(&name, &bytes)?, version))
    }

    pub(crate) async fn read_record<R: Record>(&self, name: &ObjectKey) -> Result<R> {
        decode(name, &self.vault.get(name, RECORD_BYTES_MAX).await?)
    }

    /// Writes a fact of the catalog, once and for ever.
    pub(crate) async fn write_record<R: Record + Sync>(&self, name: &ObjectKey, record: &R) -> Result<()> {
        self.vault.put(name, encode(record)?, PutMode::Create).await?;
        Ok(())
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
