//! The example `pitrctl`, as a terminal and a script use it, with real servers.
#![allow(clippy::unwrap_used, reason = "a test may end at whatever it does not expect")]

mod failures;
mod life;
mod stand;
#[allow(dead_code, reason = "not every test needs all of it")]
#[path = "../support/mod.rs"]
mod support;
mod teaching;
