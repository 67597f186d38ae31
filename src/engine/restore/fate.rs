//! What becomes of the blocks of a file.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::BytesMut;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::engine::error::{Context, Result};
use crate::engine::vault::Vault;
use crate::format::digest::DigestKey;
use crate::format::manifest::{BlockRef, ManifestFile};
use crate::port::{ExecutorExt, FileReader, RestoreTarget};

/// The blocks that are compared in one go.
const BLOCKS_AT_A_TIME: usize = 8;
/// Databases below this number come with every server (`FirstNormalObjectId` in `src/include/access/transam.h`).
const OID_OF_USERS_MIN: u32 = 16_384;
/// What makes a directory a database. That its `pg_filenode.map` is invalid ends every attempt to connect to it, before anything of its
/// catalogs is believed.
const ALWAYS_RESTORED: &str = "PG_VERSION";

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
    /// The databases that are wanted; all if `None`.
    databases: Option<BTreeSet<u32>>,
}

impl Fates {
    pub(super) fn new(vault: Vault, target: Arc<dyn RestoreTarget>, databases: Option<BTreeSet<u32>>) -> Self {
        Self { vault, target, databases }
    }

    /// The fates of the blocks of `file`.
    pub(super) async fn of(&self, file: &ManifestFile) -> Result<Vec<Fate>> {
        if self.databases.as_ref().is_some_and(|databases| is_left_out(databases, &file.entry.path)) {
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

/// Whether the file `path` is of a database of users that is none of `databases`.
fn is_left_out(databases: &BTreeSet<u32>, path: &str) -> bool {
    let parts: Vec<_> = path.split('/').collect();
    let (["base", database, name] | ["pg_tblspc", _, _, database, name]) = parts[..] else { return false };
    let is_unwanted = |oid: u32| oid >= OID_OF_USERS_MIN && !databases.contains(&oid);
    name != ALWAYS_RESTORED && database.parse().is_ok_and(is_unwanted)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_of_users_can_be_left_out() {
        for (path, left_out) in [
            ("base/16400/2619", false),
            ("base/16401/2619", true),
            ("base/16401/PG_VERSION", false),
            ("base/16401/pg_filenode.map", true),
            ("base/5/2619", false),
            ("pg_tblspc/16390/PG_15_202209061/16401/16402", true),
            ("pg_tblspc/16390/PG_15_202209061/16400/16402", false),
            ("global/1262", false),
            ("base/other/1", false),
            ("postgresql.conf", false),
        ] {
            assert_eq!(is_left_out(&BTreeSet::from([16_400]), path), left_out, "{path}");
        }
    }
}
