//! Zones behind a network that delivers requests in any order, late, or never; also when nobody waits for the answer any more.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::FutureExt;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use pitr::adapter::MemoryStorage;
use pitr::model::{ObjectKey, Timestamp};
use pitr::port::{Clock, ObjectMeta, ObjectRead, PortError, PortErrorKind, PutMode, Storage, Upload, Version};
use pitr::testing::ManualClock;

use super::random::Random;

/// Where everything happens that can happen, one thing at a time, as the seed has it.
#[derive(Clone)]
pub(crate) struct Network {
    state: Arc<Mutex<State>>,
    clock: ManualClock,
}

struct State {
    random: Random,
    /// Requests that are under way.
    under_way: Vec<Box<dyn FnOnce() + Send>>,
    /// Zones that nothing reaches.
    away: Vec<bool>,
    /// So many requests in a thousand are lost, or their answers are.
    lost: u64,
    happened: u64,
}

impl Network {
    pub(crate) fn new(seed: u64, zones: usize, clock: &ManualClock) -> Self {
        let state =
            State { random: Random::new(seed), under_way: Vec::new(), away: vec![false; zones], lost: 0, happened: 0 };
        Self { state: Arc::new(Mutex::new(state)), clock: clock.clone() }
    }

    pub(crate) fn state<T>(&self, look: impl FnOnce(&mut Random) -> T) -> T {
        look(&mut self.lock().random)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How much has happened so far.
    pub(crate) fn time(&self) -> u64 {
        let mut state = self.lock();
        state.happened += 1;
        state.happened
    }

    pub(crate) fn lose(&self, per_mille: u64) {
        self.lock().lost = per_mille;
    }

    pub(crate) fn set_away(&self, zone: usize, is_away: bool) {
        self.lock().away[zone] = is_away;
    }

    /// Lets everything arrive that is under way.
    pub(crate) fn drain(&self) {
        while self.deliver() {}
    }

    /// Lets one request arrive; `false` if there is none.
    fn deliver(&self) -> bool {
        let mut state = self.lock();
        if state.under_way.is_empty() {
            return false;
        }
        let (length, request) = (state.under_way.len(), |state: &mut State, at| state.under_way.swap_remove(at));
        let at = state.random.index(length);
        let request = request(&mut state, at);
        drop(state);
        request();
        true
    }

    /// What `effect` gives when it has reached `zone` and the answer has come back: if they do.
    async fn send<T: Send + 'static>(
        &self,
        zone: usize,
        effect: impl FnOnce() -> Result<T, PortError> + Send + 'static,
    ) -> Result<T, PortError> {
        let unavailable = || PortError::new(PortErrorKind::Unavailable, "the network has it");
        let (sender, receiver) = oneshot::channel();
        let fate = {
            let mut state = self.lock();
            if state.away[zone] {
                0
            } else if state.lost > state.random.below(1000) {
                1 + state.random.below(4)
            } else {
                9
            }
        };
        let answer = move |result| drop(sender.send(result));
        let request: Box<dyn FnOnce() + Send> = match fate {
            // Nothing arrives, and that is noticed.
            0 | 1 => return Err(unavailable()),
            // Nothing arrives, and that is noticed late.
            2 => {
                self.clock.sleep(Duration::from_secs(30)).await;
                return Err(unavailable());
            }
            // It arrives, but the answer is lost.
            3 => Box::new(move || {
                drop(effect());
                answer(Err(unavailable()));
            }),
            // The answer is lost before it arrives.
            4 => {
                self.lock().under_way.push(Box::new(move || drop(effect())));
                return Err(unavailable());
            }
            _ => Box::new(move || answer(effect())),
        };
        self.lock().under_way.push(request);
        receiver.await.unwrap_or_else(|_| Err(unavailable()))
    }

    /// Lets happen what can, until all of `clients` are done; `event` is called in between, again and again.
    pub(crate) fn run(
        &self,
        mut clients: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>>,
        mut event: impl FnMut(&Self),
    ) {
        let mut idle = 0;
        while !clients.is_empty() {
            let (at, choice) = self.state(|random| (random.index(clients.len()), random.below(100)));
            idle = if choice < 50 && self.deliver() { 0 } else { idle + 1 };
            if clients[at].as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                drop(clients.swap_remove(at));
            }
            if idle > 20 * clients.len() || self.state(|random| random.one_in(500)) {
                let _nobody_sleeps = self.clock.advance_to_next();
                idle = 0;
            }
            event(self);
        }
    }
}

/// A zone at the other end of the network.
#[derive(Clone)]
pub(crate) struct Remote {
    network: Network,
    zone: usize,
    inner: Arc<Mutex<MemoryStorage>>,
}

impl Remote {
    pub(crate) fn new(network: &Network, zone: usize) -> Self {
        let inner = MemoryStorage::new(Arc::new(network.clock.clone()));
        Self { network: network.clone(), zone, inner: Arc::new(Mutex::new(inner)) }
    }

    /// Deletes everything in it.
    pub(crate) fn empty(&self) {
        *self.inner.lock().unwrap() = MemoryStorage::new(Arc::new(self.network.clock.clone()));
    }

    async fn send<T: Send + 'static, F: Future<Output = Result<T, PortError>>>(
        &self,
        effect: impl FnOnce(MemoryStorage) -> F + Send + 'static,
    ) -> Result<T, PortError> {
        let inner = Arc::clone(&self.inner);
        self.network.send(self.zone, move || effect(inner.lock().unwrap().clone()).now_or_never().unwrap()).await
    }
}

#[async_trait]
impl Storage for Remote {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        let key = key.clone();
        self.send(|inner| async move { inner.put(&key, bytes, mode).await }).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        Ok(Box::new(RemoteUpload { remote: self.clone(), key: key.clone(), bytes: Vec::new() }))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        let key = key.clone();
        let get = |inner: MemoryStorage| async move {
            let read = inner.get(&key, range).await?;
            Ok((read.meta.clone(), read.collect(usize::MAX).await?))
        };
        let (meta, bytes) = self.send(get).await?;
        Ok(ObjectRead::new(meta, stream::iter([Ok(bytes)]).boxed()))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        let key = key.clone();
        self.send(|inner| async move { inner.head(&key).await }).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        let (directory, after) = (directory.cloned(), after.cloned());
        let list = |inner: MemoryStorage| async move {
            inner.list(directory.as_ref(), after.as_ref()).try_collect::<Vec<_>>().await
        };
        let listed = async move { Ok(stream::iter(self.send(list).await?.into_iter().map(Ok))) };
        stream::once(listed).try_flatten().boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        let key = key.clone();
        self.send(|inner| async move { inner.delete(&key).await }).await
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remote zone {}", self.zone)
    }
}

#[derive(Debug)]
struct RemoteUpload {
    remote: Remote,
    key: ObjectKey,
    bytes: Vec<u8>,
}

#[async_trait]
impl Upload for RemoteUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        let Self { remote, key, bytes } = *self;
        remote.put(&key, bytes.into(), PutMode::Create).await
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        Ok(())
    }
}

/// The first moment of every run.
pub(crate) const BEGIN: Timestamp = Timestamp::UNIX_EPOCH;
