//! Creating, changing and deleting servers.

use std::sync::Arc;

use super::{BackupService, Happening};
use crate::engine::{Changes, Restores, Result};
use crate::model::{Caller, Change, ConfigChange, RestoreSpec, ServerConfig, ServerName};
use crate::plan::{PlanError, RestoreRequest};

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

    /// Restores a server as a new one, as far as that is possible now: orders it, and whoever [tends](Self::tend) the server and has a
    /// [`Provisioner`](crate::port::Provisioner) does it. Made again, the request orders nothing more.
    ///
    /// The new server is what the source is, but for its name, and single: the same tier, compute, storage, retention, redundancy, region and zone. It
    /// accepts writes when the restore is over, is protected from then on, and its first snapshot is due at once. What the restore reads, stays
    /// until then. It ends by itself, after whatever crash of whomever; or by [`Change::CancelRestore`], of which nothing is left. How
    /// far it is: [`restores`](Self::restores), [`Happening::Restoring`].
    ///
    /// # Errors
    /// Those of [`ServerRepository::change`](crate::engine::ServerRepository::change): [`ErrorKind::Conflict`](crate::engine::ErrorKind::Conflict) if the name is taken. Those of
    /// [`estimate`](Self::estimate); the inner one is the planner's: nothing was ordered then.
    pub async fn restore(
        &self,
        server: &ServerName,
        caller: &Caller,
        spec: RestoreSpec,
    ) -> Result<Result<ConfigChange, PlanError>> {
        let repository = self.0.repository.server(server).await?;
        // What was ordered once, may have expired since.
        if repository.change_of(&caller.request).await?.is_none()
            && let Err(refusal) = self.estimate(server, &RestoreRequest::from(&spec)).await?
        {
            return Ok(Err(refusal));
        }
        self.change(server, caller, Change::Restore(Box::new(spec))).await.map(Ok)
    }

    /// What became of the restores of a server that make new ones.
    ///
    /// # Errors
    /// Those of [`Repository::server`](crate::engine::Repository::server); or if the storage cannot be read.
    pub async fn restores(&self, server: &ServerName) -> Result<Restores> {
        self.0.repository.server(server).await?.restores().await
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
