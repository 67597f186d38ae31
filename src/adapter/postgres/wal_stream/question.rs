//! The question where the server's log ends, on a connection of its own.

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::adapter::postgres::connection::Connection;
use crate::model::Lsn;
use crate::port::PortError;

/// A connection on which one question at a time is asked.
pub(super) struct Question {
    state: State,
}

enum State {
    Ready(Connection),
    Asked(BoxFuture<'static, Result<(Connection, Lsn), PortError>>),
    Broken,
}

impl Question {
    pub(super) fn new(connection: Connection) -> Self {
        Self { state: State::Ready(connection) }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    /// Asks, if the last answer was given.
    pub(super) fn ask(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Broken) {
            State::Ready(connection) => State::Asked(ask(connection).boxed()),
            other => other,
        };
    }

    /// Waits for the answer; for ever, if nothing was asked. Cancel safe.
    pub(super) async fn answer(&mut self) -> Result<Lsn, PortError> {
        let State::Asked(answer) = &mut self.state else { return std::future::pending().await };
        match answer.await {
            Ok((connection, flush_lsn)) => {
                self.state = State::Ready(connection);
                Ok(flush_lsn)
            }
            Err(error) => {
                self.state = State::Broken;
                Err(error)
            }
        }
    }
}

async fn ask(mut connection: Connection) -> Result<(Connection, Lsn), PortError> {
    let flush_lsn = connection.identify_system().await?.flush_lsn;
    Ok((connection, flush_lsn))
}
