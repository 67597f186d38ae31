//! Retention: what is kept, what expires, and why.
//!
//! # The rule
//!
//! An artifact expires if it cannot be reached from anything that is kept; never because it is old, and never by name.
//!
//! - **The window** ends at the *horizon* and is as long as the policy says. The horizon is `now`, but not later than the server
//!   was last seen: so a clock that jumps ahead expires nothing, and of a server that is stopped, or whose log is not archived,
//!   nothing expires until it goes on. A branch that claims to be of more than a day from now is not asked, if another can be.
//! - On every branch that was seen within the window, and always on the current one, the **anchor** is kept, which is the newest
//!   snapshot from which the window's first instant could be restored, of those before which in the log nothing is of the window;
//!   all snapshots after it, with their log; and all log from its start on. So a snapshot that was taken while the clock was wrong
//!   by years is no anchor. Where a clock was set back and an even older snapshot tells what an instant of the window means, that is
//!   kept too. Of a branch that was left before the window, nothing is kept; of one that was left within it, also what says so.
//! - The instants of a branch end when the server left it, or at the horizon. What a clock that was wrong makes restorable later
//!   than that is promised to nobody.
//! - Of the policy's **minimum** and its **sparse** tiers, of **holds**, and of **leases**, snapshots are kept with just the log that
//!   makes them consistent; of leases and **running** snapshots also the log that they ask for. If only earlier log tells that a
//!   standby's snapshot holds commits that are later than its clock, that is kept with it.
//! - Nothing that expires makes the server seem to have been elsewhere last, or later. Where what is kept of a branch that was left
//!   claims to be later than the current one, by a clock that was wrong, the **end** of the branch is kept too, which knows better.
//! - **Parents** of whatever is kept are kept, and the **histories** of all timelines on which anything is.
//!   Where the history of a timeline is missing, any earlier timeline may be its past, and is kept until it has an anchor.
//! - While the current branch has no snapshot that can be restored, nothing expires at all.
//!
//! A gap, a broken chain or a missing history never makes more of the window expire: what cannot be restored is no anchor. Only
//! a single point beyond it goes when it cannot be restored any more, and the next of its period is kept instead.
//!
//! Deciding is one step, deleting another: [`plan_retention`] lists, whoever deletes first lets [`RetentionPlan::check`] prove on
//! the catalog at hand that nothing is lost, and deletes what is listed.

mod change;
mod decide;
mod ends;
mod explain;
mod extent;
mod invariants;
mod next;
mod policy;
mod protections;
mod retention_plan;
mod sort;
mod wanted;

pub use change::{RetentionChange, retention_change};
pub use decide::plan_retention;
pub use invariants::RetentionFault;
pub use next::next_expiry;
pub use policy::RetentionPolicy;
pub use protections::{Protections, RunningSnapshot};
pub use retention_plan::{
    ExpireReason, ExpiredHistory, ExpiredLogs, ExpiredSnapshot, KeepReason, KeptHistory, KeptLogs, KeptSnapshot,
    RetentionPlan,
};
