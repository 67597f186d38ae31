//! Reading the manifests of snapshots.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::TryStreamExt;
use futures::stream::{self, BoxStream, StreamExt};

use super::error::{Error, ErrorKind, Result};
use super::packs::Packs;
use super::server::ServerRepository;
use crate::format::manifest::{
    BlockRef, Entry, Extent, Manifest, ManifestCounts, ManifestError, ManifestFile, ManifestReader, parse_part,
};
use crate::model::{FileEntry, ObjectKey, Snapshot, SnapshotId};
use crate::port::ExecutorExt;

/// Files that are worked on together: neighbours in a pack, fetched by as few requests as possible.
const GROUP_BYTES: u64 = 8 << 20;
const GROUP_FILES: usize = 256;
/// How many parts are fetched ahead.
const PARTS_IN_FLIGHT: usize = 2;

/// The manifest of `snapshot`.
///
/// # Errors
/// Also if it is that of another snapshot.
pub(super) async fn read(server: &ServerRepository, snapshot: &Snapshot) -> Result<Manifest> {
    let name = &snapshot.manifest.key;
    let manifest = read_named(server, name, &snapshot.id).await?;
    let incarnation = manifest.head.incarnation;
    if incarnation == snapshot.incarnation {
        return Ok(manifest);
    }
    Err(Error::new(ErrorKind::Corrupt, format!("{name} is a manifest of {incarnation}")))
}

/// The manifest that is stored as `name`, of the snapshot `id`.
///
/// # Errors
/// Also if it is that of another snapshot.
pub(super) async fn read_named(server: &ServerRepository, name: &ObjectKey, id: &SnapshotId) -> Result<Manifest> {
    let (mut sealed, mut reader) = (server.vault.stream(name).await?, ManifestReader::new());
    while let Some(plain) = sealed.next().await? {
        reader.feed(&plain).map_err(|error| Error::corrupt(name, error))?;
    }
    let manifest = reader.finish().map_err(|error| Error::corrupt(name, error))?;
    if manifest.head.snapshot == *id {
        return Ok(manifest);
    }
    Err(Error::new(ErrorKind::Corrupt, format!("{name} is not the manifest of snapshot {id}")))
}

/// The entries of the part of a manifest that `blocks` hold. `name` is what the manifest is called.
pub(super) async fn read_part(
    server: &ServerRepository,
    packs: &Packs,
    name: &ObjectKey,
    blocks: &[BlockRef],
) -> Result<Vec<Entry>> {
    let (text, packs) = (packs.fetch_whole(blocks).await?, packs.clone());
    let parsed = server.vault.executor.run(move || parse_part(&text, packs.table())).await?;
    parsed.map_err(|error| Error::corrupt(name, error))
}

/// Directories and files that follow each other in a manifest.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// They come before the files of this group, and of all later ones.
    pub(super) directories: Vec<FileEntry>,
    pub(super) files: Vec<ManifestFile>,
    bytes: u64,
}

impl Group {
    fn push(&mut self, entry: Entry) {
        match entry {
            Entry::Directory(entry) => self.directories.push(entry),
            Entry::File(file) => {
                self.bytes = self.bytes.saturating_add(file.entry.bytes);
                self.files.push(file);
            }
        }
    }

    /// The extents of all files, in order.
    pub(super) fn extents(&self) -> impl Iterator<Item = &Extent> {
        self.files.iter().flat_map(|file| &file.extents)
    }

    fn is_full(&self) -> bool {
        self.bytes >= GROUP_BYTES || self.files.len() + self.directories.len() >= GROUP_FILES
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.directories.is_empty()
    }
}

/// The entries of a manifest, as its parts are fetched.
pub(super) struct EntryStream {
    name: ObjectKey,
    parts: BoxStream<'static, Result<Vec<Entry>>>,
    entries: VecDeque<Entry>,
    /// What the manifest says is listed; `None` once that was confirmed.
    expected: Option<ManifestCounts>,
    found: ManifestCounts,
}

impl EntryStream {
    /// What `manifest` lists, which is called `name`; its parts are read from `packs`, which are its own.
    pub(super) fn new(server: &ServerRepository, name: &ObjectKey, manifest: &Manifest, packs: &Packs) -> Self {
        let parts = manifest.parts.clone().into_iter();
        let (server, object, packs) = (server.clone(), name.clone(), packs.clone());
        let read = move |blocks: Vec<BlockRef>| {
            let (server, object, packs) = (server.clone(), object.clone(), packs.clone());
            async move { read_part(&server, &packs, &object, &blocks).await }
        };
        let parts = stream::iter(parts).map(read).buffered(PARTS_IN_FLIGHT).boxed();
        let expected = Some(manifest.counts);
        Self { name: name.clone(), parts, entries: VecDeque::new(), expected, found: ManifestCounts::default() }
    }

    /// The next directories and files; `None` once all were read and proved to be complete.
    pub(super) async fn next_group(&mut self) -> Result<Option<Group>> {
        let mut group = Group::default();
        while !group.is_full() {
            match self.next().await? {
                Some(entry) => group.push(entry),
                None if group.is_empty() => return Ok(None),
                None => break,
            }
        }
        Ok(Some(group))
    }

    async fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                self.found.add(&entry);
                return Ok(Some(entry));
            }
            match self.parts.try_next().await? {
                Some(part) => self.entries = part.into(),
                None => return self.confirm().map(|()| None),
            }
        }
    }

    fn confirm(&mut self) -> Result<()> {
        match self.expected.take() {
            Some(expected) if expected != self.found => {
                let error = ManifestError::Counts { expected, found: self.found };
                Err(Error::corrupt(&self.name, error))
            }
            _ => Ok(()),
        }
    }
}

/// The packs of `manifest`, for reading.
pub(super) fn packs_of(server: &ServerRepository, manifest: &Manifest) -> Packs {
    Packs::new(server.clone(), Arc::new(manifest.packs.clone()))
}
