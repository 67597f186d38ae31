//! The keys of servers: made, rotated, wrapped anew.

use bytes::Bytes;
use zeroize::Zeroizing;

use super::error::{Context, Error, ErrorKind, Result};
use super::repository::Repository;
use super::server::{RECORD_BYTES_MAX, ServerRepository};
use crate::format::layout::ServerLayout;
use crate::format::seal::{KeyRing, KeyRingError, ServerKey, WrappedKey};
use crate::model::ServerName;
use crate::port::{KeyProvider, PortErrorKind, PutMode, StorageExt};

impl Repository {
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
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "rewrap_key", skip_all, fields(server = %name)))]
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
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "rotate_key", skip_all, fields(server = %name)))]
    pub async fn rotate_key(&self, name: &ServerName) -> Result<ServerRepository> {
        loop {
            let (wrapped, version) = self.wrapped(name).await?;
            let key = unwrap(&*self.keys, name, &wrapped).await?;
            let old = self.open(name.clone(), self.vault(name, self.ring_of(name, key).await?));
            if let Some(deletion) = self.deletion_of(&old).await? {
                return Err(Error::deleted(name, deletion));
            }
            let vault = self.vault(name, old.vault.keys.rotated(self.draw_key()?));
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
    pub(super) async fn replace_key(&self, name: &ServerName, wrapped: &WrappedKey, version: PutMode) -> Result<bool> {
        let object = ServerLayout::new(name).key();
        match self.storage.put(&object, wrapped.to_bytes(), version).await {
            Err(error) if error.kind() == PortErrorKind::Conflict => Ok(false),
            replaced => replaced.map(|_| true).context(|| format!("replacing {object}")),
        }
    }

    /// The keys of the server `name`, which seals with `key`.
    pub(super) async fn ring_of(&self, name: &ServerName, key: ServerKey) -> Result<KeyRing> {
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

    pub(super) async fn find_key(&self, name: &ServerName) -> Result<Option<ServerKey>> {
        match self.find_wrapped(name).await? {
            Some((wrapped, _)) => unwrap(&*self.keys, name, &wrapped).await.map(Some),
            None => Ok(None),
        }
    }

    /// The wrapped key of `name`, which must be there, and how to replace it.
    pub(super) async fn wrapped(&self, name: &ServerName) -> Result<(WrappedKey, PutMode)> {
        match self.find_wrapped(name).await? {
            Some(wrapped) => Ok(wrapped),
            None => Err(self.without_key(name).await?),
        }
    }

    /// The wrapped key of `name`, and how to replace it.
    pub(super) async fn find_wrapped(&self, name: &ServerName) -> Result<Option<(WrappedKey, PutMode)>> {
        let object = ServerLayout::new(name).key();
        let found = self.storage.find(&object, RECORD_BYTES_MAX).await;
        let Some((bytes, meta)) = found.context(|| format!("reading the key of server {name}"))? else {
            return Ok(None);
        };
        let wrapped = WrappedKey::parse(&bytes).map_err(|error| Error::corrupt(object, error))?;
        Ok(Some((wrapped, meta.version.map_or(PutMode::Overwrite, PutMode::Update))))
    }

    /// Why `name` has no key.
    pub(super) async fn without_key(&self, name: &ServerName) -> Result<Error> {
        let context = if self.knows(name).await? {
            let key = ServerLayout::new(name).key();
            format!("{key} is missing: without it nothing of server {name} can be opened")
        } else {
            format!("no server {name} is protected in {}", self.storage)
        };
        Ok(Error::new(ErrorKind::NotFound, context))
    }

    /// Makes a key, or takes the one that an interrupted call left.
    pub(super) async fn create_key(&self, name: &ServerName) -> Result<ServerKey> {
        if let Some(key) = self.find_key(name).await? {
            return Ok(key);
        }
        let key = self.draw_key()?;
        let wrapped = wrap(&*self.keys, name, &key).await?;
        let stored = self.storage.put(&ServerLayout::new(name).key(), wrapped.to_bytes(), PutMode::Create).await;
        stored.context(|| format!("storing the key of server {name}"))?;
        Ok(key)
    }

    pub(super) fn draw_key(&self) -> Result<ServerKey> {
        let mut secret = Zeroizing::new([0; 32]);
        self.environment.entropy.fill(&mut *secret).context(|| "drawing a key")?;
        Ok(ServerKey::new(*secret))
    }
}

pub(super) async fn unwrap(keys: &dyn KeyProvider, name: &ServerName, wrapped: &WrappedKey) -> Result<ServerKey> {
    match keys.unwrap(name, wrapped).await {
        Err(error) if error.kind() == PortErrorKind::Invalid => {
            Err(Error::corrupt(ServerLayout::new(name).key(), error))
        }
        unwrapped => unwrapped.context(|| format!("opening server {name}")),
    }
}

/// Wraps `key`, and proves that it can be unwrapped: with the key everything would be lost.
pub(super) async fn wrap(keys: &dyn KeyProvider, name: &ServerName, key: &ServerKey) -> Result<WrappedKey> {
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
