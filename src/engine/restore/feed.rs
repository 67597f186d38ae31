//! Feeding log to a recovering server.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, future, stream};

use crate::engine::error::{Context, Error, Result};
use crate::engine::log_stream::LogStream;
use crate::engine::progress::{Observer, Progress};
use crate::engine::server::ServerRepository;
use crate::format::wal_name::WalFileName;
use crate::model::{Lsn, SegmentNumber, SegmentSize, TimelineHistory, WalRange};
use crate::plan::PlannedLog;
use crate::port::{FileWriter, RestoreTarget};

/// How many log backups are fetched at a time.
const LOGS_IN_FLIGHT: usize = 4;
/// Log backups that are longer, as they are stored, are streamed instead of fetched ahead, so that memory stays bounded.
const PREFETCH_BYTES_MAX: u64 = 32 << 20;

/// The log that a restored server's recovery asks for.
///
/// Run it while the server recovers: it fetches ahead and stages segments as recovery takes them. If it is dropped before it
/// has come to its end, recovery fails.
#[must_use = "without its log the server does not recover"]
pub struct WalFeed {
    pub(super) server: ServerRepository,
    pub(super) recovery: Recovery,
    pub(super) logs: Vec<PlannedLog>,
    pub(super) segments: Segments,
    pub(super) observer: Observer<Progress>,
}

impl std::fmt::Debug for WalFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WalFeed").field("server", self.server.name()).finish_non_exhaustive()
    }
}

impl WalFeed {
    /// Stages all log, or as much of it as recovery wants before it ends.
    ///
    /// # Errors
    /// If log cannot be fetched or staged. Recovery then fails too; it never takes the failure for the end of the log.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "feed", skip_all, fields(server = %self.server.name())))]
    pub async fn run(self) -> Result<()> {
        self.feed().await.map_err(FeedError::into_inner)
    }

    /// The same while `server` starts and recovers; gives what that gives.
    ///
    /// # Errors
    /// The one that is to blame, if there are two: without its log a server does not come up, and without a server nobody takes the log.
    #[cfg_attr(feature = "tracing", tracing::instrument(name = "feed", skip_all, fields(server = %self.server.name())))]
    pub async fn run_beside<T, E: From<Error>>(self, server: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        match future::join(self.feed(), server).await {
            (Err(FeedError::Log(error)), _) | (Err(FeedError::Target(error)), Ok(_)) => Err(error.into()),
            (_, server) => server,
        }
    }

    async fn feed(mut self) -> Result<(), FeedError> {
        let logs = std::mem::take(&mut self.logs);
        self.stage(logs).await?;
        self.recovery.is_fed = true;
        Ok(())
    }

    /// Reads all log, which nobody recovers with.
    pub(in crate::engine) async fn read(mut self) -> Result<()> {
        let logs = std::mem::take(&mut self.logs);
        let mut logs = std::pin::pin!(open_all(&self.server, logs));
        while let Some((mut log, ..)) = logs.try_next().await? {
            while log.next().await?.is_some() {}
            log.finish()?;
        }
        Ok(())
    }

    async fn stage(&self, logs: Vec<PlannedLog>) -> Result<(), FeedError> {
        let Self { server, recovery, segments, observer, .. } = self;
        let bytes_total = logs.iter().map(|log| log.needed.bytes()).sum();
        let mut progress = Progress { bytes_total, ..Progress::default() };
        let mut logs = std::pin::pin!(open_all(server, logs));
        let mut stage = Stage { target: &*recovery.target, segments, open: None };
        while let Some((mut log, needed, mut lsn)) = logs.try_next().await.map_err(FeedError::Log)? {
            while let Some(bytes) = log.next().await.map_err(FeedError::Log)? {
                let (start, part) = clip(bytes, &mut lsn, needed);
                progress.bytes += part.len() as u64;
                if !stage.write(start, part, &mut progress).await.map_err(FeedError::Target)? {
                    return Ok(());
                }
                observer.tell(&progress);
            }
            log.finish().map_err(FeedError::Log)?;
        }
        stage.end().await.map_err(FeedError::Target)
    }
}

/// Why a server was not fed.
#[derive(Debug)]
enum FeedError {
    /// The log could not be fetched.
    Log(Error),
    /// It could not be staged: often because the server is there no more.
    Target(Error),
}

impl FeedError {
    fn into_inner(self) -> Error {
        let (Self::Log(error) | Self::Target(error)) = self;
        error
    }
}

/// The recovery that waits for the log. Dropped before it is fed, it is told to wait no longer.
#[derive(Debug)]
pub(super) struct Recovery {
    target: Arc<dyn RestoreTarget>,
    is_fed: bool,
}

impl Recovery {
    pub(super) fn waiting(target: Arc<dyn RestoreTarget>) -> Self {
        Self { target, is_fed: false }
    }
}

impl Drop for Recovery {
    fn drop(&mut self) {
        if !self.is_fed {
            self.target.abandon();
        }
    }
}

/// A log backup, what of it is needed, and where it begins.
type OpenLog = (LogStream, WalRange, Lsn);

/// Opens log backups, some ahead.
fn open_all(server: &ServerRepository, logs: Vec<PlannedLog>) -> impl Stream<Item = Result<OpenLog>> + '_ {
    stream::iter(logs).map(|planned| open(server, planned)).buffered(LOGS_IN_FLIGHT)
}

async fn open(server: &ServerRepository, planned: PlannedLog) -> Result<OpenLog> {
    let PlannedLog { backup, needed, .. } = planned;
    let (start, stored_bytes) = (backup.wal.start, backup.stored_bytes);
    let mut log = LogStream::open(server, backup).await?;
    if stored_bytes <= PREFETCH_BYTES_MAX {
        log.prefetch().await?;
    }
    Ok((log, needed, start))
}

