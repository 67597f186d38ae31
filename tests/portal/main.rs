//! The example `portal`: whom it lets in, and, in a real browser, what it shows of a real server.
#![allow(clippy::unwrap_used, reason = "a test may end at whatever it does not expect")]

mod browser;
mod doors;
mod stand;
#[allow(dead_code, reason = "not every test needs all of it")]
#[path = "../support/mod.rs"]
mod support;
