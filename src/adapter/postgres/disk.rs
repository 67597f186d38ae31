//! Files and directories on the disk: made, owned, synced, always off the async threads.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::OsUser;
use crate::port::{PortError, PortErrorKind};

/// Whoever is given up leaves pieces of work behind that were just being done. Some are waited for so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);

/// Runs `work` where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PortError> + Send + 'static,
) -> Result<T, PortError> {
    let unavailable = |context: &str| PortError::new(PortErrorKind::Unavailable, context);
    let runtime = Handle::try_current()
        .map_err(|error| unavailable("files are read and written inside a tokio runtime only").caused_by(error))?;
    let job = runtime.spawn_blocking(work);
    job.await.map_err(|error| unavailable("the runtime gave up a piece of work").caused_by(error))?
}

/// Does `work` again while it fails, for a while. Blocks.
pub(super) fn patiently<E>(work: impl Fn() -> Result<(), E>) -> Result<(), E> {
    let begun = Instant::now();
    loop {
        match work() {
            Err(_) if begun.elapsed() < PATIENCE => std::thread::sleep(POLL),
            done => return done,
        }
    }
}

/// An error of the operation that `doing` names, on `path`.
pub(super) fn failed(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> PortError {
    let context = format!("{doing} {}", path.display());
    move |error| PortError::io(context, error)
}

/// Makes a directory with `mode`, or gives one that is there this mode and owner.
pub(super) fn make_directory(path: &Path, mode: u32, owner: Option<OsUser>) -> Result<(), PortError> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !is_directory(path) => {
            return Err(failed("make directory", path)(error));
        }
        _ => fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed("set mode of", path))?,
    }
    own(path, owner)
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<(), PortError> {
    fs::rename(from, to).map_err(failed("put in place", to))
}

pub(super) fn own(path: &Path, owner: Option<OsUser>) -> Result<(), PortError> {
    let Some(user) = owner else { return Ok(()) };
    chown(path, Some(user.uid()), Some(user.gid())).map_err(failed("set owner of", path))
}

/// Whether nothing is at `path`, or a directory in which nothing is.
pub(super) fn is_empty_or_absent(path: &Path) -> Result<bool, PortError> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(fs::symlink_metadata(path).is_err()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(failed("look into", path)(error)),
    }
}

/// Where `path` is when all links are followed, of which the end need not exist yet.
pub(super) fn real(path: &Path) -> Result<PathBuf, PortError> {
    match (fs::canonicalize(path), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(real(parent)?.join(name))
        }
        (found, ..) => found.map_err(failed("look for", path)),
    }
}

pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, PortError> {
    let listed = fs::read_dir(directory).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    listed.map_err(failed("list", directory))
}

pub(super) fn read_if_any(path: &Path) -> Result<Option<Vec<u8>>, PortError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        content => content.map(Some).map_err(failed("read", path)),
    }
}

pub(super) fn remove_if_any(path: &Path) -> Result<(), PortError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes what is at `path`, if anything is.
pub(super) fn make_way(path: &Path) -> Result<(), PortError> {
    match fs::symlink_metadata(path) {
        Ok(found) => remove(path, found.is_dir()),
        Err(_) => Ok(()),
    }
}

pub(super) fn symlink_metadata(path: &Path) -> Result<Metadata, PortError> {
    fs::symlink_metadata(path).map_err(failed("look at", path))
}

pub(super) fn remove(path: &Path, is_directory: bool) -> Result<(), PortError> {
    let removed = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(failed("remove", path))
}

/// Whether it is a file that no other directory has too, by a hard link, and that can be written in its place.
pub(super) fn is_own_file(found: &Metadata) -> bool {
    found.is_file() && found.nlink() == 1
}

/// Syncs `path` and all directories below it. Files were synced as they were written.
pub(super) fn sync_directories(path: &Path) -> Result<(), PortError> {
    for entry in fs::read_dir(path).map_err(failed("list", path))? {
        let entry = entry.map_err(failed("list", path))?;
        if entry.file_type().map_err(failed("look at", &entry.path()))?.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    sync_directory(path)
}

pub(super) fn sync_directory(path: &Path) -> Result<(), PortError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("sync", path))
}

fn is_directory(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Reads into `buffer` what stands at `offset`, and says how much that is: less only at the end of the file.
pub(super) fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
