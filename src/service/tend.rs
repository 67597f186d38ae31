//! Tending the fleet.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{self, Either};

use super::{BackupService, Happening, server};
use crate::engine::{ErrorKind, Result, Worker, WorkerSettings};
use crate::model::{Role, ServerName};
use crate::port::SourceProvider;

/// How often it is looked for deleted servers of which something is left.
const BURY_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

impl BackupService {
    /// Does the work for this process's share of the servers, as `provider` reaches them, until `stop` is ready; then ends it in good order.
    ///
    /// For each server log is archived all the time, and what its schedule makes due is done. What fails is told ([`subscribe`](Self::subscribe)) and tried
    /// again, and what became of it is noted, for whoever goes on. When processes come or go, servers move. All of it is polled by one task; what is heavy
    /// runs on the environment's executor.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] if others took this process for dead: call it again. If the storage cannot be reached at the beginning; later on it
    /// is tried again.
    pub async fn tend(&self, provider: Arc<dyn SourceProvider>, stop: impl Future<Output = ()> + Send) -> Result<()> {
        let settings = WorkerSettings::default().lease(self.0.settings.lease);
        let worker = Worker::join(&self.0.repository, Role::Service, settings).await?;
        let tending = worker.tend(|lease| server::tend(self, lease, Arc::clone(&provider)), stop);
        let burying = self.bury_the_dead();
        match future::select(std::pin::pin!(tending), std::pin::pin!(burying)).await {
            Either::Left((tended, _)) => tended,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Goes on, daily, to destroy those servers whose key is destroyed already.
    async fn bury_the_dead(&self) -> std::convert::Infallible {
        loop {
            self.clock().sleep(BURY_EVERY).await;
            // What cannot be reached now can be tomorrow.
            for name in self.0.repository.listed_servers().await.unwrap_or_default() {
                if self.is_gone(&name).await {
                    self.bury(&name).await;
                }
            }
        }
    }

    /// Whether the server `name` is deleted for good.
    pub(super) async fn is_gone(&self, name: &ServerName) -> bool {
        let deletion = self.0.repository.deletion(name).await;
        deletion.is_ok_and(|deletion| deletion.is_some_and(|deletion| deletion.undo_until.is_none()))
    }

    /// Destroys what is left of the server `name`, which is deleted for good; whether nothing has to be done again.
    pub(super) async fn bury(&self, name: &ServerName) -> bool {
        match self.0.repository.destroy_server(name).await {
            Ok(report) if report.objects + report.refused > 0 => {
                self.0.announcer.tell(name, Happening::Destroyed(Arc::new(report)));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                self.0.announcer.tell(name, Happening::Unreachable(Arc::new(error)));
                return false;
            }
            _ => {}
        }
        true
    }
}
