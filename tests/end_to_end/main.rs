//! The main job on real servers: protected under load, then restored to a moment.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod churn;
mod databases;
mod delta;
mod full_disk;
#[path = "../support/fuse.rs"]
mod fuse;
mod hour;
mod immutable;
mod instants;
mod kills;
mod layouts;
mod ledger;
mod pace;
#[path = "../support/random.rs"]
mod random;
mod reality;
mod refusals;
mod service;
mod sharing;
mod stand;
#[path = "../support/stores.rs"]
mod stores;
mod timelines;
mod trial;
mod workers;
mod zones;
