//! Backup and point-in-time restore of PostgreSQL, as a library.
pub mod adapter;
pub mod engine;
pub mod format;
pub mod model;
pub mod plan;
pub mod port;
#[cfg(feature = "testing")]
pub mod testing;
