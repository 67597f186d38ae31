//! Reading blocks from packs, and extents that consist of them.

mod buffers;
mod extents;
mod indexes;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt, TryStreamExt};

use self::buffers::Buffers;
pub(super) use self::extents::batches;
use self::indexes::Indexes;
use super::error::{Error, Result};
use super::server::ServerRepository;
use super::vault::VaultReader;
use crate::format::block::{self, BlockError};
use crate::format::digest::{Digest, DigestKey};
use crate::format::manifest::{BlockRef, PackTable};
use crate::model::ObjectKey;

/// The most that one request fetches, in bytes before compression.
const RUN_BYTES: u64 = 8 << 20;
/// How many packs stay open. What changes little is spread over several, which are read in turn.
const PACKS_OPEN: usize = 64;

/// Blocks that stand next to each other in a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) pack: u32,
    pub(super) range: Range<u64>,
    plain_bytes: u64,
    blocks: Vec<BlockRef>,
}

/// Cuts `blocks` into runs.
pub(super) fn runs<'a>(blocks: impl IntoIterator<Item = &'a BlockRef>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for block in blocks {
        match runs.last_mut().filter(|run| run.is_joined_by(block)) {
            Some(run) => run.push(*block),
            None => runs.push(Run::begin(*block)),
        }
    }
    runs
}

impl Run {
    fn begin(block: BlockRef) -> Self {
        let (pack, plain_bytes) = (block.pack, block.plain_bytes.into());
        Self { pack, range: block.offset..block.end(), plain_bytes, blocks: vec![block] }
    }

    fn is_joined_by(&self, block: &BlockRef) -> bool {
        let is_next = self.pack == block.pack && self.range.end == block.offset;
        is_next && self.plain_bytes + u64::from(block.plain_bytes) <= RUN_BYTES
    }

    fn push(&mut self, block: BlockRef) {
        self.range.end = block.end();
        self.plain_bytes += u64::from(block.plain_bytes);
        self.blocks.push(block);
    }
}

/// The packs that a snapshot uses. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Packs {
    server: ServerRepository,
    table: Arc<PackTable>,
    /// The one that was read last comes last.
    open: Arc<Mutex<VecDeque<(u32, VaultReader)>>>,
    indexes: Arc<Indexes>,
    buffers: Buffers,
}

impl Packs {
    /// The packs of `table`, of which blocks are read that name no others.
    pub(super) fn new(server: ServerRepository, table: Arc<PackTable>) -> Self {
        Self { server, table, open: Arc::default(), indexes: Arc::default(), buffers: Buffers::default() }
    }

    pub(super) fn table(&self) -> &PackTable {
        &self.table
    }

    /// What the pack at `place` is called.
    pub(super) fn key(&self, place: u32) -> ObjectKey {
        let id = &self.table.get(place).expect("blocks are in packs of their table").id;
        self.server.layout.pack(&id.snapshot, id.number)
    }

    /// Reads the blocks of `run`: opened, decompressed, and compared with their digests.
    pub(super) async fn fetch(&self, run: Run) -> Result<Vec<Bytes>> {
        let Run { pack, range, blocks, .. } = run;
        let (start, key) = (range.start, self.server.vault.digests.clone());
        let decoded = self.open(pack).await?.read(range, move |stored| decode(&key, &stored, start, &blocks)).await?;
        decoded.map_err(|error| Error::corrupt(self.key(pack), error))
    }

    /// Reads `blocks` as one text.
    pub(super) async fn fetch_whole(&self, blocks: &[BlockRef]) -> Result<Bytes> {
        let fetched = stream::iter(runs(blocks)).map(|run| self.fetch(run)).buffered(2);
        let blocks = fetched.map_ok(|blocks| stream::iter(blocks.into_iter().map(Ok::<_, Error>))).try_flatten();
        let whole = blocks.try_fold(BytesMut::new(), async |mut whole, block| {
            whole.extend_from_slice(&block);
            Ok(whole)
        });
        Ok(whole.await?.freeze())
    }

    async fn open(&self, place: u32) -> Result<VaultReader> {
        if let Some(reader) = self.take(place) {
            return Ok(self.keep(place, reader));
        }
        let reader = self.server.vault.open(&self.key(place)).await?;
        Ok(self.keep(place, reader))
    }

    fn take(&self, place: u32) -> Option<VaultReader> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let found = open.iter().rposition(|(open, _)| *open == place)?;
        open.remove(found).map(|(_, reader)| reader)
    }

    fn keep(&self, place: u32, reader: VaultReader) -> VaultReader {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back((place, reader.clone()));
        if open.len() > PACKS_OPEN {
            open.pop_front();
        }
        reader
    }
}

/// Why the blocks of a run are not what they should be.
#[derive(Debug, thiserror::Error)]
enum DecodeError {
    #[error("the block at {offset} does not decode")]
    Block { offset: u64, source: BlockError },
    #[error("the block at {offset} has the digest {found}, expected was {expected}")]
    Digest { offset: u64, expected: Digest, found: Digest },
}

impl DecodeError {
    /// What is wrong with `block`, which reads `plain`: nothing, if that has its digest.
    fn of(key: &DigestKey, block: &BlockRef, plain: &[u8]) -> Result<(), Self> {
        let BlockRef { offset, digest: expected, .. } = *block;
        let found = key.digest(plain);
        if found == expected { Ok(()) } else { Err(Self::Digest { offset, expected, found }) }
    }
}

/// The blocks of a run that begins at `start` of its pack, each checked.
fn decode(key: &DigestKey, stored: &Bytes, start: u64, blocks: &[BlockRef]) -> Result<Vec<Bytes>, DecodeError> {
    let one = |block: &BlockRef| {
        let plain = block::decode(block.codec, block.plain_bytes.into(), stored_block(stored, start, block))
            .map_err(|source| DecodeError::Block { offset: block.offset, source })?;
        DecodeError::of(key, block, &plain).map(|()| plain)
    };
    blocks.iter().map(one).collect()
}

/// What is stored of `block`, in the bytes of a run that begins at `start` of its pack.
fn stored_block(run: &Bytes, start: u64, block: &BlockRef) -> Bytes {
    let begin = usize::try_from(block.offset - start).unwrap_or(usize::MAX);
    run.slice(begin..begin + block.stored_bytes as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::block::Codec;

    #[test]
    fn neighbours_are_fetched_together() {
        const MIB: u32 = 1 << 20;
        let rows = [
            (0, 0, 10, 20),
            (0, 10, 10, 20),
            (0, 20, 5, 5),
            (0, 30, 5, 5),
            (1, 35, 5, 7 * MIB),
            (1, 40, 5, MIB),
            (1, 45, 5, 1),
        ];
        let blocks = rows.map(|(pack, offset, stored, plain)| {
            BlockRef::new(pack, offset, stored, plain, Codec::Stored, Digest::new([0; 16]))
        });
        let runs: Vec<_> = runs(&blocks).into_iter().map(|run| (run.pack, run.range, run.blocks.len())).collect();
        assert_eq!(runs, [(0, 0..25, 3), (0, 30..35, 1), (1, 35..45, 2), (1, 45..50, 1)]);
    }
}
