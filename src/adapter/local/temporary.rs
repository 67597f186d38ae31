//! Files that are still being written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::failed;
use super::root::Root;
use crate::port::PortError;

/// A file that is being written, locked as long as its process lives, and removed when it is dropped.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    file: File,
    /// Whether its name was given up: then it may be another's by now.
    gone: AtomicBool,
}

impl Temporary {
    pub(super) fn create(root: &Root) -> Result<Self, PortError> {
        let directory = directory(root);
        fs::create_dir_all(&directory).map_err(failed("make", &directory))?;
        let (path, file) = create_new(&directory).map_err(failed("create a file in", &directory))?;
        let temporary = Self { path, file, gone: AtomicBool::new(false) };
        temporary.file.try_lock().map_err(|error| failed("lock", &temporary.path)(error.into()))?;
        Ok(temporary)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Appends `bytes`.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), PortError> {
        (&self.file).write_all(bytes).map_err(failed("write", &self.path))
    }

    /// Gives the file the name `target` as well, which must not exist.
    pub(super) fn link(&self, target: &Path) -> Result<(), PortError> {
        fs::hard_link(&self.path, target).map_err(failed("create", target))
    }

    /// Gives the file the name `target`, whatever has it.
    pub(super) fn rename(&self, target: &Path) -> Result<(), PortError> {
        fs::rename(&self.path, target).map_err(failed("replace", target))?;
        self.gone.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Removes the file, which is also done when it is dropped; here it is told if it cannot be.
    pub(super) fn remove(&self) -> Result<(), PortError> {
        fs::remove_file(&self.path).map_err(failed("remove", &self.path))?;
        self.gone.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.gone.load(Ordering::Relaxed) {
            // If it cannot be removed now, a later opening of the store does it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the files that dead processes left behind more than `grace` ago, by the file system's clock. Those that cannot
/// be removed do no harm.
pub(super) fn sweep(root: &Root, grace: Duration) {
    let Ok(entries) = fs::read_dir(directory(root)) else { return };
    let Some(limit) = now(root).and_then(|now| now.checked_sub(grace)) else { return };
    for entry in entries.filter_map(Result::ok) {
        let _ = remove_if_stray(&entry.path(), limit);
    }
}

fn remove_if_stray(path: &Path, limit: SystemTime) -> io::Result<()> {
    let file = File::open(path)?;
    if file.metadata()?.modified()? < limit && file.try_lock().is_ok() { fs::remove_file(path) } else { Ok(()) }
}

/// The file system's own time, which may come from another machine.
fn now(root: &Root) -> Option<SystemTime> {
    Temporary::create(root).ok()?.file.metadata().and_then(|metadata| metadata.modified()).ok()
}

fn directory(root: &Root) -> PathBuf {
    root.private().join("tmp")
}

/// Processes in different containers may have the same number, so the name of a file may be taken.
fn create_new(directory: &Path) -> io::Result<(PathBuf, File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{}-{number}", process::id()));
        match File::options().create_new(true).read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (path, file)),
        }
    }
}
