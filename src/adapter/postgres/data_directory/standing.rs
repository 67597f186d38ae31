//! A server that stands in the data directory already, over which another state of it is restored.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::disk::{self, failed};
use super::layout::{CONTROL, CONTROL_WAITING, Layout, STAGING};
use super::staging;
use crate::format::control_file::ControlFile;
use crate::model::{Incarnation, PostgresMajor, SystemId};
use crate::port::{FileReader, PortError, PortErrorKind};

/// Says whose directory it is while there is no `pg_control`. Locked while somebody restores.
const MARKER: &str = "pitr_restore";
/// May be a link to another disk.
const LOG: &str = "pg_wal";
/// Is there while a server runs.
const PID_FILE: &str = "postmaster.pid";

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
    /// Takes possession of what stands in the directories of `layout`; `None` if nothing does. From here on it cannot be started.
    pub(super) fn take(layout: &Layout, server: Incarnation) -> Result<Option<Self>, PortError> {
        let root = &layout.root;
        if disk::is_empty_or_absent(root)? {
            return Ok(None);
        }
        check(layout, server.system_id)?;
        let marker = mark(root, server.system_id)?;
        staging::remove(root)?;
        for control in [CONTROL, CONTROL_WAITING] {
            remove_if_any(&root.join(control))?;
        }
        disk::sync_directory(&root.join("global"))?;
        let kept: BTreeSet<_> = own_links(layout).chain([root.join(LOG)]).collect();
        let standing = Self { marker, major: server.major, hasher: RandomState::new(), restored: Mutex::default() };
        standing.directories(layout)?.iter().try_for_each(|directory| remove_links(directory, &kept))?;
        Ok(Some(standing))
    }

    /// Makes way for a file that is part of the restored server.
    pub(super) fn file(&self, path: &Path) -> Result<(), PortError> {
        self.note(path);
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => remove(path, true),
            Ok(found) if !is_own_file(&found) => remove(path, false),
            _ => Ok(()),
        }
    }

    /// Makes way for a directory that is part of the restored server.
    pub(super) fn directory(&self, path: &Path) -> Result<(), PortError> {
        self.note(path);
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => remove(path, false),
            _ => Ok(()),
        }
    }

    /// Removes all that is not part of the restored server.
    pub(super) fn remove_rest(&self, layout: &Layout) -> Result<(), PortError> {
        let root = &layout.root;
        for kept in [MARKER, STAGING, CONTROL_WAITING, LOG, "global", "pg_tblspc"] {
            self.note(&root.join(kept));
        }
        layout.tablespaces.keys().for_each(|oid| self.note(&layout.link(*oid)));
        self.directories(layout)?.iter().try_for_each(|directory| self.remove_rest_of(directory, root))
    }

    /// The directories that are the server's alone: in those of tablespaces, servers of other versions may have some too.
    fn directories(&self, layout: &Layout) -> Result<Vec<PathBuf>, PortError> {
        let mut directories = vec![layout.root.clone()];
        let prefix = format!("PG_{}_", self.major);
        for tablespace in layout.tablespaces.values().filter(|tablespace| tablespace.exists()) {
            let is_own =
                |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
            directories.extend(list(tablespace)?.into_iter().filter(|path| is_own(path) && path.is_dir()));
        }
        Ok(directories)
    }

    /// The restored server is complete.
    pub(super) fn release(&self, layout: &Layout) -> Result<(), PortError> {
        remove_if_any(&layout.root.join(MARKER))?;
        let _ = self.marker.unlock();
        Ok(())
    }

    fn remove_rest_of(&self, directory: &Path, root: &Path) -> Result<(), PortError> {
        for path in list(directory)? {
            let found = fs::symlink_metadata(&path).map_err(failed("look at", &path))?;
            let is_log = path == root.join(LOG);
            if !self.is_restored(&path) {
                remove(&path, found.is_dir())?;
            } else if path != root.join(STAGING) && (found.is_dir() || is_log && found.is_symlink()) {
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

/// That nothing is lost that is not to be restored. Touches nothing.
fn check(layout: &Layout, system_id: SystemId) -> Result<(), PortError> {
    let root = &layout.root;
    let found = system_id_of(root)?;
    if found != Some(system_id) {
        let found = found.map_or_else(|| "no data directory".to_owned(), |found| format!("that of server {found}"));
        return Err(conflict(root, &format!("is {found}, not that of server {system_id}")));
    }
    // Where the server runs cannot be told: it may be in another container. So even one that crashed counts.
    if root.join(PID_FILE).exists() {
        return Err(conflict(root, "has a postmaster.pid: stop its server before, or, if it crashed, remove the file"));
    }
    let own: BTreeSet<_> = own_links(layout).collect();
    for (oid, directory) in &layout.tablespaces {
        if !disk::is_empty_or_absent(directory)? && !own.contains(&layout.link(*oid)) {
            return Err(conflict(directory, &format!("is neither empty nor where pg_tblspc/{oid} leads to")));
        }
    }
    Ok(())
}

/// Whose data directory `root` is, by `pg_control`, or by what an earlier restore left in its place.
fn system_id_of(root: &Path) -> Result<Option<SystemId>, PortError> {
    let control = root.join(CONTROL);
    if let Some(bytes) = read_if_any(&control)? {
        let damaged = |error| conflict(&control, "is damaged: restore elsewhere").caused_by(error);
        return ControlFile::parse(&bytes).map(|control| Some(control.system_id)).map_err(damaged);
    }
    let marker = read_if_any(&root.join(MARKER))?.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(marker.and_then(|text| text.trim().parse().ok()).map(SystemId::new))
}

/// Leaves the mark of who is restored, and locks it.
fn mark(root: &Path, system_id: SystemId) -> Result<File, PortError> {
    let path = root.join(MARKER);
    let open = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let mut marker = open.map_err(failed("mark", &path))?;
    marker.try_lock().map_err(|_| conflict(root, "is being restored by somebody else"))?;
    let write = |marker: &mut File| {
        io::Write::write_all(marker, format!("{system_id}\n").as_bytes())?;
        marker.sync_all()
    };
    write(&mut marker).map_err(failed("mark", &path))?;
    disk::sync_directory(root)?;
    Ok(marker)
}

/// The links that lead already to where tablespaces are restored.
fn own_links(layout: &Layout) -> impl Iterator<Item = PathBuf> {
    let links = layout.tablespaces.iter().map(|(oid, directory)| (layout.link(*oid), directory));
    let leads_to = |link: &Path, directory: &Path| {
        let place = fs::read_link(link).and_then(|_| fs::canonicalize(link));
        place.is_ok_and(|place| fs::canonicalize(directory).is_ok_and(|directory| directory == place))
    };
    links.filter(move |(link, directory)| leads_to(link, directory)).map(|(link, _)| link)
}

/// Removes all symbolic links but those that are `kept`: where they lead to is not of the restored server.
fn remove_links(directory: &Path, kept: &BTreeSet<PathBuf>) -> Result<(), PortError> {
    for path in list(directory)? {
        let found = fs::symlink_metadata(&path).map_err(failed("look at", &path))?;
        if found.is_dir() {
            remove_links(&path, kept)?;
        } else if found.is_symlink() && !kept.contains(&path) {
            remove(&path, false)?;
        }
    }
    Ok(())
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, PortError> {
    let listed = fs::read_dir(directory).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    listed.map_err(failed("list", directory))
}

fn remove(path: &Path, is_directory: bool) -> Result<(), PortError> {
    let removed = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(failed("remove", path))
}

fn remove_if_any(path: &Path) -> Result<(), PortError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn read_if_any(path: &Path) -> Result<Option<Vec<u8>>, PortError> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        content => content.map(Some).map_err(failed("read", path)),
    }
}

fn conflict(path: &Path, what: &str) -> PortError {
    PortError::new(PortErrorKind::Conflict, format!("{} {what}", path.display()))
}

/// Whether it is a file that no other directory has too, by a hard link, and that can be written in its place.
fn is_own_file(found: &Metadata) -> bool {
    found.is_file() && found.nlink() == 1
}

/// A file that is compared with what is to be restored.
#[derive(Debug)]
pub(super) struct StandingFile(File, PathBuf);

impl StandingFile {
    /// The file at `path`; `None` if there is none, or it cannot be read.
    pub(super) fn open(path: PathBuf) -> Option<Self> {
        let file = File::open(&path).ok()?;
        file.metadata().is_ok_and(|found| is_own_file(&found)).then_some(Self(file, path))
    }
}

impl FileReader for StandingFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<Vec<u32>, PortError> {
        let read = disk::read_at(&self.0, offset, buffer).map_err(failed("read", &self.1))?;
        buffer[read..].fill(0);
        Ok(Vec::new())
    }
}
