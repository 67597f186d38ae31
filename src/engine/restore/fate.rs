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

/// How many extents of a file are compared at a time: 32 MiB.
const WINDOW: usize = 32;
/// Where nothing of a window was the same, hardly anything of the next one will be, and to look at all of it would cost more than it saves: only
/// one extent in so many is looked at, until one is the same.
const STRIDE: usize = 8;

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
        let mut end = 0;
        let places = extents.iter().map(|extent| {
            end += u64::from(extent.bytes);
            Place { offset: end - u64::from(extent.bytes), bytes: extent.bytes, digest: extent.digest }
        });
        let (mut fates, mut stride) = (Vec::with_capacity(extents.len()), 1);
        for window in places.collect::<Vec<_>>().chunks(WINDOW) {
            let found = self.compare_window(window, stride, standing).await?;
            stride = if found.contains(&Fate::Kept) { 1 } else { STRIDE };
            fates.extend(found);
        }
        Ok(fates)
    }

    /// Looks at one in `stride` first; if none of them is the same, the others are taken for different too.
    async fn compare_window(
        &self,
        window: &[Place],
        stride: usize,
        standing: &Arc<dyn FileReader>,
    ) -> Result<Vec<Fate>> {
        let mut fates = vec![Fate::Fetched; window.len()];
        let (first, rest) = window.iter().copied().enumerate().partition(|(at, _)| at % stride == 0);
        self.look(first, standing, &mut fates).await?;
        if fates.contains(&Fate::Kept) {
            self.look(rest, standing, &mut fates).await?;
        }
        Ok(fates)
    }

    /// Finds the fates of some places of a window.
    async fn look(
        &self,
        places: Vec<(usize, Place)>,
        standing: &Arc<dyn FileReader>,
        fates: &mut [Fate],
    ) -> Result<()> {
        let executor = &self.vault.executor;
        let looked = stream::iter(places).map(|(at, place)| {
            let (key, standing) = (self.vault.digests.clone(), Arc::clone(standing));
            executor.run(move || (at, place.fate(&key, &*standing)))
        });
        let mut looked = looked.buffer_unordered(executor.parallelism().get());
        while let Some((at, fate)) = looked.try_next().await? {
            fates[at] = fate;
        }
        Ok(())
    }
}

/// An extent in its place.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    bytes: u32,
    digest: Digest,
}

impl Place {
    /// What cannot be read, is fetched.
    fn fate(self, key: &DigestKey, standing: &dyn FileReader) -> Fate {
        let mut plain = BytesMut::zeroed(self.bytes as usize);
        let is_read = standing.read_at(self.offset, &mut plain).is_ok();
        if is_read && key.digest(&plain) == self.digest { Fate::Kept } else { Fate::Fetched }
    }
}
