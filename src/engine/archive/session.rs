//! Following one timeline.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FusedFuture};
use futures::{FutureExt, select_biased};

use super::position::Position;
use super::{ArchiveEvent, ArchiveSettings};
use crate::engine::error::{Context, Error, ErrorKind, Result};
use crate::engine::index_builder::Passed;
use crate::engine::log_builder::{Knowledge, LogBuilder, LogFormat};
use crate::engine::server::ServerRepository;
use crate::format::wal::{WalDecoder, WalRecord, WalRecordDetail};
use crate::model::{LogBackup, Lsn, ObjectKey, Timestamp};
use crate::port::{Clock, WalEvent, WalStream};

/// Why a session ended; everything that was received is stored then.
#[derive(Debug)]
pub(super) enum SessionEnd {
    /// It was told to stop.
    Stopped,
    /// The timeline ended; the log goes on there.
    Timeline(Position),
    /// Nothing more can be received.
    Failed(Error),
}

/// The log of one timeline on its way from the server into the repository.
///
/// While one log backup is being stored the next one is gathered; when that is full too, no more is read.
pub(super) struct Session {
    clock: Arc<dyn Clock>,
    settings: ArchiveSettings,
    stream: Box<dyn WalStream>,
    decoder: WalDecoder,
    /// The log backup that ends where the next one to be stored begins.
    previous: Option<ObjectKey>,
    pending: LogBuilder,
    /// As of the end of what is pending: the decoder itself goes on, and may fail, inside a chunk.
    knowledge: Knowledge,
    /// Through when the log is stored, or being stored.
    complete_stored: Option<Timestamp>,
    /// When the log backup that is being gathered was begun.
    begun: Duration,
    /// Whether a snapshot waits for what is pending.
    is_awaited: bool,
    upload: Option<BoxFuture<'static, Result<LogBackup>>>,
    end: Option<SessionEnd>,
}

/// Where a session begins.
pub(super) struct Start {
    pub(super) position: Position,
    pub(super) decoder: WalDecoder,
    /// The log backup that ends there, of which the decoder knows.
    pub(super) previous: Option<ObjectKey>,
}

/// What a session waits for.
enum Step {
    Stop,
    Stored(Result<LogBackup>),
    Received(Result<WalEvent>),
}

impl Session {
    pub(super) fn new(
        server: ServerRepository,
        settings: ArchiveSettings,
        format: LogFormat,
        stream: Box<dyn WalStream>,
        Start { decoder, previous, position }: Start,
    ) -> Self {
        let clock = Arc::clone(&server.clock);
        let begun = clock.elapsed();
        let knowledge = Knowledge::of(&decoder, None);
        Self {
            clock,
            settings,
            stream,
            decoder,
            previous,
            pending: LogBuilder::new(server, format, position.timeline, position.lsn),
            knowledge,
            complete_stored: None,
            begun,
            is_awaited: false,
            upload: None,
            end: None,
        }
    }

    pub(super) async fn run(
        &mut self,
        mut stop: Pin<&mut (impl FusedFuture<Output = ()> + Send)>,
    ) -> Result<SessionEnd> {
        loop {
            if self.upload.is_none() {
                if self.is_due() {
                    self.cut();
                } else if let Some(end) = self.end.take() {
                    return Ok(end);
                }
            }
            let received = match self.step(stop.as_mut()).await {
                Step::Stop => {
                    self.end = Some(SessionEnd::Stopped);
                    Ok(())
                }
                Step::Stored(stored) => {
                    self.stored(stored?).await?;
                    Ok(())
                }
                Step::Received(event) => event.and_then(|event| self.received(event)),
            };
            // What was received before is good, and may be all that is left of the server.
            if let Err(error) = received {
                self.end = Some(SessionEnd::Failed(error));
            }
        }
    }

