//! A server that stands in the data directory already, over which another state of it is restored.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::super::disk::{self, failed};
use super::layout::{CONTROL_WAITING, LOG, Layout, MARKER, STAGING};
use super::{possession, staging};
use crate::model::{Incarnation, PostgresMajor};
use crate::port::{FileReader, PortError};

/// What is left of the server, and what is part of the restored one.
#[derive(Debug)]
pub(super) struct Standing {
    marker: File,
    major: PostgresMajor,
    hasher: RandomState,
    /// The hashes of all paths that were restored: 8 bytes a file and what a set needs.
    restored: Mutex<HashSet<u64>>,
}

impl Standing {
    /// Takes possession of what stands in the directories of `layout`, of which [`check`](possession::check) found nothing to
    /// be lost, and the root is there. From here on it cannot be started.
    pub(super) fn take(layout: &Layout, server: Incarnation) -> Result<Self, PortError> {
        let root = &layout.root;
        let marker = possession::mark(root, server.system_id)?;
        possession::disable(root)?;
        staging::remove(root)?;
        let standing = Self { marker, major: server.major, hasher: RandomState::new(), restored: Mutex::default() };
        let kept: BTreeSet<_> = possession::own_links(layout).collect();
        for directory in layout.tablespaces.values().filter(|directory| directory.exists()) {
            disk::list(directory)?
                .iter()
                .filter(|path| standing.is_of_version(path))
                .try_for_each(|path| unlink(path))?;
        }
        standing.directories(layout)?.iter().try_for_each(|directory| remove_links(directory, &kept))?;
        layout.links().filter(|(link, _)| !kept.contains(link)).try_for_each(|(link, _)| disk::make_way(&link))?;
        Ok(standing)
    }

    /// Makes way for a file that is part of the restored server.
    pub(super) fn file(&self, path: &Path) -> Result<(), PortError> {
        self.note(path);
        match fs::symlink_metadata(path) {
            Ok(found) if !disk::is_own_file(&found) => disk::remove(path, found.is_dir()),
            _ => Ok(()),
        }
    }

    /// Makes way for a directory that is part of the restored server.
    pub(super) fn directory(&self, path: &Path) -> Result<(), PortError> {
        self.note(path);
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => disk::remove(path, false),
            _ => Ok(()),
        }
    }

    /// Removes all that is not part of the restored server.
    pub(super) fn remove_rest(&self, layout: &Layout) -> Result<(), PortError> {
        let root = &layout.root;
        for kept in [MARKER, STAGING, CONTROL_WAITING, LOG, "global", "pg_tblspc"] {
            self.note(&root.join(kept));
        }
        layout.links().for_each(|(link, _)| self.note(&link));
        self.directories(layout)?.iter().try_for_each(|directory| self.remove_rest_of(directory, root))
    }

    /// The directories that are the server's alone: in those of tablespaces, servers of other versions may have some too.
    fn directories(&self, layout: &Layout) -> Result<Vec<PathBuf>, PortError> {
        let mut directories = vec![layout.root.clone()];
        directories.extend(layout.log.clone().filter(|log| log.exists()));
        for tablespace in layout.tablespaces.values().filter(|tablespace| tablespace.exists()) {
            directories
                .extend(disk::list(tablespace)?.into_iter().filter(|path| self.is_of_version(path) && path.is_dir()));
        }
        Ok(directories)
    }

    /// Whether something in a tablespace is what servers of this version have there.
    fn is_of_version(&self, path: &Path) -> bool {
        let prefix = format!("PG_{}_", self.major);
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
    }

    /// The restored server is complete.
    pub(super) fn release(&self, layout: &Layout) -> Result<(), PortError> {
        disk::remove_if_any(&layout.root.join(MARKER))?;
        let _ = self.marker.unlock();
        Ok(())
    }

    fn remove_rest_of(&self, directory: &Path, root: &Path) -> Result<(), PortError> {
        for path in disk::list(directory)? {
            let is_directory = disk::symlink_metadata(&path)?.is_dir();
            if !self.is_restored(&path) {
                disk::remove(&path, is_directory)?;
            } else if path != root.join(STAGING) && is_directory {
                self.remove_rest_of(&path, root)?;
            }
        }
        Ok(())
    }

    fn note(&self, path: &Path) {
        let hash = self.hasher.hash_one(path);
        self.restored.lock().unwrap_or_else(PoisonError::into_inner).insert(hash);
    }

    fn is_restored(&self, path: &Path) -> bool {
        let hash = self.hasher.hash_one(path);
        self.restored.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash)
    }
}

/// Removes all symbolic links but those that are `kept`: where they lead to is not of the restored server.
fn remove_links(directory: &Path, kept: &BTreeSet<PathBuf>) -> Result<(), PortError> {
    for path in disk::list(directory)? {
        if disk::symlink_metadata(&path)?.is_dir() {
            remove_links(&path, kept)?;
        } else if !kept.contains(&path) {
            unlink(&path)?;
        }
    }
    Ok(())
}

/// Removes `path` if it is a symbolic link.
fn unlink(path: &Path) -> Result<(), PortError> {
    if disk::symlink_metadata(path)?.is_symlink() { disk::remove(path, false) } else { Ok(()) }
}

/// A file that is compared with what is to be restored.
#[derive(Debug)]
pub(super) struct StandingFile(File, PathBuf);

impl StandingFile {
    /// The file at `path`; `None` if there is none, or it cannot be read. Opens nothing else: to open a pipe would wait for ever.
    pub(super) fn open(path: PathBuf) -> Option<Self> {
        let found = fs::symlink_metadata(&path).ok()?;
        let file = disk::is_own_file(&found).then(|| File::open(&path).ok()).flatten()?;
        Some(Self(file, path))
    }
}

impl FileReader for StandingFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<Vec<u32>, PortError> {
        let failed = failed("read", &self.1);
        match disk::read_at(&self.0, offset, buffer) {
            Ok(read) if read < buffer.len() => Err(failed(ErrorKind::UnexpectedEof.into())),
            read => read.map(|_| Vec::new()).map_err(failed),
        }
    }
}
