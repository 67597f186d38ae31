//! The storages in the cloud, against servers that speak as S3 and Azure Blob Storage do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
#[path = "../support/fuse.rs"]
mod fuse;
mod immutable;
#[path = "../support/random.rs"]
mod random;
mod refusals;
mod rough;
#[path = "../support/rough_road.rs"]
mod rough_road;
#[path = "../support/stores.rs"]
mod stores;
mod ways;
mod workers;
mod zones;
