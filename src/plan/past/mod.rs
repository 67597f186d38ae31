//! What can be reached in the past of a branch: the ground on which restores are planned, windows computed and backups expired.

mod candidate;
mod evidence;
mod path;

pub(super) use candidate::{Candidate, Obstacle};
pub use evidence::Need;
pub(super) use evidence::Stop;
pub(super) use path::{Path, Position, Span};
