//! Which databases are restored.

use std::collections::BTreeSet;

use crate::engine::error::{Error, ErrorKind, Result};
use crate::engine::manifest::EntryStream;

/// Databases below this number come with every server (`FirstNormalObjectId` in `src/include/access/transam.h`).
const OID_OF_USERS_MIN: u32 = 16_384;

/// The databases that are restored.
#[derive(Clone, Debug, Default)]
pub(super) enum Databases {
    /// All of them.
    #[default]
    All,
    /// Of those of users only these.
    Only(BTreeSet<u32>),
}

/// The snapshot has not all the databases that are wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has no database with an object identifier of {oids:?}; what was created later comes with the log")]
#[non_exhaustive]
pub struct MissingDatabases {
    /// The object identifiers that none of its databases has, in order.
    pub oids: Vec<u32>,
}

impl Databases {
    /// Whether the file at `path` is of a database that is left out.
    pub(super) fn leave_out(&self, path: &str) -> bool {
        let directory = path.rsplit_once('/').map(|(directory, _)| directory);
        directory.and_then(database_at).is_some_and(|oid| self.leave_out_database(oid))
    }

    /// Whether any database of the snapshot that lists `entries` is left out.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], by [`MissingDatabases`], if the snapshot does not have all that are wanted.
    pub(super) async fn leave_out_any(&self, mut entries: EntryStream) -> Result<bool> {
        let Self::Only(wanted) = self else { return Ok(false) };
        let (mut missing, mut leave_out_any) = (wanted.clone(), false);
        while let Some(group) = entries.next_group().await? {
            for oid in group.directories.iter().filter_map(|directory| database_at(&directory.path)) {
                missing.remove(&oid);
                leave_out_any |= self.leave_out_database(oid);
            }
        }
        require_none(missing).map(|()| leave_out_any)
    }

    fn leave_out_database(&self, oid: u32) -> bool {
        matches!(self, Self::Only(wanted) if oid >= OID_OF_USERS_MIN && !wanted.contains(&oid))
    }
}

/// The database of which `directory` is one.
fn database_at(directory: &str) -> Option<u32> {
    let parts: Vec<_> = directory.split('/').collect();
    let (["base", database] | ["pg_tblspc", _, _, database]) = parts[..] else { return None };
    database.parse().ok()
}

fn require_none(missing: BTreeSet<u32>) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let cause = MissingDatabases { oids: missing.into_iter().collect() };
    Err(Error::new(ErrorKind::InvalidInput, "the snapshot does not have all databases that are wanted")
        .caused_by(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_of_users_can_be_left_out() {
        for (path, left_out) in [
            ("base/16400/2619", false),
            ("base/16401/2619", true),
            ("base/16401/PG_VERSION", true),
            ("base/16401/pg_filenode.map", true),
            ("base/5/2619", false),
            ("pg_tblspc/16390/PG_15_202209061/16401/16402", true),
            ("pg_tblspc/16390/PG_15_202209061/16401/PG_VERSION", true),
            ("pg_tblspc/16390/PG_15_202209061/16400/16402", false),
            ("global/1262", false),
            ("base/other/1", false),
            ("base/16401", false),
            ("postgresql.conf", false),
        ] {
            assert_eq!(Databases::Only(BTreeSet::from([16_400])).leave_out(path), left_out, "{path}");
            assert!(!Databases::All.leave_out(path));
        }
    }
}
