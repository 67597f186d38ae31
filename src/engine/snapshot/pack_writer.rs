//! Writing packs: the objects that hold the blocks of a snapshot.

use std::pin::pin;

use futures::future::{BoxFuture, Either, FutureExt, select};
use futures::stream::{FuturesUnordered, TryStreamExt};

use super::workshop::NewBlock;
use crate::engine::error::Result;
use crate::engine::server::ServerRepository;
use crate::engine::vault::VaultWriter;
use crate::format::block::EncodedBlock;
use crate::format::manifest::{BlockRef, PackId, PackTable};
use crate::format::pack::{Content, PackIndex};
use crate::model::SnapshotId;

/// A pack is ended at the first block that reaches this size.
const PACK_BYTES: u64 = 64 << 20;
/// How many complete packs may be on their way to being durable while the next one is written.
const PACKS_FINISHING: usize = 2;

/// Writes the blocks of one snapshot, in order, into as many packs as it takes.
#[derive(Debug)]
pub(super) struct PackWriter {
    server: ServerRepository,
    id: SnapshotId,
    number: u32,
    index: PackIndex,
    open: Option<VaultWriter>,
    /// Those that are complete, but not durable yet: how many bytes each takes.
    finishing: FuturesUnordered<BoxFuture<'static, Result<u64>>>,
    stored_bytes: u64,
}

impl PackWriter {
    pub(super) fn new(server: ServerRepository, id: SnapshotId) -> Self {
        let (index, finishing) = (PackIndex::default(), FuturesUnordered::new());
        Self { server, id, number: 0, index, open: None, finishing, stored_bytes: 0 }
    }

    /// Stores a block, and says where; its pack gets a place in `table`.
    pub(super) async fn append(
        &mut self,
        content: Content,
        NewBlock { encoded, digest, pages }: NewBlock,
        table: &mut PackTable,
    ) -> Result<BlockRef> {
        let EncodedBlock { codec, plain_bytes, stored, .. } = encoded;
        let stored_bytes = u32::try_from(stored.len()).expect("a block is at most a few MiB");
        let pack = table.place(&PackId::new(self.id.clone(), self.number));
        let place = BlockRef::new(pack, self.index.blocks_bytes(), stored_bytes, plain_bytes, codec, digest);
        let writer = match self.open.take() {
            Some(writer) => writer,
            None => self.server.vault.create(&self.server.layout.pack(&self.id, self.number)).await?,
        };
        self.open = Some(self.meanwhile(writer.write(&stored)).await?);
        self.index.push(content, plain_bytes, stored_bytes, codec, pages);
        if self.index.blocks_bytes() >= PACK_BYTES || self.index.is_full() {
            self.end_pack().await?;
        }
        Ok(place)
    }

    /// Ends the last pack, waits until all are durable, and says how many bytes they take.
    pub(super) async fn finish(mut self) -> Result<u64> {
        self.end_pack().await?;
        while let Some(bytes) = self.finishing.try_next().await? {
            self.stored_bytes += bytes;
        }
        Ok(self.stored_bytes)
    }

    /// A storage takes its time until an object is durable; the next pack need not wait for it.
    async fn end_pack(&mut self) -> Result<()> {
        let Some(writer) = self.open.take() else { return Ok(()) };
        while self.finishing.len() >= PACKS_FINISHING
            && let Some(bytes) = self.finishing.try_next().await?
        {
            self.stored_bytes += bytes;
        }
        let index = std::mem::take(&mut self.index).to_bytes();
        let finished = async move { Ok(writer.write(&index).await?.finish().await?.bytes) };
        self.finishing.push(finished.boxed());
        self.number += 1;
        Ok(())
    }

    /// Waits for `work`; what is being finished goes on meanwhile.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let mut work = pin!(work);
        while !self.finishing.is_empty() {
            match select(work.as_mut(), self.finishing.try_next()).await {
                Either::Left((done, _)) => return done,
                Either::Right((finished, _)) => self.stored_bytes += finished?.unwrap_or_default(),
            }
        }
        work.await
    }
}
