//! Restoring files: what the manifest lists, from packs to the target.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::engine::error::{Context, Error, ErrorKind, Result};
use crate::engine::manifest::Group;
use crate::engine::packs::{Packs, runs};
use crate::engine::progress::{Observer, Progress};
use crate::format::manifest::ManifestFile;
use crate::port::RestoreTarget;

/// Restores the files of one snapshot.
pub(super) struct FileRestore {
    packs: Packs,
    target: Arc<dyn RestoreTarget>,
    observer: Observer<Progress>,
    progress: Mutex<Progress>,
}

impl FileRestore {
    pub(super) fn new(
        packs: Packs,
        target: Arc<dyn RestoreTarget>,
        observer: Observer<Progress>,
        bytes_total: u64,
    ) -> Self {
        let progress = Mutex::new(Progress { bytes_total, ..Progress::default() });
        Self { packs, target, observer, progress }
    }

    /// Writes the files of `group`, one after another; their directories are there.
    pub(super) async fn restore(&self, group: Group) -> Result<()> {
        let mut blocks = self.blocks(&group);
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

    /// The blocks of the files of `group` in order, fetched a run ahead.
    fn blocks(&self, group: &Group) -> BoxStream<'_, Result<Bytes>> {
        let fetched = stream::iter(runs(group.blocks())).map(|run| self.packs.fetch(run)).buffered(2);
        fetched.map_ok(|blocks| stream::iter(blocks.into_iter().map(Ok))).try_flatten().boxed()
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
