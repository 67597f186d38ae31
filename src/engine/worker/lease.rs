//! A lease on one kind of work for one server.

use std::sync::Arc;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{self, Shared};

use super::fence::{FencedStorage, Hold};
use crate::engine::error::{ErrorKind, Result};
use crate::engine::server::ServerRepository;
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
    pub(super) fn new(open: ServerRepository, hold: Arc<Hold>, key: ObjectKey, token: u64, version: Version) -> Self {
        let storage = FencedStorage::new(Arc::clone(&open.vault.storage), Arc::clone(&hold));
        let server = open.clone().under(Arc::new(storage), token);
        Self { open, server, hold, key, token, version, unwanted: None }
    }

    /// One that also ends when the other end of `unwanted` is gone.
    pub(super) fn until(self, unwanted: oneshot::Receiver<()>) -> Self {
        Self { unwanted: Some(unwanted.shared()), ..self }
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
    /// If the storage fails. Then nobody can have it but this worker, as long as that lives: try again.
    pub async fn release(&self) -> Result<()> {
        self.hold.release();
        let free = LeaseRecord::new(self.token, None);
        match self.open.write_record(&self.key, &free, PutMode::Update(self.version.clone())).await {
            // It is free already, or somebody else has it.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Ok(()),
            released => released.map(drop),
        }
    }
}
