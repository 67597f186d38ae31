//! Makes of bytes what is to be stored of them: on the executor.

use std::sync::Arc;

use bytes::Bytes;

use super::SnapshotSettings;
use super::base::BasePacks;
use super::layers::{KnownExtent, Layering};
use crate::engine::vault::Vault;
use crate::format::block::{self, BlockError, Compression, EncodedBlock};
use crate::format::digest::{Digest, DigestKey, PageDigest};
use crate::format::manifest::{BlockRef, Layer, PageSet};

/// An extent of a file.
pub(super) struct ReadExtent {
    pub(super) bytes: u32,
    pub(super) digest: Digest,
    /// The layers that it has in the packs of earlier snapshots.
    pub(super) kept: Vec<Layer>,
    /// The one that comes on top.
    pub(super) top: Option<(PageSet, Block)>,
}

/// What is to be at some place in a pack.
pub(super) enum Block {
    New(NewBlock),
    /// What is at this place in the packs of earlier snapshots.
    Known(BlockRef),
}

/// A block that is to be stored.
pub(super) struct NewBlock {
    pub(super) encoded: EncodedBlock,
    pub(super) digest: Digest,
    pub(super) pages: Vec<PageDigest>,
}

/// Digests, compares and compresses.
pub(super) struct Workshop {
    digests: DigestKey,
    compression: Compression,
    packs: Arc<BasePacks>,
}

impl Workshop {
    pub(super) fn new(vault: &Vault, settings: &SnapshotSettings, packs: &Arc<BasePacks>) -> Self {
        Self { digests: vault.digests.clone(), compression: settings.compression, packs: Arc::clone(packs) }
    }

    /// The extent that reads `plain`, and may still be `known`.
    pub(super) fn extent(&self, plain: Bytes, known: Option<&KnownExtent>) -> Result<ReadExtent, BlockError> {
        let (found, bytes) = (self.digests.pages(&plain), u32::try_from(plain.len()).unwrap_or(u32::MAX));
        let whole = || Layering::whole(bytes);
        let layering = known.map_or_else(whole, |known| known.layering(bytes, &found));
        let digest = self.digests.of_pages(&found);
        let picked = (!layering.pages.is_empty()).then(|| layering.pick(plain));
        let pages = layering.pages.iter().map(|page| found[page]).collect();
        let top = picked.map(|plain| self.block(plain, pages)).transpose()?;
        Ok(ReadExtent { bytes, digest, kept: layering.kept, top: top.map(|block| (layering.pages, block)) })
    }

    /// The blocks of a part of the manifest: all of them known, or none.
    pub(super) fn part(&self, pieces: Vec<Bytes>) -> Result<Vec<Block>, BlockError> {
        let find = |piece: &Bytes| self.packs.find(self.digests.digest(piece), piece.len()).map(Block::Known);
        if let Some(known) = pieces.iter().map(find).collect() {
            return Ok(known);
        }
        let new = |piece: Bytes| {
            let pages = self.digests.pages(&piece);
            self.new_block(piece, self.digests.of_pages(&pages), pages)
        };
        pieces.into_iter().map(new).collect()
    }

    /// The block that reads `plain` and has these `pages`, if it is not there yet.
    fn block(&self, plain: Bytes, pages: Vec<PageDigest>) -> Result<Block, BlockError> {
        let digest = self.digests.of_pages(&pages);
        match self.packs.find(digest, plain.len()) {
            Some(known) => Ok(Block::Known(known)),
            None => self.new_block(plain, digest, pages),
        }
    }

    fn new_block(&self, plain: Bytes, digest: Digest, pages: Vec<PageDigest>) -> Result<Block, BlockError> {
        Ok(Block::New(NewBlock { encoded: block::encode(plain, self.compression)?, digest, pages }))
    }
}
