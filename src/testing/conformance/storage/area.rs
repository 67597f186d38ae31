//! The part of a storage that a check works in.

use std::fmt::{Debug, Display};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::model::ObjectKey;
use crate::port::{ObjectMeta, PortError, PortErrorKind, PutMode, Storage, StorageExt, Version};
use crate::testing::entropy::SplitMix64;

/// The directory that a check works in, where whatever goes wrong unexpectedly ends the check.
pub(super) struct Area<'a> {
    storage: &'a dyn Storage,
    directory: ObjectKey,
}

/// No object of a check is longer.
const BYTES_MAX: usize = 64 << 20;

impl<'a> Area<'a> {
    /// The directory of the check `name`, emptied.
    pub(super) async fn new(storage: &'a dyn Storage, name: &str) -> Self {
        let area = Self { storage, directory: parse(&format!("conformance/{name}")) };
        area.clear().await;
        area
    }

    /// Deletes everything in it, and sees to it that nothing is left.
    pub(super) async fn clear(&self) {
        let listed = self.list(None, None).await;
        futures::stream::iter(listed).for_each_concurrent(16, |key| async move { self.delete(&key).await }).await;
        assert_eq!(self.list(None, None).await, [""; 0], "deleted objects are still listed");
    }

    pub(super) fn key(&self, name: &str) -> ObjectKey {
        parse(&format!("{}/{name}", self.directory))
    }

    pub(super) async fn try_put(
        &self,
        name: &str,
        bytes: impl Into<Bytes>,
        mode: PutMode,
    ) -> Result<Version, PortError> {
        self.storage.put(&self.key(name), bytes.into(), mode).await
    }

    pub(super) async fn put(&self, name: &str, bytes: impl Into<Bytes>) -> Version {
        must(self.try_put(name, bytes, PutMode::Overwrite).await, "put", name)
    }

    /// Writes an object of each of these names, many at a time.
    pub(super) async fn put_all(&self, names: &[String]) {
        let put = |name: &String| {
            let name = name.clone();
            async move { drop(self.put(&name, name.clone()).await) }
        };
        futures::stream::iter(names).map(put).buffer_unordered(32).collect::<Vec<()>>().await;
    }

    /// The whole object, which must exist.
    pub(super) async fn read(&self, name: &str) -> Bytes {
        let read = must(self.storage.get(&self.key(name), None).await, "get", name);
        must(read.collect(BYTES_MAX).await, "read", name)
    }

    /// The whole object, if there is one.
    pub(super) async fn find(&self, name: &str) -> Option<Bytes> {
        let found = must(self.storage.find(&self.key(name), BYTES_MAX).await, "find", name);
        found.map(|(bytes, _)| bytes)
    }

    pub(super) async fn head(&self, name: &str) -> ObjectMeta {
        must(self.storage.head(&self.key(name)).await, "head", name)
    }

    pub(super) async fn delete(&self, name: &str) {
        must(self.storage.delete(&self.key(name)).await, "delete", name);
    }

    /// The names of what lies below the directory `below`, without the area's own.
    pub(super) async fn list(&self, below: Option<&str>, after: Option<&str>) -> Vec<String> {
        let directory = below.map_or_else(|| self.directory.clone(), |below| self.key(below));
        let after = after.map(|after| self.key(after));
        let listed = self.storage.list(Some(&directory), after.as_ref());
        let metas = must(listed.try_collect::<Vec<_>>().await, "list", below.unwrap_or_default());
        metas.iter().map(|meta| self.name(&meta.key)).collect()
    }

    /// The names of the directories directly below `below`, without the area's own.
    pub(super) async fn list_directories(&self, below: Option<&str>) -> Vec<String> {
        let directory = below.map_or_else(|| self.directory.clone(), |below| self.key(below));
        let listed = self.storage.list_directories(Some(&directory));
        let found = must(listed.try_collect::<Vec<_>>().await, "list directories", below.unwrap_or_default());
        found.iter().map(|key| self.name(key)).collect()
    }

    fn name(&self, key: &ObjectKey) -> String {
        assert!(key.is_below(&self.directory), "{key} was listed, but does not lie below {}", self.directory);
        key.as_str()[self.directory.as_str().len() + 1..].to_owned()
    }
}

pub(super) fn parse(key: &str) -> ObjectKey {
    key.parse().expect("the checks use well-formed keys")
}

/// The result of an operation that must succeed.
pub(super) fn must<T>(result: Result<T, PortError>, operation: &str, name: &str) -> T {
    result.unwrap_or_else(|error| panic!("{operation} of {name:?} failed: {error} ({error:?})"))
}

/// Sees to it that an operation fails in a certain way.
pub(super) fn must_fail<T: Debug>(result: Result<T, PortError>, kind: PortErrorKind, what: impl Display) {
    match result {
        Ok(done) => panic!("{what} must fail as {kind:?}, but gave {done:?}"),
        Err(error) => assert_eq!(error.kind(), kind, "{what} failed in another way: {error} ({error:?})"),
    }
}

/// Bytes that are different at every place and in every object.
pub(super) fn pattern(seed: u64, length: usize) -> Bytes {
    let mut numbers = SplitMix64::new(seed);
    (0..length.div_ceil(8)).flat_map(|_| numbers.next().to_le_bytes()).take(length).collect()
}
