//! Which files of a data directory are not in a backup: PostgreSQL's own rules, in `src/backend/backup/basebackup.c`.

use super::super::data_directory::{CONTROL, MARKER, STAGING};

/// Files that are left out wherever they are (`excludeFiles`, and what the file manager of macOS leaves behind).
const FILES_LEFT_OUT: [&str; 10] = [
    ".DS_Store",
    "backup_label",
    "backup_manifest",
    "current_logfiles.tmp",
    MARKER,
    "pg_control.pitr",
    "postgresql.auto.conf.tmp",
    "postmaster.opts",
    "postmaster.pid",
    "tablespace_map",
];
/// And what begins so: caches, and temporary files (`PG_TEMP_FILE_PREFIX`).
const PREFIXES_LEFT_OUT: [&str; 2] = ["pg_internal.init", "pgsql_tmp"];
/// Directories of which only the empty directory is in a backup (`excludeDirContents`).
const CONTENTS_LEFT_OUT: [&str; 7] =
    ["pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"];

/// What kind of directory something is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The data directory itself.
    Root,
    /// Relations that all databases share.
    Global,
    /// Relations of a database.
    Database,
    /// Links to tablespaces.
    Tablespaces,
    Other,
}

impl Place {
    /// What kind the directory `path` is.
    pub(super) fn of(path: &str) -> Self {
        match path.split('/').collect::<Vec<_>>()[..] {
            [""] => Self::Root,
            ["global"] => Self::Global,
            ["pg_tblspc"] => Self::Tablespaces,
            ["base", database] if is_number(database) => Self::Database,
            ["pg_tblspc", _, version, database] if version.starts_with("PG_") && is_number(database) => Self::Database,
            _ => Self::Other,
        }
    }

    /// Whether relations are here.
    pub(super) const fn has_relations(self) -> bool {
        matches!(self, Self::Global | Self::Database)
    }
}

/// Whether only the directory `path` itself is in a backup.
pub(super) fn is_content_left_out(path: &str) -> bool {
    CONTENTS_LEFT_OUT.contains(&path)
}

/// Whether `path`, which is called `name`, is in no backup whatever it is; or, as `pg_control`, is not there yet.
pub(super) fn is_left_out(path: &str, name: &str) -> bool {
    FILES_LEFT_OUT.contains(&name)
        || PREFIXES_LEFT_OUT.iter().any(|prefix| name.starts_with(prefix))
        || [CONTROL, STAGING].contains(&path)
}

/// A file of a relation that is not temporary: `number`, `number_fork`, `number.segment`, `number_fork.segment`
/// (`parse_filename_for_nontemp_relation` of `src/backend/storage/file/reinit.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RelationFile<'n> {
    /// The number of the relation's files.
    pub(super) number: &'n str,
    /// What of an unlogged relation stays when the server crashes.
    pub(super) is_init: bool,
    /// Which of the files it is that the fork consists of.
    pub(super) segment: u32,
}

impl<'n> RelationFile<'n> {
    /// What the name says; `None` if it is none of such a file.
    pub(super) fn parse(name: &'n str) -> Option<Self> {
        let (name, segment) = match name.split_once('.') {
            Some((name, segment)) if is_number(segment) => (name, segment.parse().ok()?),
            Some(_) => return None,
            None => (name, 0),
        };
        let (number, fork) = name.split_once('_').map_or((name, None), |(number, fork)| (number, Some(fork)));
        let is_known = matches!(fork, None | Some("fsm" | "vm" | "init"));
        (is_known && is_number(number)).then_some(Self { number, is_init: fork == Some("init"), segment })
    }
}

/// Whether `name` is that of a temporary relation: `t`, the number of a backend, `_`, and the name of a relation
/// (`looks_like_temp_rel_name` of `src/backend/storage/file/fd.c`).
pub(super) fn is_temporary_relation(name: &str) -> bool {
    let parts = name.strip_prefix('t').and_then(|rest| rest.split_once('_'));
    parts.is_some_and(|(backend, relation)| is_number(backend) && RelationFile::parse(relation).is_some())
}

fn is_number(text: &str) -> bool {
    (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_known_by_their_names() {
        let file = |number, is_init, segment| Some(RelationFile { number, is_init, segment });
        for (name, expected) in [
            ("16384", file("16384", false, 0)),
            ("16384.12", file("16384", false, 12)),
            ("16384_fsm", file("16384", false, 0)),
            ("16384_vm.1", file("16384", false, 1)),
            ("16384_init", file("16384", true, 0)),
            ("PG_VERSION", None),
            ("pg_filenode.map", None),
            ("t3_16384", None),
            ("16384_other", None),
            ("16384.x", None),
            ("16384.", None),
            ("_fsm", None),
            ("", None),
            ("12345678901", None),
        ] {
            assert_eq!(RelationFile::parse(name), expected, "{name}");
        }
        for (name, temporary) in
            [("t3_16384", true), ("t12_16384_vm.1", true), ("t_1", false), ("16384", false), ("t3_x", false)]
        {
            assert_eq!(is_temporary_relation(name), temporary, "{name}");
        }
    }

    #[test]
    fn places_are_known_by_their_paths() {
        for (path, place) in [
            ("", Place::Root),
            ("global", Place::Global),
            ("base", Place::Other),
            ("base/16384", Place::Database),
            ("base/pgsql_tmp", Place::Other),
            ("pg_tblspc", Place::Tablespaces),
            ("pg_tblspc/16385", Place::Other),
            ("pg_tblspc/16385/PG_15_202209061", Place::Other),
            ("pg_tblspc/16385/PG_15_202209061/5", Place::Database),
            ("other/5", Place::Other),
        ] {
            assert_eq!(Place::of(path), place, "{path}");
        }
    }
}
