//! How servers are reached.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{PortError, SnapshotSource, WalSource};
use crate::model::ServerConfig;

/// Knows how to reach servers.
#[async_trait]
pub trait SourceProvider: Debug + Send + Sync + 'static {
    /// How to reach this server now. It is asked anew whenever something could not be done, as a server may have moved.
    ///
    /// # Errors
    /// If it is not known, or not yet.
    async fn sources(&self, server: &ServerConfig) -> Result<Sources, PortError>;
}

/// Where a server's log and its files come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sources {
    /// Its log.
    pub log: Arc<dyn WalSource>,
    /// Its files.
    pub files: Arc<dyn SnapshotSource>,
}

impl Sources {
    /// Log and files from these.
    #[must_use]
    pub fn new(log: Arc<dyn WalSource>, files: Arc<dyn SnapshotSource>) -> Self {
        Self { log, files }
    }
}
