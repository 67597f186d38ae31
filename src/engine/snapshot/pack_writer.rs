//! Writing packs: the objects that hold the blocks of a snapshot.

use crate::engine::error::Result;
use crate::engine::repository::ServerRepository;
use crate::engine::vault::VaultWriter;
use crate::format::block::EncodedBlock;
use crate::format::digest::Digest;
use crate::format::manifest::{BlockRef, PackId, PackTable};
use crate::format::pack::{Content, PackEntry, PackIndex};
use crate::model::SnapshotId;

/// A pack is ended at the first block that reaches this size.
const PACK_BYTES: u64 = 64 << 20;

/// Writes the blocks of one snapshot, in order, into as many packs as it takes.
#[derive(Debug)]
pub(super) struct PackWriter {
    server: ServerRepository,
    id: SnapshotId,
    number: u32,
    index: PackIndex,
    open: Option<VaultWriter>,
    stored_bytes: u64,
}

impl PackWriter {
    pub(super) fn new(server: ServerRepository, id: SnapshotId) -> Self {
        Self { server, id, number: 0, index: PackIndex::default(), open: None, stored_bytes: 0 }
    }

    /// Stores a block, and says where; its pack gets a place in `table`.
    pub(super) async fn append(
        &mut self,
        content: Content,
        block: EncodedBlock,
        digest: Digest,
        table: &mut PackTable,
    ) -> Result<BlockRef> {
        let EncodedBlock { codec, plain_bytes, stored, .. } = block;
        let stored_bytes = u32::try_from(stored.len()).expect("a block is at most a few MiB");
        let pack = table.place(&PackId::new(self.id.clone(), self.number));
        let place = BlockRef::new(pack, self.index.blocks_bytes(), stored_bytes, plain_bytes, codec, digest);
        let writer = match self.open.take() {
            Some(writer) => writer,
            None => self.server.vault.create(&self.server.layout.pack(&self.id, self.number)).await?,
        };
        self.open = Some(writer.write(&stored).await?);
        self.index.push(PackEntry::new(content, plain_bytes, stored_bytes, codec, digest));
        if self.index.blocks_bytes() >= PACK_BYTES || self.index.is_full() {
            self.end_pack().await?;
        }
        Ok(place)
    }

    /// Ends the last pack, and says how many bytes all of them take.
    pub(super) async fn finish(mut self) -> Result<u64> {
        self.end_pack().await?;
        Ok(self.stored_bytes)
    }

    async fn end_pack(&mut self) -> Result<()> {
        let Some(writer) = self.open.take() else { return Ok(()) };
        let index = std::mem::take(&mut self.index);
        self.stored_bytes += writer.write(&index.to_bytes()).await?.finish().await?.bytes;
        self.number += 1;
        Ok(())
    }
}
