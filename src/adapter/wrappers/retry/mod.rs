//! A storage that tries again what fails in passing.

mod policy;
mod resume;
mod trace;
mod upload;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use self::policy::RetryPolicy;

pub(crate) use self::policy::{Attempts, Retrier};
use self::trace::{Seen, Trace};
use crate::model::ObjectKey;
use crate::port::{Environment, ObjectMeta, ObjectRead, PortError, PortErrorKind, PutMode, Storage, Upload, Version};

/// A storage around another one that tries again what is [`Unavailable`](PortErrorKind::Unavailable): later, and later still, by
/// a [`RetryPolicy`].
///
/// - A body or listing that breaks off goes on where it was, if the object is still the same.
/// - A conditional write that fails may have taken effect. Whether it has shows in what is stored then: an object as long as what was
///   written, with the same last 4 KiB, is taken for it. What pitr writes is sealed, and never twice the same. So after such a failure
///   [`Conflict`](PortErrorKind::Conflict) says that another write is there: in place of this one, or after it.
/// - Of an upload, it tries to begin, and looks whether the end took effect. Pieces are the inner storage's to try again.
///
/// After [`Unavailable`](PortErrorKind::Unavailable) there is nothing left to try, and the error says how often and how long it was
/// tried.
#[derive(Clone, Debug)]
pub struct RetryStorage {
    inner: Arc<dyn Storage>,
    retrier: Retrier,
}

impl RetryStorage {
    /// Tries again by `policy` what `inner` fails to do.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, policy: RetryPolicy, environment: Environment) -> Self {
        Self { inner, retrier: Retrier::new(policy, environment) }
    }

    /// What became of a write of `trace` under `mode` that ended in `error`, as far as `attempts` are left to see it.
    async fn settle(
        &self,
        key: &ObjectKey,
        trace: &Trace,
        mode: &PutMode,
        attempts: &mut Attempts<'_>,
        error: PortError,
    ) -> Result<Version, PortError> {
        if error.kind() != PortErrorKind::Unavailable {
            return Err(error);
        }
        let seen = attempts.run(|| trace.compare(&*self.inner, key)).await;
        match seen {
            Ok(Seen { is_same: true, version: Some(version) }) => Ok(version),
            Ok(Seen { is_same: false, version }) if !is_untouched(mode, version.as_ref()) => Err(conflict(key)),
            Err(missing) if missing.kind() == PortErrorKind::NotFound && matches!(mode, PutMode::Update(_)) => {
                Err(conflict(key))
            }
            // What was there before, or nothing, or nobody knows.
            _ => Err(error),
        }
    }
}

fn is_untouched(mode: &PutMode, version: Option<&Version>) -> bool {
    matches!(mode, PutMode::Update(before) if version == Some(before))
}

fn conflict(key: &ObjectKey) -> PortError {
    PortError::new(PortErrorKind::Conflict, format!("{key} was written or deleted by somebody else"))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for RetryStorage {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        let put = || self.inner.put(key, bytes.clone(), mode.clone());
        if mode == PutMode::Overwrite {
            return self.retrier.run(put).await;
        }
        let mut attempts = self.retrier.begin();
        match attempts.run_once(put).await {
            Err(error) => self.settle(key, &Trace::of(&bytes), &mode, &mut attempts, error).await,
            done => done,
        }
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        let inner = self.retrier.run(|| self.inner.upload(key)).await?;
        Ok(Box::new(upload::RetryUpload::new(self.clone(), key.clone(), inner)))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        let read = self.retrier.run(|| self.inner.get(key, range.clone())).await?;
        let range = read.meta.resolve(range)?;
        let ObjectRead { meta, body } = read;
        let body = resume::body(self.clone(), meta.clone(), body, range);
        Ok(ObjectRead::new(meta, body))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.retrier.run(|| self.inner.head(key)).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        resume::listing(self, directory.cloned(), after.cloned())
    }

    fn list_directories(&self, directory: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, PortError>> {
        resume::directories(self, directory.cloned())
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.retrier.run(|| self.inner.delete(key)).await
    }

    async fn delete_all(&self, keys: &[ObjectKey]) -> Result<(), PortError> {
        self.retrier.run(|| self.inner.delete_all(keys)).await
    }

    fn immutable_for(&self) -> Option<Duration> {
        self.inner.immutable_for()
    }

    async fn renew(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.retrier.run(|| self.inner.renew(key)).await
    }
}

impl fmt::Display for RetryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
