//! Pure bytes ↔ model: what stands in a storage, and what PostgreSQL writes.
//!
//! Parsers never panic, never allocate more than their input warrants, and say what was wrong and where. What is parsed
//! prints back to the same bytes.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod backup_label;
pub mod backup_manifest;
pub mod block;
pub mod control_file;
pub mod digest;
pub mod history;
mod input;
pub mod layout;
pub mod log;
pub mod manifest;
pub mod pack;
pub mod page;
pub mod record;
pub mod relative_path;
pub mod seal;
pub mod tablespace_map;
pub mod tar;
pub mod wal;
pub mod wal_name;
