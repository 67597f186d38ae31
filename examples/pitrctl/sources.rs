//! How servers are reached: as is noted among a server's tags, which are stored encrypted with its record.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use pitr::adapter::postgres::{Config, ConnInfo, DataDirectorySource, LocalProvisioner, PostgresServer, SlotName};
use pitr::model::{ServerConfig, ServerName, ServerSpec};
use pitr::port::{PortError, PortErrorKind, SnapshotSource, SourceProvider, Sources};

use crate::cli::SourceArgs;
use crate::exit::{Exit, Failure, Result};

/// Reaches servers as their tags say, and else those that were made here.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) made: Option<LocalProvisioner>,
}

#[async_trait]
impl SourceProvider for Known {
    async fn sources(&self, server: &ServerConfig) -> Result<Sources, PortError> {
        let spec = &server.spec;
        if let Some(connection) = spec.tags.get(&tag("connection", &spec.name)) {
            let slot = spec.tags.get(&tag("slot", &spec.name)).map_or("pitr", String::as_str);
            return sources(connection, slot, spec.tags.get(&tag("data", &spec.name)).map(PathBuf::from));
        }
        let unknown = || {
            let context = format!("nobody said how server {0} is reached: `pitrctl connect {0}` does", spec.name);
            PortError::new(PortErrorKind::Unavailable, context)
        };
        let made = self.made.as_ref().ok_or_else(unknown)?;
        made.start(spec).await?;
        made.sources(server).await
    }
}

fn sources(connection: &str, slot: &str, data: Option<PathBuf>) -> Result<Sources, PortError> {
    let server = Arc::new(server(connection, slot)?);
    let files: Arc<dyn SnapshotSource> = match data {
        Some(data) => Arc::new(DataDirectorySource::new(config(connection)?, data)),
        None => server.clone(),
    };
    Ok(Sources::new(server, files))
}

fn server(connection: &str, slot: &str) -> Result<PostgresServer, PortError> {
    let slot: SlotName = slot.parse().map_err(invalid)?;
    Ok(PostgresServer::new(config(connection)?, slot))
}

/// As libpq does, takes the password from the environment, or from a password file.
fn config(connection: &str) -> Result<Config, PortError> {
    let secrets = std::env::vars().filter(|(name, _)| ["PGPASSWORD", "PGPASSFILE"].contains(&name.as_str()));
    let words: ConnInfo = connection.parse().map_err(invalid)?;
    let words = words.with_environment(secrets);
    let file = std::env::home_dir().map(|home| home.join(".pgpass")).filter(|file| file.exists());
    let words = match file {
        Some(file) if words.value("passfile").is_none() => words.with("passfile", &file.to_string_lossy()),
        _ => Ok(words),
    };
    words.and_then(Config::try_from).map_err(invalid)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> PortError {
    PortError::new(PortErrorKind::Invalid, "it cannot be said so how a server is reached").caused_by(error)
}

impl SourceArgs {
    /// The server, to see whether it is there.
    pub(crate) fn server(&self) -> Result<PostgresServer> {
        let words: ConnInfo = self.source.parse().map_err(invalid)?;
        if words.clone().with("password", "").map_err(invalid)? != words {
            let never = "a password is not stored: leave it out, and put it in a password file where `serve` runs";
            return Err(Failure::new(Exit::Invalid, never));
        }
        Ok(server(&self.source, &self.slot)?)
    }

    /// Notes in `spec` how the server is reached. A server that is restored of it inherits that, but not under its own name.
    pub(crate) fn note(&self, spec: &mut ServerSpec) {
        let data = self.data.as_ref().map(|data| data.display().to_string());
        let tags = [("connection", Some(self.source.clone())), ("slot", Some(self.slot.clone())), ("data", data)];
        for (what, value) in tags {
            let tag = tag(what, &spec.name);
            match value {
                Some(value) => drop(spec.tags.insert(tag, value)),
                None => drop(spec.tags.remove(&tag)),
            }
        }
    }
}

fn tag(what: &str, name: &ServerName) -> String {
    format!("pitrctl/{name}/{what}")
}
