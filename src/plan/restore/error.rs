//! Why something cannot be restored, and what can be instead.

use std::fmt;

use serde::Serialize;

use crate::model::{Branch, Incarnation, Lsn, SnapshotId, Target, Timestamp, Unusable, WalRange};
use crate::plan::past::Need;

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
    #[error("{requested} cannot be restored: log is missing, {missing}{}", Neighbours(previous, next))]
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
        "{requested} cannot be restored: snapshot {snapshot} is only consistent later{}",
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
    /// After the server was deleted. Its log may go on, but nobody can want what is in it.
    #[error("{requested} is after the server was deleted at {deleted_at}{}", Latest(latest))]
    AfterDeletion {
        /// What was asked for.
        requested: Timestamp,
        /// When the server was deleted.
        deleted_at: Timestamp,
        /// The last point before the deletion that can be restored.
        latest: Option<Point>,
    },
    /// It depends on what is in log backups of which too little was read: where its commits lie, before or after a snapshot's
    /// end or the point where its timeline was left; or where a transaction ended, or a restore point was made. Read that
    /// ([`Catalog::load_index`](crate::model::Catalog::load_index)), and plan again.
    #[error("{requested} can only be found with {}{}", Needs(needs), Nearby(previous, next))]
    Unknown {
        /// What was asked for.
        requested: Target,
        /// What would tell, or what to look at next.
        needs: Vec<Need>,
        /// The last instant before that can be restored, if an instant was asked for.
        previous: Option<Point>,
        /// The first instant after that can be restored, if an instant was asked for.
        next: Option<Point>,
    },
    /// In all of the archived log there is no such transaction or restore point.
    #[error("{requested} is nowhere in the archived log of {branch}")]
    NotFound {
        /// What was asked for.
        requested: Target,
        /// Where it was looked for.
        branch: Branch,
    },
    /// There are several of that name. Ask for one of the positions.
    #[error("{requested} is ambiguous: ask for one of the positions {}", Positions(at))]
    Ambiguous {
        /// What was asked for.
        requested: Target,
        /// Where each of them lies, and its time.
        at: Vec<(Lsn, Timestamp)>,
    },
}

struct Neighbours<'a>(&'a Option<Point>, &'a Option<Point>);

impl fmt::Display for Neighbours<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(previous), Some(next)) => write!(f, "; possible are {previous} and before, or {next} and after"),
            (Some(previous), None) => write!(f, "; possible is {previous} and before"),
            (None, Some(next)) => write!(f, "; possible is {next} and after"),
            (None, None) => f.write_str("; only snapshots themselves are possible"),
        }
    }
}

struct Alternatives<'a>(&'a [Branch]);

impl fmt::Display for Alternatives<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, " or ", self.0)
    }
}

/// Neighbours, where there may be some.
struct Nearby<'a>(&'a Option<Point>, &'a Option<Point>);

impl fmt::Display for Nearby<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_none() && self.1.is_none() { Ok(()) } else { Neighbours(self.0, self.1).fmt(f) }
    }
}

struct Needs<'a>(&'a [Need]);

impl fmt::Display for Needs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, ", ", self.0)
    }
}

struct Positions<'a>(&'a [(Lsn, Timestamp)]);

impl fmt::Display for Positions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let positions: Vec<String> = self.0.iter().map(|(lsn, at)| format!("{lsn} ({at})")).collect();
        separated(f, ", ", &positions)
    }
}

struct Latest<'a>(&'a Option<Point>);

impl fmt::Display for Latest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(latest) => write!(f, "; the latest before that can be restored is {latest}"),
            None => f.write_str("; nothing before that can be restored"),
        }
    }
}

fn separated(f: &mut fmt::Formatter<'_>, separator: &str, items: &[impl fmt::Display]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        let separator = if i == 0 { "" } else { separator };
        write!(f, "{separator}{item}")?;
    }
    Ok(())
}
