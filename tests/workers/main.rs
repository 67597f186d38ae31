//! Several processes work for the servers of a repository, and never two at the same.
#![allow(clippy::unwrap_used, reason = "a test may end at whatever it does not expect")]
#![allow(clippy::print_stdout, reason = "how long it takes is for people to judge: run with --nocapture")]

mod fleet;
mod hesitant;
mod leaving;
mod machine;
mod paused;
mod sharing;
mod stage;
mod swept;
#[path = "../simulation/world.rs"]
#[allow(dead_code, reason = "shared with the simulation")]
mod world;
