//! Taking possession of the data directory of a server that is restored over: whose it is, and that it does not run.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::super::disk::{self, failed};
use super::layout::{CONTROL, CONTROL_WAITING, Layout, MARKER};
use super::staging;
use crate::format::control_file::ControlFile;
use crate::model::SystemId;
use crate::port::{PortError, PortErrorKind};

/// Is there while a server runs.
const PID_FILE: &str = "postmaster.pid";
/// Where `pg_control` is until it is known that no server was started meanwhile.
const CONTROL_ASIDE: &str = "global/pg_control.aside";

/// That nothing is lost that is not to be restored. Touches nothing.
pub(super) fn check(layout: &Layout, system_id: SystemId) -> Result<(), PortError> {
    let root = &layout.root;
    staging::require_no_feeder(root)?;
    if !is_new(root)? {
        check_server(root, system_id)?;
    }
    let own: BTreeSet<_> = own_links(layout).collect();
    for (link, directory) in layout.links() {
        if !disk::is_empty_or_absent(directory)? && !own.contains(&link) {
            return Err(conflict(directory, &format!("is neither empty nor where {} leads to", link.display())));
        }
    }
    Ok(())
}

/// The links that lead already to where something is restored.
pub(super) fn own_links(layout: &Layout) -> impl Iterator<Item = PathBuf> {
    let leads_to = |link: &Path, directory: &Path| {
        let place = fs::read_link(link).and_then(|_| fs::canonicalize(link));
        place.is_ok_and(|place| fs::canonicalize(directory).is_ok_and(|directory| directory == place))
    };
    layout.links().filter(move |(link, directory)| leads_to(link, directory)).map(|(link, _)| link)
}

/// Leaves the mark of who is restored in the directory, and locks it.
pub(super) fn mark(root: &Path, system_id: SystemId) -> Result<File, PortError> {
    let path = root.join(MARKER);
    let mut marker = open_marker(&path).map_err(failed("mark", &path))?;
    marker.try_lock().map_err(|_| conflict(root, "is being restored by somebody else"))?;
    let write = |marker: &mut File| {
        io::Write::write_all(marker, format!("{system_id}\n").as_bytes())?;
        marker.sync_all()
    };
    write(&mut marker).map_err(failed("mark", &path))?;
    disk::sync_directory(root)?;
    Ok(marker)
}

/// Removes `pg_control`, without which no server starts.
///
/// A server writes its process ID before it reads `pg_control` (`CreateDataDirLockFile` and `LocalProcessControlFile` of
/// `PostmasterMain`, `src/backend/postmaster/postmaster.c`): one that was started meanwhile is seen, or does not find the file.
pub(super) fn disable(root: &Path) -> Result<(), PortError> {
    disk::remove_if_any(&root.join(CONTROL_WAITING))?;
    let (control, aside) = (root.join(CONTROL), root.join(CONTROL_ASIDE));
    if !control.exists() {
        return disk::remove_if_any(&aside);
    }
    disk::rename(&control, &aside)?;
    disk::sync_directory(&root.join("global"))?;
    let stopped = require_stopped(root);
    if stopped.is_err() {
        disk::rename(&aside, &control)?;
        disk::sync_directory(&root.join("global"))?;
        disk::remove_if_any(&root.join(MARKER))?;
    } else {
        disk::remove_if_any(&aside)?;
    }
    stopped
}

/// Whether nothing stands in `root`, but for the mark of somebody who got no further.
fn is_new(root: &Path) -> Result<bool, PortError> {
    Ok(disk::is_empty_or_absent(root)? || disk::list(root)? == [root.join(MARKER)])
}

fn check_server(root: &Path, system_id: SystemId) -> Result<(), PortError> {
    let found = system_id_of(root)?;
    if found != Some(system_id) {
        let found = found.map_or_else(|| "no data directory".to_owned(), |found| format!("that of server {found}"));
        return Err(conflict(root, &format!("is {found}, not that of server {system_id}")));
    }
    if root.join("global").is_symlink() {
        return Err(conflict(&root.join("global"), "is a link: no data directory has one there"));
    }
    require_stopped(root)
}

/// Where the server runs cannot be told: it may be in another container. So even one that crashed counts.
fn require_stopped(root: &Path) -> Result<(), PortError> {
    if fs::symlink_metadata(root.join(PID_FILE)).is_err() {
        return Ok(());
    }
    Err(conflict(root, "has a postmaster.pid: stop its server before, or, if it crashed, remove the file"))
}

/// Whose data directory `root` is, by `pg_control`, or by what an earlier restore left in its place.
fn system_id_of(root: &Path) -> Result<Option<SystemId>, PortError> {
    let control = root.join(CONTROL);
    if let Some(bytes) = disk::read_if_any(&control)? {
        let damaged = |error| conflict(&control, "is damaged: restore elsewhere").caused_by(error);
        return ControlFile::parse(&bytes).map(|control| Some(control.system_id)).map_err(damaged);
    }
    let marker = disk::read_if_any(&root.join(MARKER))?.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(marker.and_then(|text| text.trim().parse().ok()).map(SystemId::new))
}

/// Never by a link: what that leads to may be of anybody.
fn open_marker(path: &Path) -> io::Result<File> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if !disk::is_own_file(&fs::symlink_metadata(path)?) {
                return Err(io::Error::other("what stands there is no file of a restore"));
            }
            OpenOptions::new().write(true).open(path)
        }
        opened => opened,
    }
}

fn conflict(path: &Path, what: &str) -> PortError {
    PortError::new(PortErrorKind::Conflict, format!("{} {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_server_that_is_started_meanwhile_keeps_its_control_file() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        fs::create_dir(root.join("global")).unwrap();
        fs::write(root.join(CONTROL), "control").unwrap();
        fs::write(root.join(PID_FILE), "1").unwrap();
        let _marker = mark(root, SystemId::new(7)).unwrap();
        assert_eq!(disable(root).unwrap_err().kind(), PortErrorKind::Conflict);
        assert_eq!(fs::read(root.join(CONTROL)).unwrap(), b"control");
        assert!(!root.join(MARKER).exists());
        fs::remove_file(root.join(PID_FILE)).unwrap();
        disable(root).unwrap();
        assert_eq!(disk::list(&root.join("global")).unwrap(), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_mark_is_not_left_by_a_link() {
        let place = tempfile::tempdir().unwrap();
        let victim = place.path().join("victim");
        fs::write(&victim, "of somebody else").unwrap();
        symlink(&victim, place.path().join(MARKER)).unwrap();
        assert!(mark(place.path(), SystemId::new(7)).is_err());
        assert_eq!(fs::read(&victim).unwrap(), b"of somebody else");
    }

    #[test]
    fn of_two_at_once_one_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let first = mark(place.path(), SystemId::new(7)).unwrap();
        assert_eq!(mark(place.path(), SystemId::new(7)).unwrap_err().kind(), PortErrorKind::Conflict);
        drop(first);
        assert!(is_new(place.path()).unwrap(), "whoever got no further left nothing that counts");
        mark(place.path(), SystemId::new(7)).unwrap();
    }
}
