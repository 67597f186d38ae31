//! Installations of PostgreSQL on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::LocalServerError;
use crate::model::PostgresMajor;

/// An installed PostgreSQL: the directory of its programs, and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgInstall {
    bin: PathBuf,
    major: PostgresMajor,
}

impl PgInstall {
    /// The PostgreSQL whose programs lie in `bin`.
    ///
    /// # Errors
    /// If there is no `postgres` that can be run, or its version is none of those that pitr knows.
    pub fn at(bin: impl Into<PathBuf>) -> Result<Self, LocalServerError> {
        let bin: PathBuf = bin.into();
        // Servers are not run in this process's working directory, nor always by a user who can pass through every link.
        let bin = fs::canonicalize(&bin).map_err(LocalServerError::io(format!("find {}", bin.display())))?;
        let program = bin.join("postgres");
        let run = Command::new(&program).arg("--version").output();
        let Output { stdout, .. } = run.map_err(LocalServerError::io(format!("run {}", program.display())))?;
        let said = String::from_utf8_lossy(&stdout).trim().to_owned();
        match major_of(&said) {
            Some(major) => Ok(Self { bin, major }),
            None => Err(LocalServerError::UnknownVersion { program, said }),
        }
    }

    /// The PostgreSQL of version `major`, or the newest that pitr knows: from `/usr/lib/postgresql/<major>/bin`,
    /// `.pg/<major>/bin` of the working directory, or where the `pg_config` on the search path says.
    ///
    /// # Errors
    /// [`NoInstallation`](LocalServerError::NoInstallation) if there is none.
    pub fn discover(major: Option<PostgresMajor>) -> Result<Self, LocalServerError> {
        let in_directories: Vec<PathBuf> = candidates(major).collect();
        let installed = in_directories.iter().filter_map(|bin| Self::at(bin).ok());
        let fitting = installed.filter(|install| major.is_none_or(|major| install.major == major));
        fitting.max_by_key(|install| install.major).ok_or_else(|| {
            let wanted =
                major.map_or_else(|| format!("{} to {}", PostgresMajor::MIN, PostgresMajor::MAX), |m| m.to_string());
            LocalServerError::NoInstallation { wanted, in_directories }
        })
    }

    /// The directory of its programs.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// Its major version.
    #[must_use]
    pub const fn major(&self) -> PostgresMajor {
        self.major
    }
}

fn candidates(major: Option<PostgresMajor>) -> impl Iterator<Item = PathBuf> {
    let (oldest, newest) = major.map_or((PostgresMajor::MIN, PostgresMajor::MAX), |major| (major, major));
    let majors = (oldest.as_u32()..=newest.as_u32()).rev();
    let usual = majors.flat_map(|major| [format!("/usr/lib/postgresql/{major}/bin"), format!(".pg/{major}/bin")]);
    usual.map(PathBuf::from).chain(bin_of_pg_config())
}

fn bin_of_pg_config() -> Option<PathBuf> {
    let Output { stdout, status, .. } = Command::new("pg_config").arg("--bindir").output().ok()?;
    let bin = String::from_utf8(stdout).ok()?;
    status.success().then(|| bin.trim().into())
}

/// The version that `postgres --version` prints: `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`, `… 18beta1`.
fn major_of(said: &str) -> Option<PostgresMajor> {
    let (_, version) = said.split_once("(PostgreSQL) ")?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().and_then(|major: u32| PostgresMajor::new(major).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_postgres_prints_them() {
        let major = |said| major_of(said).map(PostgresMajor::as_u32);
        assert_eq!(major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18.0"), Some(18));
        assert_eq!(major("postgres (PostgreSQL) 17beta1"), Some(17));
        assert_eq!(major("postgres (PostgreSQL) 9.6.24"), None);
        assert_eq!(major("psql 15.1"), None);
    }

    #[test]
    fn a_directory_without_postgres_is_refused_by_name() {
        let error = PgInstall::at("/nowhere/bin").unwrap_err();
        assert!(error.to_string().contains("/nowhere/bin"), "{error}");
    }
}
