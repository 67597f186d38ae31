//! A running server, as a source of log and snapshots.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::base_backup;
use super::config::Config;
use super::connect::connect;
use super::wal_stream;
use crate::model::{Lsn, Parameters, ParseError, SegmentNumber, TimelineId};
use crate::port::{PortError, PortErrorKind, SnapshotSource, SnapshotStream, SourceIdentity, WalSource, WalStream};

/// A running PostgreSQL server, reached by the replication protocol.
///
/// It needs a role with `REPLICATION`, a line for the database `replication` in `pg_hba.conf`, `wal_level` of `replica` or
/// `logical`, and of `max_wal_senders` two for a stream and one for a snapshot. All futures need a Tokio runtime with I/O and
/// time.
///
/// Nothing is connected before the first use, and nothing stays connected but streams.
#[derive(Clone, Debug)]
pub struct PostgresServer {
    pub(super) config: Config,
    pub(super) slot: SlotName,
    pub(super) stream: StreamSettings,
    pub(super) snapshot: SnapshotSettings,
}

/// The name of a replication slot: 1 to 63 of `a-z 0-9 _`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotName(String);

/// How a server's log is streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamSettings {
    /// How often the server is told where the stream stands, at least; more often if its `wal_sender_timeout` is short. 10 s.
    pub status_interval: Duration,
    /// How often the server's clock is observed, 100 ms at least. 1 s.
    pub observe_interval: Duration,
    /// How long a server that should answer may be silent until it counts as lost. 60 s.
    pub silence_max: Duration,
    /// How many bytes are received ahead of the consumer. 16 MiB.
    pub buffer_bytes_max: u32,
    /// How long a server that shuts down is made to wait until its log is acknowledged. Then the stream ends, and the slot
    /// keeps what is missing. 10 s.
    pub shutdown_grace: Duration,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            status_interval: Duration::from_secs(10),
            observe_interval: Duration::from_secs(1),
            silence_max: Duration::from_secs(60),
            buffer_bytes_max: 16 << 20,
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

/// How snapshots are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotSettings {
    /// How the checkpoint that begins a snapshot is made.
    pub checkpoint: Checkpoint,
    /// The most bytes a second that the server reads and sends, from 32 KiB to 1 GiB; no limit if `None`, as by default.
    pub bytes_per_second_max: Option<u32>,
}

/// How a checkpoint is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Checkpoint {
    /// As fast as possible. The default: a snapshot should begin when it is asked for.
    #[default]
    Fast,
    /// Spread over minutes, as regular ones are, to spare the server.
    Spread,
}

impl PostgresServer {
    /// The server that `config` leads to, whose log the replication slot `slot` keeps until it is acknowledged.
    #[must_use]
    pub fn new(config: Config, slot: SlotName) -> Self {
        Self { config, slot, stream: StreamSettings::default(), snapshot: SnapshotSettings::default() }
    }

    /// The same server, streamed in another way.
    #[must_use]
    pub fn with_stream_settings(self, stream: StreamSettings) -> Self {
        Self { stream, ..self }
    }

    /// The same server, with snapshots taken in another way.
    #[must_use]
    pub fn with_snapshot_settings(self, snapshot: SnapshotSettings) -> Self {
        Self { snapshot, ..self }
    }

    /// Drops the replication slot, so that the server no longer keeps log for this client. A missing slot is no error.
    ///
    /// # Errors
    /// [`Conflict`](PortErrorKind::Conflict) if the slot is still in use after 5 seconds; else as [`WalSource::identify`].
    pub async fn release(&self) -> Result<(), PortError> {
        let mut connection = connect(&self.config).await?;
        if connection.slot_restart(self.slot.as_str()).await?.is_some() {
            connection.drop_slot(self.slot.as_str()).await?;
        }
        connection.close().await;
        Ok(())
    }

    async fn identity(&self) -> Result<SourceIdentity, PortError> {
        let mut connection = connect(&self.config).await?;
        let identity = connection.identity().await?;
        connection.close().await;
        Ok(identity)
    }
}

#[async_trait]
impl WalSource for PostgresServer {
    async fn identify(&self) -> Result<SourceIdentity, PortError> {
        self.identity().await
    }

    async fn reserve(&self) -> Result<Lsn, PortError> {
        let mut connection = connect(&self.config).await?;
        let slot = self.slot.as_str();
        let mut restart = connection.slot_restart(slot).await?;
        if restart == Some(None) {
            // The slot lost its log to max_slot_wal_keep_size, or never kept any. It cannot be made to.
            connection.drop_slot(slot).await?;
            restart = None;
        }
        if restart.is_none() {
            connection.create_slot(slot).await?;
            restart = connection.slot_restart(slot).await?;
        }
        let restart = restart.flatten().ok_or_else(|| {
            PortError::new(PortErrorKind::Unavailable, format!("the replication slot {slot} does not keep the log"))
        })?;
        let size = connection.identity().await?.segment_size;
        connection.close().await;
        // Segments are kept whole.
        Ok(SegmentNumber::containing(restart, size).start(size))
    }

    async fn timeline_history(&self, timeline: TimelineId) -> Result<Bytes, PortError> {
        let mut connection = connect(&self.config).await?;
        let history = connection.timeline_history(timeline).await?;
        connection.close().await;
        Ok(history)
    }

    async fn stream(&self, timeline: TimelineId, start: Lsn) -> Result<Box<dyn WalStream>, PortError> {
        wal_stream::open(self, timeline, start).await
    }

    /// Takes SQL: a line for the database `postgres` in `pg_hba.conf`. A role may end what itself has begun.
    async fn evict(&self) -> Result<(), PortError> {
        let mut connection = connect(&self.config.clone().with_sql()).await?;
        connection.evict(self.slot.as_str()).await?;
        connection.close().await;
        Ok(())
    }
}

#[async_trait]
impl SnapshotSource for PostgresServer {
    async fn identify(&self) -> Result<SourceIdentity, PortError> {
        self.identity().await
    }

    async fn begin(&self, label: &str) -> Result<Box<dyn SnapshotStream>, PortError> {
        base_backup::begin(&self.config, self.snapshot, label).await
    }

    /// Takes SQL, as [`evict`](WalSource::evict) does. Of parameters that only superusers and members of `pg_read_all_settings` may see, none are told to others.
    async fn parameters(&self) -> Result<Option<Parameters>, PortError> {
        parameters(&self.config).await.map(Some)
    }
}

/// What the server runs with.
pub(super) async fn parameters(config: &Config) -> Result<Parameters, PortError> {
    let mut connection = connect(&config.clone().with_sql()).await?;
    let parameters = connection.parameters().await?;
    connection.close().await;
    Ok(parameters)
}

impl SlotName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SlotName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let well_formed = (1..64).contains(&text.len()) && text.bytes().all(allowed);
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new("replication slot name", text, "1 to 63 of a-z 0-9 _"))
        }
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
