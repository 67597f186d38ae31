//! The question where the server's log ends, on a connection of its own.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::adapter::postgres::config::Config;
use crate::adapter::postgres::connect::connect_to;
use crate::adapter::postgres::connection::{Connection, Endpoint};
use crate::adapter::postgres::replication::SystemIdentity;
use crate::model::Lsn;
use crate::port::{PortError, PortErrorKind};

/// How long nothing is asked after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The way to the very server whose log is streamed.
#[derive(Clone, Debug)]
pub(super) struct Way {
    config: Config,
    endpoint: Endpoint,
    system: SystemIdentity,
}

impl Way {
    /// The way that `connection` took to the server `system`.
    pub(super) fn of(config: &Config, connection: &Connection, system: SystemIdentity) -> Self {
        Self { config: config.clone(), endpoint: connection.endpoint().clone(), system }
    }

    async fn connect(&self) -> Result<Connection, PortError> {
        let Self { config, endpoint, system } = self;
        let mut connection = connect_to(config, endpoint).await?;
        let found = connection.identify_system().await?;
        if !connection.is_primary() || (found.system_id, found.timeline) != (system.system_id, system.timeline) {
            let context = format!("two connections to the {endpoint} reach two servers");
            return Err(PortError::new(PortErrorKind::Unavailable, context));
        }
        Ok(connection)
    }
}

/// A connection on which one question at a time is asked. If it is lost, it is made anew.
pub(super) struct Question {
    way: Way,
    state: State,
}

enum State {
    Ready(Connection),
    Asked(BoxFuture<'static, Result<(Connection, Lsn), PortError>>),
    /// Nothing is asked until then.
    Lost(Instant),
}

impl Question {
    /// Connects.
    pub(super) async fn open(way: Way) -> Result<Self, PortError> {
        let state = State::Ready(way.connect().await?);
        Ok(Self { way, state })
    }

    pub(super) fn is_ready(&self) -> bool {
        match &self.state {
            State::Ready(_) => true,
            State::Asked(_) => false,
            State::Lost(until) => Instant::now() >= *until,
        }
    }

    /// Asks, if the last answer was given.
    pub(super) fn ask(&mut self) {
        let now = Instant::now();
        self.state = match std::mem::replace(&mut self.state, State::Lost(now)) {
            State::Ready(connection) => State::Asked(ask(connection).boxed()),
            State::Lost(until) if now >= until => State::Asked(ask_anew(self.way.clone()).boxed()),
            other => other,
        };
    }

    /// Waits for the answer; for ever, if nothing was asked. `None` if there is none. Cancel safe.
    ///
    /// That is no error of the stream: a server that shuts down ends this connection at once, but goes on to stream until
    /// all its log is acknowledged.
    pub(super) async fn answer(&mut self) -> Option<Lsn> {
        let State::Asked(answer) = &mut self.state else { return std::future::pending().await };
        let answer = answer.await.ok();
        let (state, flush_lsn) = match answer {
            Some((connection, flush_lsn)) => (State::Ready(connection), Some(flush_lsn)),
            None => (State::Lost(Instant::now() + RETRY_INTERVAL), None),
        };
        self.state = state;
        flush_lsn
    }
}

async fn ask_anew(way: Way) -> Result<(Connection, Lsn), PortError> {
    ask(way.connect().await?).await
}

async fn ask(mut connection: Connection) -> Result<(Connection, Lsn), PortError> {
    let flush_lsn = connection.identify_system().await?.flush_lsn;
    Ok((connection, flush_lsn))
}
