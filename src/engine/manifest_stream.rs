//! Reading the manifests of snapshots.

use std::collections::VecDeque;

use super::error::{Error, ErrorKind, Result};
use super::repository::ServerRepository;
use super::vault::VaultStream;
use crate::format::manifest::{ManifestEnd, ManifestFile, ManifestHead, ManifestLine, ManifestReader};
use crate::model::{FileEntry, ObjectKey, Snapshot, SnapshotId};

/// Files that are worked on together: neighbours in a pack, fetched by as few requests as possible.
const GROUP_BYTES: u64 = 8 << 20;
const GROUP_FILES: usize = 256;

/// Directories and files that follow each other in a manifest.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// They come before the files of this group, and of all later ones.
    pub(super) directories: Vec<FileEntry>,
    pub(super) files: Vec<ManifestFile>,
    bytes: u64,
}

impl Group {
    fn push(&mut self, line: ManifestLine) {
        match line {
            ManifestLine::Directory(entry) => self.directories.push(entry),
            ManifestLine::File(file) => {
                self.bytes = self.bytes.saturating_add(file.entry.bytes);
                self.files.push(file);
            }
            ManifestLine::Head(_) | ManifestLine::End(_) => {}
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= GROUP_BYTES || self.files.len() + self.directories.len() >= GROUP_FILES
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.directories.is_empty()
    }
}

/// The lines of a manifest, as they are fetched.
pub(super) struct ManifestStream {
    name: ObjectKey,
    sealed: VaultStream,
    /// `None` once the manifest was read whole.
    reader: Option<ManifestReader>,
    lines: VecDeque<ManifestLine>,
}

impl ManifestStream {
    /// Opens the manifest of `snapshot`, and reads its head.
    ///
    /// # Errors
    /// Also if it is that of another snapshot.
    pub(super) async fn of(server: &ServerRepository, snapshot: &Snapshot) -> Result<(ManifestHead, Self)> {
        let name = &snapshot.manifest.key;
        let (head, stream) = Self::open(server, name, &snapshot.id).await?;
        if head.incarnation == snapshot.incarnation {
            return Ok((head, stream));
        }
        Err(Error::new(ErrorKind::Corrupt, format!("{name} is a manifest of {}", head.incarnation)))
    }

    /// Opens the manifest that is stored as `name`, of the snapshot `id`, and reads its head.
    pub(super) async fn open(
        server: &ServerRepository,
        name: &ObjectKey,
        id: &SnapshotId,
    ) -> Result<(ManifestHead, Self)> {
        let sealed = server.vault.stream(name).await?;
        let mut stream =
            Self { name: name.clone(), sealed, reader: Some(ManifestReader::new()), lines: VecDeque::new() };
        match stream.next().await? {
            Some(ManifestLine::Head(head)) if head.snapshot == *id => Ok((head, stream)),
            _ => Err(Error::new(ErrorKind::Corrupt, format!("{name} is not the manifest of snapshot {id}"))),
        }
    }

    /// Reads all of it, and gives its counts.
    pub(super) async fn counts(mut self) -> Result<ManifestEnd> {
        let mut end = ManifestEnd::default();
        while let Some(line) = self.next().await? {
            if let ManifestLine::End(counts) = line {
                end = counts;
            }
        }
        Ok(end)
    }

    /// The next directories and files; `None` once the manifest was read whole and proved to be complete.
    pub(super) async fn next_group(&mut self) -> Result<Option<Group>> {
        let mut group = Group::default();
        while !group.is_full() {
            match self.next().await? {
                Some(line) => group.push(line),
                None if group.is_empty() => return Ok(None),
                None => break,
            }
        }
        Ok(Some(group))
    }

    async fn next(&mut self) -> Result<Option<ManifestLine>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Some(line));
            }
            let Some(mut reader) = self.reader.take() else { return Ok(None) };
            let damaged = |error| Error::corrupt(&self.name, error);
            match self.sealed.next().await? {
                Some(plain) => {
                    self.lines.extend(reader.feed(&plain).map_err(damaged)?);
                    self.reader = Some(reader);
                }
                None => {
                    reader.finish().map_err(damaged)?;
                }
            }
        }
    }
}
