//! A connection: messages over a socket.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use postgres_protocol::message::frontend::{self, CopyData};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::message::{self, Message, ProtocolError, Row};
use crate::port::{PortError, PortErrorKind};

/// The longest message that a server may send before it knows who asks. libpq allows 30 000 bytes.
const FRAME_BYTES_MAX_BEFORE: usize = 64 << 10;
/// The longest message afterwards. The longest that walsender makes are 16 WAL blocks of 64 KiB, and history files.
const FRAME_BYTES_MAX: usize = 16 << 20;
/// How much room a read is given, at least.
const READ_BYTES_MIN: usize = 64 << 10;
/// How long the answer to a command may take that the server gives at once.
const RESPONSE_TIME_MAX: Duration = Duration::from_secs(60);
/// The most rows that the answer to a command has: a tablespace each.
const ROWS_MAX: usize = 1 << 20;
/// What a connection remembers of what the server tells about itself.
const PARAMETERS: [&str; 2] = ["in_hot_standby", "default_transaction_read_only"];

/// A byte stream to a server: TCP or a Unix socket, encrypted or not.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for S {}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The host as it was named: what its certificate must be for.
    pub(super) name: String,
    pub(super) address: Address,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp(address) => write!(f, "server {:?} at {address}", self.name),
            Address::Unix(path) => write!(f, "server at {}", path.display()),
        }
    }
}

/// A connection to a server. After an error it is good for nothing but to be dropped.
pub(super) struct Connection {
    socket: Box<dyn Socket>,
    endpoint: Endpoint,
    received: BytesMut,
    frame_bytes_max: usize,
    parameters: BTreeMap<String, String>,
}

impl Connection {
    /// A connection over `socket`, on which nothing was said yet.
    pub(super) fn new(socket: Box<dyn Socket>, endpoint: Endpoint) -> Self {
        let (received, parameters) = (BytesMut::new(), BTreeMap::new());
        Self { socket, endpoint, received, frame_bytes_max: FRAME_BYTES_MAX_BEFORE, parameters }
    }

