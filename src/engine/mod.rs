//! The engine: where a plan meets a port.
//!
//! A [`Repository`] holds the servers that are protected in one storage. Of each, an [`Archiver`] follows the log, a
//! [`Snapshotter`] takes snapshots, and a [`Restore`] executes what the planner decided; [`ServerRepository::plan`] reads what
//! the planner needs. A [`Verifier`] says what is damaged, and what that costs; a [`Sweeper`] deletes what has expired, a
//! [`Compactor`] merges small log backups, and a [`TestRestore`] proves that all that can be restored. Where several processes do this, each is
//! a [`Worker`], and works under leases.

mod archive;
mod change;
mod compact;
mod decoding;
mod delete;
mod destroy;
mod error;
mod index_builder;
mod inventory;
mod keys;
mod log_builder;
mod log_stream;
mod manifest;
mod names;
mod packs;
mod planning;
mod progress;
mod repository;
mod restore;
mod restore_runs;
mod run_log;
mod server;
mod snapshot;
mod sweep;
mod test_restore;
mod usage_log;
mod vault;
mod verify;
mod worker;

pub use archive::{ArchiveEvent, ArchiveSettings, Archiver};
pub use change::Changes;
pub use compact::{CompactEvent, CompactReport, CompactSettings, Compactor};
pub use destroy::DestroyReport;
pub(crate) use error::Context;
pub use error::{Error, ErrorKind, Result};
pub use inventory::Inventory;
pub use progress::{Observer, Progress};
pub use repository::Repository;
pub use restore::{MissingDatabases, Restore, RestoreSettings, WalFeed};
pub use restore_runs::Restores;
pub use server::ServerRepository;
pub use snapshot::{DamagedPage, SnapshotReport, SnapshotSettings, Snapshotter};
pub use sweep::{SweepReport, SweepSettings, Sweeper};
pub use test_restore::{Proofs, TestRestore, TestRestoreSettings};
pub use verify::{Cost, Fault, FaultKind, Verifier, VerifyDepth, VerifyProgress, VerifyReport, VerifySettings};
pub use worker::{ServerLease, Worker, WorkerEvent, WorkerSettings};
