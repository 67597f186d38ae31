//! The directory itself: taken, filled, cleared.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::super::disk::{self, failed};
use super::OsUser;
use crate::port::{PortError, PortErrorKind};

/// The data directory. Tablespaces lie beside it.
pub(super) const DATA: &str = "data";
/// What the server prints.
pub(super) const SERVER_LOG: &str = "server.log";
/// The server's settings: none.
pub(super) const CONFIG: &str = "postgresql.conf";
/// Who may connect.
pub(super) const HBA: &str = "pg_hba.conf";
/// Says that the directory is one for test restores. Locked by whoever makes one.
const MARKER: &str = "pitr_scratch";

/// A directory that was taken for one test restore.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Locked.
    _marker: File,
}

impl Place {
    /// Takes the directory `path`, clears it, and gives it to `user`. Blocks.
    pub(super) fn take(path: &Path, user: Option<OsUser>) -> Result<Self, PortError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("make", path)(error)),
            _ => {}
        }
        let marker = path.join(MARKER);
        if !marker.exists() && !disk::is_empty_or_absent(path)? {
            let context =
                format!("{} is neither empty nor a place of test restores: nothing was touched", path.display());
            return Err(PortError::new(PortErrorKind::Conflict, context));
        }
        let file = File::create(&marker).map_err(failed("make", &marker))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let context = format!("another test restore is made in {}", path.display());
                return Err(PortError::new(PortErrorKind::Conflict, context));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", &marker)(error)),
        }
        let place = Self { path: path.to_owned(), _marker: file };
        place.clear()?;
        place.fill(user)?;
        Ok(place)
    }

    /// Removes all that is in it. Blocks.
    pub(super) fn clear(&self) -> Result<(), PortError> {
        let marker = self.path.join(MARKER);
        disk::list(&self.path)?.iter().filter(|path| **path != marker).try_for_each(|path| disk::make_way(path))
    }

    /// Writes the server's settings.
    fn fill(&self, user: Option<OsUser>) -> Result<(), PortError> {
        for (name, content) in [(CONFIG, ""), (HBA, "local all all trust\n"), (SERVER_LOG, "")] {
            let path = self.path.join(name);
            fs::write(&path, content).map_err(failed("write", &path))?;
            disk::own(&path, user)?;
        }
        disk::own(&self.path, user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_directory_or_a_scratch_place_is_taken() {
        let room = tempfile::tempdir().unwrap();
        let (scratch, precious) = (room.path().join("scratch"), room.path().join("precious"));
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("file"), "precious").unwrap();
        assert_eq!(Place::take(&precious, None).unwrap_err().kind(), PortErrorKind::Conflict);
        assert_eq!(fs::read_dir(&precious).unwrap().count(), 1);

        let place = Place::take(&scratch, None).unwrap();
        assert_eq!(Place::take(&scratch, None).unwrap_err().kind(), PortErrorKind::Conflict, "it is taken");
        fs::create_dir_all(scratch.join("data/base")).unwrap();
        drop(place);
        let place = Place::take(&scratch, None).unwrap();
        assert!(!scratch.join(DATA).exists(), "what an interrupted one left is removed");
        place.clear().unwrap();
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 1, "only the marker stays");
    }
}
