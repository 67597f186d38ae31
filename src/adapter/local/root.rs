//! The directory, and where in it everything has its place.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{failed, invalid};
use crate::model::{ObjectKey, Timestamp};
use crate::port::{ObjectMeta, PortError, PortErrorKind, Version};

#[derive(Clone, Debug)]
pub(super) struct Root(PathBuf);

impl Root {
    /// The root at `path`, which has no symbolic links in it.
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Where pitr keeps its own files: no part of a key begins with a dot.
    pub(super) fn private(&self) -> PathBuf {
        self.0.join(".pitr")
    }

    pub(super) fn object(&self, key: &ObjectKey) -> PathBuf {
        self.0.join(key.as_str())
    }

    /// The directories that lead to `key`, the nearest first and the root last.
    pub(super) fn directories(&self, key: &ObjectKey) -> Vec<PathBuf> {
        let depth = key.parts().count();
        self.object(key).ancestors().skip(1).take(depth).map(Path::to_owned).collect()
    }

    /// The object `key`, if there is one.
    pub(super) fn find(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, PortError> {
        Ok(self.look(key)?.filter(Metadata::is_file).map(|metadata| describe(key.clone(), &metadata)))
    }

    /// What stands under the name of `key`, if anything does; refuses to pass a symbolic link.
    pub(super) fn look(&self, key: &ObjectKey) -> Result<Option<Metadata>, PortError> {
        let mut path = self.0.clone();
        let mut last = None;
        for part in key.parts() {
            path.push(part);
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_symlink() => {
                    return Err(invalid(format!("{} is a symbolic link, which is not followed", path.display())));
                }
                Ok(found) => last = Some(found),
                Err(error) if is_missing(&error) => return Ok(None),
                Err(error) => return Err(failed("look up", &path)(error)),
            }
        }
        Ok(last)
    }

    pub(super) fn missing(&self, key: &ObjectKey) -> PortError {
        PortError::new(PortErrorKind::NotFound, format!("there is no object {key} in {}", self.0.display()))
    }
}

/// Whether nothing stands where the operation looked; a file where a directory was expected has nothing below it.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The object `key`, of which the file system says `metadata`.
pub(super) fn describe(key: ObjectKey, metadata: &Metadata) -> ObjectMeta {
    let micros = metadata.mtime().saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() / 1000);
    let modified = Timestamp::from_unix_micros(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    ObjectMeta::new(key, metadata.len(), modified, Some(version(metadata)))
}

/// The version of the object whose file has `metadata`: a time that was drawn for it alone.
pub(super) fn version(metadata: &Metadata) -> Version {
    Version::new(format!("{}.{:09}-{}", metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
}
