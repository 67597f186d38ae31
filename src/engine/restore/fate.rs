//! What becomes of the blocks of a file.

use std::sync::Arc;

use bytes::BytesMut;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::databases::Databases;
use crate::engine::error::{Context, Result};
use crate::engine::vault::Vault;
use crate::format::digest::DigestKey;
use crate::format::manifest::{BlockRef, ManifestFile};
use crate::port::{ExecutorExt, FileReader, RestoreTarget};

/// The blocks that are compared in one go.
const BLOCKS_AT_A_TIME: usize = 8;

/// What becomes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is fetched and written.
    Fetched,
    /// It stands in its place already.
    Kept,
    /// It is of a database that is not wanted: nothing but zeros.
    Zeros,
}

/// Decides on the fate of blocks.
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

    /// The fates of the blocks of `file`.
    pub(super) async fn of(&self, file: &ManifestFile) -> Result<Vec<Fate>> {
        if self.databases.leave_out(&file.entry.path) {
            return Ok(vec![Fate::Zeros; file.blocks.len()]);
        }
        let looking = || format!("looking at what stands at {}", file.entry.path);
        match self.target.standing(&file.entry).await.context(looking)? {
            Some(standing) => self.compare(&file.blocks, &standing).await,
            None => Ok(vec![Fate::Fetched; file.blocks.len()]),
        }
    }

    async fn compare(&self, blocks: &[BlockRef], standing: &Arc<dyn FileReader>) -> Result<Vec<Fate>> {
        let executor = &self.vault.executor;
        let mut offset = 0;
        let parts = blocks.chunks(BLOCKS_AT_A_TIME).map(|part| {
            let begin = offset;
            offset += part.iter().map(|block| u64::from(block.plain_bytes)).sum::<u64>();
            (begin, part.to_vec())
        });
        let compared = stream::iter(parts.collect::<Vec<_>>()).map(|(begin, part)| {
            let (key, standing) = (self.vault.digests.clone(), Arc::clone(standing));
            executor.run(move || fates_of(&key, &*standing, begin, &part))
        });
        Ok(compared.buffered(executor.parallelism().get()).try_concat().await?)
    }
}

/// Compares the blocks `part`, of which the first begins at `offset`. What cannot be read, is fetched.
fn fates_of(key: &DigestKey, standing: &dyn FileReader, mut offset: u64, part: &[BlockRef]) -> Vec<Fate> {
    let mut plain = BytesMut::new();
    let fate = |block: &BlockRef| {
        plain.resize(block.plain_bytes as usize, 0);
        let is_read = standing.read_at(offset, &mut plain).is_ok();
        offset += u64::from(block.plain_bytes);
        if is_read && block.is_of(key.digest(&plain), plain.len()) { Fate::Kept } else { Fate::Fetched }
    };
    part.iter().map(fate).collect()
}
