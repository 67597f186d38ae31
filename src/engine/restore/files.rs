//! Restoring files: what the manifest lists, from packs to the target.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::engine::error::{Context, Error, ErrorKind, Result};
use crate::engine::progress::{Observer, Progress};
use crate::engine::repository::ServerRepository;
use crate::engine::vault::VaultReader;
use crate::format::block::{self, BlockError};
use crate::format::digest::Digest;
use crate::format::manifest::{BlockRef, ManifestFile};
use crate::model::SnapshotId;
use crate::port::RestoreTarget;

/// The files that are restored together: neighbours in a pack, fetched by as few requests as possible.
const GROUP_BYTES: u64 = 8 << 20;
const GROUP_FILES: usize = 256;
/// The most that one request fetches, in bytes of files.
const RUN_BYTES: u64 = 8 << 20;
/// Packs are read roughly in order, so a few suffice.
const PACKS_OPEN: usize = 16;

/// Restores the files of one snapshot.
pub(super) struct FileRestore {
    server: ServerRepository,
    id: SnapshotId,
    target: Arc<dyn RestoreTarget>,
    packs: Mutex<BTreeMap<u32, VaultReader>>,
    observer: Observer<Progress>,
    progress: Mutex<Progress>,
}

/// Files that follow each other in the manifest.
#[derive(Debug, Default)]
pub(super) struct Group {
    files: Vec<ManifestFile>,
    bytes: u64,
}

impl Group {
    pub(super) fn push(&mut self, file: ManifestFile) {
        self.bytes = self.bytes.saturating_add(file.entry.bytes);
        self.files.push(file);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= GROUP_BYTES || self.files.len() >= GROUP_FILES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// Blocks that stand next to each other in a pack.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    pack: u32,
    range: Range<u64>,
    plain_bytes: u64,
    blocks: Vec<BlockRef>,
}

impl FileRestore {
    pub(super) fn new(
        server: ServerRepository,
        id: SnapshotId,
        target: Arc<dyn RestoreTarget>,
        observer: Observer<Progress>,
        bytes_total: u64,
    ) -> Self {
        let progress = Mutex::new(Progress { bytes_total, ..Progress::default() });
        Self { server, id, target, packs: Mutex::default(), observer, progress }
    }

    /// Writes the files of `group`, one after another.
    pub(super) async fn restore(&self, group: Group) -> Result<()> {
        let mut blocks = self.blocks(&group.files);
        for file in &group.files {
            self.write(file, &mut blocks).await?;
        }
        Ok(())
    }

    async fn write(&self, file: &ManifestFile, blocks: &mut BoxStream<'_, Result<Bytes>>) -> Result<()> {
        let path = &file.entry.path;
        let writing = || format!("writing {path}");
        let mut writer = self.target.file(&file.entry).await.context(writing)?;
        for _ in &file.blocks {
            let block = blocks.try_next().await?;
            let bytes = block.ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("blocks of {path} are missing")))?;
            self.tell(bytes.len() as u64, 0);
            writer.write(bytes).await.context(writing)?;
        }
        self.tell(0, 1);
        writer.finish().await.context(writing)
    }

    /// The blocks of `files` in order, fetched a run ahead.
    fn blocks(&self, files: &[ManifestFile]) -> BoxStream<'_, Result<Bytes>> {
        let fetched = stream::iter(runs(files)).map(|run| self.fetch(run)).buffered(2);
        fetched.map_ok(|blocks| stream::iter(blocks.into_iter().map(Ok))).try_flatten().boxed()
    }

    async fn fetch(&self, run: Run) -> Result<VecDeque<Bytes>> {
        let Run { pack, range, blocks, .. } = run;
        let start = range.start;
        let decoded = self.pack(pack).await?.read(range, move |stored| decode(&stored, start, &blocks)).await?;
        decoded.map_err(|error| Error::corrupt(self.server.layout.pack(&self.id, pack), error))
    }

    async fn pack(&self, number: u32) -> Result<VaultReader> {
        let open = || self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = open().get(&number) {
            return Ok(reader.clone());
        }
        let reader = self.server.vault.open(&self.server.layout.pack(&self.id, number)).await?;
        let mut packs = open();
        packs.insert(number, reader.clone());
        if packs.len() > PACKS_OPEN {
            packs.pop_first();
        }
        Ok(reader)
    }

    fn tell(&self, bytes: u64, files: u64) {
        let progress = {
            let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            progress.bytes += bytes;
            progress.files += files;
            *progress
        };
        self.observer.tell(&progress);
    }
}

/// Cuts the blocks of `files` into runs.
fn runs(files: &[ManifestFile]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for block in files.iter().flat_map(|file| &file.blocks) {
        let plain_bytes = u64::from(block.plain_bytes);
        let end = block.offset.saturating_add(block.stored_bytes.into());
        let joins = |run: &Run| {
            run.pack == block.pack && run.range.end == block.offset && run.plain_bytes + plain_bytes <= RUN_BYTES
        };
        match runs.last_mut().filter(|run| joins(run)) {
            Some(run) => {
                run.range.end = end;
                run.plain_bytes += plain_bytes;
                run.blocks.push(block.clone());
            }
            None => {
                let (range, blocks) = (block.offset..end, vec![block.clone()]);
                runs.push(Run { pack: block.pack, range, plain_bytes, blocks });
            }
        }
    }
    runs
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
fn decode(stored: &Bytes, start: u64, blocks: &[BlockRef]) -> Result<VecDeque<Bytes>, DecodeError> {
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
