//! The engine: where a plan meets a port.
//!
//! A [`Repository`] holds the servers that are protected in one storage. Of each, an [`Archiver`] follows the log, a
//! [`Snapshotter`] takes snapshots, and a [`Restore`] executes what the planner decided; [`ServerRepository::plan`] reads what
//! the planner needs.

mod archive;
mod decoding;
mod error;
mod inventory;
mod log_stream;
mod planning;
mod progress;
mod repository;
mod restore;
mod snapshot;
mod vault;

pub use archive::{ArchiveEvent, ArchiveSettings, Archiver};
pub use error::{Error, ErrorKind, Result};
pub use inventory::Inventory;
pub use progress::{Observer, Progress};
pub use repository::{Repository, ServerRepository};
pub use restore::{Restore, RestoreSettings, WalFeed};
pub use snapshot::{SnapshotReport, SnapshotSettings, Snapshotter};
