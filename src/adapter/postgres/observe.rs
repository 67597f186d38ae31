//! What the server's clock proves about its log.
//!
//! A commit's time is read from the clock before its record is written, and the record is flushed before the commit is
//! reported. So if a clock reading `t` *happened before* a reading of the flush LSN, and that said `x`, whoever has the log up
//! to `x` has every commit that was complete by `t`. The other way round it proves nothing, and this is how PostgreSQL builds
//! its messages: it reads a pointer, and then the clock (`XLogSendPhysical`, `WalSndKeepalive` of
//! `src/backend/replication/walsender.c`). So no single message is a proof. Two things are:
//!
//! 1. **A message, and then data.** A walsender is one process, and for each `XLogData` it reads the flush LSN anew
//!    (`GetFlushRecPtr` in `XLogSendPhysical`) and states it (`walEnd`). The clock of *the message before* was read earlier by
//!    the same process. So: the clock of a message, with the `walEnd` of a later `XLogData`.
//! 2. **A message, and then a question.** A keepalive has arrived, and only then `IDENTIFY_SYSTEM` is sent, on another
//!    connection to the same server: its answer was read after the keepalive's clock, whatever the processes did meanwhile.
//!
//! The reply to a later request for a keepalive is *not* a proof, however many lie between: `WalSndLoop` skips reading the flush
//! LSN as long as output is pending, which a reply is, and answers the next request first.
//!
//! Both hold only for a server that writes its own log, streamed on its current timeline: a standby knows nothing of commits
//! that it did not receive yet, and the end of an older timeline is no flush LSN. Both assume a clock that does not step back;
//! a step that is noticed discards what is not yet proven.
//!
//! *Complete* is later than *stamped*: a commit is stamped, then inserted, then flushed, and one that is in between has a time
//! before `t`, but lies beyond `x`. How long that takes is not bounded, but known: an fsync, or, with
//! `synchronous_commit = off`, three times `wal_writer_delay`. So readings are dated back by a margin that covers both.

use std::time::Duration;

use crate::model::{Lsn, Timestamp};
use crate::port::WalEvent;

/// How long a commit may take from its time stamp until it is flushed, beside the delay that asynchronous commits have.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// The margin for a server that has this `wal_writer_delay`.
pub(super) fn margin(wal_writer_delay: Duration) -> Duration {
    wal_writer_delay.saturating_mul(3).saturating_add(FLUSH_TIME_MAX)
}

/// Turns clock readings and flush LSNs, in the order in which they are received, into observations.
///
/// Holds one observation at most: if it waits for its data, newer ones are passed over. So memory is bounded, and a stream
/// that never catches up with its server still makes observations.
#[derive(Debug)]
pub(super) struct Observer {
    margin: Duration,
    /// No two observations are closer than this.
    interval: Duration,
    /// Where the data end.
    end: Lsn,
    /// The latest reading.
    clock: Option<Timestamp>,
    /// The latest reading when the question was sent that is not answered yet.
    asked: Option<Timestamp>,
    /// A proof that waits for its data.
    pending: Option<(Lsn, Timestamp)>,
    /// The reading of the latest observation.
    observed: Option<Timestamp>,
}

impl Observer {
    /// An observer of a stream whose data begin at `start`.
    pub(super) fn new(margin: Duration, interval: Duration, start: Lsn) -> Self {
        Self { margin, interval, end: start, clock: None, asked: None, pending: None, observed: None }
    }

    /// Data up to `end` were received, made at `clock`; just before, the server had flushed up to `wal_end`.
    pub(super) fn data(&mut self, end: Lsn, wal_end: Lsn, clock: Option<Timestamp>) {
        self.end = end;
        if let Some(before) = self.clock {
            self.prove(wal_end, before);
        }
        self.read(clock);
    }

    /// A keepalive was received, made at `clock`.
    pub(super) fn keepalive(&mut self, clock: Option<Timestamp>) {
        self.read(clock);
    }

    /// The server is about to be asked for its flush LSN. Returns whether it is worth it.
    pub(super) fn ask(&mut self) -> bool {
        self.asked = self.clock.filter(|clock| self.pending.is_none() && self.is_due(*clock));
        self.asked.is_some()
    }

    /// The server answered the question.
    pub(super) fn answer(&mut self, flush_lsn: Lsn) {
        if let Some(before) = self.asked.take() {
            self.prove(flush_lsn, before);
        }
    }

    /// The observation that is proven and whose data were all received, once.
    pub(super) fn observation(&mut self) -> Option<WalEvent> {
        let (flush_lsn, clock) = self.pending.take_if(|(flush_lsn, _)| *flush_lsn <= self.end)?;
        self.observed = Some(clock);
        Some(WalEvent::observed(flush_lsn, clock.saturating_sub(self.margin)))
    }

    fn prove(&mut self, flush_lsn: Lsn, before: Timestamp) {
        if self.pending.is_none() && self.is_due(before) {
            self.pending = Some((flush_lsn, before));
        }
    }

    fn is_due(&self, clock: Timestamp) -> bool {
        self.observed.is_none_or(|observed| clock < observed || clock.duration_since(observed) >= self.interval)
    }

    fn read(&mut self, clock: Option<Timestamp>) {
        if clock < self.clock {
            // The clock was set back, or cannot be told: readings from before would date what comes too late.
            self.pending = None;
            self.asked = None;
        }
        self.clock = clock;
    }
}

#[cfg(test)]
mod tests;
