//! The directory itself: taken, filled, cleared.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::super::disk::{self, failed, patiently};
use super::OsUser;
use crate::port::{PortError, PortErrorKind};

// What lies in the room of one test restore.

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
    /// A directory in it, of a name that no other had: what is still written of a test restore that was given up, is not written here.
    room: PathBuf,
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
        // What was given up may still be going on for a moment.
        patiently(|| file.try_lock()).map_err(|error| match error {
            TryLockError::WouldBlock => {
                let context = format!("another test restore is made in {}", path.display());
                PortError::new(PortErrorKind::Conflict, context)
            }
            TryLockError::Error(error) => failed("lock", &marker)(error),
        })?;
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let room = path.join(format!("{:x}", since_1970.as_nanos()));
        let place = Self { path: path.to_owned(), room, _marker: file };
        place.clear()?;
        place.fill(user)?;
        Ok(place)
    }

    /// Where `name` is of this test restore.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.room.join(name)
    }

    /// Removes all that is in it, also of earlier test restores. Blocks.
    pub(super) fn clear(&self) -> Result<(), PortError> {
        // What is still written there may keep a directory from being empty.
        patiently(|| self.try_clear())
    }

    fn try_clear(&self) -> Result<(), PortError> {
        let marker = self.path.join(MARKER);
        disk::list(&self.path)?.iter().filter(|path| **path != marker).try_for_each(|path| disk::make_way(path))
    }

    /// Writes the server's settings.
    fn fill(&self, user: Option<OsUser>) -> Result<(), PortError> {
        disk::make_directory(&self.room, 0o700, user)?;
        for (name, content) in [(CONFIG, ""), (HBA, "local all all trust\n"), (SERVER_LOG, "")] {
            let path = self.at(name);
            fs::write(&path, content).map_err(failed("write", &path))?;
            disk::own(&path, user)?;
        }
        disk::own(&self.path, user)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::disk::PATIENCE;
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
        let left = place.at("data/base");
        fs::create_dir_all(&left).unwrap();
        let given_up = std::thread::spawn(|| {
            std::thread::sleep(PATIENCE / 4);
            drop(place);
        });
        let place = Place::take(&scratch, None).expect("whoever is being given up is waited for");
        given_up.join().unwrap();
        assert!(!left.exists() && place.at(DATA) != left.parent().unwrap(), "what an interrupted one left is removed");
        place.clear().unwrap();
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 1, "only the marker stays");
    }
}
