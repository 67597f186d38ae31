//! Archiving: follows a server's log and stores it as log backups.

mod position;
mod session;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::position::Position;
use self::session::{Session, SessionEnd, Start};
use super::decoding::{self, Decoding};
use super::error::{Context, Error, ErrorKind, Result};
use super::log_builder::LogFormat;
use super::progress::Observer;
use super::server::{RECORD_BYTES_MAX, ServerRepository};
use crate::format::block::Compression;
use crate::format::history;
use crate::format::wal::WalIdentity;
use crate::model::{Catalog, LogBackup, Lsn, ObjectKey, TimelineHistory, TimelineId, WalRange};
use crate::port::{PortError, PortErrorKind, PutMode, SourceIdentity, WalSource, WalStream};

/// How log is cut into log backups.
#[derive(Clone, Debug)]
pub struct ArchiveSettings {
    cadence: Duration,
    bytes_max: u64,
    compression: Compression,
    observer: Observer<ArchiveEvent>,
}

impl Default for ArchiveSettings {
    fn default() -> Self {
        Self {
            cadence: Duration::from_secs(300),
            bytes_max: 16 << 20,
            compression: Compression::log(),
            observer: Observer::default(),
        }
    }
}

impl ArchiveSettings {
    /// The longest time between two log backups: what a disaster may cost. Five minutes by default; a second works, and less
    /// than 10 ms counts as that.
    #[must_use]
    pub fn cadence(self, cadence: Duration) -> Self {
        Self { cadence: cadence.max(Duration::from_millis(10)), ..self }
    }

    /// A log backup is cut as soon as it holds `bytes_max` bytes of log. 16 MiB by default; about three times as much memory
    /// is used.
    #[must_use]
    pub fn bytes_max(self, bytes_max: u64) -> Self {
        Self { bytes_max: bytes_max.max(1), ..self }
    }

    /// How log is compressed: by default as [suits it](Compression::log).
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// Who is told of everything that happens.
    #[must_use]
    pub fn observer(self, observer: Observer<ArchiveEvent>) -> Self {
        Self { observer, ..self }
    }
}

/// What an [`Archiver`] tells of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ArchiveEvent {
    /// It follows the log of a timeline from here on.
    #[non_exhaustive]
    Following {
        /// The timeline.
        timeline: TimelineId,
        /// The first position.
        lsn: Lsn,
    },
    /// A log backup is stored.
    Stored(LogBackup),
    /// The server no longer has this log, and it is not archived: nothing in it can be restored.
    Gap(WalRange),
}

/// Follows the log of one server for as long as it is let.
///
/// The server is told that it may forget log only after the log is durable in the storage. So an archiver can be killed
/// at any moment and started again: it goes on exactly where the stored log ends. Log is verified before it is stored:
/// pages, every record's checksum, timeline and system identifier.
///
/// Beside cadence and size, a base backup of a primary that ends makes a log backup due: with it, the snapshot can be restored.
///
/// One archiver a server: a second one is refused the server's replication slot, unless it works under a [lease](super::ServerLease). Then it ends
/// the stream of the first one, who has none.
#[derive(Debug)]
pub struct Archiver {
    server: ServerRepository,
    source: Arc<dyn WalSource>,
    settings: ArchiveSettings,
}

impl Archiver {
    /// An archiver of `server`'s log, as `source` gives it.
    #[must_use]
    pub fn new(server: &ServerRepository, source: Arc<dyn WalSource>) -> Self {
        Self { server: server.clone(), source, settings: ArchiveSettings::default() }
    }

    /// With these settings.
    #[must_use]
    pub fn settings(self, settings: ArchiveSettings) -> Self {
        Self { settings, ..self }
    }

