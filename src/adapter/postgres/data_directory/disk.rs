//! Files and directories on the disk: made, owned, synced, always off the async threads.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::super::OsUser;
use crate::port::{PortError, PortErrorKind};

/// What is gathered before it is written at once: few jumps to another thread, and large writes.
const GATHERED_BYTES_MAX: usize = 1 << 20;

/// Runs `work` where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PortError> + Send + 'static,
) -> Result<T, PortError> {
    let unavailable = |context: &str| PortError::new(PortErrorKind::Unavailable, context);
    let runtime = Handle::try_current()
        .map_err(|error| unavailable("a data directory is written inside a tokio runtime only").caused_by(error))?;
    let job = runtime.spawn_blocking(work);
    job.await.map_err(|error| unavailable("the runtime gave up a piece of work").caused_by(error))?
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

/// Writes a whole small file under a temporary name, syncs it and puts it in place.
pub(super) fn replace_file(path: &Path, content: &[u8], owner: Option<OsUser>) -> Result<(), PortError> {
    let mut waiting = path.as_os_str().to_owned();
    waiting.push(".pitr");
    let waiting = PathBuf::from(waiting);
    let mut draft = Draft::new(waiting.clone(), 0o600, owner, false);
    draft.gathered.push(Bytes::copy_from_slice(content));
    draft.close(None)?;
    rename(&waiting, path)
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
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// A file that is written from its start to its end, in large pieces.
///
/// Each file is synced as it is finished: several at a time on the runtime's threads, that takes no longer than to sync all
/// of them in the end, and nothing has to be remembered.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    mode: u32,
    owner: Option<OsUser>,
    create_new: bool,
    gathered: Vec<Bytes>,
    file: Option<File>,
}

impl Draft {
    /// A file to be at `path`; with `create_new`, none may be there. Nothing is done yet.
    pub(super) fn new(path: PathBuf, mode: u32, owner: Option<OsUser>, create_new: bool) -> Self {
        Self { path, mode, owner, create_new, gathered: Vec::new(), file: None }
    }

    /// Appends `bytes`, and gives itself back.
    pub(super) async fn append(mut self, bytes: Bytes) -> Result<Self, PortError> {
        self.gathered.push(bytes);
        if self.gathered.iter().map(Bytes::len).sum::<usize>() < GATHERED_BYTES_MAX {
            return Ok(self);
        }
        blocking(move || {
            self.write_out()?;
            Ok(self)
        })
        .await
    }

    /// Writes what is gathered, gives the file its length if that is to be another, its mode and owner, and syncs it.
    pub(super) fn close(mut self, length: Option<u64>) -> Result<(), PortError> {
        let (mode, owner) = (self.mode, self.owner);
        let file = self.write_out()?;
        let complete = || {
            length.map_or(Ok(()), |length| file.set_len(length))?;
            file.set_permissions(Permissions::from_mode(mode))?;
            owner.map_or(Ok(()), |user| fchown(file, Some(user.uid()), Some(user.gid())))?;
            file.sync_all()
        };
        complete().map_err(failed("complete", &self.path))
    }

    fn write_out(&mut self) -> Result<&File, PortError> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.create()?,
        };
        for piece in self.gathered.drain(..) {
            file.write_all(&piece).map_err(failed("write", &self.path))?;
        }
        Ok(self.file.insert(file))
    }

    fn create(&self) -> Result<File, PortError> {
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        if self.create_new {
            options.create_new(true)
        } else {
            options.create(true).truncate(true)
        };
        options.open(&self.path).map_err(failed("create", &self.path))
    }
}
