//! A directory of a storage as a storage.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use crate::model::ObjectKey;
use crate::port::{ObjectMeta, ObjectRead, PortError, PortErrorKind, PutMode, Storage, Upload, Version};

/// What lies below one directory of another storage, as if there were nothing else.
///
/// A key that is too long together with the directory is [`Invalid`](PortErrorKind::Invalid).
#[derive(Clone, Debug)]
pub struct PrefixStorage {
    inner: Arc<dyn Storage>,
    directory: ObjectKey,
}

impl PrefixStorage {
    /// What lies below `directory` of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, directory: ObjectKey) -> Self {
        Self { inner, directory }
    }

    fn outer(&self, key: &ObjectKey) -> Result<ObjectKey, PortError> {
        let invalid =
            |error| PortError::new(PortErrorKind::Invalid, format!("{key} is too long here")).caused_by(error);
        self.directory.join(key).map_err(invalid)
    }

    /// What `outer` is called here; `None` if it lies elsewhere.
    fn local(&self, outer: &ObjectKey) -> Option<ObjectKey> {
        outer.as_str().strip_prefix(self.directory.as_str())?.strip_prefix('/')?.parse().ok()
    }

    fn local_meta(&self, meta: ObjectMeta) -> Option<ObjectMeta> {
        Some(ObjectMeta { key: self.local(&meta.key)?, ..meta })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for PrefixStorage {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        self.inner.put(&self.outer(key)?, bytes, mode).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        self.inner.upload(&self.outer(key)?).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        let ObjectRead { meta, body } = self.inner.get(&self.outer(key)?, range).await?;
        Ok(ObjectRead::new(ObjectMeta { key: key.clone(), ..meta }, body))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        Ok(ObjectMeta { key: key.clone(), ..self.inner.head(&self.outer(key)?).await? })
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        let outer = |key: Option<&ObjectKey>| key.map(|key| self.outer(key)).transpose();
        match (outer(directory), outer(after)) {
            (Ok(directory), Ok(after)) => {
                let listed = self.inner.list(Some(directory.as_ref().unwrap_or(&self.directory)), after.as_ref());
                listed.try_filter_map(|meta| future::ok(self.local_meta(meta))).boxed()
            }
            (Err(error), _) | (_, Err(error)) => stream::once(future::err(error)).boxed(),
        }
    }

    fn list_directories(&self, directory: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, PortError>> {
        match directory.map(|directory| self.outer(directory)).transpose() {
            Ok(directory) => {
                let listed = self.inner.list_directories(Some(directory.as_ref().unwrap_or(&self.directory)));
                listed.try_filter_map(|found| future::ok(self.local(&found))).boxed()
            }
            Err(error) => stream::once(future::err(error)).boxed(),
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.inner.delete(&self.outer(key)?).await
    }

    async fn delete_all(&self, keys: &[ObjectKey]) -> Result<(), PortError> {
        let outer: Vec<_> = keys.iter().map(|key| self.outer(key)).collect::<Result<_, _>>()?;
        self.inner.delete_all(&outer).await
    }

    fn immutable_for(&self) -> Option<Duration> {
        self.inner.immutable_for()
    }

    async fn renew(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.inner.renew(&self.outer(key)?).await
    }
}

impl fmt::Display for PrefixStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.directory, self.inner)
    }
}
