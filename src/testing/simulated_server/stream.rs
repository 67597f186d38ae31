//! Following the log of a simulated server.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{self, BoxFuture};

use super::{SimulatedServer, State, pause};
use crate::format::history;
use crate::model::{Lsn, TimelineId};
use crate::port::{Clock, PortError, PortErrorKind, SourceIdentity, WalEvent, WalSource, WalStream};

/// The longest message.
const MESSAGE_BYTES_MAX: u64 = 48 << 10;

#[async_trait]
impl WalSource for SimulatedServer {
    async fn identify(&self) -> Result<SourceIdentity, PortError> {
        pause().await;
        let mut state = self.state();
        state.connection()?;
        Ok(state.identity())
    }

    async fn reserve(&self) -> Result<Lsn, PortError> {
        pause().await;
        let mut state = self.state();
        state.connection()?;
        let slot = match state.slot {
            Some(slot) => slot,
            None => state.create_slot(),
        };
        Ok(slot)
    }

    async fn timeline_history(&self, timeline: TimelineId) -> Result<Bytes, PortError> {
        pause().await;
        let mut state = self.state();
        state.connection()?;
        let missing = || PortError::new(PortErrorKind::NotFound, format!("there is no history of {timeline}"));
        let history = state.log.history(timeline).filter(|history| !history.ancestors().is_empty());
        Ok(history::print(history.ok_or_else(missing)?).into())
    }

    async fn stream(&self, timeline: TimelineId, start: Lsn) -> Result<Box<dyn WalStream>, PortError> {
        pause().await;
        let mut state = self.state();
        state.connection()?;
        if start < state.oldest() {
            let context = format!("the simulated server has no log at {start} any more");
            return Err(PortError::new(PortErrorKind::NotFound, context));
        }
        if state.end_of(timeline).is_none_or(|end| end.lsn < start) {
            let context = format!("{start} on timeline {timeline} is not in the simulated server's history");
            return Err(PortError::new(PortErrorKind::Invalid, context));
        }
        state.sent = Some((timeline, start));
        Ok(Box::new(SimulatedStream { server: self.clone(), timeline, position: start, broken: false }))
    }
}

/// Where the log of a timeline ends, and which one comes next.
struct End {
    lsn: Lsn,
    next: Option<TimelineId>,
}

impl State {
    /// A slot that keeps log from some checkpoint on; what is in older segments is thrown away.
    fn create_slot(&mut self) -> Lsn {
        let (kept, end) = (self.kept, self.log.flush_lsn());
        let redo = kept.saturating_add(self.below(end.bytes_since(kept)));
        (self.slot, self.kept) = (Some(redo), redo);
        if kept < self.oldest() {
            self.lost.push(kept..self.oldest());
        }
        redo
    }

    /// The end of `timeline` in the server's past; `None` if it never was on it, or no longer.
    fn end_of(&self, timeline: TimelineId) -> Option<End> {
        let history = self.log.history(self.log.current())?;
        let mut stretches = history.stretches().skip_while(|stretch| stretch.0 != timeline);
        let (.., left) = stretches.next()?;
        let next = stretches.next().map(|stretch| stretch.0);
        Some(End { lsn: left.unwrap_or_else(|| self.log.flush_lsn()), next })
    }

    /// Goes on with a connection that has come to `position`, unless the slot is lost, or a promotion left the position behind.
    fn serves(&self, timeline: TimelineId, position: Lsn) -> Result<End, PortError> {
        let end = self.end_of(timeline).filter(|end| position <= end.lsn && self.slot.is_some());
        let gone = || PortError::new(PortErrorKind::Unavailable, "the simulated server closed the connection");
        end.filter(|_| position >= self.oldest()).ok_or_else(gone)
    }
}

impl SimulatedServer {
    /// How whoever waits for its log waits, if it is patient.
    fn patience(&self, wait: Duration) -> Option<BoxFuture<'static, ()>> {
        let state = self.state();
        let (server, known) = (self.clone(), (state.log.current(), state.log.flush_lsn()));
        let more = poll_fn(move |context| {
            let mut state = server.state();
            if (state.log.current(), state.log.flush_lsn()) != known {
                return Poll::Ready(());
            }
            state.waiters.push(context.waker().clone());
            Poll::Pending
        });
        let waited = || future::select(state.time.sleep(wait), more).map(drop).boxed();
        state.is_patient.then(waited)
    }
}

#[derive(Debug)]
struct SimulatedStream {
    server: SimulatedServer,
    timeline: TimelineId,
    position: Lsn,
    broken: bool,
}

impl SimulatedStream {
    fn read(&mut self, wait: Duration) -> Result<WalEvent, PortError> {
        let server = self.server.clone();
        let mut state = server.state();
        state.live();
        state.connection()?;
        // A position of the timeline that the server is on says nothing about one that it left.
        if self.timeline == state.log.current() && state.one_in(8) {
            state.observe_clock();
            return Ok(WalEvent::observed(state.log.flush_lsn(), state.now()));
        }
        let end = state.serves(self.timeline, self.position)?;
        if self.position < end.lsn {
            return Ok(self.data(&mut state, end.lsn));
        }
        if let Some(next) = end.next {
            return Ok(WalEvent::timeline_end(next, end.lsn));
        }
        if !state.is_patient {
            let waited = state.below(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX).saturating_add(1));
            state.pass(Duration::from_micros(waited));
        }
        Ok(WalEvent::Idle)
    }

    /// Where the server is, if it is on the timeline still.
    fn look(&self) -> WalEvent {
        let mut state = self.server.state();
        if self.timeline != state.log.current() {
            return WalEvent::Idle;
        }
        state.observe_clock();
        WalEvent::observed(state.log.flush_lsn(), state.now())
    }

    fn data(&mut self, state: &mut State, end: Lsn) -> WalEvent {
        let message = 1 + state.below(MESSAGE_BYTES_MAX);
        let start = self.position;
        self.position = start.saturating_add(message).min(end);
        state.sent = Some((self.timeline, self.position));
        WalEvent::data(start, Bytes::copy_from_slice(state.log.bytes(self.timeline, start..self.position)))
    }
}

#[async_trait]
impl WalStream for SimulatedStream {
    async fn next(&mut self, wait: Duration) -> Result<WalEvent, PortError> {
        pause().await;
        if self.broken {
            return Err(PortError::new(PortErrorKind::Unavailable, "the connection broke before"));
        }
        let read = self.read(wait);
        self.broken = read.is_err();
        match (&read, self.server.patience(wait)) {
            (Ok(WalEvent::Idle), Some(sleep)) => {
                sleep.await;
                Ok(self.look())
            }
            _ => read,
        }
    }

    async fn acknowledge(&mut self, durable: Lsn) -> Result<(), PortError> {
        pause().await;
        let mut state = self.server.state();
        state.connection()?;
        state.serves(self.timeline, self.position)?;
        state.acknowledged.push((self.timeline, durable));
        state.slot = state.slot.max(Some(durable));
        state.kept = state.kept.max(durable);
        Ok(())
    }
}
