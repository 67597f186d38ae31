//! Pure decisions: catalog + request + policy → a plan, or a refusal that carries the numbers.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::model::{Lsn, Timestamp};

/// Placeholder until the planner lands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub enum RecoveryTarget {
    /// x
    Immediate,
    /// x
    Time {
        /// x
        at: Timestamp,
        /// x
        inclusive: bool,
    },
    /// x
    Lsn {
        /// x
        lsn: Lsn,
        /// x
        inclusive: bool,
    },
    /// x
    EndOfWal,
}
