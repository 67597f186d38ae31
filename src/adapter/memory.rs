//! A storage in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::future;
use futures::stream::{self, BoxStream, StreamExt};

use crate::model::{ObjectKey, Timestamp};
use crate::port::{Clock, ObjectMeta, ObjectRead, PortError, PortErrorKind, PutMode, Storage, Upload, Version};

/// A storage in memory, for tests and for trying things out: what it holds ends with its last clone.
///
/// Clones share the objects.
#[derive(Clone, Debug)]
pub struct MemoryStorage {
    clock: Arc<dyn Clock>,
    objects: Arc<Mutex<Objects>>,
}

/// How many objects are listed at a time.
const PAGE: usize = 1000;

#[derive(Default)]
struct Objects {
    by_key: BTreeMap<ObjectKey, Object>,
    writes: u64,
}

#[derive(Clone)]
struct Object {
    bytes: Bytes,
    modified: Timestamp,
    version: Version,
}

impl MemoryStorage {
    /// An empty storage that dates its objects by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, objects: Arc::default() }
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, key: &ObjectKey, bytes: Bytes, mode: &PutMode) -> Result<Version, PortError> {
        let modified = self.clock.now();
        let mut objects = self.objects();
        objects.check(key, mode)?;
        objects.writes += 1;
        let version = Version::new(objects.writes.to_string());
        objects.by_key.insert(key.clone(), Object { bytes, modified, version: version.clone() });
        Ok(version)
    }

    fn find(&self, key: &ObjectKey) -> Result<Object, PortError> {
        let missing = || PortError::new(PortErrorKind::NotFound, format!("there is no object {key} in memory"));
        self.objects().by_key.get(key).cloned().ok_or_else(missing)
    }
}

impl Objects {
    fn check(&self, key: &ObjectKey, mode: &PutMode) -> Result<(), PortError> {
        if mode.permits(self.by_key.get(key).map(|object| &object.version)) {
            return Ok(());
        }
        let context = format!("{key} is not in the state that {mode:?} demands");
        Err(PortError::new(PortErrorKind::Conflict, context))
    }

    /// Some of what lies below `directory` after `after`; nothing once that was all. Between a directory and what lies below it come its
    /// neighbours whose names go on with `-` or `.`.
    fn page(&self, directory: Option<&ObjectKey>, after: Option<&ObjectKey>) -> Vec<ObjectMeta> {
        let start = directory.max(after).map_or(Bound::Unbounded, Bound::Excluded);
        let below = |key: &ObjectKey| directory.is_none_or(|directory| key.is_below(directory));
        self.by_key
            .range((start, Bound::Unbounded))
            .skip_while(|(key, _)| !below(key))
            .take_while(|(key, _)| below(key))
            .take(PAGE)
            .map(|(key, object)| object.meta(key))
            .collect()
    }
}

impl Object {
    fn meta(&self, key: &ObjectKey) -> ObjectMeta {
        ObjectMeta::new(key.clone(), self.bytes.len() as u64, self.modified, Some(self.version.clone()))
    }

    fn slice(&self, range: Range<u64>) -> Bytes {
        let index = |at: u64| usize::try_from(at).expect("a range inside a buffer has its indices");
        self.bytes.slice(index(range.start)..index(range.end))
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        self.write(key, bytes, &mode)
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        self.objects().check(key, &PutMode::Create)?;
        Ok(Box::new(MemoryUpload { storage: self.clone(), key: key.clone(), bytes: BytesMut::new() }))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        let object = self.find(key)?;
        let meta = object.meta(key);
        let bytes = object.slice(meta.resolve(range)?);
        let chunks = (!bytes.is_empty()).then_some(Ok(bytes));
        Ok(ObjectRead::new(meta, stream::iter(chunks).boxed()))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        Ok(self.find(key)?.meta(key))
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        let directory = directory.cloned();
        let page = move |after: Option<ObjectKey>| {
            let page = self.objects().page(directory.as_ref(), after.as_ref());
            let last = page.last().map(|meta| meta.key.clone());
            future::ready(last.map(|last| (stream::iter(page).map(Ok), Some(last))))
        };
        stream::unfold(after.cloned(), page).flatten().boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.objects().by_key.remove(key);
        Ok(())
    }
}

impl fmt::Display for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_key.keys()).finish()
    }
}

/// An object that is gathered outside the storage until it is whole.
struct MemoryUpload {
    storage: MemoryStorage,
    key: ObjectKey,
    bytes: BytesMut,
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Version, PortError> {
        self.storage.write(&self.key, self.bytes.freeze(), &PutMode::Create)
    }

    async fn abort(self: Box<Self>) -> Result<(), PortError> {
        Ok(())
    }
}

impl fmt::Debug for MemoryUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryUpload").field("key", &self.key).finish_non_exhaustive()
    }
}
