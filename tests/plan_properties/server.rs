//! PostgreSQL as a model: it replays what is staged, and stops or fails by its own rules.
//!
//! `recoveryStopsBefore` and `PerformWalRecovery` in `access/transam/xlogrecovery.c`, `StartupXLOG` in `access/transam/xlog.c`.

use pitr::model::Timestamp;

use crate::past::Past;
use crate::world::{Record, Taken};

/// What the server is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told {
    /// To stop before the first commit after this.
    Limit(Timestamp),
    /// To replay everything.
    Everything,
}

/// Where recovery ended: at the end of this unit of log, before which the last record that was replayed ends. If it stopped
/// before a commit, this is where that one ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Before(u64),
    At(u64),
}

/// How recovery fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// "recovery ended before configured recovery target was reached"
    NotReached,
    /// "requested recovery stop point is before consistent recovery point"
    NotConsistent,
    /// "WAL ends before end of online backup"
    EndOfBackupMissing,
}

/// Recovery from a snapshot with log staged up to `staged`.
pub(crate) fn recover(past: &Past<'_>, taken: &Taken, staged: u64, told: Told) -> Result<Ended, Failed> {
    let mut records = past.commits(taken.start, staged);
    let late = |record: &&Record| matches!(told, Told::Limit(limit) if record.time > limit);
    match (records.find(late), told) {
        (Some(record), _) if record.end <= taken.end => Err(Failed::NotConsistent),
        (Some(record), _) => Ok(Ended::Before(record.end)),
        (None, _) if staged < taken.end => Err(Failed::EndOfBackupMissing),
        (None, Told::Limit(_)) => Err(Failed::NotReached),
        (None, Told::Everything) => Ok(Ended::At(staged)),
    }
}
