//! Random pasts of a server, and all small ones, planned and then checked: against the server's true past, and against a
//! brute-force search that tries every subset of the artifacts.
#![allow(missing_docs, reason = "the modules of a test have no users")]

mod canary;
mod case;
mod exhaustive;
mod explain;
mod history;
mod known;
mod past;
mod plans;
#[path = "../support/random.rs"]
mod random;
mod refusals;
mod regressions;
mod rounds;
mod server;
mod steps;
mod subsets;
mod targets;
mod windows;
mod world;

use std::thread;

use case::Checked;
use pitr::plan::{PlanError, Target};
use random::Random;
use rounds::Many;

/// How many histories, unless `PITR_HISTORIES` says otherwise.
const HISTORIES: u64 = 100_000;

/// Random histories: sufficient, minimal, ordered, deterministic, refused only if impossible, with the right numbers.
#[test]
fn random_histories_are_planned_as_by_brute_force() {
    let count =
        std::env::var("PITR_HISTORIES").map_or(HISTORIES, |count| count.parse().expect("PITR_HISTORIES is a number"));
    on_two_threads(count, history::check_seed);
}

/// Paste the seed of a failure here.
#[test]
fn one_seed() {
    history::check_seed(0).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// The same of every history up to a length.
#[test]
fn all_small_histories_are_planned_as_by_brute_force() {
    assert_eq!(exhaustive::count(), 11 + 121 + 1_331 + 14_641 + 161_051);
    let histories = exhaustive::histories();
    assert_eq!(histories.len(), 120_799, "some only go back to where they are");
    let number = |at: u64| histories[usize::try_from(at).expect("few")];
    on_two_threads(histories.len() as u64, |at| exhaustive::check(number(at)));
}

#[test]
fn what_was_wrong_once_is_right() {
    for (wrong, flavour, steps) in regressions::ALL {
        regressions::check_again(flavour, steps).unwrap_or_else(|told| panic!("{wrong}: {told}"));
    }
}

/// What is checked can fail.
#[test]
fn wrong_planners_are_found_out() {
    for (wrong, planner) in canary::WRONG {
        assert!(canary::is_found_out(planner, 5_000), "nothing is wrong with a planner that {wrong}");
    }
}

/// A transaction among a thousand log backups is found by reading few of them.
#[test]
fn a_transaction_is_found_in_few_rounds() {
    let mut random = Random::new(1);
    for count in [1, 2, 10, 100, 1_000] {
        let many = Many::new(&mut random, count);
        let ends: Vec<_> = many.ends().collect();
        // Halving, then the log backups around, then the transactions themselves.
        let rounds_max = 2 * (u64::BITS - count.leading_zeros()) + 4;
        for _ in 0..40 {
            let end = random.pick(&ends).expect("there are some");
            let (rounds, found) = many.rounds(&Target::xid(end.xid));
            assert_eq!(found, Ok(end.end_lsn), "{}", end.xid);
            assert!(rounds <= rounds_max, "{rounds} rounds for {} in {count} log backups", end.xid);
        }
        let (_, found) = many.rounds(&Target::xid(rounds::xid(1_000_000)));
        assert!(matches!(found, Err(PlanError::NotFound { .. })), "{found:?}");
    }
}

fn on_two_threads(count: u64, check: impl Fn(u64) -> Checked + Sync) {
    let half = |first: u64| (first..count).step_by(2).try_for_each(&check);
    let halves = thread::scope(|scope| [0, 1].map(|first| scope.spawn(move || half(first))).map(|half| half.join()));
    for half in halves {
        if let Err(wrong) = half.expect("checks return what is wrong") {
            panic!("{wrong}");
        }
    }
}
