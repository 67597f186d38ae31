//! A storage that something happens to in the middle of a request.
#![allow(dead_code, reason = "each test has some use for some of it")]

use std::fmt;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{Either, select};
use futures::stream::{BoxStream, StreamExt};
use pitr::model::ObjectKey;
use pitr::port::{ObjectMeta, ObjectRead, Operation, PortError, PutMode, Storage, Upload, Version};

type Event = Box<dyn FnOnce() + Send>;

/// A storage around another one; while a certain request of it is under way, an event happens. Clones share it.
#[derive(Clone)]
pub(crate) struct Fuse {
    inner: Arc<dyn Storage>,
    armed: Arc<Mutex<Option<Armed>>>,
}

struct Armed {
    operation: Operation,
    /// What the object's name has in it.
    name: &'static str,
    /// So many such requests pass before.
    after: u32,
    event: Event,
}

impl Fuse {
    pub(crate) fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, armed: Arc::default() }
    }

    /// Lets `event` happen while an `operation` on an object with `name` in its name is under way: not the first `after` of them.
    pub(crate) fn arm(
        &self,
        operation: Operation,
        name: &'static str,
        after: u32,
        event: impl FnOnce() + Send + 'static,
    ) {
        *self.armed.lock().unwrap() = Some(Armed { operation, name, after, event: Box::new(event) });
    }

    /// Whether it has happened.
    pub(crate) fn has_blown(&self) -> bool {
        self.armed.lock().unwrap().is_none()
    }

    fn event(&self, operation: Operation, key: &ObjectKey) -> Option<Event> {
        let mut armed = self.armed.lock().unwrap();
        let fits = armed.as_mut().filter(|armed| armed.operation == operation && key.as_str().contains(armed.name))?;
        if fits.after > 0 {
            fits.after -= 1;
            return None;
        }
        armed.take().map(|armed| armed.event)
    }

    async fn pass<T>(&self, operation: Operation, key: &ObjectKey, request: impl Future<Output = T>) -> T {
        let Some(event) = self.event(operation, key) else { return request.await };
        // It has been sent by then, but hardly answered.
        match select(pin!(request), pin!(tokio::time::sleep(Duration::from_millis(1)))).await {
            Either::Left((answer, _)) => {
                event();
                answer
            }
            Either::Right((_, request)) => {
                tokio::task::spawn_blocking(event).await.unwrap();
                request.await
            }
        }
    }
}

#[async_trait]
impl Storage for Fuse {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        self.pass(Operation::Put, key, self.inner.put(key, bytes, mode)).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        Ok(Box::new(FuseUpload { fuse: self.clone(), key: key.clone(), inner: self.inner.upload(key).await? }))
    }

    /// The event happens after the first piece of the body.
    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        let mut read = self.inner.get(key, range).await?;
        if let Some(event) = self.event(Operation::Get, key) {
            let first = read.body.next().await;
            tokio::task::spawn_blocking(event).await.unwrap();
            return Ok(ObjectRead::new(read.meta, futures::stream::iter(first).chain(read.body).boxed()));
        }
        Ok(read)
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.inner.head(key).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        self.inner.list(directory, after)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.inner.delete(key).await
    }
}

impl fmt::Debug for Fuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Display for Fuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[derive(Debug)]
struct FuseUpload {
    fuse: Fuse,
    key: ObjectKey,
    inner: Box<dyn Upload>,
}

#[async_trait]
impl Upload for FuseUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.fuse.pass(Operation::Write, &self.key, self.inner.write(bytes)).await
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        self.fuse.pass(Operation::Finish, &self.key, self.inner.finish()).await
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        self.inner.abort().await
    }
}
