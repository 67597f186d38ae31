//! The managed server, over simulated days.
#![allow(clippy::unwrap_used, reason = "a test may end at whatever it does not expect")]
#![allow(clippy::print_stdout, reason = "what happens is for people to judge: run with --nocapture")]

mod days;
mod fleet;
mod metrics;
#[cfg(feature = "metrics")]
mod recorded;
mod reference;
mod restores;
mod stand;
#[cfg(feature = "tracing")]
mod traced;
mod trials;
