//! Backup and point-in-time restore of PostgreSQL, as a library.
pub mod format;
pub mod model;
pub mod plan;
