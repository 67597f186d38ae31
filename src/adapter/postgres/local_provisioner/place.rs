//! The place of one server: claimed, filled, removed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::OsUser;
use super::super::disk::{self, failed, patiently};
use super::super::local_server::signal;
use crate::model::RequestId;
use crate::port::{PortError, PortErrorKind};

// What lies in the place of a server.

/// The data directory. Tablespaces lie beside it.
const DATA: &str = "data";
/// What the server prints.
const LOG: &str = "server.log";
/// Who may connect.
const HBA: &str = "pg_hba.conf";
/// On which port of 127.0.0.1 it listens.
const PORT: &str = "port";
/// Which restore it is of. Locked by whoever works there.
const CLAIM: &str = "pitr_claim";

/// Not the source's rules, as firewall rules are not copied: nobody but on this machine, by a socket that only its user reaches.
const OWN_HBA: &str = "# Made by pitr: the rules of the original server are in data/pg_hba.conf.\nlocal all all trust\nlocal replication all trust\n";

/// How long a server that somebody left behind has to end before it is killed.
const END_PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Where a server is, or is to be.
#[derive(Clone, Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.0.join(DATA)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join(LOG)
    }

    pub(super) fn hba(&self) -> PathBuf {
        self.0.join(HBA)
    }

    /// Takes it for `restore`, and sees to it that no server runs there. It is another's as long as the file is open that this gives. Blocks.
    pub(super) fn take(&self, restore: &RequestId, user: Option<OsUser>) -> Result<File, PortError> {
        if !self.is_claimed_by(restore)? {
            self.claim(restore)?;
        }
        let lock = self.enter()?;
        disk::own(&self.0, user)?;
        if fs::symlink_metadata(self.hba()).is_err() {
            fs::write(self.hba(), OWN_HBA).map_err(failed("write", &self.hba()))?;
            disk::own(&self.hba(), user)?;
        }
        Ok(lock)
    }

    /// The port on which the server listens: the one that it had before, unless somebody else took that meanwhile. Blocks.
    pub(super) fn port(&self) -> Result<u16, PortError> {
        let path = self.0.join(PORT);
        let kept = disk::read_if_any(&path)?.and_then(|text| String::from_utf8_lossy(&text).trim().parse().ok());
        let free = || kept.and_then(|port| free_port(port).ok()).map_or_else(|| free_port(0), Ok);
        let port = free().map_err(|error| PortError::io("find a free port", error))?;
        if kept != Some(port) {
            fs::write(&path, format!("{port}\n")).map_err(failed("write", &path))?;
        }
        Ok(port)
    }

    /// Whether it is of `restore`.
    pub(super) fn is_claimed_by(&self, restore: &RequestId) -> Result<bool, PortError> {
        let claim = disk::read_if_any(&self.0.join(CLAIM))?;
        Ok(claim.is_some_and(|claim| claim.trim_ascii() == restore.as_str().as_bytes()))
    }

    /// Of several who claim it, one wins: a file appears under this name with its content, or not at all.
    fn claim(&self, restore: &RequestId) -> Result<(), PortError> {
        if !disk::is_empty_or_absent(&self.0)? {
            return Err(self.taken());
        }
        disk::make_directory(&self.0, 0o700, None)?;
        let (claim, draft) = (self.0.join(CLAIM), self.0.with_extension(restore.as_str()));
        let claimed = fs::write(&draft, restore.as_str())
            .and_then(|()| File::open(&draft)?.sync_all())
            .and_then(|()| fs::hard_link(&draft, &claim));
        disk::remove_if_any(&draft)?;
        match claimed {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(self.taken()),
            claimed => claimed.map_err(failed("claim", &self.0)),
        }
    }

    fn taken(&self) -> PortError {
        let context =
            format!("{} is there already, and of nobody or another restore: nothing was touched", self.0.display());
        PortError::new(PortErrorKind::Conflict, context)
    }

    /// Enters a place that was claimed before, and sees to it that no server runs there. Blocks.
    pub(super) fn enter(&self) -> Result<File, PortError> {
        let lock = self.lock()?;
        self.end_server()?;
        Ok(lock)
    }

    fn lock(&self) -> Result<File, PortError> {
        let path = self.0.join(CLAIM);
        let claim = File::open(&path).map_err(failed("open", &path))?;
        // What was given up may still be going on for a moment.
        patiently(|| claim.try_lock()).map_err(|error| match error {
            TryLockError::WouldBlock => {
                PortError::new(PortErrorKind::Unavailable, format!("somebody else works in {}", self.0.display()))
            }
            TryLockError::Error(error) => failed("lock", &path)(error),
        })?;
        Ok(claim)
    }

    /// Removes everything. Blocks.
    pub(super) fn clear(&self) -> Result<(), PortError> {
        if fs::symlink_metadata(&self.0).is_err() {
            return Ok(());
        }
        let _lock = self.enter()?;
        // The claim goes last: until then it is known whose the rest is.
        let claim = self.0.join(CLAIM);
        let rest =
            || disk::list(&self.0)?.iter().filter(|path| **path != claim).try_for_each(|path| disk::make_way(path));
        patiently(rest)?;
        disk::remove_if_any(&claim)?;
        fs::remove_dir(&self.0).map_err(failed("remove", &self.0))
    }

    /// Ends the server that runs in it, if one does, as after a crash of whoever started it. Blocks.
    fn end_server(&self) -> Result<(), PortError> {
        let (data, begun) = (self.data(), Instant::now());
        while let Some(pid) = postmaster_of(&data)? {
            let name = if begun.elapsed() < END_PATIENCE { "QUIT" } else { "KILL" };
            signal(pid, name).map_err(|error| PortError::io(format!("end process {pid}"), error))?;
            std::thread::sleep(POLL);
        }
        // One that was killed leaves it behind.
        disk::remove_if_any(&data.join("postmaster.pid"))
    }
}

