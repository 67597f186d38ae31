//! Restoring files: what the manifest lists, from packs to the target.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::channel::mpsc::{self, Receiver};
use futures::future::Either;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt, future};

use super::fate::{Fate, Fates};
use crate::engine::error::{Context, Error, ErrorKind, Result};
use crate::engine::manifest::Group;
use crate::engine::packs::{Packs, batches};
use crate::engine::progress::{Observer, Progress};
use crate::format::manifest::ManifestFile;
use crate::port::{FileWriter, RestoreTarget};

/// How many extents of 1 MiB wait to be written, beside those that are being fetched.
const EXTENTS_AHEAD: usize = 4;
const ZEROS: [u8; 4096] = [0; 4096];

/// Restores the files of one snapshot.
pub(super) struct FileRestore {
    packs: Packs,
    fates: Fates,
    target: Arc<dyn RestoreTarget>,
    observer: Observer<Progress>,
    progress: Mutex<Progress>,
}

impl FileRestore {
    pub(super) fn new(
        packs: Packs,
        fates: Fates,
        target: Arc<dyn RestoreTarget>,
        observer: Observer<Progress>,
        bytes_total: u64,
    ) -> Self {
        let progress = Mutex::new(Progress { bytes_total, ..Progress::default() });
        Self { packs, fates, target, observer, progress }
    }

    /// Writes the files of `group`, one after another; their directories are there.
    pub(super) async fn restore(&self, group: Group) -> Result<()> {
        let mut fates = Vec::with_capacity(group.files.len());
        for file in &group.files {
            fates.push(self.fates.of(file).await?);
        }
        let (sender, mut fetched) = mpsc::channel(EXTENTS_AHEAD);
        let fetching = pin!(self.fetch(&group, &fates).map(Ok).forward(sender));
        let writing = pin!(async {
            for (file, fates) in group.files.iter().zip(&fates) {
                self.write(file, fates, &mut fetched).await?;
            }
            Ok(())
        });
        // Both go on while either waits; whatever ends the writing ends all.
        match future::select(writing, fetching).await {
            Either::Left((written, _)) => written,
            Either::Right((_, writing)) => writing.await,
        }
    }

    async fn write(&self, file: &ManifestFile, fates: &[Fate], fetched: &mut Receiver<Result<Bytes>>) -> Result<()> {
        let path = &file.entry.path;
        let writing = || format!("writing {path}");
        let mut writer = self.target.file(&file.entry).await.context(writing)?;
        for (extent, fate) in file.extents.iter().zip(fates) {
            let bytes = u64::from(extent.bytes);
            match fate {
                Fate::Fetched => write_fetched(&mut *writer, path, fetched.next().await.transpose()?).await?,
                Fate::Kept => writer.keep(bytes).await.context(writing)?,
                Fate::Zeros => writer.zeros(bytes).await.context(writing)?,
            }
            self.tell(bytes, 0);
        }
        self.tell(0, 1);
        writer.finish().await.context(writing)
    }

    /// The extents of the files of `group` that are fetched, in order, a batch ahead.
    fn fetch(&self, group: &Group, fates: &[Vec<Fate>]) -> BoxStream<'_, Result<Bytes>> {
        let extents = group.extents().zip(fates.iter().flatten());
        let wanted = extents.filter(|(_, fate)| **fate == Fate::Fetched).map(|(extent, _)| extent);
        let fetched = stream::iter(batches(wanted)).map(|batch| self.packs.fetch_extents(batch)).buffered(2);
        fetched.map_ok(|extents| stream::iter(extents.into_iter().map(Ok))).try_flatten().boxed()
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

/// Writes what came for the file `path`; zeros take no room.
async fn write_fetched(writer: &mut dyn FileWriter, path: &str, extent: Option<Bytes>) -> Result<()> {
    let bytes = extent.ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("extents of {path} are missing")))?;
    let written = if is_zeros(&bytes) { writer.zeros(bytes.len() as u64).await } else { writer.write(bytes).await };
    written.context(|| format!("writing {path}"))
}

fn is_zeros(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|part| *part == ZEROS[..part.len()])
}
