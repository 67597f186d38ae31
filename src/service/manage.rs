//! Creating, changing and deleting servers.

use std::sync::Arc;

use super::{BackupService, Happening};
use crate::engine::{Changes, Result};
use crate::model::{Caller, Change, ConfigChange, ServerConfig, ServerName};

impl BackupService {
    /// Protects a server from now on: its first snapshot is due at once. Made again, the request changes nothing.
    ///
    /// # Errors
    /// Those of [`Repository::create_server_for`](crate::engine::Repository::create_server_for).
    pub async fn create(&self, caller: &Caller, config: impl Into<ServerConfig>) -> Result<ServerConfig> {
        let server = self.0.repository.create_server_for(caller, config).await?;
        server.config().await
    }

    /// Changes a server: configures, pauses, locks, holds, asks for a snapshot, deletes. Made again, the request changes nothing.
    ///
    /// A deletion that cannot be undone destroys the server's key before this returns; the rest is deleted by whoever [tends](Self::tend). Should
    /// the first fail, it is made up for in the same way, and the server is deleted all the same.
    ///
    /// # Errors
    /// Those of [`ServerRepository::change`](crate::engine::ServerRepository::change).
    pub async fn change(&self, server: &ServerName, caller: &Caller, change: Change) -> Result<ConfigChange> {
        let repository = &self.0.repository;
        let changed = repository.server(server).await?.change(caller, change).await?;
        self.0.announcer.tell(server, Happening::Changed(Arc::new(changed.clone())));
        if changed.config.deletion.as_ref().is_some_and(|deletion| deletion.undo_until.is_none()) {
            // Whoever tends it tries again.
            drop(repository.destroy_key(server).await);
        }
        self.ring(server);
        Ok(changed)
    }

    /// The servers, in order of their names. A deleted one is among them until its data are.
    ///
    /// # Errors
    /// If the storage cannot be listed.
    pub async fn servers(&self) -> Result<Vec<ServerName>> {
        self.0.repository.servers().await
    }

    /// What was changed of a server: when, by whom, and what it was since.
    ///
    /// # Errors
    /// Those of [`Repository::server`](crate::engine::Repository::server); or if the storage cannot be read.
    pub async fn changes(&self, server: &ServerName) -> Result<Changes> {
        self.0.repository.server(server).await?.changes().await
    }
}
