//! The replication client against real PostgreSQL servers.
#![cfg(all(feature = "postgres", unix))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "postgres_client/access.rs"]
mod access;
#[path = "postgres_client/directories.rs"]
mod directories;
#[path = "postgres_client/observations.rs"]
mod observations;
#[path = "postgres_client/snapshots.rs"]
mod snapshots;
#[path = "postgres_client/streams.rs"]
mod streams;
#[path = "postgres_client/support.rs"]
mod support;