/// The part of `bytes`, which begin at `lsn`, that is needed, and where it begins. Moves `lsn` behind `bytes`.
fn clip(mut bytes: Bytes, lsn: &mut Lsn, needed: WalRange) -> (Lsn, Bytes) {
    let (start, end) = (*lsn, lsn.saturating_add(bytes.len() as u64));
    *lsn = end;
    let clip = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    bytes.truncate(bytes.len().saturating_sub(clip(end.bytes_since(needed.end))));
    let before = clip(needed.start.bytes_since(start)).min(bytes.len());
    (start.max(needed.start), bytes.split_off(before))
}

/// The segments that a stretch of log fills.
#[derive(Clone, Debug)]
pub(super) struct Segments {
    path: TimelineHistory,
    size: SegmentSize,
    end: Lsn,
}

impl Segments {
    /// Those of the log up to `end` along `path`.
    pub(super) fn new(path: TimelineHistory, size: SegmentSize, end: Lsn) -> Self {
        Self { path, size, end }
    }

    /// The names of all segments from the one that holds `start`, in order.
    pub(super) fn names(&self, start: Lsn) -> Vec<String> {
        let first = SegmentNumber::containing(start, self.size);
        let numbers = std::iter::successors(Some(first), |number| Some(number.next()));
        numbers.take_while(|number| number.start(self.size) < self.end).map(|number| self.name(number)).collect()
    }

    /// Recovery asks for a segment in which a timeline was left under the name of the newer one
    /// (`XLogFileReadAnyTLI` in PostgreSQL's `src/backend/access/transam/xlogrecovery.c`).
    fn name(&self, number: SegmentNumber) -> String {
        let end = number.next().start(self.size).min(self.end);
        let last_byte = Lsn::new(end.as_u64().saturating_sub(1));
        let timeline = self.path.timeline_at(last_byte);
        WalFileName::Segment { timeline, segment: number }.display(self.size).to_string()
    }
}

/// The segment that is being staged.
struct Stage<'a> {
    target: &'a dyn RestoreTarget,
    segments: &'a Segments,
    open: Option<Box<dyn FileWriter>>,
}

impl Stage<'_> {
    /// Stages the log that begins at `lsn`; `false` if recovery has ended and wants no more.
    async fn write(&mut self, mut lsn: Lsn, mut bytes: Bytes, progress: &mut Progress) -> Result<bool> {
        while !bytes.is_empty() {
            let number = SegmentNumber::containing(lsn, self.segments.size);
            let room = number.next().start(self.segments.size).bytes_since(lsn);
            let part = bytes.split_to(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            let filled = part.len() as u64 == room;
            lsn = lsn.saturating_add(part.len() as u64);
            let name = self.segments.name(number);
            let staging = || format!("staging {name}");
            if self.open.is_none() {
                self.open = self.target.segment(&name).await.context(staging)?;
            }
            let Some(writer) = &mut self.open else { return Ok(false) };
            writer.write(part).await.context(staging)?;
            if filled && let Some(writer) = self.open.take() {
                writer.finish().await.context(staging)?;
                progress.files += 1;
            }
        }
        Ok(true)
    }

    async fn end(mut self) -> Result<()> {
        if let Some(writer) = self.open.take() {
            writer.finish().await.context(|| "staging the last segment")?;
        }
        self.target.end_of_wal().await.context(|| "ending the log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{TimelineId, TimelineSwitch};

    #[test]
    fn only_what_is_needed_of_a_log_backup_is_staged() {
        let needed = WalRange::new(TimelineId::FIRST, Lsn::new(105), Lsn::new(115)).unwrap();
        let mut lsn = Lsn::new(100);
        let mut next = |bytes: &'static [u8]| clip(Bytes::from_static(bytes), &mut lsn, needed);
        assert_eq!(next(b"abc"), (Lsn::new(105), Bytes::new()));
        assert_eq!(next(b"defgh"), (Lsn::new(105), Bytes::from_static(b"fgh")));
        assert_eq!(next(b"ijklmnopqrs"), (Lsn::new(108), Bytes::from_static(b"ijklmno")));
        assert_eq!(next(b"t").1, Bytes::new());
    }

    #[cfg(feature = "testing")]
    #[test]
    fn a_recovery_that_is_not_fed_is_told() {
        let target = crate::testing::MemoryTarget::new();
        let mut recovery = Recovery::waiting(Arc::new(target.clone()));
        recovery.is_fed = true;
        drop(recovery);
        assert!(!target.restored().abandoned);
        drop(Recovery::waiting(Arc::new(target.clone())));
        assert!(target.restored().abandoned);
    }

    #[test]
    fn the_segment_of_a_switch_has_the_newer_timelines_name() {
        let size = SegmentSize::MIN;
        let at = |quarters: u64| Lsn::new(quarters << 18);
        let two = TimelineId::new(2).unwrap();
        let path = TimelineHistory::new(two, vec![TimelineSwitch::new(TimelineId::FIRST, at(10), "")]).unwrap();
        let names = |end| Segments::new(path.clone(), size, at(end)).names(at(4));
        let (first, second) = ("000000010000000000000001", "000000020000000000000002");
        assert_eq!(names(11), [first, second]);
        assert_eq!(names(10), [first, "000000010000000000000002"], "nothing of the newer timeline is staged");
        assert_eq!(names(12), [first, second]);
        assert_eq!(names(13), [first, second, "000000020000000000000003"]);
    }
}
