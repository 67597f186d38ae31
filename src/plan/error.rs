//! Why something cannot be restored, and what can be instead.

use std::fmt;

use serde::Serialize;

use crate::model::{Branch, Incarnation, Lsn, ObjectKey, SnapshotId, Timestamp, Unusable, WalRange};

/// A point that was asked for, or that can be restored instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Point {
    /// An instant.
    Time(Timestamp),
    /// A position in the log.
    Lsn(Lsn),
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(at) => at.fmt(f),
            Self::Lsn(lsn) => lsn.fmt(f),
        }
    }
}

/// A restore that is not possible. Points are of the kind that was asked for, and each of them can be restored if it is
/// asked for in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlanError {
    /// No snapshot on the path can be restored.
    #[error(
        "nothing can be restored: of {snapshots} snapshots there, none is usable with all of its log archived; take one"
    )]
    NothingToRestore {
        /// How many snapshots lie on the path.
        snapshots: usize,
    },
    /// The catalog has no artifact of this life of the server.
    #[error("nothing is known of {incarnation}")]
    UnknownIncarnation {
        /// The one that was asked for.
        incarnation: Incarnation,
    },
    /// The catalog has no artifact of this timeline.
    #[error("{branch} is not known")]
    UnknownTimeline {
        /// The one that was asked for.
        branch: Branch,
    },
    /// The catalog has no such snapshot.
    #[error("there is no snapshot {snapshot}")]
    UnknownSnapshot {
        /// The one that was asked for.
        snapshot: SnapshotId,
    },
    /// The snapshot that was asked for cannot be restored by itself.
    #[error("snapshot {snapshot} cannot be restored: {reason}")]
    BrokenChain {
        /// The one that was asked for.
        snapshot: SnapshotId,
        /// What is wrong with it.
        reason: Unusable,
    },
    /// The log that makes the snapshot consistent is not all there.
    #[error("snapshot {snapshot} cannot be restored: its log lacks {missing}")]
    LogMissing {
        /// The one that was asked for.
        snapshot: SnapshotId,
        /// The first bytes that are missing.
        missing: WalRange,
    },
    /// What was asked for does not lie in the past of the branch, but in that of others.
    #[error("this does not lie in the past of {branch}; ask for {}", Alternatives(candidates))]
    WrongBranch {
        /// The branch that was asked for.
        branch: Branch,
        /// The branches on which it can be restored.
        candidates: Vec<Branch>,
    },
    /// Snapshots can be restored as of the moment when they are consistent, but no log tells of an instant after one.
    #[error("{requested} cannot be restored, only snapshots themselves: nothing is known of the log after them yet")]
    OnlySnapshots {
        /// What was asked for.
        requested: Point,
    },
    /// Before everything that can be restored.
    #[error("{requested} is too early: the earliest that can be restored is {earliest}")]
    TooEarly {
        /// What was asked for.
        requested: Point,
        /// The first point that can be restored.
        earliest: Point,
    },
    /// After everything that is archived.
    #[error("{requested} is too late: the latest that can be restored is {latest}; wait for the next log backup")]
    TooLate {
        /// What was asked for.
        requested: Point,
        /// The last point that can be restored now.
        latest: Point,
    },
    /// In or after a gap of the log, and before a snapshot that would bridge it.
    #[error("{requested} cannot be restored: log is missing, {missing}; {}", Neighbours(previous, next))]
    InGap {
        /// What was asked for.
        requested: Point,
        /// The gap.
        missing: WalRange,
        /// The last point before that can be restored.
        previous: Option<Point>,
        /// The first point after that can be restored.
        next: Option<Point>,
    },
    /// While a snapshot was taken that is not consistent yet, and none before it reaches there.
    #[error(
        "{requested} cannot be restored: snapshot {snapshot} is only consistent later; {}",
        Neighbours(previous, next)
    )]
    InSnapshot {
        /// What was asked for.
        requested: Point,
        /// The first snapshot after it.
        snapshot: SnapshotId,
        /// The last point before that can be restored.
        previous: Option<Point>,
        /// The first point after that can be restored.
        next: Option<Point>,
    },
    /// It depends on where in a log backup its commits lie, before or after a snapshot's end or the point where its
    /// timeline was left, and the commit index of that is not loaded. Load it, and plan again.
    #[error("{requested} can only be found with the commit index of {}; {}", Keys(needs), Neighbours(previous, next))]
    Unknown {
        /// What was asked for.
        requested: Point,
        /// The log backups whose index would tell, if they have one.
        needs: Vec<ObjectKey>,
        /// The last point before that can be restored.
        previous: Option<Point>,
        /// The first point after that can be restored.
        next: Option<Point>,
    },
}

struct Neighbours<'a>(&'a Option<Point>, &'a Option<Point>);

impl fmt::Display for Neighbours<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(previous), Some(next)) => write!(f, "possible are {previous} and before, or {next} and after"),
            (Some(previous), None) => write!(f, "possible is {previous} and before"),
            (None, Some(next)) => write!(f, "possible is {next} and after"),
            (None, None) => f.write_str("only snapshots themselves are possible"),
        }
    }
}

struct Alternatives<'a>(&'a [Branch]);

impl fmt::Display for Alternatives<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, " or ", self.0)
    }
}

struct Keys<'a>(&'a [ObjectKey]);

impl fmt::Display for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, ", ", self.0)
    }
}

fn separated(f: &mut fmt::Formatter<'_>, separator: &str, items: &[impl fmt::Display]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        let separator = if i == 0 { "" } else { separator };
        write!(f, "{separator}{item}")?;
    }
    Ok(())
}
