//! The suite fails storages that are broken.

use std::fmt;
use std::ops::Range;
use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use pitr::adapter::MemoryStorage;
use pitr::model::ObjectKey;
use pitr::port::{ObjectMeta, ObjectRead, PortError, PutMode, Storage, Upload, Version};
use pitr::testing::conformance::storage::run_all;

use super::memory;

#[derive(Clone, Copy, Debug)]
enum Bug {
    /// Conditions are not looked at.
    Overwrites,
    /// Conditions are looked at before, not while, an object is written.
    ChecksTooEarly,
    /// The version is the content's length.
    VersionOfContent,
    /// Directories are listed as string prefixes.
    ListsPrefix,
    /// Directories are listed one by one, by their bare names.
    ListsByParts,
    /// The key to go on after is listed again.
    ListsFromAfter,
    /// A listing ends after 1000 objects.
    ListsOnePage,
    /// Directories are those of which an object was listed.
    ListsDirectoriesTwice,
    /// Ranges are cut at the object's end.
    CutsRanges,
    /// An upload is visible at its beginning.
    ShowsUploads,
    /// Deletion does nothing.
    KeepsDeleted,
    /// Deletion of a missing object fails.
    DeniesMissing,
}

#[derive(Clone, Debug)]
struct Broken {
    inner: MemoryStorage,
    bug: Bug,
}

#[tokio::test]
async fn the_suite_finds_every_bug() {
    use Bug::*;
    let bugs = [
        Overwrites,
        ChecksTooEarly,
        VersionOfContent,
        ListsPrefix,
        ListsByParts,
        ListsFromAfter,
        ListsOnePage,
        ListsDirectoriesTwice,
        CutsRanges,
        ShowsUploads,
        KeepsDeleted,
        DeniesMissing,
    ];
    for bug in bugs {
        let broken = Broken { inner: memory(), bug };
        let result = AssertUnwindSafe(run_all(&broken)).catch_unwind().await;
        assert!(result.is_err(), "the suite let {bug:?} pass");
    }
}

impl Broken {
    async fn mode(&self, key: &ObjectKey, mode: PutMode) -> PutMode {
        match self.bug {
            Bug::Overwrites => PutMode::Overwrite,
            Bug::ChecksTooEarly => {
                let current = self.inner.head(key).await.ok().and_then(|meta| meta.version);
                tokio::task::yield_now().await;
                if mode.permits(current.as_ref()) { PutMode::Overwrite } else { mode }
            }
            _ => mode,
        }
    }

    fn meta(&self, meta: ObjectMeta) -> ObjectMeta {
        let version = Some(self.version(meta.bytes, meta.version.unwrap()));
        ObjectMeta::new(meta.key, meta.bytes, meta.modified, version)
    }

    fn version(&self, bytes: u64, version: Version) -> Version {
        if matches!(self.bug, Bug::VersionOfContent) { Version::new(bytes.to_string()) } else { version }
    }

    async fn listed(&self, directory: Option<ObjectKey>, after: Option<ObjectKey>) -> Vec<ObjectMeta> {
        let mut all: Vec<ObjectMeta> = self.inner.list(None, None).try_collect().await.unwrap();
        all.retain(|meta| {
            let after = after.as_ref().is_none_or(|after| match self.bug {
                Bug::ListsFromAfter => meta.key >= *after,
                _ => meta.key > *after,
            });
            let below = directory.as_ref().is_none_or(|directory| match self.bug {
                Bug::ListsPrefix => meta.key.as_str().starts_with(directory.as_str()),
                _ => meta.key.is_below(directory),
            });
            after && below
        });
        match self.bug {
            Bug::ListsByParts => all.sort_by_key(|meta| meta.key.parts().map(str::to_owned).collect::<Vec<_>>()),
            Bug::ListsOnePage => all.truncate(1000),
            _ => {}
        }
        all.into_iter().map(|meta| self.meta(meta)).collect()
    }
}

#[async_trait]
impl Storage for Broken {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        let (mode, length) = (self.mode(key, mode).await, bytes.len() as u64);
        Ok(self.version(length, self.inner.put(key, bytes, mode).await?))
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        let upload = self.inner.upload(key).await?;
        if matches!(self.bug, Bug::ShowsUploads) {
            self.inner.put(key, Bytes::new(), PutMode::Overwrite).await?;
        }
        Ok(upload)
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        let bytes = self.inner.head(key).await?.bytes;
        let cut = |range: Range<u64>| match self.bug {
            Bug::CutsRanges => range.start.min(range.end)..range.end.min(bytes),
            _ => range,
        };
        let read = self.inner.get(key, range.map(cut)).await?;
        Ok(ObjectRead::new(self.meta(read.meta), read.body))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        Ok(self.meta(self.inner.head(key).await?))
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        let listed = self.listed(directory.cloned(), after.cloned());
        listed.map(stream::iter).flatten_stream().map(Ok).boxed()
    }

    fn list_directories(&self, directory: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, PortError>> {
        if !matches!(self.bug, Bug::ListsDirectoriesTwice) {
            return self.inner.list_directories(directory);
        }
        let (listed, directory) = (self.inner.list(directory, None), directory.cloned());
        listed.try_filter_map(move |meta| future::ok(meta.key.directory_below(directory.as_ref()))).boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        match self.bug {
            Bug::KeepsDeleted => return Ok(()),
            Bug::DeniesMissing => self.inner.head(key).await.map(drop)?,
            _ => {}
        }
        self.inner.delete(key).await
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken ({:?})", self.bug)
    }
}
