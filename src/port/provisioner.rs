//! Where new servers come from.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{PortError, RestoreTarget};
use crate::model::{NewServer, PostRestoreTask, RequestId, ServerName, ServerSpec};

/// Who makes a new server, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// The restore that makes it.
    pub restore: RequestId,
    /// Its name.
    pub name: ServerName,
}

impl Claim {
    /// The claim of `restore` on the name `name`.
    #[must_use]
    pub const fn new(restore: RequestId, name: ServerName) -> Self {
        Self { restore, name }
    }
}

/// Makes new servers, for restores to fill.
///
/// Of several restores that claim one name, at most one is given a place. One process at a time makes a server, but it may be another one
/// each time; what the one before was just doing, may still be going on for a moment.
#[async_trait]
pub trait Provisioner: Debug + Send + Sync + 'static {
    /// Takes a place for the server `spec`, without starting it. Called again for the same claim, gives the same place, with what
    /// was restored there already, and in which no server runs.
    ///
    /// # Errors
    /// [`Conflict`](super::PortErrorKind::Conflict) if the name is taken, by another claim or something else: nothing was touched then.
    async fn provision(&self, claim: &Claim, spec: &ServerSpec) -> Result<Box<dyn Provisioned>, PortError>;

    /// Removes everything that was made for the claim; the server is stopped, if it runs. If there is nothing, or it is another
    /// claim's, nothing is done.
    ///
    /// # Errors
    /// If something is left. It is called again then.
    async fn discard(&self, claim: &Claim) -> Result<(), PortError>;
}

/// A place that was taken for a new server. If it is dropped, what is in it stays, for the same claim to go on with.
///
/// First what the [`RestoreTarget`] needs; then [`start`](Self::start), while the log is fed; then the tasks.
#[async_trait]
pub trait Provisioned: Debug + Send + Sync {
    /// Where to restore.
    fn target(&self) -> Arc<dyn RestoreTarget>;

    /// Starts the server, and waits until it has recovered and accepts writes. It goes on to run when this is dropped; but not if the future is dropped before it is ready.
    ///
    /// # Errors
    /// [`Invalid`](super::PortErrorKind::Invalid) if it does not come up with what was restored.
    async fn start(&self) -> Result<NewServer, PortError>;

    /// Does what is to be done with the server after the restore, if it can: whether it did. A task may be done twice.
    ///
    /// # Errors
    /// If it should have been possible, and was not.
    async fn perform(&self, task: &PostRestoreTask) -> Result<bool, PortError>;
}
