//! Which path of a base backup goes where, and which go nowhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::disk;
use crate::port::{PortError, PortErrorKind};

/// The directory in which log is staged, inside the data directory: so it is on the same file system as `pg_wal` and a
/// segment is linked there, not copied.
pub(in crate::adapter::postgres) const STAGING: &str = "pitr_wal";
/// The file without which PostgreSQL does not start.
pub(in crate::adapter::postgres) const CONTROL: &str = "global/pg_control";
/// Where it waits until everything else is durable.
pub(super) const CONTROL_WAITING: &str = "global/pg_control.pitr";

/// Says whose directory it is while a [delta](super::DataDirectory::delta) is restored. Locked by whoever does.
pub(in crate::adapter::postgres) const MARKER: &str = "pitr_restore";
/// Where PostgreSQL keeps its log. A link if that lies elsewhere.
pub(in crate::adapter::postgres) const LOG: &str = "pg_wal";

/// The file in which the restored server also writes its process ID, as PostgreSQL knows no way to unset the one that its
/// source may have named. It lies in the data directory, like every relative path of a server that runs.
pub(super) const EXTERNAL_PID_FILE: &str = "postmaster.pid.external";

/// Files of a running server, or of another recovery, that would hurt a restored one. `tablespace_map` would make
/// PostgreSQL point the tablespaces at the directories of the source.
const FILES_LEFT_OUT: [&str; 14] = [
    "backup_label.old",
    "current_logfiles",
    "current_logfiles.tmp",
    CONTROL_WAITING,
    EXTERNAL_PID_FILE,
    MARKER,
    "postgresql.auto.conf.tmp",
    "postmaster.opts",
    "postmaster.pid",
    "recovery.done",
    "recovery.signal",
    "standby.signal",
    "tablespace_map",
    "tablespace_map.old",
];

/// Directories that PostgreSQL fills anew; `excludeDirContents` of `src/backend/backup/basebackup.c`, and the log, which
/// the restore brings itself.
const CONTENTS_LEFT_OUT: [&str; 8] =
    ["pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans", LOG];

/// Temporary files, caches and Unix sockets, wherever they lie (`src/include/storage/fd.h`, `src/include/utils/relcache.h`,
/// `src/include/libpq/pqcomm.h`).
const PREFIXES_LEFT_OUT: [&str; 3] = ["pgsql_tmp", "pg_internal.init", ".s.PGSQL."];

/// Where a path of the backup goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To this path.
    At(PathBuf),
    /// Nowhere: it is made otherwise, or must not be restored.
    Nowhere,
}

/// The data directory and what it leads to by links, all absolute.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
    pub(super) tablespaces: BTreeMap<u32, PathBuf>,
    /// The directory of the log, if that is not in the root.
    pub(super) log: Option<PathBuf>,
}

impl Layout {
    /// The place of a path that comes from a backup, which nobody has checked yet.
    ///
    /// Only directories and regular files are made below the root and the tablespaces, in directories that were empty and
    /// belong to the restore alone; so a path whose parts are plain names cannot lead through a symbolic link.
    pub(super) fn place(&self, path: &str) -> Result<Place, PortError> {
        let parts: Vec<&str> = path.split('/').collect();
        if !parts.iter().all(|part| is_plain_name(part)) {
            let context = format!("{path:?} is no relative path inside the data directory");
            return Err(PortError::new(PortErrorKind::Invalid, context));
        }
        if is_left_out(path, &parts) {
            return Ok(Place::Nowhere);
        }
        Ok(match self.tablespace(&parts) {
            Some((_, [])) => Place::Nowhere,
            Some((directory, inside)) => Place::At(directory.join(inside.join("/"))),
            None if path == CONTROL => Place::At(self.root.join(CONTROL_WAITING)),
            None => Place::At(self.root.join(path)),
        })
    }

    /// Refuses directories of which one lies in, or is, another, whatever they are called: each must be empty before and whole after.
    pub(super) fn check(&self) -> Result<(), PortError> {
        let mut directories = self.directories().map(disk::real).collect::<Result<Vec<_>, _>>()?;
        directories.sort_unstable();
        match directories.windows(2).find(|pair| matches!(pair, [outer, inner] if inner.starts_with(outer))) {
            Some(pair) => {
                let context = format!(
                    "the data directory, its tablespaces and its log must lie apart, not in each other: {pair:?}"
                );
                Err(PortError::new(PortErrorKind::Invalid, context))
            }
            None => Ok(()),
        }
    }

