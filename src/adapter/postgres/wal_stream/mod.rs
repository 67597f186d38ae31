//! A server's log, streamed: a task owns the connection, so that the server is answered whatever the consumer does.

mod answer;
mod pump;
mod question;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use self::pump::{Delivery, Pump};
use self::question::{Question, Way};
use super::connect::connect;
use super::connection::Connection;
use super::message::{Message, ProtocolError};
use super::observe::{self, Observer};
use super::replication::{Started, SystemIdentity, TimeSetting};
use super::server::PostgresServer;
use super::server_error::ServerError;
use crate::model::{Lsn, TimelineId};
use crate::port::{PortError, PortErrorKind, WalEvent, WalSource, WalStream};

/// How long the server may take to notice that the stream before was dropped, and to let go of its slot.
const SLOT_RELEASE_TIME_MAX: Duration = Duration::from_secs(5);
const SLOT_RELEASE_POLL: Duration = Duration::from_millis(50);

/// Follows the log of `timeline` from `start`.
pub(super) async fn open(
    server: &PostgresServer,
    timeline: TimelineId,
    start: Lsn,
) -> Result<Box<dyn WalStream>, PortError> {
    let given_up = Instant::now() + SLOT_RELEASE_TIME_MAX;
    let mut renewed = false;
    loop {
        match try_open(server, timeline, start).await {
            Err(error) if error.kind() == PortErrorKind::Conflict && Instant::now() < given_up => {
                sleep(SLOT_RELEASE_POLL).await;
            }
            // Such a slot still says what it keeps, but nothing can be read by it any more. The log may still be there.
            Err(error) if is_invalidated(&error) && !renewed => {
                server.release().await?;
                server.reserve().await?;
                renewed = true;
            }
            Err(error) => return Err(error),
            Ok(stream) => return Ok(Box::new(stream)),
        }
    }
}

async fn try_open(server: &PostgresServer, timeline: TimelineId, start: Lsn) -> Result<ReplicationStream, PortError> {
    let mut connection = connect(&server.config).await?;
    // Before the server is asked for its timeline: it may be promoted meanwhile, and what it said then holds no longer.
    let primary = connection.is_primary();
    let system = connection.identify_system().await?;
    let wal_sender_timeout: TimeSetting = connection.show("wal_sender_timeout").await?;
    if timeline == system.timeline && start > system.flush_lsn {
        let context = format!("the log ends at {}, before {start}, on the {}", system.flush_lsn, connection.endpoint());
        return Err(PortError::new(PortErrorKind::Invalid, context));
    }
    let mut settings = server.stream;
    if !wal_sender_timeout.0.is_zero() {
        // Three messages may be late until the server gives up.
        settings.status_interval = settings.status_interval.min(wal_sender_timeout.0 / 4);
    }
    let observed = primary && system.timeline == timeline;
    let observation = if observed { Some(observation(server, &mut connection, system, start).await?) } else { None };

    let started = connection.start_replication(Some(server.slot.as_str()), timeline, start).await?;
    // A server opens a stream first, and then finds out that it has removed the log.
    let has_data = start < system.flush_lsn || timeline != system.timeline;
    let first = match started {
        Started::Streaming if has_data => Some(first(&mut connection, settings.silence_max).await?),
        Started::Streaming | Started::Ended(_) => None,
    };

    let (events, received) = mpsc::unbounded_channel();
    let (acknowledge, acknowledged) = watch::channel(Lsn::ZERO);
    let room = Arc::new(Semaphore::new(usize::try_from(settings.buffer_bytes_max.max(1)).unwrap_or(1)));
    let stream = ReplicationStream { events: received, acknowledge };
    match started {
        Started::Ended(next) => {
            pump::send_end(&events, next);
            tokio::spawn(pump::take_acknowledgements(acknowledged));
        }
        Started::Streaming => {
            let pump = Pump::new(connection, observation, start, events, acknowledged, room, settings);
            tokio::spawn(pump.run(first));
        }
    }
    Ok(stream)
}

/// Whether the slot was invalidated, by `idle_replication_slot_timeout` for example (`ReplicationSlotAcquire` of
/// `src/backend/replication/slot.c`, from PostgreSQL 18 on). Other functions use the same SQLSTATE for slots that are somebody
/// else's.
fn is_invalidated(error: &PortError) -> bool {
    let server = error.source().and_then(|source| source.downcast_ref::<ServerError>());
    server.is_some_and(|error| error.code == "55000" && error.routine.as_deref() == Some("ReplicationSlotAcquire"))
}

/// What it takes to observe the server: its second connection, which must lead to the very same server.
async fn observation(
    server: &PostgresServer,
    connection: &mut Connection,
    system: SystemIdentity,
    start: Lsn,
) -> Result<(Observer, Question), PortError> {
    let wal_writer_delay: TimeSetting = connection.show("wal_writer_delay").await?;
    let question = Question::open(Way::of(&server.config, connection, system)).await?;
    let interval = server.stream.observe_interval;
    let observer = Observer::new(observe::margin(wal_writer_delay.0), interval, start);
    Ok((observer, question))
}

async fn first(connection: &mut Connection, silence_max: Duration) -> Result<Message, PortError> {
    let doing = "replication";
    let first = timeout(silence_max, connection.receive(doing)).await;
    match first.unwrap_or_else(|_| Err(connection.silent(doing)))? {
        message @ (Message::CopyData(_) | Message::CopyDone) => Ok(message),
        _ => Err(connection.confused(ProtocolError("no log where it was due"))),
    }
}

/// The consumer's end.
#[derive(Debug)]
struct ReplicationStream {
    events: mpsc::UnboundedReceiver<Result<Delivery, PortError>>,
    acknowledge: watch::Sender<Lsn>,
}

#[async_trait]
impl WalStream for ReplicationStream {
    async fn next(&mut self, wait: Duration) -> Result<WalEvent, PortError> {
        match timeout(wait, self.events.recv()).await {
            Err(_) => Ok(WalEvent::Idle),
            Ok(Some(delivery)) => delivery.map(Delivery::into_event),
            Ok(None) => Err(ended()),
        }
    }

    async fn acknowledge(&mut self, durable: Lsn) -> Result<(), PortError> {
        if self.acknowledge.is_closed() {
            return Err(ended());
        }
        self.acknowledge.send_if_modified(|acknowledged| {
            let advances = durable > *acknowledged;
            *acknowledged = durable.max(*acknowledged);
            advances
        });
        Ok(())
    }
}

fn ended() -> PortError {
    PortError::new(PortErrorKind::Unavailable, "the stream has ended")
}
