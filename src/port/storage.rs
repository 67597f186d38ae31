//! The object store.

use std::fmt::{Debug, Display};
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::{PortError, PortErrorKind};
use crate::model::{ObjectKey, Timestamp};

/// How many objects are deleted at a time, where each takes a request.
const DELETIONS_IN_FLIGHT: usize = 16;

/// An object store: immutable bytes under names, with conditional writes.
///
/// - A write is atomic: a reader sees the whole object or none, never a part, also after a crash.
/// - A write is durable when its future returns `Ok`.
/// - A read or listing that begins after a write or deletion returned sees it.
/// - Of several conditional writes that race, exactly one succeeds, also across processes and machines.
/// - A missing object gives [`PortErrorKind::NotFound`] on read and `head`, and is no error on `delete`.
/// - After an error of a write or deletion it is unknown whether it took effect, except after
///   [`PortErrorKind::Conflict`] and [`PortErrorKind::NotFound`]: then it did not.
///
/// `Display` names the store for people, without credentials.
#[async_trait]
pub trait Storage: Debug + Display + Send + Sync + 'static {
    /// Stores `bytes` under `key`, and returns the new version.
    ///
    /// # Errors
    /// [`PortErrorKind::Conflict`] if `mode` forbids it.
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError>;

    /// Begins to store a new object of unknown length. Nothing is visible before [`Upload::finish`]; an upload that is
    /// dropped leaves nothing visible.
    ///
    /// # Errors
    /// [`PortErrorKind::Conflict`] where the object is already known to exist; `finish` decides.
    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError>;

    /// Reads the object, or `range` of its bytes.
    ///
    /// All bytes come from one version, or the body ends in an error.
    ///
    /// # Errors
    /// [`PortErrorKind::NotFound`] if there is no such object; [`PortErrorKind::Invalid`] if `range` is reversed or reaches
    /// beyond the object's end. An empty range inside the object is fine.
    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError>;

    /// Describes the object.
    ///
    /// # Errors
    /// [`PortErrorKind::NotFound`] if there is no such object.
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError>;

    /// Lists the objects below `directory` (all of the store if `None`) whose keys are greater than `after`, in bytewise
    /// order of their keys. Objects that are written or deleted meanwhile may or may not be listed.
    ///
    /// After an error the stream ends; a new listing can go on after the last key.
    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>>;

    /// Lists the directories that lie directly below `directory` (of all of the store if `None`) and hold an object, however deep, in the
    /// order in which their objects are listed. As with [`list`](Self::list), what is written or deleted meanwhile may or may not count.
    ///
    /// By itself it takes one listing a directory; a store that can tell directories by itself needs fewer requests.
    fn list_directories(&self, directory: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, PortError>> {
        let scan = Scan { storage: self, directory: directory.cloned(), found: None, after: None };
        stream::try_unfold(scan, Scan::next).boxed()
    }

    /// Deletes the object. A missing one is no error.
    ///
    /// # Errors
    /// [`PortErrorKind::Denied`] if the store protects it (object lock, permission).
    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError>;

    /// Deletes these objects, in no order. Missing ones are no error.
    ///
    /// By itself it deletes each, some at a time; a store that can delete many by one request needs fewer.
    ///
    /// # Errors
    /// If any could not be deleted; others may be gone, or not. Which one, [`delete`](Self::delete) tells.
    async fn delete_all(&self, keys: &[ObjectKey]) -> Result<(), PortError> {
        delete_each(self, keys).await
    }

    /// For how long nobody can change or destroy an object, from when it was created or [renewed](Self::renew): a promise of the store,
    /// which holds whoever has the credentials. `None` if there is none, as with most stores.
    ///
    /// It is for what is created once and needed for long; which objects these are, their names tell
    /// ([`Permanence`](crate::format::layout::Permanence)). A store may hide what it may not destroy: then [`delete`](Self::delete) succeeds.
    fn immutable_for(&self) -> Option<Duration> {
        None
    }

    /// Makes the object immutable for as long as [`immutable_for`](Self::immutable_for) says, from now on. A missing one is no error; where
    /// the store makes no promise, nothing happens.
    ///
    /// # Errors
    /// [`PortErrorKind::Denied`] if the object is immutable for longer, or permission is missing.
    async fn renew(&self, _key: &ObjectKey) -> Result<(), PortError> {
        Ok(())
    }
}

