//! The note that a snapshot is being taken: a sweep leaves alone what it stores, and what it builds on.

use std::time::Duration;

use crate::engine::error::{Error, ErrorKind, Result};
use crate::engine::server::ServerRepository;
use crate::format::layout::DataPart;
use crate::format::record::RunningSnapshot;
use crate::model::{Incarnation, ObjectKey, SnapshotId};
use crate::port::{PutMode, Version};

/// How often the note is renewed, so that it looks no older than the snapshot's latest sign of life.
const RENEWAL: Duration = Duration::from_secs(60 * 60);

/// The note of one snapshot.
#[derive(Debug)]
pub(super) struct RunningNote {
    server: ServerRepository,
    name: ObjectKey,
    note: RunningSnapshot,
    /// `None` until it was written.
    version: Option<Version>,
    renewed: Duration,
}

impl RunningNote {
    /// The note of `id`, which is not written yet.
    pub(super) fn new(server: &ServerRepository, incarnation: Incarnation, id: &SnapshotId) -> Self {
        let name = server.layout.data_part(id, DataPart::Running);
        let note = RunningSnapshot::new(incarnation, server.token);
        Self { server: server.clone(), name, note, version: None, renewed: Duration::ZERO }
    }

    /// Writes that the snapshot is being taken, and what it builds on.
    pub(super) async fn say(&mut self, builds_on: Vec<SnapshotId>) -> Result<()> {
        self.note.builds_on = builds_on;
        self.confirm().await
    }

    /// Renews it if that is due.
    pub(super) async fn renew(&mut self) -> Result<()> {
        let since = self.server.clock.elapsed().saturating_sub(self.renewed);
        if since < RENEWAL { Ok(()) } else { self.confirm().await }
    }

    /// Renews it, and so makes sure that nobody took the snapshot for an interrupted one.
    pub(super) async fn confirm(&mut self) -> Result<()> {
        let mode = self.version.clone().map_or(PutMode::Create, PutMode::Update);
        match self.server.write_record(&self.name, &self.note, mode).await {
            Ok(version) => self.version = Some(version),
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
