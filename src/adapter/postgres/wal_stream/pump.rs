//! The task of a stream: from the socket into a bounded buffer, and back to the server.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::answer::Answers;
use super::question::Question;
use crate::adapter::postgres::connection::Connection;
use crate::adapter::postgres::copy_data::{ReplicationMessage, StatusUpdate};
use crate::adapter::postgres::message::{Message, ProtocolError};
use crate::adapter::postgres::observe::Observer;
use crate::adapter::postgres::replication::NextTimeline;
use crate::adapter::postgres::server::StreamSettings;
use crate::model::{Lsn, Timestamp};
use crate::port::{PortError, PortErrorKind, WalEvent};

const DOING: &str = "replication";
/// The room that an event without data takes in the buffer.
const EVENT_BYTES: usize = 256;
/// The shortest interval of observations: the server answers each.
const OBSERVE_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// An event on its way to the consumer, and the room in the buffer that it takes until it gets there.
#[derive(Debug)]
pub(super) struct Delivery {
    event: WalEvent,
    _room: Option<OwnedSemaphorePermit>,
}

impl Delivery {
    pub(super) fn into_event(self) -> WalEvent {
        self.event
    }
}

/// Tells the consumer that the timeline has ended.
pub(super) fn send_end(events: &UnboundedSender<Result<Delivery, PortError>>, next: NextTimeline) {
    let event = WalEvent::timeline_end(next.timeline, next.switch);
    // If nobody listens any more, nobody needs to know.
    let _ = events.send(Ok(Delivery { event, _room: None }));
}

/// After the end of a timeline nobody needs acknowledgements, but they are no error, until the consumer is gone.
pub(super) async fn take_acknowledgements(mut acknowledged: watch::Receiver<Lsn>) {
    while acknowledged.changed().await.is_ok() {}
}

pub(super) struct Pump {
    connection: Connection,
    observation: Option<(Observer, Question)>,
    events: UnboundedSender<Result<Delivery, PortError>>,
    acknowledged: watch::Receiver<Lsn>,
    room: Arc<Semaphore>,
    settings: StreamSettings,
    began: Instant,
    /// When the server was last heard of, or could not be heard because there was no room.
    heard: Instant,
    /// Whether the server was asked for a keepalive that has not come yet.
    reply_awaited: bool,
    answers: Answers,
    /// Where the data end.
    end: Lsn,
    /// The server's clock.
    clock: Option<Timestamp>,
}

/// What the task wakes up for.
enum Wake {
    Message(Result<Message, PortError>),
    FlushLsn(Option<Lsn>),
    Acknowledged,
    AnswerDue,
    StatusDue,
    ObservationDue,
    Abandoned,
}

impl Pump {
    pub(super) fn new(
        connection: Connection,
        observation: Option<(Observer, Question)>,
        start: Lsn,
        events: UnboundedSender<Result<Delivery, PortError>>,
        acknowledged: watch::Receiver<Lsn>,
        room: Arc<Semaphore>,
        settings: StreamSettings,
    ) -> Self {
        let (began, answers) = (Instant::now(), Answers::default());
        let (heard, reply_awaited, end, clock) = (began, false, start, None);
        Self {
            connection,
            observation,
            events,
            acknowledged,
            room,
            settings,
            began,
            heard,
            reply_awaited,
            answers,
            end,
            clock,
        }
    }

    /// Runs until the consumer is gone, the timeline ends or something fails.
    pub(super) async fn run(mut self, first: Option<Message>) {
        let ended = self.stream(first).await;
        let Self { connection, events, acknowledged, .. } = self;
        match ended {
            Ok(()) => drop(tokio::spawn(take_acknowledgements(acknowledged))),
            Err(error) => {
                drop(acknowledged);
                // If nobody listens any more, nobody needs to know.
                let _ = events.send(Err(error));
            }
        }
        drop(events);
        connection.close().await;
    }

    async fn stream(&mut self, first: Option<Message>) -> Result<(), PortError> {
        let mut status = ticks(self.settings.status_interval);
        let mut observe = ticks(self.settings.observe_interval.max(OBSERVE_INTERVAL_MIN));
        let mut wake = first.map(|message| Wake::Message(Ok(message)));
        loop {
            let next = match wake.take() {
                Some(wake) => wake,
                None => self.wake(&mut status, &mut observe).await,
            };
            let flow = match next {
                Wake::Message(message) => self.handle(message?).await?,
                Wake::FlushLsn(flush_lsn) => self.answer(flush_lsn),
                Wake::Acknowledged => self.send_status(false).await?,
                Wake::AnswerDue => self.answer_server().await?,
                Wake::StatusDue => self.send_status(!self.reply_awaited).await?,
                Wake::ObservationDue => self.observe().await?,
                Wake::Abandoned => ControlFlow::Break(()),
            };
            if flow.is_break() {
                return Ok(());
            }
        }
    }

    /// Waits for what is next. Every wait is cancel safe.
    async fn wake(&mut self, status: &mut Interval, observe: &mut Interval) -> Wake {
        let answer_due = self.answers.due().map(|due| self.began + due);
        tokio::select! {
            () = self.events.closed() => Wake::Abandoned,
            changed = self.acknowledged.changed() => changed.map_or(Wake::Abandoned, |()| Wake::Acknowledged),
            () = at(answer_due) => Wake::AnswerDue,
            _ = status.tick() => Wake::StatusDue,
            _ = observe.tick() => Wake::ObservationDue,
            flush_lsn = question(&mut self.observation) => Wake::FlushLsn(flush_lsn),
            message = receive(&mut self.connection, &self.room) => Wake::Message(message),
        }
    }

