//! Sources of log around that of a simulated server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pitr::model::{Lsn, TimelineId};
use pitr::port::{PortError, SourceIdentity, WalEvent, WalSource, WalStream};
use pitr::testing::SimulatedServer;

/// Counts the bytes of log that were handed out and are still held.
#[derive(Debug)]
pub(crate) struct Counting {
    server: SimulatedServer,
    /// Now, and at most.
    held: Arc<Mutex<(u64, u64)>>,
}

impl Counting {
    pub(crate) fn new(server: SimulatedServer) -> Self {
        Self { server, held: Arc::default() }
    }

    pub(crate) fn held(&self) -> Arc<Mutex<(u64, u64)>> {
        Arc::clone(&self.held)
    }
}

#[derive(Debug)]
struct CountingStream(Box<dyn WalStream>, Arc<Mutex<(u64, u64)>>);

struct Held(Bytes, Arc<Mutex<(u64, u64)>>);

impl Held {
    fn new(bytes: Bytes, held: &Arc<Mutex<(u64, u64)>>) -> Self {
        let mut counts = held.lock().unwrap();
        counts.0 += bytes.len() as u64;
        counts.1 = counts.1.max(counts.0);
        Self(bytes, Arc::clone(held))
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.1.lock().unwrap().0 -= self.0.len() as u64;
    }
}

#[async_trait]
impl WalSource for Counting {
    async fn identify(&self) -> Result<SourceIdentity, PortError> {
        WalSource::identify(&self.server).await
    }

    async fn reserve(&self) -> Result<Lsn, PortError> {
        self.server.reserve().await
    }

    async fn timeline_history(&self, timeline: TimelineId) -> Result<Bytes, PortError> {
        self.server.timeline_history(timeline).await
    }

    async fn stream(&self, timeline: TimelineId, start: Lsn) -> Result<Box<dyn WalStream>, PortError> {
        Ok(Box::new(CountingStream(self.server.stream(timeline, start).await?, Arc::clone(&self.held))))
    }
}

#[async_trait]
impl WalStream for CountingStream {
    async fn next(&mut self, wait: Duration) -> Result<WalEvent, PortError> {
        Ok(match self.0.next(wait).await? {
            WalEvent::Data { start, bytes, .. } => WalEvent::data(start, Bytes::from_owner(Held::new(bytes, &self.1))),
            event => event,
        })
    }

    async fn acknowledge(&mut self, durable: Lsn) -> Result<(), PortError> {
        self.0.acknowledge(durable).await
    }
}

/// Whoever follows the log of this server acknowledges it at once.
#[derive(Debug)]
pub(crate) struct Hasty(pub(crate) SimulatedServer);

#[derive(Debug)]
struct HastyStream(Box<dyn WalStream>);

#[async_trait]
impl WalSource for Hasty {
    async fn identify(&self) -> Result<SourceIdentity, PortError> {
        WalSource::identify(&self.0).await
    }

    async fn reserve(&self) -> Result<Lsn, PortError> {
        self.0.reserve().await
    }

    async fn timeline_history(&self, timeline: TimelineId) -> Result<Bytes, PortError> {
        self.0.timeline_history(timeline).await
    }

    async fn stream(&self, timeline: TimelineId, start: Lsn) -> Result<Box<dyn WalStream>, PortError> {
        Ok(Box::new(HastyStream(self.0.stream(timeline, start).await?)))
    }
}

#[async_trait]
impl WalStream for HastyStream {
    async fn next(&mut self, wait: Duration) -> Result<WalEvent, PortError> {
        let event = self.0.next(wait).await?;
        if let WalEvent::Data { start, bytes, .. } = &event {
            self.0.acknowledge(start.saturating_add(bytes.len() as u64)).await?;
        }
        Ok(event)
    }

    async fn acknowledge(&mut self, durable: Lsn) -> Result<(), PortError> {
        self.0.acknowledge(durable).await
    }
}
