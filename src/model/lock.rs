//! Locks: what must not be done to a server.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{LockName, Timestamp};

/// What a lock forbids: the two that Azure's management locks know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LockKind {
    /// The server cannot be deleted. All else can be done.
    CanNotDelete,
    /// The server can neither be deleted nor configured otherwise. It is backed up, and can be restored from.
    ReadOnly,
}

impl fmt::Display for LockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CanNotDelete => "CanNotDelete",
            Self::ReadOnly => "ReadOnly",
        })
    }
}

/// A lock on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lock {
    /// What it is called, to remove it.
    pub name: LockName,
    /// What it forbids.
    pub kind: LockKind,
    /// Why, for whoever is refused.
    pub reason: String,
    /// Whom to ask.
    pub owner: String,
    /// Since when.
    pub since: Timestamp,
}

impl Lock {
    /// A lock of `owner`, placed at `since`, without a reason.
    #[must_use]
    pub fn new(name: LockName, kind: LockKind, owner: impl Into<String>, since: Timestamp) -> Self {
        Self { name, kind, reason: String::new(), owner: owner.into(), since }
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, reason, owner, since } = self;
        write!(f, "{kind} lock {name} of {owner} since {since}")?;
        if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
    }
}
