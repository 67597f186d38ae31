//! Which servers a worker is to tend, as far as it knows them and the others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Worker, WorkerEvent};
use crate::engine::error::Result;
use crate::model::{ServerName, WorkerId};
use crate::plan::assign;
use crate::port::ExecutorExt;

/// Servers are listed for no more than one part in so many of the time, however many there are.
const LISTING_TIME: u32 = 10;

/// What is known of the servers that there are, and of whom they are shared with.
#[derive(Debug, Default)]
pub(super) struct Survey {
    servers: Arc<BTreeSet<ServerName>>,
    /// When to list them anew.
    due: Duration,
    workers: BTreeSet<WorkerId>,
    /// What follows from these.
    share: BTreeSet<ServerName>,
}

impl Survey {
    /// The servers that are the worker's to tend.
    pub(super) const fn share(&self) -> &BTreeSet<ServerName> {
        &self.share
    }

    /// What `worker` knows now. What cannot be found out is as it was.
    pub(super) async fn renew(mut self, worker: &Worker) -> Self {
        let renewed = self.try_renew(worker).await;
        renewed.unwrap_or_else(|error| worker.tell(WorkerEvent::Unreachable(error)));
        self
    }

    async fn try_renew(&mut self, worker: &Worker) -> Result<()> {
        let (begun, mut has_changed) = (worker.clock().elapsed(), false);
        if begun >= self.due {
            let servers = worker.repository.listed_servers().await?;
            let ended = worker.clock().elapsed();
            self.due = ended.saturating_add(ended.saturating_sub(begun) * LISTING_TIME);
            has_changed = servers != *self.servers;
            self.servers = Arc::new(servers);
        }
        let workers = worker.living();
        if has_changed || workers != self.workers {
            let (servers, others, id) = (Arc::clone(&self.servers), workers.clone(), worker.id.clone());
            let executor = &worker.repository.environment.executor;
            self.share = executor.run(move || share_of(&id, &servers, &others)).await?;
            self.workers = workers;
        }
        Ok(())
    }
}

fn share_of(id: &WorkerId, servers: &BTreeSet<ServerName>, workers: &BTreeSet<WorkerId>) -> BTreeSet<ServerName> {
    let share = assign(servers, workers).remove(id).unwrap_or_default();
    share.into_iter().cloned().collect()
}
