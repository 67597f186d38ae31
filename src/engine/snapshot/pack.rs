//! Packs: the objects that hold the blocks of a snapshot.

use bytes::Bytes;

use crate::engine::error::Result;
use crate::engine::repository::ServerRepository;
use crate::engine::vault::VaultWriter;
use crate::format::block::EncodedBlock;
use crate::format::digest::Digest;
use crate::format::manifest::BlockRef;
use crate::model::SnapshotId;

/// A pack is ended at the first block that reaches this size.
const PACK_BYTES: u64 = 64 << 20;

/// Writes the blocks of one snapshot, in order, into as many packs as it takes.
#[derive(Debug)]
pub(super) struct PackWriter {
    server: ServerRepository,
    id: SnapshotId,
    number: u32,
    offset: u64,
    open: Option<VaultWriter>,
    stored_bytes: u64,
}

impl PackWriter {
    pub(super) fn new(server: ServerRepository, id: SnapshotId) -> Self {
        Self { server, id, number: 0, offset: 0, open: None, stored_bytes: 0 }
    }

    /// Stores a block, and says where.
    pub(super) async fn append(&mut self, block: EncodedBlock, digest: Digest) -> Result<BlockRef> {
        let EncodedBlock { codec, plain_bytes, stored, .. } = block;
        let stored_bytes = u32::try_from(stored.len()).expect("a block is at most a few MiB");
        let place = BlockRef::new(self.number, self.offset, stored_bytes, plain_bytes, codec, digest);
        self.write(stored).await?;
        Ok(place)
    }

    /// Ends the last pack, and says how many bytes all of them take.
    pub(super) async fn finish(mut self) -> Result<u64> {
        self.end_pack().await?;
        Ok(self.stored_bytes)
    }

    async fn write(&mut self, stored: Bytes) -> Result<()> {
        let writer = match self.open.take() {
            Some(writer) => writer,
            None => self.server.vault.create(&self.server.layout.pack(&self.id, self.number)).await?,
        };
        self.offset += stored.len() as u64;
        self.open = Some(writer.write(&stored).await?);
        if self.offset < PACK_BYTES { Ok(()) } else { self.end_pack().await }
    }

    async fn end_pack(&mut self) -> Result<()> {
        let Some(writer) = self.open.take() else { return Ok(()) };
        self.stored_bytes += writer.finish().await?.bytes;
        self.number += 1;
        self.offset = 0;
        Ok(())
    }
}
