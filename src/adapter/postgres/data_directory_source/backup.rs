//! A base backup between `pg_backup_start` and `pg_backup_stop`.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::super::connect::connect;
use super::super::connection::Connection;
use super::super::disk::blocking;
use super::super::message::Row;
use super::super::replication::{MemorySize, literal};
use super::super::server::Checkpoint;
use super::DataDirectorySource;
use super::control;
use super::readable::PageSettings;
use super::stamp::Stamper;
use super::walk::Walk;
use crate::adapter::SystemClock;
use crate::adapter::pace::Pace;
use crate::format::backup_label::BackupLabel;
use crate::format::control_file::ControlFile;
use crate::format::tablespace_map::TablespaceMap;
use crate::model::{FileEntry, Lsn, ServerRole, Timestamp};
use crate::port::{PortError, PortErrorKind, SnapshotEnd, SnapshotEvent, SnapshotStart, SnapshotStream};

const DOING: &str = "the base backup";

/// A session that waits for its turn, or for files to be read, must not be ended for it.
const PATIENCE: [&str; 3] = ["SET statement_timeout = 0", "SET lock_timeout = 0", "SET idle_session_timeout = 0"];
/// Since PostgreSQL 17.
const PATIENCE_WITH_TRANSACTIONS: &str = "SET transaction_timeout = 0";
const TRANSACTION_TIMEOUT_SINCE: u32 = 17;
/// What is known of the tablespaces whose size the role may ask for.
const SIZE: &str = "SELECT coalesce(sum(pg_tablespace_size(oid)), 0)::bigint FROM pg_tablespace \
     WHERE pg_has_role('pg_read_all_stats', 'MEMBER') OR has_tablespace_privilege(oid, 'CREATE')";
const STOP: &str = "SELECT lsn, labelfile, spcmapfile FROM pg_backup_stop(wait_for_archive => false)";
const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// Begins a base backup. How long the starting checkpoint takes, is the server's business.
pub(super) async fn begin(source: &DataDirectorySource, label: &str) -> Result<Box<dyn SnapshotStream>, PortError> {
    let mut connection = connect(&source.config).await?;
    let identity = connection.identity().await?;
    let major = identity.incarnation.major.as_u32();
    let patience = (major >= TRANSACTION_TIMEOUT_SINCE).then_some(PATIENCE_WITH_TRANSACTIONS);
    for setting in PATIENCE.into_iter().chain(patience) {
        connection.query(DOING, setting).await?;
    }
    let port: u16 = connection.show("port").await?;
    control::require_port(&source.directory, port).await?;
    let fast = source.settings.checkpoint == Checkpoint::Fast;
    let begin = format!("SELECT pg_backup_start({}, fast => {fast})", literal(label));
    let role = if connection.is_primary() { ServerRole::Primary } else { ServerRole::Standby };
    let stamper = Stamper::new(source.settle_time);
    let row = connection.patient_row(&begin).await?;
    let lsn = connection.field(&row, 0)?;
    let control = control::of_server(&source.directory, identity.incarnation.system_id, role, lsn).await?;

    let mut start = SnapshotStart::new(identity.incarnation, identity.segment_size, control.timeline, lsn);
    start.role = role;
    let row = connection.patient_row(SIZE).await?;
    start.bytes_estimate = connection.field(&row, 0)?;
    let pages = connection.page_settings(lsn).await?;
    let pace = Arc::new(Pace::new(source.settings.bytes_per_second_max.map(u64::from), Arc::new(SystemClock::new())));
    let (directory, version) = (source.directory.clone(), version_directory(major, &control));
    let walk = blocking(move || Walk::begin(directory, version, stamper, pages, pace)).await?;
    start.tablespaces = walk.tablespaces().to_vec();
    let (directory, events) = (source.directory.clone(), VecDeque::new());
    Ok(Box::new(Backup { connection, directory, start, walk: Some(walk), events, skipped: Vec::new() }))
}

/// The directory of this server in a tablespace (`TABLESPACE_VERSION_DIRECTORY`).
fn version_directory(major: u32, control: &ControlFile) -> String {
    format!("PG_{major}_{}", control.catalog_version)
}

#[derive(Debug)]
struct Backup {
    connection: Connection,
    directory: PathBuf,
    start: SnapshotStart,
    /// `None` once it has been everywhere.
    walk: Option<Walk>,
    /// What it found last.
    events: VecDeque<SnapshotEvent>,
    skipped: Vec<String>,
}