    /// Waits for the first thing that happens.
    async fn step(&mut self, stop: Pin<&mut (impl FusedFuture<Output = ()> + Send)>) -> Step {
        let reading = self.end.is_none() && (self.upload.is_none() || !self.is_full());
        let ending = self.end.is_some();
        // What is due, but has nothing to store, waits for something.
        let wait = Some(self.until_due()).filter(|wait| !wait.is_zero()).unwrap_or(self.settings.cadence);
        let mut stop = if ending { futures::future::Fuse::terminated() } else { stop.fuse() };
        let mut upload = self.upload.as_mut().map_or_else(futures::future::Fuse::terminated, FutureExt::fuse);
        let next = self.stream.next(wait);
        let mut next = if reading { next.fuse() } else { futures::future::Fuse::terminated() };
        select_biased! {
            () = stop => Step::Stop,
            stored = upload => Step::Stored(stored),
            event = next => Step::Received(event.context(|| "receiving log")),
        }
    }

    fn received(&mut self, event: WalEvent) -> Result<()> {
        match event {
            WalEvent::Data { start, bytes } => {
                self.expect(start)?;
                let damaged = |error| Error::corrupt("the server's log", error);
                let passed = Passed::of(&mut self.decoder, &bytes).map_err(damaged)?;
                self.knowledge = Knowledge::of(&self.decoder, self.still_complete_through(passed.telling()));
                self.is_awaited |= passed.telling().iter().any(ends_backup);
                self.pending.push(&bytes, passed);
            }
            WalEvent::Observed { flush_lsn, at } if flush_lsn <= self.pending.end() => {
                // The latest observation, not the greatest time: a clock that was set back may be right.
                self.knowledge.complete_through = Some(at);
            }
            WalEvent::TimelineEnd { next: timeline, switch: lsn } => {
                self.expect(lsn)?;
                self.end = Some(SessionEnd::Timeline(Position { timeline, lsn }));
            }
            WalEvent::Observed { .. } | WalEvent::Idle => {}
        }
        Ok(())
    }

    /// A commit that comes after the observation, but has an earlier time, says that the clock was set back: then it is
    /// unknown through when the log is complete, until the clock is observed again.
    fn still_complete_through(&self, records: &[WalRecord]) -> Option<Timestamp> {
        let refuted = |complete: &Timestamp| records.iter().filter_map(ended_at).any(|time| time <= *complete);
        self.knowledge.complete_through.filter(|complete| !refuted(complete))
    }

    /// The source goes on where the received log ends, or something went wrong between here and there.
    fn expect(&self, found: Lsn) -> Result<()> {
        let due = self.pending.end();
        let context = || format!("the source went on at {found} where {due} was due");
        if found == due { Ok(()) } else { Err(Error::new(ErrorKind::Unavailable, context())) }
    }

    fn is_due(&self) -> bool {
        let something = self.pending.bytes() > 0 || self.knowledge.complete_through != self.complete_stored;
        self.is_full() || something && (self.is_awaited || self.end.is_some() || self.until_due().is_zero())
    }

    fn is_full(&self) -> bool {
        self.pending.bytes() >= self.settings.bytes_max || self.pending.index_is_full()
    }

    fn until_due(&self) -> Duration {
        let waited = self.clock.elapsed().saturating_sub(self.begun);
        self.settings.cadence.saturating_sub(waited)
    }

    /// Begins to store what was gathered, and to gather anew.
    fn cut(&mut self) {
        let next = self.pending.next();
        let pending = std::mem::replace(&mut self.pending, next);
        self.upload = Some(pending.store(self.knowledge, self.previous.take()).boxed());
        self.complete_stored = self.knowledge.complete_through;
        self.begun = self.clock.elapsed();
        self.is_awaited = false;
    }

    /// Only now may the server forget the log.
    async fn stored(&mut self, log: LogBackup) -> Result<()> {
        self.upload = None;
        let end = log.wal.end;
        self.previous = Some(log.key());
        self.settings.observer.tell(&ArchiveEvent::Stored(log));
        match self.end {
            // There is nobody left to tell; the next session will.
            Some(SessionEnd::Timeline(_) | SessionEnd::Failed(_)) => Ok(()),
            _ => self.stream.acknowledge(end).await.context(|| format!("acknowledging log up to {end}")),
        }
    }
}

fn ends_backup(record: &WalRecord) -> bool {
    matches!(record.detail, WalRecordDetail::BackupEnd { .. })
}

/// When the transaction ended of which `record` is the end.
fn ended_at(record: &WalRecord) -> Option<Timestamp> {
    match record.detail {
        WalRecordDetail::Commit { time, .. } | WalRecordDetail::Abort { time, .. } => Some(time),
        _ => None,
    }
}
