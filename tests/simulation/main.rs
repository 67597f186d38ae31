//! The engine before a simulated server and a storage that fails, for hundreds of seeds: what must never be lost, is not.
#![allow(clippy::unwrap_used, reason = "a test may end at whatever it does not expect")]

mod archiving;
mod planning;
mod snapshots;
mod sources;
mod truth;
#[allow(dead_code, reason = "shared with the test of repositories")]
mod world;
