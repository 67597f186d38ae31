//! Who works on servers, and at what.

use std::fmt;

/// Work that one process at a time does for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Archives its log.
    Archiver,
    /// Takes its snapshots.
    Snapshotter,
    /// Deletes what has expired.
    Sweeper,
    /// Merges its log backups.
    Compactor,
    /// Verifies what is stored.
    Verifier,
    /// Does all of this.
    Service,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Archiver, Self::Snapshotter, Self::Sweeper, Self::Compactor, Self::Verifier, Self::Service];

    /// The role's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Archiver => "archiver",
            Self::Snapshotter => "snapshotter",
            Self::Sweeper => "sweeper",
            Self::Compactor => "compactor",
            Self::Verifier => "verifier",
            Self::Service => "service",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