    /// From now on the server is trusted with longer messages.
    pub(super) fn authenticated(&mut self) {
        self.frame_bytes_max = FRAME_BYTES_MAX;
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What the server told of its `parameter`, one of those that are remembered.
    pub(super) fn parameter(&self, parameter: &str) -> Option<&str> {
        self.parameters.get(parameter).map(String::as_str)
    }

    /// Whether the server writes its own log, rather than replaying another's.
    pub(super) fn is_primary(&self) -> bool {
        self.parameter("in_hot_standby") == Some("off")
    }

    /// Sends what `write` puts into the buffer.
    pub(super) async fn send(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> io::Result<()> + Send,
    ) -> Result<(), PortError> {
        let mut message = BytesMut::new();
        write(&mut message).map_err(|error| {
            PortError::new(PortErrorKind::Invalid, "cannot encode a message to the server").caused_by(error)
        })?;
        let sent = async {
            self.socket.write_all(&message).await?;
            self.socket.flush().await
        };
        sent.await.map_err(|error| self.broken("cannot send to", error))
    }

    pub(super) async fn send_copy_data(&mut self, body: Bytes) -> Result<(), PortError> {
        self.send(|buffer| {
            CopyData::new(body)?.write(buffer);
            Ok(())
        })
        .await
    }

    pub(super) async fn send_copy_done(&mut self) -> Result<(), PortError> {
        self.send(|buffer| {
            frontend::copy_done(buffer);
            Ok(())
        })
        .await
    }

    /// Says goodbye, so that the server does not log a lost connection. It is gone either way.
    pub(super) async fn close(mut self) {
        let goodbye = self.send(|buffer| {
            frontend::terminate(buffer);
            Ok(())
        });
        let _ = timeout(Duration::from_secs(1), goodbye).await;
    }

    /// The next message, warnings and errors among them.
    ///
    /// Cancel safe: what was received of a message is kept.
    pub(super) async fn next_message(&mut self) -> Result<Message, PortError> {
        loop {
            let taken = message::take(&mut self.received, self.frame_bytes_max);
            match taken.map_err(|error| self.confused(error))? {
                Some(Message::ParameterStatus(name, value)) => self.remember(name, value),
                Some(Message::Ignored) => {}
                Some(message) => return Ok(message),
                None => self.read().await?,
            }
        }
    }

    /// The next message that is part of the conversation; an error of the server as an error while `doing` something.
    pub(super) async fn receive(&mut self, doing: &str) -> Result<Message, PortError> {
        loop {
            match self.next_message().await? {
                Message::Notice(_) => {}
                Message::Error(error) => return Err(error.of(format!("{doing} failed on the {}", self.endpoint))),
                message => return Ok(message),
            }
        }
    }

    /// Sends `command` without waiting for the answer.
    pub(super) async fn start(&mut self, command: &str) -> Result<(), PortError> {
        self.send(|buffer| frontend::query(command, buffer)).await
    }

    /// Sends `command` and returns the rows of its answer. `doing` says what for.
    pub(super) async fn query(&mut self, doing: &str, command: &str) -> Result<Vec<Row>, PortError> {
        let answer = timeout(RESPONSE_TIME_MAX, self.patient_query(doing, command)).await;
        answer.unwrap_or_else(|_| Err(self.silent(doing)))
    }

    /// The same, however long the answer takes: a connection that is lost is noticed.
    pub(super) async fn patient_query(&mut self, doing: &str, command: &str) -> Result<Vec<Row>, PortError> {
        self.start(command).await?;
        let rows = self.rows(doing).await?;
        self.ready(doing).await?;
        Ok(rows)
    }

    /// The rows of one result, to its end.
    pub(super) async fn rows(&mut self, doing: &str) -> Result<Vec<Row>, PortError> {
        let mut rows = Vec::new();
        loop {
            match self.receive(doing).await? {
                Message::DataRow(row) if rows.len() < ROWS_MAX => rows.push(row),
                Message::RowDescription => {}
                Message::CommandComplete => return Ok(rows),
                _ => return Err(self.confused(ProtocolError("no result where one was due"))),
            }
        }
    }

    /// Waits until the server expects the next command.
    pub(super) async fn ready(&mut self, doing: &str) -> Result<(), PortError> {
        loop {
            match self.receive(doing).await? {
                Message::ReadyForQuery => return Ok(()),
                // Replication commands complete twice: their last result, and themselves.
                Message::CommandComplete => {}
                _ => return Err(self.confused(ProtocolError("more results than were due"))),
            }
        }
    }

    /// The error of a server that says what it must not.
    pub(super) fn confused(&self, error: ProtocolError) -> PortError {
        let context = format!("cannot understand the {}", self.endpoint);
        PortError::new(PortErrorKind::Invalid, context).caused_by(error)
    }

    /// The error of a server that does not answer.
    pub(super) fn silent(&self, doing: &str) -> PortError {
        let context = format!("{doing} failed: no answer in time from the {}", self.endpoint);
        PortError::new(PortErrorKind::Unavailable, context)
    }

    fn broken(&self, doing: &str, error: io::Error) -> PortError {
        PortError::new(PortErrorKind::Unavailable, format!("{doing} the {}", self.endpoint)).caused_by(error)
    }

    fn remember(&mut self, name: String, value: String) {
        if PARAMETERS.contains(&name.as_str()) {
            self.parameters.insert(name, value);
        }
    }

    async fn read(&mut self) -> Result<(), PortError> {
        // The buffer grows by what arrives, never by a length that was only claimed.
        self.received.reserve(READ_BYTES_MIN);
        match self.socket.read_buf(&mut self.received).await {
            Ok(0) => Err(self.broken("lost the connection to", io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(self.broken("cannot receive from", error)),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
