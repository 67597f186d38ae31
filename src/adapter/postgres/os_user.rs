//! The user of this machine who runs a server and owns its files.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::port::PortError;

/// A user of this machine with his primary group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OsUser {
    uid: u32,
    gid: u32,
}

impl OsUser {
    /// The user and group with these numbers.
    #[must_use]
    pub const fn new(uid: u32, gid: u32) -> Self {
        Self { uid, gid }
    }

    /// The user called `name`, as `id` knows him.
    ///
    /// # Errors
    /// If there is none, or `id` cannot be run.
    pub fn named(name: &str) -> io::Result<Self> {
        Ok(Self { uid: id(&["-u", "--", name])?, gid: id(&["-g", "--", name])? })
    }

    /// Who a server must run as: nobody in particular, unless this process runs as root, which PostgreSQL refuses; then
    /// the user `postgres`.
    ///
    /// # Errors
    /// If there is no such user, or `id` cannot be run.
    pub fn for_servers() -> io::Result<Option<Self>> {
        if id(&["-u"])? == 0 { Self::named("postgres").map(Some) } else { Ok(None) }
    }

    /// The user `given` to run a server as, or else who it [must](Self::for_servers) run as.
    pub(super) fn to_run_as(given: Option<Self>) -> Result<Option<Self>, PortError> {
        let found = given.map_or_else(Self::for_servers, |user| Ok(Some(user)));
        found.map_err(|error| PortError::io("find the user postgres to run the server as", error))
    }

    /// The owner of the file or directory at `path`.
    ///
    /// # Errors
    /// If it cannot be looked at.
    pub fn owning(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|meta| Self::new(meta.uid(), meta.gid()))
    }

    /// The user's number.
    #[must_use]
    pub const fn uid(self) -> u32 {
        self.uid
    }

    /// The number of the user's group.
    #[must_use]
    pub const fn gid(self) -> u32 {
        self.gid
    }
}

fn id(arguments: &[&str]) -> io::Result<u32> {
    let Output { stdout, stderr, .. } = Command::new("id").args(arguments).output()?;
    let unknown = || io::Error::new(io::ErrorKind::NotFound, String::from_utf8_lossy(&stderr).trim().to_owned());
    String::from_utf8_lossy(&stdout).trim().parse().map_err(|_| unknown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name() {
        assert_eq!(OsUser::named("root").unwrap(), OsUser::new(0, 0));
        let error = OsUser::named("nobody-has-this-name").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("nobody-has-this-name"), "{error}");
    }

    #[test]
    fn every_file_has_an_owner() {
        assert_eq!(OsUser::owning(Path::new("/")).unwrap().uid(), 0);
    }
}
