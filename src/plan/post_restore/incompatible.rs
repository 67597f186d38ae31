//! What can be no restore of a server.

use std::fmt;

use serde::Serialize;

use crate::model::{PostgresMajor, ServerName, ServerSpec};

/// The new server cannot be a restore of the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("this server cannot be a restore of the other: {}", Reasons(reasons))]
#[non_exhaustive]
pub struct IncompatibleRestore {
    /// Every reason, one at least, in the order of [`Incompatibility`].
    pub reasons: Vec<Incompatibility>,
}

/// Why a server cannot be a restore of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
#[non_exhaustive]
pub enum Incompatibility {
    /// A restore makes a new server, but it has the name of the source.
    SameName {
        /// The name.
        name: ServerName,
    },
    /// The data directory of one major version cannot be run by another; `pg_upgrade` comes after the restore.
    OtherMajorVersion {
        /// Of the source.
        source: PostgresMajor,
        /// Of the new server.
        restored: PostgresMajor,
    },
    /// A restore stays in the region of its source.
    OtherRegion {
        /// Of the source.
        source: String,
        /// Of the new server.
        restored: String,
    },
    /// The data do not fit into the storage.
    StorageTooSmall {
        /// What the data take, in bytes.
        data_bytes: u64,
        /// What is provisioned for the new server, in bytes.
        storage_bytes: u64,
    },
    /// A restored server is a single one; a standby comes after the restore.
    HighAvailability,
}

/// # Errors
/// With all that is wrong. What is not known (a storage of 0 bytes, a region without a name) is not judged.
pub(super) fn check(
    source: &ServerSpec,
    restored: &ServerSpec,
    data_bytes: Option<u64>,
) -> Result<(), IncompatibleRestore> {
    let found = [
        same_name(source, restored),
        other_version(source, restored),
        other_region(source, restored),
        too_small(restored, data_bytes),
        restored.high_availability.then_some(Incompatibility::HighAvailability),
    ];
    let reasons: Vec<Incompatibility> = found.into_iter().flatten().collect();
    if reasons.is_empty() { Ok(()) } else { Err(IncompatibleRestore { reasons }) }
}

fn same_name(source: &ServerSpec, restored: &ServerSpec) -> Option<Incompatibility> {
    (source.name == restored.name).then(|| Incompatibility::SameName { name: source.name.clone() })
}

fn other_version(source: &ServerSpec, restored: &ServerSpec) -> Option<Incompatibility> {
    let (source, restored) = (source.postgres, restored.postgres);
    (source != restored).then_some(Incompatibility::OtherMajorVersion { source, restored })
}

fn other_region(source: &ServerSpec, restored: &ServerSpec) -> Option<Incompatibility> {
    let (source, restored) = (&source.region, &restored.region);
    let are_known = !source.is_empty() && !restored.is_empty();
    let other = || Incompatibility::OtherRegion { source: source.clone(), restored: restored.clone() };
    (are_known && source != restored).then(other)
}

fn too_small(restored: &ServerSpec, data_bytes: Option<u64>) -> Option<Incompatibility> {
    let storage_bytes = restored.storage_bytes;
    let data_bytes = data_bytes.filter(|&data_bytes| 0 < storage_bytes && storage_bytes < data_bytes)?;
    Some(Incompatibility::StorageTooSmall { data_bytes, storage_bytes })
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameName { name } => write!(f, "both are named {name}, but a restore makes a new server"),
            Self::OtherMajorVersion { source, restored } => {
                write!(f, "it runs PostgreSQL {restored}, but the data are of {source}; upgrade after the restore")
            }
            Self::OtherRegion { source, restored } => {
                write!(f, "it is in region {restored}, but a restore stays in {source}")
            }
            Self::StorageTooSmall { data_bytes, storage_bytes } => {
                write!(f, "it has {storage_bytes} bytes of storage, but the data take {data_bytes}")
            }
            Self::HighAvailability => {
                f.write_str("it has a standby, but a restored server is single; add one after the restore")
            }
        }
    }
}

struct Reasons<'a>(&'a [Incompatibility]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, reason) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{reason}")?;
        }
        Ok(())
    }
}
