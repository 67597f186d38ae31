//! Base backups by the replication protocol: `BASE_BACKUP`, from archives to files.

mod archives;

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;

use self::archives::Archives;
use super::config::Config;
use super::connect::connect;
use super::connection::Connection;
use super::copy_data::{BackupMessage, ReplicationMessage, StatusUpdate};
use super::message::{Message, ProtocolError, Row};
use super::replication::{Started, literal};
use super::server::{Checkpoint, SnapshotSettings};
use super::server_error::ServerError;
use crate::model::{Lsn, ServerRole, Tablespace, Timestamp};
use crate::port::{PortError, PortErrorKind, SnapshotEnd, SnapshotEvent, SnapshotStart, SnapshotStream};

const DOING: &str = "the base backup";
/// What the server ends a backup with in which it found wrong checksums: after everything was sent.
const DATA_CORRUPTED: &str = "XX001";

/// Begins a base backup. How long the starting checkpoint takes, is the server's business.
pub(super) async fn begin(
    config: &Config,
    settings: SnapshotSettings,
    label: &str,
) -> Result<Box<dyn SnapshotStream>, PortError> {
    let mut connection = connect(config).await?;
    // Here, as each connection may lead to another of several hosts.
    let identity = connection.identity().await?;
    connection.start(&command(settings, label)).await?;
    let rows = connection.rows(DOING).await?;
    let row = connection.single(rows)?;
    let (lsn, timeline) = (connection.field(&row, 0)?, connection.field(&row, 1)?);
    let places = connection.rows(DOING).await?;
    let mut start = SnapshotStart::new(identity.incarnation, identity.segment_size, timeline, lsn);
    start.role = if connection.is_primary() { ServerRole::Primary } else { ServerRole::Standby };
    (start.tablespaces, start.bytes_estimate) = places_of(&connection, &places)?;
    let archives = Archives::new(&start.tablespaces);
    match connection.receive(DOING).await? {
        Message::CopyOut => {}
        _ => return Err(connection.confused(ProtocolError("no base backup where it was due"))),
    }
    let events = VecDeque::new();
    Ok(Box::new(BackupStream { connection, start, archives, events, is_copied: false, checksum_failures: 0 }))
}

/// `WAIT` asks the server to wait until its own archiver has the log: pitr has it from the stream.
fn command(settings: SnapshotSettings, label: &str) -> String {
    let checkpoint = match settings.checkpoint {
        Checkpoint::Fast => "fast",
        Checkpoint::Spread => "spread",
    };
    let rate = settings.bytes_per_second_max.map(|rate| format!(", MAX_RATE {}", rate / 1024)).unwrap_or_default();
    format!(
        "BASE_BACKUP (LABEL {}, PROGRESS, CHECKPOINT '{checkpoint}', WAIT false, MANIFEST 'yes', \
         MANIFEST_CHECKSUMS 'CRC32C', TABLESPACE_MAP true, WAL false, VERIFY_CHECKSUMS true{rate})",
        literal(label)
    )
}

/// Reads the rows that say what will be sent: the tablespaces, and the data directory as one without a number and a place.
/// Gives the tablespaces, and how many bytes all of it has.
fn places_of(connection: &Connection, places: &[Row]) -> Result<(Vec<Tablespace>, u64), PortError> {
    let mut tablespaces = Vec::new();
    let mut kibibytes = 0_u64;
    for place in places {
        if place.first().is_some_and(Option::is_some) {
            tablespaces.push(Tablespace::new(connection.field(place, 0)?, connection.field::<String>(place, 1)?));
        }
        kibibytes = kibibytes.saturating_add(connection.field(place, 2)?);
    }
    Ok((tablespaces, kibibytes.saturating_mul(1024)))
}

#[derive(Debug)]
struct BackupStream {
    connection: Connection,
    start: SnapshotStart,
    archives: Archives,
    /// What the last message held.
    events: VecDeque<SnapshotEvent>,
    is_copied: bool,
    checksum_failures: u64,
}

#[async_trait]
impl SnapshotStream for BackupStream {
    fn start(&self) -> &SnapshotStart {
        &self.start
    }

