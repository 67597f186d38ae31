//! What becomes of the extents of a file.

use std::sync::Arc;

use bytes::BytesMut;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::databases::Databases;
use crate::engine::error::{Context, Result};
use crate::engine::vault::Vault;
use crate::format::digest::{Digest, DigestKey};
use crate::format::manifest::{Extent, ManifestFile};
use crate::port::{ExecutorExt, FileReader, RestoreTarget};

/// What becomes of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is fetched and written.
    Fetched,
    /// It stands in its place already.
    Kept,
    /// It is of a database that is not wanted: nothing but zeros.
    Zeros,
}

/// Decides on the fate of extents.
#[derive(Debug)]
pub(super) struct Fates {
    vault: Vault,
    target: Arc<dyn RestoreTarget>,
    databases: Databases,
}

impl Fates {
    pub(super) fn new(vault: Vault, target: Arc<dyn RestoreTarget>, databases: Databases) -> Self {
        Self { vault, target, databases }
    }

    /// The fates of the extents of `file`.
    pub(super) async fn of(&self, file: &ManifestFile) -> Result<Vec<Fate>> {
        if self.databases.leave_out(&file.entry.path) {
            return Ok(vec![Fate::Zeros; file.extents.len()]);
        }
        let looking = || format!("looking at what stands at {}", file.entry.path);
        match self.target.standing(&file.entry).await.context(looking)? {
            Some(standing) => self.compare(&file.extents, &standing).await,
            None => Ok(vec![Fate::Fetched; file.extents.len()]),
        }
    }

    async fn compare(&self, extents: &[Extent], standing: &Arc<dyn FileReader>) -> Result<Vec<Fate>> {
        let executor = &self.vault.executor;
        let mut end = 0;
        let places = extents.iter().map(|extent| {
            end += u64::from(extent.bytes);
            (end - u64::from(extent.bytes), extent.bytes, extent.digest)
        });
        let compared = stream::iter(places.collect::<Vec<_>>()).map(|(offset, bytes, digest)| {
            let (key, standing) = (self.vault.digests.clone(), Arc::clone(standing));
            executor.run(move || fate_of(&key, &*standing, offset, bytes, digest))
        });
        Ok(compared.buffered(executor.parallelism().get()).try_collect().await?)
    }
}

/// Compares what stands at `offset` with the `bytes` bytes that have this digest. What cannot be read, is fetched.
fn fate_of(key: &DigestKey, standing: &dyn FileReader, offset: u64, bytes: u32, digest: Digest) -> Fate {
    let mut plain = BytesMut::zeroed(bytes as usize);
    let is_read = standing.read_at(offset, &mut plain).is_ok();
    if is_read && key.digest(&plain) == digest { Fate::Kept } else { Fate::Fetched }
}