/// Deletes these objects, each by itself.
pub(crate) async fn delete_each<S: Storage + ?Sized>(storage: &S, keys: &[ObjectKey]) -> Result<(), PortError> {
    let keys = stream::iter(keys.iter().map(Ok));
    keys.try_for_each_concurrent(DELETIONS_IN_FLIGHT, |key| storage.delete(key)).await
}

/// What is asked of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`Storage::put`].
    Put,
    /// [`Storage::upload`].
    Upload,
    /// [`Upload::write`].
    Write,
    /// [`Upload::finish`].
    Finish,
    /// [`Upload::abort`].
    Abort,
    /// [`Storage::get`], with all of its body.
    Get,
    /// [`Storage::head`].
    Head,
    /// [`Storage::list`] or [`Storage::list_directories`], with all that it lists.
    List,
    /// [`Storage::delete`] or [`Storage::delete_all`].
    Delete,
    /// [`Storage::renew`].
    Renew,
}

/// Directories, each found by its first object.
struct Scan<'a, S: Storage + ?Sized> {
    storage: &'a S,
    directory: Option<ObjectKey>,
    found: Option<ObjectKey>,
    after: Option<ObjectKey>,
}

impl<S: Storage + ?Sized> Scan<'_, S> {
    /// The next directory. Objects that lie in none are passed over.
    async fn next(mut self) -> Result<Option<(ObjectKey, Self)>, PortError> {
        let mut listed = self.storage.list(self.directory.as_ref(), self.after.as_ref());
        while let Some(meta) = listed.try_next().await? {
            let found = meta.key.directory_below(self.directory.as_ref());
            if let Some(found) = found.filter(|found| self.found.as_ref() != Some(found)) {
                self.after = Some(found.end_of_directory().unwrap_or(meta.key));
                self.found = Some(found.clone());
                return Ok(Some((found, self)));
            }
        }
        Ok(None)
    }
}

/// An object on its way into a store.
#[async_trait]
pub trait Upload: Debug + Send {
    /// Appends `bytes`. Waits while the store is slower than the writer: memory is bounded by the adapter.
    ///
    /// # Errors
    /// After one, the upload can only be dropped or aborted.
    async fn write(&mut self, bytes: Bytes) -> Result<(), PortError>;

    /// Makes the object visible, whole and durable, and returns its version.
    ///
    /// # Errors
    /// [`PortErrorKind::Conflict`] if there is such an object by now. Otherwise it is unknown whether it became visible.
    async fn finish(self: Box<Self>) -> Result<Version, PortError>;

    /// Gives the upload up and frees what it holds in the store.
    ///
    /// # Errors
    /// If something may be left in the store, invisible.
    async fn abort(self: Box<Self>) -> Result<(), PortError>;
}

/// What must hold for a write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutMode {
    /// The object must not exist.
    Create,
    /// Whatever is there is replaced.
    Overwrite,
    /// The object must exist in this version.
    Update(Version),
}

impl PutMode {
    /// Whether a write may happen where the object is in version `current` (`None` if there is none).
    #[must_use]
    pub fn permits(&self, current: Option<&Version>) -> bool {
        match self {
            Self::Create => current.is_none(),
            Self::Overwrite => true,
            Self::Update(expected) => current == Some(expected),
        }
    }
}

/// One state of an object: never that of other bytes. The ETag or generation of a store, some of which give the same bytes the
/// same version again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(String);