    async fn next(&mut self) -> Result<Option<SnapshotEvent>, PortError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.is_copied {
                return Ok(None);
            }
            self.copy().await?;
        }
    }

    async fn end(mut self: Box<Self>) -> Result<SnapshotEnd, PortError> {
        let row = self.end_row().await?;
        let (lsn, timeline) = (self.connection.field(&row, 0)?, self.connection.field(&row, 1)?);
        let at = clock(&mut self.connection).await?;
        let mut end = SnapshotEnd::new(lsn, timeline, at);
        end.checksum_failures = self.checksum_failures;
        Ok(end)
    }
}

impl BackupStream {
    async fn copy(&mut self) -> Result<(), PortError> {
        match self.connection.next_message().await? {
            Message::CopyData(body) => self.copy_data(body),
            Message::CopyDone => {
                self.archives.finish()?;
                self.is_copied = true;
                Ok(())
            }
            Message::Notice(notice) => {
                self.note(&notice);
                Ok(())
            }
            Message::Error(error) => Err(error.of(format!("{DOING} failed"))),
            _ => Err(self.connection.confused(ProtocolError("no base backup where it was due"))),
        }
    }

    fn copy_data(&mut self, body: Bytes) -> Result<(), PortError> {
        match BackupMessage::parse(body).map_err(|error| self.connection.confused(error))? {
            BackupMessage::Archive { name } => self.archives.begin(&name),
            BackupMessage::Manifest => self.archives.begin_manifest(),
            BackupMessage::Data(bytes) => self.archives.data(bytes, &mut self.events),
            BackupMessage::Progress => Ok(()),
        }
    }

    /// Warnings say which blocks have wrong checksums; the last says how many in all, if there are several.
    fn note(&mut self, notice: &ServerError) {
        if notice.routine.as_deref() == Some("perform_base_backup") {
            let digits: String = notice.message.chars().filter(char::is_ascii_digit).collect();
            self.checksum_failures = digits.parse().unwrap_or(self.checksum_failures);
        }
    }

    /// The result that says where the backup ended. What the server found on the way comes with it.
    async fn end_row(&mut self) -> Result<Row, PortError> {
        let mut row = None;
        loop {
            match self.connection.next_message().await? {
                Message::DataRow(values) => row = Some(values),
                Message::RowDescription | Message::CommandComplete => {}
                Message::Notice(notice) => self.note(&notice),
                // Everything was sent, and is what the server has. pg_basebackup keeps it, too.
                Message::Error(error) if error.code == DATA_CORRUPTED && row.is_some() => {
                    self.checksum_failures = self.checksum_failures.max(1);
                }
                Message::Error(error) => return Err(error.of(format!("{DOING} failed"))),
                Message::ReadyForQuery => break,
                _ => return Err(self.connection.confused(ProtocolError("no end of the base backup where it was due"))),
            }
        }
        row.ok_or_else(|| self.connection.confused(ProtocolError("a base backup without an end")))
    }
}

/// The server's clock, now: replication connections cannot ask for it, but a stream of the log tells it on request.
async fn clock(connection: &mut Connection) -> Result<Timestamp, PortError> {
    let system = connection.identify_system().await?;
    // At the end of the log, so that nothing is sent that was removed.
    let Started::Streaming = connection.start_replication(None, system.timeline, system.flush_lsn).await? else {
        return Err(PortError::new(PortErrorKind::Unavailable, "the timeline ended with the base backup"));
    };
    let request = StatusUpdate { durable: Lsn::ZERO, reply_requested: true };
    connection.send_copy_data(request.encode(None)).await?;
    loop {
        let Message::CopyData(body) = connection.receive(DOING).await? else {
            return Err(connection.confused(ProtocolError("no clock where it was due")));
        };
        let message = ReplicationMessage::parse(body).map_err(|error| connection.confused(error))?;
        let (ReplicationMessage::XLogData { clock, .. } | ReplicationMessage::Keepalive { clock, .. }) = message;
        if let Some(clock) = clock {
            return Ok(clock);
        }
    }
}
