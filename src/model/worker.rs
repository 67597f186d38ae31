//! Who works on servers, and at what.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{NAME, ParseError, is_name, text_serde};

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
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Archiver, Self::Snapshotter, Self::Sweeper, Self::Compactor, Self::Verifier];

    /// The role's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Archiver => "archiver",
            Self::Snapshotter => "snapshotter",
            Self::Sweeper => "sweeper",
            Self::Compactor => "compactor",
            Self::Verifier => "verifier",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of one life of a worker, which no other has: 1 to 64 of `A-Z a-z 0-9 -`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(String);

impl WorkerId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WorkerId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if is_name(text) { Ok(Self(text.to_owned())) } else { Err(ParseError::new("worker ID", text, NAME)) }
    }
}

text_serde!(WorkerId);
