//! Where servers are restored on trial.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{PortError, RestoreTarget};
use crate::model::Trial;

/// A place where a server can be restored, started, looked through and forgotten: one at a time.
#[async_trait]
pub trait Scratch: Debug + Send + Sync + 'static {
    /// Takes possession of the place, and clears it of what an earlier test restore may have left.
    ///
    /// # Errors
    /// [`Conflict`](super::PortErrorKind::Conflict) if something else stands there, or another test restore is made there: nothing was touched.
    async fn prepare(&self) -> Result<Box<dyn ScratchPlace>, PortError>;
}

/// A place that was taken. If it is dropped, what is in it stays, and somebody else may take it.
///
/// First what the [`RestoreTarget`] needs; then [`try_out`](Self::try_out), while the log is fed.
#[async_trait]
pub trait ScratchPlace: Debug + Send + Sync {
    /// Where to restore.
    fn target(&self) -> Arc<dyn RestoreTarget>;

    /// Whether there is a PostgreSQL to start what was restored: then [`try_out`](Self::try_out) is called.
    fn has_postgres(&self) -> bool;

    /// Starts the server, waits until it has recovered, looks through everything that it has, and stops it. What it finds wrong is no error, but among
    /// [`Trial::faults`]. If the future is dropped, so is the server, once the
    /// piece of work is done that was just going on.
    ///
    /// # Errors
    /// If the server does not come up, or goes down before all was looked at.
    async fn try_out(&self) -> Result<Trial, PortError>;

    /// Removes everything.
    ///
    /// # Errors
    /// If something cannot be removed.
    async fn clear(self: Box<Self>) -> Result<(), PortError>;
}
