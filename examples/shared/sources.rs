//! How servers are reached: as is noted among a server's tags, which are stored encrypted with its record.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use pitr::adapter::postgres::{Config, ConnInfo, DataDirectorySource, LocalProvisioner, PostgresServer, SlotName};
use pitr::model::{ServerConfig, ServerName};
use pitr::port::{PortError, PortErrorKind, SnapshotSource, SourceProvider, Sources};

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

pub(crate) fn server(connection: &str, slot: &str) -> Result<PostgresServer, PortError> {
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

pub(crate) fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> PortError {
    PortError::new(PortErrorKind::Invalid, "it cannot be said so how a server is reached").caused_by(error)
}

pub(crate) fn tag(what: &str, name: &ServerName) -> String {
    format!("pitrctl/{name}/{what}")
}
