//! Random pasts of a server, and all small ones, planned and then checked: against the server's true past, and against a
//! brute-force search that tries every subset of the artifacts.
#![allow(missing_docs, reason = "the modules of a test have no users")]

mod case;
mod dice;
mod explain;
mod history;
mod known;
mod past;
mod plans;
mod refusals;
mod server;
mod steps;
mod subsets;
mod targets;
mod windows;
mod world;

use std::thread;

use pitr::plan::plan_restore;

/// How many histories, unless `PITR_HISTORIES` says otherwise.
const HISTORIES: u64 = 100_000;

fn histories() -> u64 {
    std::env::var("PITR_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(HISTORIES)
}

/// Random histories: sufficient, minimal, ordered, deterministic, refused only if impossible, with the right numbers.
#[test]
fn random_histories_are_planned_as_by_brute_force() {
    let count = histories();
    let check = |first: u64| (first..count).step_by(2).try_for_each(|seed| history::check_seed(seed, plan_restore));
    let halves = thread::scope(|scope| [0, 1].map(|first| scope.spawn(move || check(first))).map(|half| half.join()));
    for half in halves {
        if let Err(wrong) = half.expect("checks return what is wrong") {
            panic!("{wrong}");
        }
    }
}

/// Paste the seed of a failure here.
#[test]
fn one_seed() {
    history::check_seed(0, plan_restore).unwrap_or_else(|wrong| panic!("{wrong}"));
}
