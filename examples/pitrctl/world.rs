//! The repository that a command works with, and who asks.

use std::sync::Arc;

use pitr::adapter::{KeyFile, system};
use pitr::engine::{Repository, ServerRepository};
use pitr::model::{Caller, Change, ConfigChange, RequestId, ServerName};
use pitr::service::{BackupService, ServiceSettings};

use crate::cli::Global;
use crate::exit::{Exit, Failure, Result};
use crate::output::Output;
use crate::shared::{directory, secret, storage};

/// How many servers are looked at at once.
pub(crate) const AT_ONCE: usize = 8;

/// What commands work with.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) service: BackupService,
    pub(crate) output: Output,
    caller: Caller,
}

impl World {
    pub(crate) async fn open(global: &Global, settings: ServiceSettings) -> Result<Self> {
        let key = needed(global.key.as_deref(), "--key or PITR_KEY says where the key is")?;
        let place = needed(global.repository.as_deref(), "--repository or PITR_REPOSITORY says where the backups are")?;
        if let Some(directory) = directory(place)
            && !directory.exists()
        {
            let missing = format!("there is no repository in {}", directory.display());
            return Err(Failure::new(Exit::NotFound, missing).advise(Exit::NotFound, advise_init));
        }
        let keys = KeyFile::open(key, system().entropy);
        let keys = keys.map_err(|error| Failure::from(error).advise(Exit::NotFound, advise_init))?;
        let repository = Repository::new(storage(place).await?, Arc::new(keys), system());
        let request = global.request.clone().map_or_else(draw, Ok)?;
        let caller = Caller::new(global.by.as_deref().unwrap_or("pitrctl"), request);
        Ok(Self { service: BackupService::new(repository, settings), output: Output { json: global.json }, caller })
    }

    pub(crate) async fn server(&self, name: &ServerName) -> Result<ServerRepository> {
        Ok(self.service.repository().server(name).await?)
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Makes a change, and says how to make it again when it is not known whether it was made.
    pub(crate) async fn change(&self, server: &ServerName, change: Change) -> Result<ConfigChange> {
        let changed = self.service.change(server, &self.caller, change).await;
        changed.map_err(|error| self.repeatable(error))
    }

    pub(crate) fn repeatable(&self, error: impl Into<Failure>) -> Failure {
        let again = || format!("it may have been done: to be sure, do it again with --request {}", self.caller.request);
        error.into().advise(Exit::Unavailable, again)
    }
}

/// Makes the directory and the key, which must not be there.
pub(crate) async fn init(global: &Global) -> Result<(String, String)> {
    let key = needed(global.key.as_deref(), "--key or PITR_KEY says where to put the key")?;
    let place = needed(global.repository.as_deref(), "--repository or PITR_REPOSITORY says where to put the backups")?;
    let storage = storage(place).await?;
    KeyFile::create(key, system().entropy)?;
    Ok((storage.to_string(), key.display().to_string()))
}

fn needed<'a, T: ?Sized>(value: Option<&'a T>, what: &str) -> Result<&'a T> {
    value.ok_or_else(|| Failure::new(Exit::Usage, what))
}

fn advise_init() -> String {
    "`pitrctl init` makes a repository and its key".to_owned()
}

/// A name for a request that no other has.
fn draw() -> Result<RequestId> {
    Ok(secret()?.parse().expect("hexadecimal digits are the name of a request"))
}
