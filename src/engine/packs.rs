//! Reading the blocks of a snapshot's files from its packs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::error::{Error, Result};
use super::repository::ServerRepository;
use super::vault::VaultReader;
use crate::format::block::{self, BlockError};
use crate::format::digest::Digest;
use crate::format::manifest::{BlockRef, ManifestFile};
use crate::model::{ObjectKey, SnapshotId};

/// The most that one request fetches, in bytes of files.
const RUN_BYTES: u64 = 8 << 20;
/// Packs are read roughly in order, so a few suffice.
const PACKS_OPEN: usize = 16;

/// Blocks that stand next to each other in a pack.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) pack: u32,
    pub(super) range: Range<u64>,
    plain_bytes: u64,
    blocks: Vec<BlockRef>,
}

/// Cuts the blocks of `files` into runs.
pub(super) fn runs(files: &[ManifestFile]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for block in files.iter().flat_map(|file| &file.blocks) {
        match runs.last_mut().filter(|run| run.is_joined_by(block)) {
            Some(run) => run.push(block),
            None => runs.push(Run::begin(block)),
        }
    }
    runs
}

impl Run {
    fn begin(block: &BlockRef) -> Self {
        let (pack, plain_bytes) = (block.pack, block.plain_bytes.into());
        Self { pack, range: block.offset..end(block), plain_bytes, blocks: vec![block.clone()] }
    }

    fn is_joined_by(&self, block: &BlockRef) -> bool {
        let is_next = self.pack == block.pack && self.range.end == block.offset;
        is_next && self.plain_bytes + u64::from(block.plain_bytes) <= RUN_BYTES
    }

    fn push(&mut self, block: &BlockRef) {
        self.range.end = end(block);
        self.plain_bytes += u64::from(block.plain_bytes);
        self.blocks.push(block.clone());
    }
}

fn end(block: &BlockRef) -> u64 {
    block.offset.saturating_add(block.stored_bytes.into())
}

/// The packs of one snapshot. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Packs {
    server: ServerRepository,
    id: SnapshotId,
    open: Arc<Mutex<BTreeMap<u32, VaultReader>>>,
}

impl Packs {
    pub(super) fn new(server: ServerRepository, id: SnapshotId) -> Self {
        Self { server, id, open: Arc::default() }
    }

    /// What the pack `number` is called.
    pub(super) fn key(&self, number: u32) -> ObjectKey {
        self.server.layout.pack(&self.id, number)
    }

    /// Reads the blocks of `run`: opened, decompressed, and compared with their digests.
    pub(super) async fn fetch(&self, run: Run) -> Result<Vec<Bytes>> {
        let Run { pack, range, blocks, .. } = run;
        let start = range.start;
        let decoded = self.pack(pack).await?.read(range, move |stored| decode(&stored, start, &blocks)).await?;
        decoded.map_err(|error| Error::corrupt(self.key(pack), error))
    }

    /// The pack `number`, opened.
    pub(super) async fn pack(&self, number: u32) -> Result<VaultReader> {
        let open = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = open().get(&number) {
            return Ok(reader.clone());
        }
        let reader = self.server.vault.open(&self.key(number)).await?;
        let mut packs = open();
        packs.insert(number, reader.clone());
        if packs.len() > PACKS_OPEN {
            packs.pop_first();
        }
        Ok(reader)
    }
}

/// Why the blocks of a run are not what the manifest says.
#[derive(Debug, thiserror::Error)]
enum DecodeError {
    #[error("the block at {offset} does not decode")]
    Block { offset: u64, source: BlockError },
    #[error("the block at {offset} has the digest {found}, the manifest says {expected}")]
    Digest { offset: u64, expected: Digest, found: Digest },
}

/// The blocks of a run that begins at `start` of its pack, each checked against the manifest.
fn decode(stored: &Bytes, start: u64, blocks: &[BlockRef]) -> Result<Vec<Bytes>, DecodeError> {
    let one = |block: &BlockRef| {
        let offset = block.offset;
        let begin = usize::try_from(offset - start).unwrap_or(usize::MAX);
        let bytes = stored.slice(begin..begin + block.stored_bytes as usize);
        let plain = block::decode(block.codec, block.plain_bytes.into(), bytes)
            .map_err(|source| DecodeError::Block { offset, source })?;
        let (expected, found) = (block.digest, Digest::of(&plain));
        if found == expected { Ok(plain) } else { Err(DecodeError::Digest { offset, expected, found }) }
    };
    blocks.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::block::Codec;
    use crate::model::FileEntry;

    fn file(blocks: &[(u32, u64, u32, u32)]) -> ManifestFile {
        let block =
            |&(pack, offset, stored, plain)| BlockRef::new(pack, offset, stored, plain, Codec::Stored, Digest::of(b""));
        ManifestFile::new(FileEntry::new("x", 0, 0o600, 0), blocks.iter().map(block).collect())
    }

    #[test]
    fn neighbours_are_fetched_together() {
        const MIB: u32 = 1 << 20;
        let files = [
            file(&[(0, 0, 10, 20), (0, 10, 10, 20)]),
            file(&[]),
            file(&[(0, 20, 5, 5)]),
            file(&[(0, 30, 5, 5)]),
            file(&[(1, 35, 5, 7 * MIB), (1, 40, 5, MIB), (1, 45, 5, 1)]),
        ];
        let runs: Vec<_> = runs(&files).into_iter().map(|run| (run.pack, run.range, run.blocks.len())).collect();
        assert_eq!(runs, [(0, 0..25, 3), (0, 30..35, 1), (1, 35..45, 2), (1, 45..50, 1)]);
    }
}