    /// All directories that the restore fills.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.tablespaces.values().chain(&self.log).chain([&self.root]).map(PathBuf::as_path)
    }

    /// The symbolic links by which PostgreSQL finds what lies outside the root, and where they lead.
    pub(super) fn links(&self) -> impl Iterator<Item = (PathBuf, &Path)> {
        let tablespaces = self
            .tablespaces
            .iter()
            .map(|(oid, directory)| (self.root.join("pg_tblspc").join(oid.to_string()), directory.as_path()));
        tablespaces.chain(self.log.iter().map(|directory| (self.root.join(LOG), directory.as_path())))
    }

    fn tablespace<'p>(&self, parts: &'p [&'p str]) -> Option<(&Path, &'p [&'p str])> {
        let ["pg_tblspc", oid, inside @ ..] = parts else { return None };
        let directory = self.tablespaces.get(&oid.parse().ok()?)?;
        Some((directory, inside))
    }
}

fn is_plain_name(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && !part.contains('\0')
}

fn is_left_out(path: &str, parts: &[&str]) -> bool {
    let (first, deeper) = (parts.first().copied().unwrap_or_default(), parts.len() > 1);
    FILES_LEFT_OUT.contains(&path)
        || first == STAGING
        || deeper && CONTENTS_LEFT_OUT.contains(&first)
        || parts.iter().any(|part| PREFIXES_LEFT_OUT.iter().any(|prefix| part.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout { root: "/data".into(), tablespaces: BTreeMap::from([(16385, "/fast".into())]), log: None }
    }

    #[test]
    fn every_path_has_one_place() {
        for (path, place) in [
            ("base/1/1259", "/data/base/1/1259"),
            ("global/pg_control", "/data/global/pg_control.pitr"),
            ("pg_tblspc", "/data/pg_tblspc"),
            ("pg_tblspc/16385/PG_15_202209061/5/16386", "/fast/PG_15_202209061/5/16386"),
            ("pg_tblspc/99/PG_15_202209061", "/data/pg_tblspc/99/PG_15_202209061"),
            ("pg_wal", "/data/pg_wal"),
            ("backup_label", "/data/backup_label"),
        ] {
            assert_eq!(layout().place(path).unwrap(), Place::At(place.into()), "{path}");
        }
    }

    #[test]
    fn what_would_hurt_a_restored_server_goes_nowhere() {
        for path in [
            "postmaster.pid",
            "standby.signal",
            "tablespace_map",
            "pg_replslot/slot/state",
            "pg_wal/000000010000000000000001",
            "pg_tblspc/16385",
            "base/pgsql_tmp/pgsql_tmp123.0",
            "global/pg_internal.init",
            ".s.PGSQL.5432.lock",
            "pitr_restore",
            "pitr_wal/end",
        ] {
            assert_eq!(layout().place(path).unwrap(), Place::Nowhere, "{path}");
        }
    }

    #[test]
    fn directories_lie_apart() {
        assert!(layout().check().is_ok());
        for nested in ["/data", "/data/fast", "/"] {
            let tablespace = Layout { tablespaces: BTreeMap::from([(16385, nested.into())]), ..layout() };
            let log = Layout { log: Some(nested.into()), ..layout() };
            for layout in [tablespace, log] {
                assert_eq!(layout.check().unwrap_err().kind(), PortErrorKind::Invalid, "{nested}");
            }
        }
        let place = tempfile::tempdir().unwrap();
        let (real, alias) = (place.path().join("real"), place.path().join("alias"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &alias).unwrap();
        let tablespaces = BTreeMap::from([(16385, alias.join("not/there/yet"))]);
        let layout = Layout { root: real, tablespaces, log: None };
        assert_eq!(layout.check().unwrap_err().kind(), PortErrorKind::Invalid, "by another name");
    }

    #[test]
    fn a_path_that_leads_out_is_refused() {
        for path in ["", "/", "/etc/passwd", "..", "../x", "base/../../x", "base//1", "./base", "base/", "a\0b"] {
            assert_eq!(layout().place(path).unwrap_err().kind(), PortErrorKind::Invalid, "{path:?}");
        }
    }
}
