//! The sign of life of one worker, and what it proves to the worker itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::Shared;
use futures::lock::Mutex as AsyncMutex;

use crate::format::record::{self, Heartbeat};
use crate::model::{ObjectKey, Timestamp};
use crate::port::{Clock, PortError, PortErrorKind, PutMode, Storage, StorageExt, Version};

/// No heartbeat is longer.
const HEARTBEAT_BYTES_MAX: usize = 4096;

/// What follows from the length of a lease.
///
/// Whoever looks every `beat` has seen the last heartbeat of a dead worker after one, has waited for `patience` with the look after, and has
/// not spent the lease then: `2 * beat + patience < lease`. A worker believes for a shorter time that it lives: `valid < patience`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// How often a worker says that it lives, and looks at the others.
    pub(super) beat: Duration,
    /// For how long it believes that it does, without another proof.
    pub(super) valid: Duration,
    /// After how long a silence others take it for dead.
    pub(super) patience: Duration,
}

impl Times {
    pub(super) fn of(lease: Duration) -> Self {
        Self { beat: lease / 6, valid: lease / 2, patience: lease * 7 / 12 }
    }
}

/// The heartbeat of one worker, which it replaces again and again. Whoever takes the worker for dead replaces it, too, and for good: then
/// no beat succeeds any more.
#[derive(Debug)]
pub(super) struct Pulse {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    key: ObjectKey,
    valid: Duration,
    /// The last one that was written; one follows the other.
    last: AsyncMutex<(Heartbeat, Version)>,
    /// Since when nobody can have taken it for dead; `None` when somebody has, or it has left.
    proven: Mutex<Option<Moment>>,
    alive: Mutex<Option<oneshot::Sender<()>>>,
    ended: Shared<oneshot::Receiver<()>>,
}

/// A moment by both clocks.
#[derive(Clone, Copy, Debug)]
struct Moment {
    elapsed: Duration,
    now: Timestamp,
}

impl Moment {
    fn of(clock: &dyn Clock) -> Self {
        Self { elapsed: clock.elapsed(), now: clock.now() }
    }

    /// Whether less than `duration` has passed until `later`, as far as either clock tells: one of them may have stood still while the machine
    /// was suspended.
    fn is_within(self, duration: Duration, later: Self) -> bool {
        let by_day = later.now >= self.now && later.now < self.now.saturating_add(duration);
        by_day && later.elapsed.saturating_sub(self.elapsed) < duration
    }
}

impl Pulse {
    /// The first heartbeat of a worker, which is called `key`.
    pub(super) async fn begin(
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        key: ObjectKey,
        lease: Duration,
    ) -> Result<Self, PortError> {
        let (first, begun) = (Heartbeat::first(lease), Moment::of(&*clock));
        let version = storage.put(&key, encode(&first)?, PutMode::Create).await?;
        let (alive, ended) = oneshot::channel();
        let last = AsyncMutex::new((first, version));
        let (proven, alive) = (Mutex::new(Some(begun)), Mutex::new(Some(alive)));
        Ok(Self { storage, clock, key, valid: Times::of(lease).valid, last, proven, alive, ended: ended.shared() })
    }

    /// Makes sure that nobody has taken the worker for dead: by what was proven lately, or by another beat.
    pub(super) async fn ensure(&self) -> Result<(), PortError> {
        match self.proven() {
            None => Err(self.fenced()),
            Some(proven) if proven.is_within(self.valid, Moment::of(&*self.clock)) => Ok(()),
            Some(_) => self.beat().await,
        }
    }

    /// Says that the worker lives. That is proven as of when it began to.
    pub(super) async fn beat(&self) -> Result<(), PortError> {
        let mut last = self.last.lock().await;
        loop {
            let begun = Moment::of(&*self.clock);
            let next = Heartbeat { beats: last.0.beats.saturating_add(1), ..last.0.clone() };
            match self.storage.put(&self.key, encode(&next)?, PutMode::Update(last.1.clone())).await {
                Ok(version) => {
                    *last = (next, version);
                    return self.prove(begun);
                }
                Err(error) if matches!(error.kind(), PortErrorKind::Conflict | PortErrorKind::NotFound) => {
                    *last = self.own(&last.1).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The heartbeat that stands there instead of the one of `version`: one of our own, if an answer to it was lost.
    async fn own(&self, version: &Version) -> Result<(Heartbeat, Version), PortError> {
        let found = read(&*self.storage, &self.key).await?;
        let own = found.and_then(|(heartbeat, version)| Some((heartbeat?, version)));
        match own.filter(|(heartbeat, found)| !heartbeat.ended && found != version) {
            Some(own) => Ok(own),
            None => {
                self.end();
                Err(self.fenced())
            }
        }
    }

    /// Leaves: nobody needs to wait until it is taken for dead.
    pub(super) async fn leave(&self) -> Result<(), PortError> {
        let last = self.last.lock().await;
        self.end();
        drop(last);
        self.storage.delete(&self.key).await
    }

    /// Ready when the worker was taken for dead, or has left.
    pub(super) fn ended(&self) -> Shared<oneshot::Receiver<()>> {
        self.ended.clone()
    }

    fn end(&self) {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.alive.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn proven(&self) -> Option<Moment> {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prove(&self, moment: Moment) -> Result<(), PortError> {
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        if proven.is_none() {
            return Err(self.fenced());
        }
        *proven = Some(moment);
        Ok(())
    }

    fn fenced(&self) -> PortError {
        let context =
            format!("{} has ended: it was silent for so long that it was taken for dead, or it left", self.key);
        PortError::new(PortErrorKind::Fenced, context)
    }
}

/// What `key` says, in which version; `None` if it is no heartbeat, or is missing.
pub(super) async fn read(
    storage: &dyn Storage,
    key: &ObjectKey,
) -> Result<Option<(Option<Heartbeat>, Version)>, PortError> {
    let found = storage.find(key, HEARTBEAT_BYTES_MAX).await?;
    Ok(found.and_then(|(bytes, meta)| Some((record::decode(&bytes).ok(), meta.version?))))
}

/// Ends the worker whose heartbeat `key` still has `version`; whether it had.
pub(super) async fn end(storage: &dyn Storage, key: &ObjectKey, version: Version) -> Result<bool, PortError> {
    let last = Heartbeat { ended: true, ..Heartbeat::first(Duration::ZERO) };
    match storage.put(key, encode(&last)?, PutMode::Update(version)).await {
        Err(error) if matches!(error.kind(), PortErrorKind::Conflict | PortErrorKind::NotFound) => Ok(false),
        ended => ended.map(|_| true),
    }
}

fn encode(heartbeat: &Heartbeat) -> Result<Bytes, PortError> {
    let unfit = |error| PortError::new(PortErrorKind::Invalid, "a heartbeat cannot be written").caused_by(error);
    record::encode(heartbeat).map(Bytes::from).map_err(unfit)
}
