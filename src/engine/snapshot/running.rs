//! The note that a snapshot is being taken: a sweep leaves alone what it stores, and what it builds on.

use std::time::Duration;

use crate::engine::error::{Error, ErrorKind, Result};
use crate::engine::repository::ServerRepository;
use crate::format::layout::DataPart;
use crate::format::record::RunningSnapshot;
use crate::model::{ObjectKey, SnapshotId};
use crate::port::{PutMode, Version};

/// How often the note is renewed, so that it looks no older than the snapshot's latest sign of life.
const RENEWAL: Duration = Duration::from_secs(60 * 60);

/// A note that stands in the storage.
#[derive(Debug)]
pub(super) struct RunningNote {
    server: ServerRepository,
    name: ObjectKey,
    note: RunningSnapshot,
    version: Version,
    renewed: Duration,
}

impl RunningNote {
    /// Notes that `id` is being taken, and builds on `base`.
    pub(super) async fn write(server: &ServerRepository, id: &SnapshotId, base: Option<SnapshotId>) -> Result<Self> {
        let (name, note) = (server.layout.data_part(id, DataPart::Running), RunningSnapshot::new(base));
        let version = server.write_record(&name, &note, PutMode::Create).await?;
        let (server, renewed) = (server.clone(), server.clock.elapsed());
        Ok(Self { server, name, note, version, renewed })
    }

    /// Notes that it builds on `base` instead.
    pub(super) async fn rebase(&mut self, base: Option<SnapshotId>) -> Result<()> {
        self.note = RunningSnapshot::new(base);
        self.confirm().await
    }

    /// Renews it if that is due.
    pub(super) async fn renew(&mut self) -> Result<()> {
        let since = self.server.clock.elapsed().saturating_sub(self.renewed);
        if since < RENEWAL { Ok(()) } else { self.confirm().await }
    }

    /// Renews it, and so makes sure that nobody took the snapshot for an interrupted one.
    pub(super) async fn confirm(&mut self) -> Result<()> {
        let mode = PutMode::Update(self.version.clone());
        match self.server.write_record(&self.name, &self.note, mode).await {
            Ok(version) => self.version = version,
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                let context = "the snapshot stood still for so long that it was swept away: take another one";
                return Err(Error::new(ErrorKind::Conflict, context).caused_by(error));
            }
            Err(error) => return Err(error),
        }
        self.renewed = self.server.clock.elapsed();
        Ok(())
    }

    /// Takes it back: the snapshot is in the catalog. If that fails, a sweep does it.
    pub(super) async fn remove(self) {
        drop(self.server.vault.storage.delete(&self.name).await);
    }
}
