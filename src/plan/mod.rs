//! Pure decisions: catalog + request + policy → a plan, or a refusal that carries the numbers.
//!
//! - [`plan_restore`]: which artifacts restore a target; [`explain_restore`]: and why not others. [`recovery_window`]: all instants that
//!   can be restored; [`loss`](fn@loss): and those that could not without some artifacts.
//! - [`retention`]: what is kept and what expires, and why. [`schedule`]: what is due. [`usage`]: what is stored, and what it costs.
//!   [`post_restore`]: what is left to do after a restore. [`compaction`]: which log backups become one. [`health`]: what somebody should look at. [`timeline_svg`]: all of it as a picture.
//!
//! # How a time becomes a position
//!
//! PostgreSQL, told to recover to a time, stops before the first commit or abort record *that it replays* whose time is
//! after the target (`recoveryStopsBefore` in `access/transam/xlogrecovery.c`; not after but at or after, if the target is
//! exclusive, which over whole microseconds is the inclusive target one microsecond earlier). It looks at every record from
//! the snapshot's start on, and gives up if it would have to stop before the snapshot is consistent. So where a time lies
//! depends on the snapshot that recovery starts from, as soon as the server's clock ever stepped back. The planner fixes
//! the meaning like this:
//!
//! 1. A snapshot is *eligible* for a time if it was consistent strictly before it, and none of the log that makes it
//!    consistent can hold a commit after it. "Can" is judged by `max_commit_time` of the log backups, narrowed by their
//!    commit index where it is loaded. An archiver that ends a log backup where a snapshot ends, or loads the index of the
//!    log backup that holds that position, makes the snapshot eligible from its first microsecond.
//! 2. Among the snapshots from which PostgreSQL can reach the time, the one furthest in the log says which position that
//!    is: it proves that the server's clock was before the target at that late a position.
//! 3. Older snapshots compete by the request's [`Objective`] only if recovery from them stops at that same position.
//!
//! A position is restored by staging the log up to it and asking for the end of the log. PostgreSQL's own
//! `recovery_target_lsn` needs a whole record to follow the target, and no catalog can promise that.
//!
//! Recovery runs along the timeline that the stop lies on, which can be an ancestor of the one that was asked for; see
//! [`RestorePlan::timeline`]. Where that depends on commits on either side of a switch, the index of that log backup must
//! be loaded ([`PlanError::Unknown`]).
//!
//! # Which log
//!
//! From the start of the *segment* that holds the snapshot's start (PostgreSQL reads the long header of its first page) to
//! the stop, without a hole, each byte from the timeline that wrote it. There is one exception: if the snapshot's timeline began
//! in the middle of that first segment, then all bytes before can come from the timeline's own copy of them instead.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod assignment;
mod change;
pub mod compaction;
pub mod health;
mod loss;
mod past;
mod picture;
pub mod post_restore;
mod restore;
pub mod retention;
pub mod schedule;
mod sharing;
mod text;
pub mod usage;
mod window;

pub use assignment::assign;
pub use change::{ChangeRefusal, apply_change, check_config};
pub use loss::{Loss, loss};
pub use past::Need;
pub use picture::{SvgOptions, timeline_svg};
pub(crate) use restore::restorable_snapshots;
pub use restore::{
    Answer, Considered, ConsistentFrom, Cost, CostModel, Explanation, Objective, PlanError, PlannedLog, Point,
    RecoveryTarget, RestorePlan, RestoreRequest, SnapshotChoice, Target, TimelineChoice, Verdict, explain_restore,
    plan_restore,
};
pub use window::{NextRestorable, RecoveryWindow, RestorableInterval, recovery_window, recovery_windows};
