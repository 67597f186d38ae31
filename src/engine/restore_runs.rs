//! What became of the restores of a server that make new ones, and what they keep from being deleted.

use super::error::{Context, Error, ErrorKind, Result};
use super::server::ServerRepository;
use crate::format::layout::DataPart;
use crate::model::{ObjectKey, RestoreOrder, RestoreRun, ServerConfig, SnapshotId};
use crate::plan::retention::Protections;
use crate::port::{PutMode, StorageExt};

/// Restores of a server.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Restores {
    /// Those that are going on and those that are over, in the order in which they were ordered.
    pub runs: Vec<RestoreRun>,
    /// Records that cannot be read, and why.
    pub unreadable: Vec<(ObjectKey, Error)>,
}

impl ServerRepository {
    /// The restores of the server that make new ones. Those that were ordered more than 400 days ago are forgotten.
    ///
    /// # Errors
    /// If the storage, or the server's record, cannot be read.
    pub async fn restores(&self) -> Result<Restores> {
        let orders = self.config().await?.restores;
        let directory = self.layout.restores();
        let listed = self.vault.storage.list_all(Some(&directory)).await.context(|| format!("listing {directory}"))?;
        let names = listed.into_iter().map(|object| object.key).filter(|key| self.layout.parse_restore(key).is_some());
        let (runs, unreadable) = self.read_records(names.collect()).await?;
        let mut restores = Restores { runs, unreadable };
        restores.heed(orders);
        Ok(restores)
    }

    /// What must not be deleted of the server, beside what its policy wants: what is held, and what restores read.
    ///
    /// Whoever deletes reads this before planning, as a [`Sweeper`](super::Sweeper) does once more before it deletes.
    ///
    /// # Errors
    /// If the storage, or the server's record, cannot be read.
    pub async fn protections(&self) -> Result<Protections> {
        self.protections_of(&self.config().await?).await
    }

    pub(super) async fn protections_of(&self, config: &ServerConfig) -> Result<Protections> {
        let mut protections = Protections::of(config);
        for order in &config.restores {
            protections.leases.extend(self.restore_run(order).await?.0.lease);
        }
        Ok(protections)
    }

    /// What became of a restore so far. A record that is damaged is as good as none: the restore is begun again.
    /// Also how to replace it.
    pub(crate) async fn restore_run(&self, order: &RestoreOrder) -> Result<(RestoreRun, PutMode)> {
        let new = |mode| (RestoreRun::new(order.clone()), mode);
        let (run, mode) = match self.find_record(&self.layout.restore(order.at, &order.id)).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => new(PutMode::Overwrite),
            found => found?.unwrap_or_else(|| new(PutMode::Create)),
        };
        Ok((RestoreRun { order: order.clone(), ..run }, mode))
    }

    /// Notes what became of a restore, and says how to replace that. Whoever has the lease does.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if something else was noted meanwhile: it was still under way when whoever noted it was given up.
    pub(crate) async fn note_restore(&self, run: &RestoreRun, mode: PutMode) -> Result<PutMode> {
        let RestoreOrder { at, id, .. } = &run.order;
        self.write_record(&self.layout.restore(*at, id), run, mode).await.map(PutMode::Update)
    }

    /// Whether somebody noted that the snapshot expires: then it is being deleted, or about to be.
    pub(crate) async fn is_expiring(&self, id: &SnapshotId) -> Result<bool> {
        let note = self.layout.data_part(id, DataPart::Expired);
        self.vault.storage.exists(&note).await.context(|| format!("looking for {note}"))
    }
}

impl Restores {
    /// Adds those of which nothing is recorded yet, and says of the others how far they were decided.
    fn heed(&mut self, orders: Vec<RestoreOrder>) {
        for order in orders {
            match self.runs.iter_mut().find(|run| run.order.id == order.id) {
                Some(run) => run.order = order,
                None => self.runs.push(RestoreRun::new(order)),
            }
        }
        self.runs.sort_by_key(|run| run.order.at);
    }
}
