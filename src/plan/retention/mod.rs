//! Retention: what is kept, what expires, and why.
//!
//! # The rule
//!
//! An artifact expires if it cannot be reached from anything that is kept; never because it is old, and never by name.
//!
//! - **The window** ends at the *horizon* and is as long as the policy says. The horizon is `now`, but not later than the server
//!   was last seen: so a clock that jumps ahead expires nothing, and of a server that is stopped, or whose log is not archived,
//!   nothing expires until it goes on.
//! - On every branch that was seen within the window, and always on the current one, the **anchor** is kept, which is the newest
//!   snapshot from which the window's first instant could be restored; all snapshots after it; and all log from its start on.
//!   Of a branch that was left before the window, nothing is. Where a clock was set back and an even older snapshot tells what
//!   an instant of the window means, that is kept too.
//! - Of the policy's **minimum** and its **sparse** tiers, of **holds**, and of **leases**, snapshots are kept with just the log that
//!   makes them consistent; of leases and **running** snapshots also the log that they ask for.
//! - **Parents** of whatever is kept are kept, and the **histories** of all timelines on which anything is.
//! - While the current branch has no snapshot that can be restored, nothing expires at all.
//!
//! A gap, a broken chain or a missing history never makes more expire: what cannot be restored is no anchor.
//!
//! Deciding is one step, deleting another: [`plan_retention`] lists, whoever deletes first lets [`RetentionPlan::check`] prove on
//! the catalog at hand that nothing is lost, and deletes what is listed.

mod change;
mod decide;
mod explain;
mod extent;
mod invariants;
mod policy;
mod protections;
mod retention_plan;
mod wanted;

pub use change::{RetentionChange, retention_change};
pub use decide::plan_retention;
pub use invariants::RetentionFault;
pub use policy::{Period, RetentionPolicy, SparseTier};
pub use protections::{Hold, Lease, Protections, RunningSnapshot};
pub use retention_plan::{
    ExpireReason, ExpiredHistory, ExpiredLogs, ExpiredSnapshot, KeepReason, KeptHistory, KeptLogs, KeptSnapshot,
    RetentionPlan,
};
