//! Ports: what the engine needs of the world, as traits without an implementation.
//!
//! Every trait is object-safe; the engine keeps `Arc<dyn …>`. Each method says what it guarantees and what is unknown after
//! an error, so that an adapter can be written, and checked with the `testing` feature, without reading the engine.

mod clock;
mod entropy;
mod environment;
mod error;
mod executor;
mod file;
mod key_provider;
mod provisioner;
mod restore_target;
mod scratch;
mod snapshot_source;
mod source_provider;
mod storage;
mod wal_source;

pub use clock::Clock;
pub use entropy::Entropy;
pub use environment::Environment;
pub(crate) use error::explain;
pub use error::{PortError, PortErrorKind};
pub use executor::{Executor, ExecutorExt, Job};
pub use file::{FileReader, FileWriter};
pub use key_provider::KeyProvider;
pub use provisioner::{Claim, Provisioned, Provisioner};
pub use restore_target::{RecoverySettings, RestoreOutline, RestoreTarget};
pub use scratch::{Scratch, ScratchPlace};
pub use snapshot_source::{SnapshotEnd, SnapshotEvent, SnapshotSource, SnapshotStart, SnapshotStream};
pub use source_provider::{SourceProvider, Sources};
#[cfg(any(feature = "cloud", feature = "testing"))]
pub(crate) use storage::delete_each;
pub use storage::{ObjectMeta, ObjectRead, Operation, PutMode, Storage, StorageExt, Upload, Version};
pub use wal_source::{SourceIdentity, WalEvent, WalSource, WalStream};
