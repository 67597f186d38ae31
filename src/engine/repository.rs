//! The repository: the servers that are protected in one storage.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, future, stream};

use super::error::{Context, Error, ErrorKind, Result};
use super::inventory::READS_IN_FLIGHT;
use super::names;
use super::server::ServerRepository;
use super::vault::Vault;
use crate::format::layout::{self, ServerLayout};
use crate::format::record::ServerRecord;
use crate::format::seal::KeyRing;
use crate::model::{Caller, ConfigChange, ObjectKey, ServerConfig, ServerName};
use crate::plan::check_config;
use crate::port::{Clock, Environment, KeyProvider, PutMode, Storage, StorageExt};

/// The servers that are protected in one storage.
///
/// Cheap to clone. Several processes may work on one storage; what only one of them may do at a time is said there.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) environment: Environment,
    pub(super) keys: Arc<dyn KeyProvider>,
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
    /// As [`create_server_for`](Self::create_server_for). Interrupted, it can be called again; if it says then that the server is there, it is.
    pub async fn create_server(&self, config: impl Into<ServerConfig>) -> Result<ServerRepository> {
        self.create_server_for(&self.house()?, config).await
    }

    /// The same, at the request of `caller`. Made again, the request gives the server that it made.
    ///
    /// The name of a deleted server can be used again a day after its deletion, once [all that it had](Self::destroy_server) is gone.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if a server of this name is protected already, or was deleted too lately; [`ErrorKind::InvalidInput`] if the server cannot be
    /// configured so, or the request was made before for something else.
    pub async fn create_server_for(
        &self,
        caller: &Caller,
        config: impl Into<ServerConfig>,
    ) -> Result<ServerRepository> {
        let config = config.into();
        let name = config.spec.name.clone();
        check_config(&config).map_err(|refusal| Error::refused(format!("creating server {name}"), refusal))?;
        self.clear_name(&name).await?;
        let key = self.create_key(&name).await?;
        let server = self.open(name.clone(), self.vault(&name, self.ring_of(&name, key).await?));
        let creation = ConfigChange::creation(self.environment.clock.now(), caller.clone(), config);
        let record = ServerRecord::new(creation);
        match server.write_record(&server.layout.record(), &record, PutMode::Create).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                if server.was_made_by(&record.latest).await? {
                    return Ok(server);
                }
                let context = format!("a server {name} is protected in {} already", self.storage);
                Err(Error::new(ErrorKind::Conflict, context).caused_by(error))
            }
            stored => stored.map(|_| server),
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.environment.clock
    }

    /// Whether a server can be created that is called `name`.
    pub(crate) async fn ensure_new(&self, name: &ServerName) -> Result<()> {
        self.clear_name(name).await?;
        if !self.knows(name).await? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, format!("a server {name} is protected in {} already", self.storage)))
    }

    /// Who asks for what nobody asks for.
    pub(crate) fn house(&self) -> Result<Caller> {
        let name = names::draw(&*self.environment.entropy, self.environment.clock.now())?;
        Ok(Caller::new("pitr", name.parse().expect("digits and letters joined by a dash are a request ID")))
    }

    /// The server `name`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it is not protected here, or was deleted for good: then the error says when, and by whom;
    /// [`ErrorKind::Denied`] if the key provider has not the key that its key is wrapped with.
    pub async fn server(&self, name: &ServerName) -> Result<ServerRepository> {
        let server = self.unlock(name).await?;
        let deletion = match server.config().await {
            Ok(config) => config.deletion.filter(|deletion| deletion.undo_until.is_none()),
            Err(error) if error.is_of_object() => Some(self.deletion_of(&server).await?.ok_or(error)?),
            Err(error) => return Err(error),
        };
        deletion.map_or(Ok(server), |deletion| Err(Error::deleted(name, deletion)))
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
    pub(crate) async fn listed_servers(&self) -> Result<BTreeSet<ServerName>> {
        let servers = layout::servers();
        let directories = self.storage.list_directories(Some(&servers));
        let names = directories.try_filter_map(|directory| future::ok(directory.name().parse::<ServerName>().ok()));
        names.try_collect().await.context(|| format!("listing the servers in {}", self.storage))
    }

    pub(super) fn vault(&self, name: &ServerName, keys: KeyRing) -> Vault {
        let Environment { executor, entropy, .. } = self.environment.clone();
        let (digests, wrapped) = (keys.digest_key(), ServerLayout::new(name).key());
        Vault { storage: Arc::clone(&self.storage), executor, entropy, keys, digests, wrapped }
    }

    pub(super) fn open(&self, name: ServerName, vault: Vault) -> ServerRepository {
        ServerRepository::new(name, vault, Arc::clone(&self.environment.clock))
    }
}
