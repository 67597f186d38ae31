//! A lease on one kind of work for one server.

use std::sync::Arc;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{self, Shared};

use super::fence::{FencedStorage, Hold};
use super::pulse::Pulse;
use crate::engine::error::{ErrorKind, Result};
use crate::engine::repository::ServerRepository;
use crate::format::record::LeaseRecord;
use crate::model::ObjectKey;
use crate::port::{PutMode, Version};

/// The right of one [`Worker`](super::Worker) to do one kind of work for one server. Clones are the same lease.
///
/// It lasts until it is given back, or the worker is taken for dead. Whatever is done with [`server`](Self::server) is done under it.
#[derive(Clone, Debug)]
pub struct ServerLease {
    /// As it was opened, and as it is under the lease.
    open: ServerRepository,
    server: ServerRepository,
    hold: Arc<Hold>,
    key: ObjectKey,
    token: u64,
    version: Version,
    unwanted: Option<Shared<oneshot::Receiver<()>>>,
}

impl ServerLease {
    /// The lease on `open` that stands in `key`, in this version.
    pub(super) fn new(open: ServerRepository, pulse: Arc<Pulse>, key: ObjectKey, token: u64, version: Version) -> Self {
        let hold = Arc::new(Hold::new(pulse));
        let storage = FencedStorage::new(Arc::clone(&open.vault.storage), Arc::clone(&hold));
        let server = open.clone().under(Arc::new(storage), token);
        Self { open, server, hold, key, token, version, unwanted: None }
    }

    /// One that also ends when the other end of `unwanted` is gone.
    pub(super) fn until(self, unwanted: oneshot::Receiver<()>) -> Self {
        Self { unwanted: Some(unwanted.shared()), ..self }
    }

    pub(super) const fn hold(&self) -> &Arc<Hold> {
        &self.hold
    }

    /// The server. Who works with it changes nothing in the repository once the lease is lost: [`ErrorKind::Fenced`].
    #[must_use]
    pub const fn server(&self) -> &ServerRepository {
        &self.server
    }

    /// The fencing token: whoever gets the lease next has a greater one. To be given to other systems that are changed under the lease, so that
    /// they can refuse lesser ones.
    #[must_use]
    pub const fn token(&self) -> u64 {
        self.token
    }

    /// Ready when the work has to end: the lease is lost, or another worker shall have it. Fit as what an
    /// [`Archiver`](crate::engine::Archiver) runs until.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let lost = self.hold.pulse.ended().map(drop);
        let unwanted = self.unwanted.clone().map_or_else(|| future::pending().left_future(), FutureExt::right_future);
        future::select(lost, unwanted.map(drop)).map(drop)
    }

    /// Gives the lease back, so that nobody needs to wait until it is over. What is still going on under it fails.
    ///
    /// # Errors
    /// If the storage fails. Then the others have to wait until the worker leaves, but this one can [take it
    /// again](super::Worker::acquire).
    pub async fn release(&self) -> Result<()> {
        if !self.hold.release() {
            return Ok(());
        }
        let free = LeaseRecord::new(self.token, None);
        match self.open.write_record(&self.key, &free, PutMode::Update(self.version.clone())).await {
            // Somebody else has it already.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Ok(()),
            released => released.map(drop),
        }
    }
}