    async fn handle(&mut self, message: Message) -> Result<ControlFlow<()>, PortError> {
        self.heard = Instant::now();
        match message {
            Message::CopyData(body) => {
                let message = ReplicationMessage::parse(body).map_err(|error| self.connection.confused(error))?;
                match message {
                    ReplicationMessage::XLogData { start, wal_end, clock, bytes } => {
                        self.data(start, wal_end, clock, bytes)?;
                    }
                    ReplicationMessage::Keepalive { clock, reply_requested } => self.keepalive(clock, reply_requested),
                }
                Ok(ControlFlow::Continue(()))
            }
            Message::CopyDone => self.timeline_end().await,
            // A server that is shut down ends the copy like this once everything is acknowledged.
            Message::CommandComplete => {
                let context = format!("replication ended: shut down was the {}", self.connection.endpoint());
                Err(PortError::new(PortErrorKind::Unavailable, context))
            }
            _ => Err(self.connection.confused(ProtocolError("no log where it was due"))),
        }
    }

    fn data(&mut self, start: Lsn, wal_end: Lsn, clock: Option<Timestamp>, bytes: Bytes) -> Result<(), PortError> {
        if start != self.end {
            return Err(self.connection.confused(ProtocolError("log that does not follow what was sent before")));
        }
        self.clock = clock;
        self.end = start.saturating_add(bytes.len() as u64);
        if !bytes.is_empty() {
            self.deliver(bytes.len(), WalEvent::data(start, bytes));
        }
        if let Some((observer, _)) = &mut self.observation {
            observer.data(self.end, wal_end, clock);
        }
        self.deliver_observation();
        Ok(())
    }

    fn keepalive(&mut self, clock: Option<Timestamp>, reply_requested: bool) {
        self.clock = clock;
        self.reply_awaited = false;
        if reply_requested {
            self.answers.request(self.began.elapsed());
        }
        if let Some((observer, question)) = &mut self.observation {
            observer.keepalive(clock);
            if question.is_ready() && observer.ask() {
                question.ask();
            }
        }
    }

    fn answer(&mut self, flush_lsn: Option<Lsn>) -> ControlFlow<()> {
        if let (Some((observer, _)), Some(flush_lsn)) = (&mut self.observation, flush_lsn) {
            observer.answer(flush_lsn);
        }
        self.deliver_observation();
        ControlFlow::Continue(())
    }

    async fn answer_server(&mut self) -> Result<ControlFlow<()>, PortError> {
        let now = self.began.elapsed();
        if self.answers.pressed(now) >= self.settings.shutdown_grace {
            let context = format!("replication ended: shutting down is the {}", self.connection.endpoint());
            return Err(PortError::new(PortErrorKind::Unavailable, context));
        }
        self.answers.answered(now);
        self.send_status(false).await
    }

    /// Asks for the clock, and finds out whether the server still answers.
    async fn observe(&mut self) -> Result<ControlFlow<()>, PortError> {
        if self.room.available_permits() == 0 {
            self.heard = Instant::now();
        }
        if self.heard.elapsed() > self.settings.silence_max {
            return Err(self.connection.silent(DOING));
        }
        if self.observation.is_some() && !self.reply_awaited {
            return self.send_status(true).await;
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn send_status(&mut self, reply_requested: bool) -> Result<ControlFlow<()>, PortError> {
        let durable = *self.acknowledged.borrow_and_update();
        let status = StatusUpdate { durable, reply_requested };
        self.connection.send_copy_data(status.encode(self.clock)).await?;
        self.reply_awaited |= reply_requested;
        Ok(ControlFlow::Continue(()))
    }

    async fn timeline_end(&mut self) -> Result<ControlFlow<()>, PortError> {
        let next = tokio::time::timeout(self.settings.silence_max, self.connection.end_copy()).await;
        let next = next.unwrap_or_else(|_| Err(self.connection.silent(DOING)))?;
        if next.switch != self.end {
            return Err(self.connection.confused(ProtocolError("a timeline that ends elsewhere than its log")));
        }
        send_end(&self.events, next);
        Ok(ControlFlow::Break(()))
    }

    fn deliver_observation(&mut self) {
        let observation = self.observation.as_mut().and_then(|(observer, _)| observer.observation());
        if let Some(event) = observation {
            self.deliver(EVENT_BYTES, event);
        }
    }

    /// Nothing is received without any room, and then this is the only one to take it: so the buffer grows beyond its bound
    /// by one message at most.
    fn deliver(&self, bytes: usize, event: WalEvent) {
        let bytes = u32::try_from(bytes.min(self.room.available_permits())).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes).ok();
        // If nobody listens any more, the next wake tells.
        let _ = self.events.send(Ok(Delivery { event, _room: room }));
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn question(observation: &mut Option<(Observer, Question)>) -> Option<Lsn> {
    match observation {
        Some((_, question)) => question.answer().await,
        None => std::future::pending().await,
    }
}

async fn receive(connection: &mut Connection, room: &Semaphore) -> Result<Message, PortError> {
    // The permit is only looked for, not kept: how many the message takes is not known before it is there.
    drop(room.acquire().await);
    connection.receive(DOING).await
}