/// This port of 127.0.0.1, if it is free; for 0, one that is.
fn free_port(port: u16) -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", port))?.local_addr()?.port())
}

/// The process of the server that runs in `data`. Its number may be another process's by now: a postmaster works in its data directory.
fn postmaster_of(data: &Path) -> Result<Option<u32>, PortError> {
    let Some(file) = disk::read_if_any(&data.join("postmaster.pid"))? else { return Ok(None) };
    let text = String::from_utf8_lossy(&file);
    let Some(pid) = text.lines().next().and_then(|line| line.trim().parse().ok()) else { return Ok(None) };
    let works_in = fs::read_link(format!("/proc/{pid}/cwd"));
    let runs = works_in.is_ok_and(|directory| fs::canonicalize(data).is_ok_and(|data| data == directory));
    Ok(runs.then_some(pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_of_one_restore() {
        let room = tempfile::tempdir().unwrap();
        let place = Place::new(room.path().join("prod-2"));
        let [one, two]: [RequestId; 2] = ["one", "two"].map(|id| id.parse().unwrap());
        let lock = place.take(&one, None).unwrap();
        assert!(place.is_claimed_by(&one).unwrap() && !place.is_claimed_by(&two).unwrap());
        assert_eq!(place.take(&two, None).unwrap_err().kind(), PortErrorKind::Conflict);
        assert_eq!(place.take(&one, None).unwrap_err().kind(), PortErrorKind::Unavailable, "somebody works there");
        drop(lock);
        fs::create_dir(place.data()).unwrap();
        drop(place.take(&one, None).expect("it is gone on with"));
        assert!(place.data().exists());
        place.clear().unwrap();
        assert_eq!(disk::list(room.path()).unwrap(), Vec::<PathBuf>::new());
        place.clear().expect("there is nothing to remove");
    }

    #[test]
    fn a_server_keeps_its_port_unless_somebody_else_took_it() {
        let room = tempfile::tempdir().unwrap();
        let place = Place::new(room.path().to_owned());
        let port = place.port().unwrap();
        assert_eq!(place.port().unwrap(), port);
        let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let other = place.port().unwrap();
        assert_ne!(other, port);
        drop(taken);
        assert_eq!(place.port().unwrap(), other);
        fs::write(place.0.join(PORT), "none").unwrap();
        assert_ne!(place.port().unwrap(), 0);
    }

    #[test]
    fn what_is_of_nobody_is_not_touched() {
        let room = tempfile::tempdir().unwrap();
        let place = Place::new(room.path().to_owned());
        fs::write(place.hba(), "precious").unwrap();
        assert_eq!(place.take(&"one".parse().unwrap(), None).unwrap_err().kind(), PortErrorKind::Conflict);
        assert_eq!(disk::list(room.path()).unwrap(), [place.hba()]);
    }

    #[test]
    fn of_many_who_claim_it_one_wins() {
        let room = tempfile::tempdir().unwrap();
        let claims: Vec<_> = (0..8)
            .map(|number| {
                let place = Place::new(room.path().join("prod-2"));
                std::thread::spawn(move || place.claim(&format!("restore-{number}").parse().unwrap()).is_ok())
            })
            .collect();
        let won: Vec<_> = claims.into_iter().map(|claim| claim.join().unwrap()).filter(|won| *won).collect();
        assert_eq!(won.len(), 1);
    }

    #[test]
    fn a_number_that_is_another_process_by_now_is_let_alone() {
        let room = tempfile::tempdir().unwrap();
        fs::write(room.path().join("postmaster.pid"), format!("{}\n", std::process::id())).unwrap();
        assert_eq!(postmaster_of(room.path()).unwrap(), None);
    }
}