    /// Archives until `stop` is ready; then stores what was received, and returns.
    ///
    /// # Errors
    /// After one nothing is lost: call it again, after a while if the error is [`ErrorKind::Unavailable`].
    /// [`ErrorKind::InvalidInput`] if the source is another server; [`ErrorKind::Corrupt`] if its log is damaged, or
    /// goes on otherwise than the archived one: everything before that is stored.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) -> Result<()> {
        let mut stop = std::pin::pin!(futures::FutureExt::fuse(stop));
        let mut start = None;
        loop {
            let identity = self.source.identify().await.context(|| "identifying the server")?;
            self.server.admit(identity.incarnation).await?;
            let history = self.history(identity.timeline).await?;
            self.store_histories(identity, &history).await?;
            let mut session = self.begin(identity, &history, start.take()).await?;
            match session.run(stop.as_mut()).await? {
                SessionEnd::Stopped => return Ok(()),
                SessionEnd::Timeline(next) => start = Some(next),
                SessionEnd::Failed(error) => return Err(error),
            }
        }
    }

    /// Opens the log where archiving has to go on.
    async fn begin(
        &self,
        identity: SourceIdentity,
        history: &TimelineHistory,
        start: Option<Position>,
    ) -> Result<Session> {
        let kept = self.source.reserve().await.context(|| "reserving log on the server")?;
        let catalog = self.server.inventory().await?.catalog;
        let archived = start.or_else(|| position::archived_end(&catalog, identity.incarnation, history));
        let first = position::first(history, kept, identity.segment_size);
        let wanted = archived.unwrap_or(first);
        let (position, stream) = match self.open(wanted).await {
            Ok(stream) => (wanted, stream),
            Err(error) if error.kind() == PortErrorKind::NotFound && wanted.lsn < first.lsn => {
                self.tell_of_gap(wanted, first);
                (first, self.follow(first).await?)
            }
            Err(error) => return Err(error).context(|| format!("following the log from {}", wanted.lsn)),
        };
        let Position { timeline, lsn } = position;
        self.settings.observer.tell(&ArchiveEvent::Following { timeline, lsn });
        let start = self.start(identity, history, &catalog, position).await?;
        let compression = self.settings.compression;
        let format = LogFormat { incarnation: identity.incarnation, segment_size: identity.segment_size, compression };
        Ok(Session::new(self.server.clone(), self.settings.clone(), format, stream, start))
    }

    /// Follows the log from `position`. Who had the lease before may be in the way.
    async fn open(&self, Position { timeline, lsn }: Position) -> Result<Box<dyn WalStream>, PortError> {
        match self.source.stream(timeline, lsn).await {
            Err(error) if error.kind() == PortErrorKind::Conflict && self.server.token.is_some() => {
                self.source.evict().await?;
                self.source.stream(timeline, lsn).await
            }
            opened => opened,
        }
    }

    async fn follow(&self, position: Position) -> Result<Box<dyn WalStream>> {
        let stream = self.open(position).await;
        stream.context(|| format!("following the log from {}", position.lsn))
    }

    fn tell_of_gap(&self, missing: Position, found: Position) {
        if let Ok(gap) = WalRange::new(missing.timeline, missing.lsn, found.lsn) {
            self.settings.observer.tell(&ArchiveEvent::Gap(gap));
        }
    }

    /// What is known of the archived log before `position`.
    async fn start(
        &self,
        identity: SourceIdentity,
        history: &TimelineHistory,
        catalog: &Catalog,
        position: Position,
    ) -> Result<Start> {
        let past = self.history_at(history, position.timeline).await?;
        let whose = WalIdentity::new(identity.incarnation, identity.segment_size, past);
        let Decoding { decoder, is_primed } = decoding::begin(&self.server, &whose, catalog, position.lsn).await?;
        let previous = position::previous(catalog, identity.incarnation, history, position).filter(|_| is_primed);
        Ok(Start { position, decoder, previous })
    }

    /// The history of `timeline`, as the server has it.
    async fn history(&self, timeline: TimelineId) -> Result<TimelineHistory> {
        Ok(match self.history_file(timeline).await? {
            Some(file) => {
                let damaged = |error| Error::corrupt(format!("the server's history of timeline {timeline}"), error);
                history::parse(timeline, &file).map_err(damaged)?
            }
            None => TimelineHistory::root(timeline),
        })
    }

    /// The history of `timeline`, which lies on the way to that of `history`.
    async fn history_at(&self, history: &TimelineHistory, timeline: TimelineId) -> Result<TimelineHistory> {
        if history.timeline() == timeline { Ok(history.clone()) } else { self.history(timeline).await }
    }

    /// The server's history file of `timeline`; the first timeline has none.
    async fn history_file(&self, timeline: TimelineId) -> Result<Option<Bytes>> {
        if timeline == TimelineId::FIRST {
            return Ok(None);
        }
        let file = self.source.timeline_history(timeline).await;
        file.map(Some).context(|| format!("asking for the history of timeline {timeline}"))
    }

    /// Stores the history files of all timelines that the server was on.
    async fn store_histories(&self, identity: SourceIdentity, history: &TimelineHistory) -> Result<()> {
        for (timeline, ..) in history.stretches() {
            let Some(file) = self.history_file(timeline).await? else { continue };
            let name = self.server.layout.history(identity.incarnation, timeline);
            match self.server.vault.put(&name, file.clone(), PutMode::Create).await {
                Err(error) if error.kind() == ErrorKind::Conflict => self.compare(timeline, &name, &file).await?,
                stored => drop(stored?),
            }
        }
        Ok(())
    }

    /// A restore, or two promotions that knew nothing of each other, can give one number to two timelines.
    async fn compare(&self, timeline: TimelineId, name: &ObjectKey, file: &[u8]) -> Result<()> {
        let parse = |file: &[u8]| history::parse(timeline, file).map_err(|error| Error::corrupt(name, error));
        let (ours, theirs) = (parse(&self.server.vault.get(name, RECORD_BYTES_MAX).await?)?, parse(file)?);
        if ours.stretches().eq(theirs.stretches()) {
            return Ok(());
        }
        let context = format!(
            "the server's timeline {timeline} began at {}, but that of the backups at {}: it is another branch with the \
             same number; protect it under a name of its own",
            theirs.begin(),
            ours.begin()
        );
        Err(Error::new(ErrorKind::InvalidInput, context))
    }
}
