//! What is due, what will be, and why.

use std::time::Duration;

use serde::Serialize;

use crate::model::{Task, Timestamp};

/// Why a task is due. Where several things make it due, the one that did so first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DueReason {
    /// It never succeeded.
    First,
    /// A user asked for a snapshot.
    OnDemand,
    /// The time of a snapshot has come.
    Slot,
    /// The times of several snapshots have passed; one makes up for all.
    #[non_exhaustive]
    MissedSlots {
        /// How many.
        slots: u64,
    },
    /// Something was written after slots that had been skipped, as nothing had been written.
    FirstWrite,
    /// Replaying the log since the last snapshot takes longer than the recovery time objective.
    #[non_exhaustive]
    RecoveryTime {
        /// How long it takes.
        replay: Duration,
        /// How long it may take.
        objective: Duration,
    },
    /// So much time has passed since the last one began.
    #[non_exhaustive]
    Cadence {
        /// How much.
        every: Duration,
    },
    /// So much log is not archived.
    #[non_exhaustive]
    Size {
        /// How much.
        unarchived_bytes: u64,
    },
    /// So many small log backups have gathered.
    #[non_exhaustive]
    Count {
        /// How many.
        log_backups: u64,
    },
    /// The server was stopped or paused, and is no longer.
    Resumed,
    /// A snapshot succeeded, so that others may have expired.
    AfterSnapshot,
    /// Something has become too old.
    Expiry,
    /// The last one is recorded for a time that is yet to come: the clock was set back, and when it really was is unknown.
    #[non_exhaustive]
    ClockSetBack {
        /// The time that is recorded.
        recorded: Timestamp,
    },
}

/// A task that is due now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DueTask {
    /// The task.
    pub task: Task,
    /// Why it is due.
    pub reason: DueReason,
    /// Since when. For what is due by an amount, of which nobody knows when it was reached, now.
    pub since: Timestamp,
    /// How many runs failed since one succeeded.
    pub failures: u32,
    /// When the run that counts as dead began, or last showed progress.
    pub abandoned: Option<Timestamp>,
}

/// A task that is not due yet, if nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LaterTask {
    /// The task.
    pub task: Task,
    /// Why it will be due.
    pub reason: DueReason,
    /// When.
    pub at: Timestamp,
    /// What it waits for.
    pub waits: Wait,
}

/// What a task that is not due waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Wait {
    /// Its time.
    Time,
    /// Its next try.
    #[non_exhaustive]
    Retry {
        /// How many runs failed since one succeeded.
        failures: u32,
    },
    /// Its present run, which counts as dead if it has not ended by then.
    #[non_exhaustive]
    Run {
        /// When that began, or last showed progress.
        since: Timestamp,
    },
}

/// What is due, in the order to do it, and what will be.
#[must_use = "it only says what is due"]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Agenda {
    /// What is due now, in the order of [`Task::ALL`].
    pub due: Vec<DueTask>,
    /// What will be due later if nothing changes, by time.
    pub later: Vec<LaterTask>,
    /// The first instant after now at which something that is not due now will be: that of the first of `later`.
    ///
    /// Whoever has begun all that is due can sleep until then, or until a run ends or another fact changes. `None` while
    /// the server is paused, or if all that time alone can make due is due already.
    pub next: Option<Timestamp>,
}
