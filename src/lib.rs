//! Backup and point-in-time restore of PostgreSQL, as a library.
//!
//! pitr takes base backups of a server, follows its write-ahead log, keeps both encrypted in a storage, and restores the
//! server, as a new one, to any moment since its first snapshot.
//!
//! - [`model`], [`plan`] and [`format`](mod@format) are pure: no I/O, no clock, no randomness. [`plan::plan_restore`] is the heart;
//!   [`plan::retention`], [`plan::schedule`] and [`plan::usage`] decide the rest.
//! - [`port`] says what pitr needs of the world; [`adapter`] brings it, or you do.
//! - [`engine`] is where a plan meets a port: a [`Repository`](engine::Repository) of servers, an
//!   [`Archiver`](engine::Archiver) of log, a [`Snapshotter`](engine::Snapshotter), a [`Restore`](engine::Restore).
//! - [`service`] does all of it for a fleet of servers: a [`BackupService`](service::BackupService).
//!
//! More to read: [operations](_docs::operations), [the reference](_docs::reference), [architecture](_docs::architecture), [design](_docs::design), [format](_docs::format).
//!
//! # Example: what a restore takes
//!
//! A catalog is what a listing of the storage says; here it is made by hand. The server's last commit was at 10:04:59, and
//! its clock was seen at 10:05 without further log.
//!
//! ```
//! use pitr::model::{Artifact, Catalog, LogBackup, SegmentSize, Snapshot, StoredObject, TimelineId, Timestamp, WalRange};
//! use pitr::plan::{Answer, PlanError, Target, plan_restore};
//!
//! let server = "7301234567890123456-18".parse()?;
//! let wal = |start: &str, end: &str| WalRange::new(TimelineId::FIRST, start.parse()?, end.parse()?);
//! let object = |key: &str, bytes| Ok::<_, pitr::model::ParseError>(StoredObject::new(key.parse()?, bytes));
//!
//! let taken = "2026-11-23T10:00:00Z".parse()?;
//! let (daily, own_log) = ("daily".parse()?, wal("0/3000028", "0/3000120")?);
//! let snapshot = Snapshot::full(daily, server, own_log, SegmentSize::DEFAULT, taken, object("manifest", 4096)?);
//! let mut log = LogBackup::new(server, wal("0/3000000", "0/3A00000")?, "logs/00000001".parse()?, 900_000);
//! log.max_commit_time = Some("2026-11-23T10:04:59Z".parse()?);
//! log.complete_through = Some("2026-11-23T10:05:00Z".parse()?);
//! let catalog = Catalog::new([Artifact::from(snapshot), Artifact::from(log)])?;
//!
//! let at: Timestamp = "2026-11-23T10:04:59.5Z".parse()?;
//! let plan = plan_restore(&catalog, &Target::time(at).into())?;
//! assert!(matches!(plan.answer(), Answer::IdleTail { .. }), "nothing was committed since: all of the log is wanted");
//! println!("{plan}");
//!
//! let later: Timestamp = "2026-11-23T10:06:00Z".parse()?;
//! let refusal = plan_restore(&catalog, &Target::time(later).into()).unwrap_err();
//! assert!(matches!(refusal, PlanError::TooLate { .. }));
//! println!("{refusal}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! None is on by default. Without any, pitr runs on any executor, builds for `wasm32-unknown-unknown`, and has a storage in
//! memory.
//!
//! | feature | adds |
//! |---|---|
//! | `cloud` | S3 and what speaks as it does, Azure Blob Storage, Google Cloud Storage; needs tokio |
//! | `local` | a directory as storage (Unix) |
//! | `postgres` | a running server as source, a data directory as target; needs tokio |
//! | `zstd` | compression; without it blocks are stored as they are |
//! | `testing` | conformance suites, a faulty storage, a simulated server, a manual clock |
//! | `full` | all of these |
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod adapter;
pub mod engine;
pub mod format;
pub mod model;
pub mod plan;
pub mod port;
pub mod service;
#[cfg(feature = "testing")]
pub mod testing;

/// Longer texts.
pub mod _docs {
    #[doc = include_str!("../docs/ARCHITECTURE.md")]
    pub mod architecture {}
    #[doc = include_str!("../docs/DESIGN.md")]
    pub mod design {}
    #[doc = include_str!("../docs/FORMAT.md")]
    pub mod format {}
    #[doc = include_str!("../docs/OPERATIONS.md")]
    pub mod operations {}
    #[doc = include_str!("../docs/REFERENCE.md")]
    pub mod reference {}
}

// The code of the README compiles.
#[cfg(all(doctest, feature = "full"))]
#[doc = include_str!("../README.md")]
mod readme {}
