//! A directory as storage.
//!
//! The object `a/b/c` is the plain file `ROOT/a/b/c`, so that people can look at the store, and copy it, with what they
//! have. What pitr itself needs lies in `ROOT/.pitr`, a name that no key can have: `tmp/` holds what is still being
//! written, `lock` guards every change.
//!
//! # Why a write is whole, durable and alone
//!
//! An object is written to a file in `tmp/`, synced, and only then linked or renamed to its name; the directories from
//! there up to the root are synced before the write returns. All of them, and every time: which of them another process
//! made and was killed before it could sync it, nobody knows. A `Create` that meets an object syncs as well, for whoever
//! is told of a conflict takes the object for stored.
//!
//! The condition of a write is checked, and the name changed, while the process holds the lock of `.pitr/lock` (`flock`).
//! The kernel releases it when a process dies, and the one change made under it that readers see is a single `link`,
//! `rename` or `unlink`; so there is nothing to repair after a `kill -9`. Directories are made and removed under the same
//! lock, so that nobody loses one that was just made for an object. Data are written and synced outside of it.
//!
//! # Why a version is never reused
//!
//! An object's version is its modification time in nanoseconds (and its size), which pitr does not leave to the file
//! system's clock, whose ticks are too long, but draws under the lock from the modification time of `.pitr/lock`: a clock
//! that each draw sets to the present, or just beyond the draw before if the present is not later. So no two writes of a
//! store draw the same time, whatever the system's clock does and however coarse the file system's time stamps are. The
//! time is set and synced before the object has a name, and linking or renaming does not change it. A deletion first sets
//! the clock to the object's time at least, lest a time that was copied in from elsewhere be drawn again.
//!
//! A power failure can set the clock of the store back, but it also ends every process that remembers a version. A clock
//! of the system that once ran ahead leaves the store's ahead, until `.pitr` is removed while nobody uses the store.

mod list;
mod lock;
mod publish;
mod read;
mod root;
mod temporary;
mod upload;

use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::BoxStream;

use self::root::Root;
use self::temporary::Temporary;
use crate::model::ObjectKey;
use crate::port::{
    Executor, ExecutorExt, ObjectMeta, ObjectRead, PortError, PortErrorKind, PutMode, Storage, Upload, Version,
};

/// How long a temporary file that nobody holds may lie before it is removed: for a moment it is nobody's though its process
/// lives.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// A directory as storage, which several processes may share.
///
/// The object `a/b` is the plain file `ROOT/a/b`; pitr's own files lie in `ROOT/.pitr`. Writes are atomic, synced to disk,
/// and exclusive across processes. File operations run on the executor. An object's version is its modification time
/// and size: tools that keep the times (`cp -p`, `rsync -a`) keep the versions.
///
/// What the directory must be:
///
/// - On one file system, which has hard links, `flock`, modification times that can be set, and case-sensitive names.
/// - Not written by others while it is in use. Whatever is not a regular file with a name that a key can have is no object.
///   Symbolic links below the root are not followed: listings pass over them, and whatever else meets one is
///   [`Invalid`](PortErrorKind::Invalid).
/// - A key cannot be an object and a directory at once: with `a` stored, `a/b` is refused as
///   [`Invalid`](PortErrorKind::Invalid), and the other way round.
#[derive(Clone)]
pub struct LocalStorage {
    root: Root,
    executor: Arc<dyn Executor>,
}

impl LocalStorage {
    /// Opens the storage in the directory `root`, which is made if it is missing, and removes what killed processes left
    /// half-written more than an hour ago. A store that may not be written to can be read.
    ///
    /// # Errors
    /// If the directory cannot be made or read.
    pub async fn open(root: impl AsRef<Path>, executor: Arc<dyn Executor>) -> Result<Self, PortError> {
        let path = root.as_ref().to_owned();
        let root = start(&*executor, move || open(&path)).await?;
        Ok(Self { root, executor })
    }

    /// The directory, without symbolic links.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Runs `work` on the executor with what it needs of this storage.
    fn with<T: Send + 'static>(
        &self,
        key: &ObjectKey,
        work: impl FnOnce(&Root, &ObjectKey) -> Result<T, PortError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, PortError>> {
        let (root, key) = (self.root.clone(), key.clone());
        start(&*self.executor, move || work(&root, &key))
    }
}

#[async_trait]
impl Storage for LocalStorage {
    async fn put(&self, key: &ObjectKey, bytes: Bytes, mode: PutMode) -> Result<Version, PortError> {
        let write = move |root: &Root, key: &ObjectKey| {
            let temporary = Temporary::create(root)?;
            temporary.write(&bytes)?;
            publish::publish(root, &temporary, key, &mode)
        };
        self.with(key, write).await
    }

    async fn upload(&self, key: &ObjectKey) -> Result<Box<dyn Upload>, PortError> {
        let begin = |root: &Root, key: &ObjectKey| {
            publish::foresee(root, key, &PutMode::Create)?;
            Temporary::create(root)
        };
        let temporary = self.with(key, begin).await?;
        Ok(Box::new(upload::LocalUpload::new(self.clone(), key.clone(), temporary)))
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectRead, PortError> {
        let (meta, reader) = self.with(key, move |root, key| read::open(root, key, range)).await?;
        Ok(ObjectRead::new(meta, reader.stream(Arc::clone(&self.executor))))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, PortError> {
        self.with(key, |root, key| root.find(key)?.ok_or_else(|| root.missing(key))).await
    }

    fn list(
        &self,
        directory: Option<&ObjectKey>,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectMeta, PortError>> {
        list::stream(&self.root, Arc::clone(&self.executor), directory, after)
    }

    fn list_directories(&self, directory: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, PortError>> {
        list::directories(&self.root, Arc::clone(&self.executor), directory)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), PortError> {
        self.with(key, publish::delete).await
    }
}

impl fmt::Display for LocalStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "directory {}", self.root.path().display())
    }
}

impl fmt::Debug for LocalStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStorage").field("root", &self.root.path()).finish_non_exhaustive()
    }
}

fn open(path: &Path) -> Result<Root, PortError> {
    let is_new = !path.exists();
    fs::create_dir_all(path).map_err(failed("make", path))?;
    let root = Root::new(path.canonicalize().map_err(failed("find", path))?);
    if is_new {
        publish::sync_all(root.path().ancestors())?;
    }
    fs::read_dir(root.path()).map_err(failed("read", path))?;
    temporary::sweep(&root, GRACE);
    Ok(root)
}

/// Starts `work` on the executor; what it returns can be awaited later.
fn start<T: Send + 'static>(
    executor: &dyn Executor,
    work: impl FnOnce() -> Result<T, PortError> + Send + 'static,
) -> BoxFuture<'static, Result<T, PortError>> {
    executor.run(work).map(Result::flatten).boxed()
}

/// Names the operation that failed on `path`.
fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PortError {
    let context = format!("cannot {what} {}", path.display());
    |error| PortError::io(context, error)
}

fn invalid(context: String) -> PortError {
    PortError::new(PortErrorKind::Invalid, context)
}
