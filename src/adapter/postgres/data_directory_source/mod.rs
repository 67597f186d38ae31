//! Base backups of a server on this machine, whose files are read where they lie.
//!
//! See "Making a Base Backup Using the Low Level API" of the manual, and what the server itself does for `BASE_BACKUP`:
//! `src/backend/backup/basebackup.c`.

mod backup;
mod control;
mod names;
mod readable;
mod stamp;
mod walk;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use super::config::Config;
use super::connect::connect;
use super::server::{SnapshotSettings, parameters};
use crate::model::Parameters;
use crate::port::{PortError, SnapshotSource, SnapshotStream, SourceIdentity};

/// A running PostgreSQL server whose data directory is on this machine, as a source of snapshots.
///
/// Better than a [`PostgresServer`](super::PostgresServer), which sends everything through one connection: files are read by several
/// threads; those that have not changed since the last snapshot are not read at all; and pages with wrong checksums are named.
/// Standbys are read like primaries.
///
/// It needs a role with `REPLICATION` that may execute `pg_backup_start` and `pg_backup_stop`, a line for a database in `pg_hba.conf`,
/// and one of `max_wal_senders`. And it must be allowed to read all files of the data directory and the tablespaces, which must be the
/// server's own, not a copy; where that shows (the system identifier, the port, the last checkpoint), it is checked.
///
/// # What is read
/// What the server would send: all but temporary files and relations, unlogged relations but for their initial forks, the log, and what
/// PostgreSQL makes anew when it starts ("Making a Base Backup Using the Low Level API" in the manual, and `basebackup.c`). The
/// symbolic links of tablespaces, of `pg_wal`, and of directories whose content is left out are followed. Other links, and whatever is
/// neither a file nor a directory, are left out and [reported](crate::engine::SnapshotReport::skipped). A file that vanishes is left
/// out; of one that grows, as much is read as it had; one that shrinks is filled up with zeros: replay mends all that.
///
/// # What counts as unchanged
/// A file that has the same inode, length, and times of its last change (`st_mtim`, `st_ctim`) as before. A file that changed less than
/// [5 minutes](Self::with_settle_time) before the backup was asked for, or since, gets no stamp and is read again next time: it may just be written to. Whoever sets the clock of the machine back can, with luck, hide a change:
/// [`read_all`](crate::engine::SnapshotSettings::read_all) finds that, as it finds file systems that do not keep times.
///
/// # Page checksums
/// If the server has them (`data_checksums`), those of all whole pages that are read are checked. A wrong one is read once more, as the
/// page may just be written. Pages that were written since the backup began are not checked, as replay mends them.
#[derive(Clone, Debug)]
pub struct DataDirectorySource {
    config: Config,
    directory: PathBuf,
    settings: SnapshotSettings,
    settle_time: Duration,
}

impl DataDirectorySource {
    /// The server that `config` leads to, whose data directory this process finds at `directory`.
    #[must_use]
    pub fn new(config: Config, directory: impl Into<PathBuf>) -> Self {
        let (directory, settings) = (directory.into(), SnapshotSettings::default());
        Self { config: config.with_sql(), directory, settings, settle_time: stamp::SETTLE_TIME }
    }

    /// The same server, with snapshots taken in another way.
    #[must_use]
    pub fn with_settings(self, settings: SnapshotSettings) -> Self {
        Self { settings, ..self }
    }

    /// The same server, whose files count as written to for so long after their last change; 5 minutes unless set, 2 seconds at least.
    ///
    /// It must be longer than any single write takes from its beginning until all of it can be read, however long the machine makes the writer
    /// wait for memory or for the disk. Where a write takes longer, the next snapshot may have half of it in the page that it changed.
    #[must_use]
    pub fn with_settle_time(self, settle_time: Duration) -> Self {
        Self { settle_time, ..self }
    }
}

#[async_trait]
impl SnapshotSource for DataDirectorySource {
    async fn identify(&self) -> Result<SourceIdentity, PortError> {
        let mut connection = connect(&self.config).await?;
        let identity = connection.identity().await?;
        connection.close().await;
        Ok(identity)
    }

    async fn begin(&self, label: &str) -> Result<Box<dyn SnapshotStream>, PortError> {
        backup::begin(self, label).await
    }

    async fn parameters(&self) -> Result<Option<Parameters>, PortError> {
        parameters(&self.config).await.map(Some)
    }
}