#[async_trait]
impl SnapshotStream for Backup {
    fn start(&self) -> &SnapshotStart {
        &self.start
    }

    async fn next(&mut self) -> Result<Option<SnapshotEvent>, PortError> {
        while self.events.is_empty() {
            let Some(walk) = self.walk.take() else { return Ok(None) };
            let (walk, events) = blocking(move || walk.go_on()).await?;
            if walk.is_done() {
                self.skipped = walk.into_skipped();
            } else {
                self.walk = Some(walk);
            }
            self.events = events;
        }
        Ok(self.events.pop_front())
    }

    /// `pg_control` is read last, and before the server is told that the backup is complete: on a standby, it says how far all that was
    /// read before it must be replayed.
    async fn end(mut self: Box<Self>) -> Result<SnapshotEnd, PortError> {
        let control = control::read(&self.directory).await?;
        let row = self.connection.patient_row(STOP).await?;
        let lsn = self.connection.field(&row, 0)?;
        let clock = self.connection.patient_row(CLOCK).await?;
        let at = Timestamp::from_unix_micros(self.connection.field(&clock, 0)?)
            .ok_or_else(|| PortError::new(PortErrorKind::Invalid, "the server's clock is beyond all times"))?;
        let timeline = self.connection.identify_system().await?.timeline;
        let [label, map] = [1, 2].map(|column| row.get(column).cloned().flatten().unwrap_or_default());
        is_label_of(&self.start, &label)?;
        is_map_of(&self.start, &map)?;
        let mut end = SnapshotEnd::new(lsn, timeline, at);
        end.skipped = std::mem::take(&mut self.skipped);
        end.files = files(&control.entry, label, map);
        end.files.push((control.entry, control.bytes));
        self.connection.close().await;
        Ok(end)
    }
}

/// What the server wants to be in a backup beside its files, with the mode of `like`.
fn files(like: &FileEntry, label: Bytes, map: Bytes) -> Vec<(FileEntry, Bytes)> {
    let files =
        [("backup_label", label), ("tablespace_map", map)].into_iter().filter(|(_, content)| !content.is_empty());
    let entry = |path, content: &Bytes| FileEntry::new(path, content.len() as u64, like.mode, like.modified);
    files.map(|(path, content)| (entry(path, &content), content)).collect()
}

/// That the backup that ended is the one that began.
fn is_label_of(start: &SnapshotStart, label: &[u8]) -> Result<(), PortError> {
    let found = BackupLabel::parse(label).ok().map(|label| (label.start_timeline, label.start_lsn));
    if found == Some((start.timeline, start.lsn)) {
        return Ok(());
    }
    let context =
        format!("the backup began at {} of timeline {}, but its label says {found:?}", start.lsn, start.timeline);
    Err(PortError::new(PortErrorKind::Invalid, context))
}

/// That the tablespaces that were read are those that the backup began with. PostgreSQL lists them when it begins, so one that is created
/// or dropped just then may be in one list only.
fn is_map_of(start: &SnapshotStart, map: &[u8]) -> Result<(), PortError> {
    let map = TablespaceMap::parse(map).map_err(|error| {
        PortError::new(PortErrorKind::Invalid, "the server gave no map of its tablespaces").caused_by(error)
    })?;
    let listed: BTreeSet<_> = map.tablespaces().iter().map(|listed| (listed.oid, &listed.path[..])).collect();
    let read: BTreeSet<_> = start.tablespaces.iter().map(|read| (read.oid, read.path.as_bytes())).collect();
    if listed == read {
        return Ok(());
    }
    let context = "a tablespace was created or dropped when the backup began: try again";
    Err(PortError::new(PortErrorKind::Unavailable, context))
}

impl Connection {
    /// The row that `sql` gives, however long that takes: a connection that is lost is noticed.
    async fn patient_row(&mut self, sql: &str) -> Result<Row, PortError> {
        let rows = self.patient_query(DOING, sql).await?;
        self.single(rows)
    }

    /// How the pages of a backup that begins at `begin` are checked, if they have checksums.
    async fn page_settings(&mut self, begin: Lsn) -> Result<Option<PageSettings>, PortError> {
        let checksums: String = self.show("data_checksums").await?;
        let page_bytes = self.show("block_size").await?;
        let segment_bytes = self.show::<MemorySize>("segment_size").await?.0;
        Ok((checksums == "on").then_some(PageSettings { page_bytes, segment_bytes, begin }))
    }
}
