//! Where the write-ahead log comes from.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::PortError;
use crate::model::{Incarnation, Lsn, SegmentSize, TimelineId, Timestamp};

/// A running server whose log can be followed.
#[async_trait]
pub trait WalSource: Debug + Send + Sync + 'static {
    /// Says who the server is and where it stands.
    ///
    /// # Errors
    /// If it cannot be asked.
    async fn identify(&self) -> Result<SourceIdentity, PortError>;

    /// Makes the server keep its log from now on until it is acknowledged, and returns the oldest position that it is sure to
    /// keep: for PostgreSQL, creates the replication slot if there is none. Idempotent.
    ///
    /// # Errors
    /// If the server cannot promise it.
    async fn reserve(&self) -> Result<Lsn, PortError>;

    /// The bytes of the history file of `timeline`.
    ///
    /// # Errors
    /// [`NotFound`](super::PortErrorKind::NotFound) if the server has none.
    async fn timeline_history(&self, timeline: TimelineId) -> Result<Bytes, PortError>;

    /// Follows the log of `timeline` from `start`, which the server must still have.
    ///
    /// # Errors
    /// [`NotFound`](super::PortErrorKind::NotFound) if the server no longer has the log at `start`, which means a gap.
    /// [`Conflict`](super::PortErrorKind::Conflict) if somebody else follows it, and the server lets only one do so.
    async fn stream(&self, timeline: TimelineId, start: Lsn) -> Result<Box<dyn WalStream>, PortError>;

    /// Ends the stream of whoever else follows the log, who may be dead without the server knowing. It is asked for by who has the lease on the
    /// server, and meets a conflict all the same. Does nothing by itself.
    ///
    /// # Errors
    /// If the server cannot be asked, or does not permit it.
    async fn evict(&self) -> Result<(), PortError> {
        Ok(())
    }
}

/// The log of one timeline, as it is written.
#[async_trait]
pub trait WalStream: Debug + Send {
    /// Waits up to `wait` for what comes next. Data are contiguous: each begins where the one before ended.
    ///
    /// Cancel safe: a future that is dropped loses nothing.
    ///
    /// # Errors
    /// After one the stream is dead; a new one can begin where the data ended.
    async fn next(&mut self, wait: Duration) -> Result<WalEvent, PortError>;

    /// Tells the server that everything before `durable` is safely stored: it may forget it, and report it to whoever waits
    /// for a synchronous commit. Never goes back. Returns as soon as the message is on its way. Without effect once the timeline
    /// has ended, which is no error: what is received before the end may be stored after it.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    async fn acknowledge(&mut self, durable: Lsn) -> Result<(), PortError>;
}

/// Who a server is and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceIdentity {
    /// Which life of which cluster.
    pub incarnation: Incarnation,
    /// The size of its WAL segments.
    pub segment_size: SegmentSize,
    /// The timeline that it writes.
    pub timeline: TimelineId,
    /// The end of the log that it has flushed.
    pub flush_lsn: Lsn,
}

impl SourceIdentity {
    /// A server on `timeline` that has flushed its log up to `flush_lsn`.
    #[must_use]
    pub const fn new(
        incarnation: Incarnation,
        segment_size: SegmentSize,
        timeline: TimelineId,
        flush_lsn: Lsn,
    ) -> Self {
        Self { incarnation, segment_size, timeline, flush_lsn }
    }
}

/// What a [`WalStream`] brings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalEvent {
    /// Bytes of the log, beginning at `start`.
    #[non_exhaustive]
    Data {
        /// The position of the first byte.
        start: Lsn,
        /// The bytes.
        bytes: Bytes,
    },
    /// At some moment that was not before `at` on the server's own clock, it was on the timeline that is followed, and its
    /// flush LSN was not beyond `flush_lsn`.
    ///
    /// So whoever has the log up to `flush_lsn` has everything that was committed by `at`. The source must be sure of it: a
    /// clock reading that merely travelled with an LSN is no proof (docs/DESIGN.md, "How complete_through is known").
    #[non_exhaustive]
    Observed {
        /// How far the log can have been flushed.
        flush_lsn: Lsn,
        /// The server's clock at that moment or before.
        at: Timestamp,
    },
    /// The timeline ended at `switch`, up to which all data were given; the log goes on there on timeline `next`.
    #[non_exhaustive]
    TimelineEnd {
        /// The timeline to follow next.
        next: TimelineId,
        /// Where the timeline ended.
        switch: Lsn,
    },
    /// Nothing came in time.
    Idle,
}

impl WalEvent {
    /// Bytes of the log.
    #[must_use]
    pub const fn data(start: Lsn, bytes: Bytes) -> Self {
        Self::Data { start, bytes }
    }

    /// The clock and the flush LSN, observed together.
    #[must_use]
    pub const fn observed(flush_lsn: Lsn, at: Timestamp) -> Self {
        Self::Observed { flush_lsn, at }
    }

    /// The end of a timeline.
    #[must_use]
    pub const fn timeline_end(next: TimelineId, switch: Lsn) -> Self {
        Self::TimelineEnd { next, switch }
    }
}