impl Version {
    /// The version that a store calls `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The store's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a store knows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectMeta {
    /// Its name.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was written, by the store's clock.
    pub modified: Timestamp,
    /// Its version; stores whose listings have none give it on `head` and `get` only.
    pub version: Option<Version>,
}

impl ObjectMeta {
    /// The object `key` of `bytes` bytes, written at `modified`.
    #[must_use]
    pub const fn new(key: ObjectKey, bytes: u64, modified: Timestamp, version: Option<Version>) -> Self {
        Self { key, bytes, modified, version }
    }

    /// Which bytes a read of `range` gives: all of them if it is `None`.
    ///
    /// # Errors
    /// [`PortErrorKind::Invalid`] if `range` is reversed or reaches beyond the object's end.
    pub fn resolve(&self, range: Option<Range<u64>>) -> Result<Range<u64>, PortError> {
        let range = range.unwrap_or(0..self.bytes);
        if range.start <= range.end && range.end <= self.bytes {
            return Ok(range);
        }
        let context = format!("{} has {} bytes, of which {range:?} were asked for", self.key, self.bytes);
        Err(PortError::new(PortErrorKind::Invalid, context))
    }
}

/// An object, or a range of it, that is being read.
#[non_exhaustive]
pub struct ObjectRead {
    /// The whole object's description.
    pub meta: ObjectMeta,
    /// The bytes, in order, in chunks of the adapter's choice.
    pub body: BoxStream<'static, Result<Bytes, PortError>>,
}

impl ObjectRead {
    /// The object `meta`, of which `body` gives the bytes that were asked for.
    #[must_use]
    pub const fn new(meta: ObjectMeta, body: BoxStream<'static, Result<Bytes, PortError>>) -> Self {
        Self { meta, body }
    }

    /// The whole body at once, for objects known to be small.
    ///
    /// # Errors
    /// [`PortErrorKind::Invalid`] if it is longer than `bytes_max`; else the body's own error.
    pub async fn collect(mut self, bytes_max: usize) -> Result<Bytes, PortError> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.body.try_next().await? {
            if whole.is_empty() && self.meta.bytes == chunk.len() as u64 && chunk.len() <= bytes_max {
                return Ok(chunk);
            }
            if whole.len().saturating_add(chunk.len()) > bytes_max {
                let context = format!("{} is longer than the {bytes_max} bytes that it may have", self.meta.key);
                return Err(PortError::new(PortErrorKind::Invalid, context));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }
}

impl Debug for ObjectRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectRead").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// Comfort for users of a [`Storage`].
pub trait StorageExt: Storage {
    /// Reads an object that is known to be small, with its version; `None` if there is none.
    ///
    /// # Errors
    /// [`PortErrorKind::Invalid`] if it is longer than `bytes_max`; else the store's own.
    fn find(
        &self,
        key: &ObjectKey,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Option<(Bytes, ObjectMeta)>, PortError>> + Send {
        async move {
            match self.get(key, None).await {
                Ok(read) => {
                    let meta = read.meta.clone();
                    Ok(Some((read.collect(bytes_max).await?, meta)))
                }
                Err(error) if error.kind() == PortErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        }
    }

    /// Whether there is such an object.
    ///
    /// # Errors
    /// The store's own, but for a missing object.
    fn exists(&self, key: &ObjectKey) -> impl Future<Output = Result<bool, PortError>> + Send {
        async move {
            match self.head(key).await {
                Err(error) if error.kind() == PortErrorKind::NotFound => Ok(false),
                head => head.map(|_| true),
            }
        }
    }

    /// All that a listing gives, for directories known to be small.
    ///
    /// # Errors
    /// The listing's.
    fn list_all(
        &self,
        directory: Option<&ObjectKey>,
    ) -> impl Future<Output = Result<Vec<ObjectMeta>, PortError>> + Send {
        self.list(directory, None).boxed().try_collect()
    }
}

impl<S: Storage + ?Sized> StorageExt for S {}
