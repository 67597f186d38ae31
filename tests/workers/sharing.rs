//! Workers share servers evenly, and take over from each other.

use std::num::NonZeroU64;
use std::time::Duration;

use pitr::engine::ErrorKind;
use pitr::port::Operation;

use super::fleet::Fleet;

const LEASE: Duration = Duration::from_secs(60);
const SKEW: Duration = Duration::from_secs(30);
const NONE: Duration = Duration::ZERO;

#[test]
fn two_share_a_thousand_servers_and_one_takes_over_within_the_lease() {
    let mut fleet = Fleet::new(1000);
    let first = fleet.join(LEASE, SKEW, NONE);
    fleet.pass_until(&[(first, 1000)], LEASE);
    let second = fleet.join(LEASE, NONE, SKEW);
    let shared = fleet.pass_until(&[(first, 500), (second, 500)], LEASE);
    println!("shared evenly after {shared:?}");
    fleet.pass(LEASE * 5);
    assert_eq!(fleet.counts().into_iter().collect::<Vec<_>>(), [(first, 500), (second, 500)], "nothing moves any more");
    fleet.kill(first);
    let taken = fleet.pass_until(&[(second, 1000)], LEASE);
    println!("taken over after {taken:?}");
    assert!(fleet.ledger.lock().unwrap().failures.is_empty());
}

/// At whatever moment between two heartbeats it dies.
#[test]
fn whoever_dies_is_replaced_within_the_lease() {
    for seconds in 0..10 {
        let mut fleet = Fleet::new(20);
        let [first, second] = [(SKEW, NONE), (NONE, SKEW)].map(|(ahead, behind)| fleet.join(LEASE, ahead, behind));
        fleet.pass(LEASE + Duration::from_secs(seconds));
        fleet.kill(second);
        fleet.pass_until(&[(first, 20)], LEASE);
    }
}

#[test]
fn who_leaves_is_replaced_at_once_and_shares_stay_even() {
    let mut fleet = Fleet::new(100);
    let members: Vec<_> = (0..4).map(|_| fleet.join(LEASE, NONE, NONE)).collect();
    fleet.pass_until(&members.iter().map(|member| (*member, 25)).collect::<Vec<_>>(), LEASE);
    fleet.stop(members[1]);
    fleet.outcome(members[1]).expect("it is over").unwrap();
    fleet.pass(LEASE * 2 / 3);
    let mut counts: Vec<_> = fleet.counts().into_values().collect();
    counts.sort_unstable();
    assert_eq!(counts, [33, 33, 34], "nobody has to wait until it is dead");
}

/// Time of day steps by hours, in either direction.
#[test]
fn clocks_that_are_set_move_nothing() {
    let mut fleet = Fleet::new(10);
    let [first, second] = [NONE, SKEW].map(|ahead| fleet.join(LEASE, ahead, NONE));
    fleet.pass_until(&[(first, 5), (second, 5)], LEASE);
    let tokens = format!("{:?}", fleet.ledger.lock().unwrap());
    for time in ["2026-11-24T12:00:00Z", "2026-11-20T00:00:00Z", "2031-01-01T00:00:00Z"] {
        fleet.clock.set(time.parse().unwrap());
        fleet.pass(LEASE * 3);
    }
    assert_eq!(format!("{:?}", fleet.ledger.lock().unwrap()), tokens);
}

#[test]
fn one_that_stood_still_has_lost_what_others_took() {
    let mut fleet = Fleet::new(10);
    let [first, second] = [NONE, SKEW].map(|ahead| fleet.join(LEASE, ahead, NONE));
    fleet.pass_until(&[(first, 5), (second, 5)], LEASE);
    fleet.pause(first);
    fleet.pass_until(&[(second, 10)], LEASE);
    fleet.resume(first);
    let error = fleet.outcome(first).expect("it notices at once").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    let third = fleet.join(LEASE, NONE, NONE);
    fleet.pass_until(&[(second, 5), (third, 5)], LEASE);
}

/// A storage that was away for everybody says nothing about who is dead; nor do those who stood still themselves. Whoever looks first afterwards,
/// looks before the other one can say that it lives.
#[test]
fn nobody_is_taken_for_dead_when_the_storage_was_away() {
    for seconds in 0..10 {
        let mut fleet = Fleet::new(10);
        let first = fleet.join(LEASE, NONE, NONE);
        fleet.pass(LEASE / 12);
        let second = fleet.join(LEASE, SKEW, NONE);
        fleet.pass_until(&[(first, 5), (second, 5)], LEASE);
        fleet.storage.crash_after(0);
        fleet.pass(LEASE * 10 + Duration::from_secs(seconds));
        fleet.storage.heal();
        fleet.pass(LEASE * 2);
        assert_eq!(fleet.counts().into_iter().collect::<Vec<_>>(), [(first, 5), (second, 5)]);
        assert!([first, second].into_iter().all(|member| fleet.outcome(member).is_none()), "both live");
    }
}

/// Whose answers are lost, and whose requests fail. That two tend a server at the same time, the ledger would notice.
#[test]
fn a_storage_that_fails_gives_no_server_to_two() {
    for seed in 0..20 {
        let mut fleet = Fleet::new(12);
        fleet.storage.fail_at_random(seed, NonZeroU64::new(10).unwrap());
        let members: Vec<_> = (0..3).map(|_| fleet.join(LEASE, NONE, SKEW)).collect();
        fleet.pass(LEASE * 10);
        let lives = members.iter().filter(|member| fleet.outcome(**member).is_none()).count();
        fleet.storage.heal();
        fleet.pass(LEASE * 2);
        let counts = fleet.counts();
        assert_eq!(counts.len(), lives, "seed {seed}: {counts:?}");
        assert_eq!(counts.values().sum::<usize>(), if lives == 0 { 0 } else { 12 }, "seed {seed}");
    }
}

#[test]
fn requests_are_as_many_as_documented() {
    let mut fleet = Fleet::new(30);
    let operations = [Operation::Put, Operation::List, Operation::Get, Operation::Head, Operation::Delete];
    let counts = |fleet: &Fleet| operations.map(|operation| fleet.storage.count(operation));
    let since = |fleet: &Fleet, before: [u64; 5]| {
        let mut counts = counts(fleet).into_iter().zip(before).map(|(after, before)| after - before);
        std::array::from_fn::<u64, 5, _>(|_| counts.next().unwrap())
    };
    let first = fleet.join(LEASE, NONE, NONE);
    fleet.pass(LEASE);
    let before = counts(&fleet);
    fleet.pass(LEASE);
    assert_eq!(since(&fleet, before), [6, 12, 0, 0, 0], "to stay alive, with 30 servers");
    let before = counts(&fleet);
    let second = fleet.join(LEASE, NONE, NONE);
    fleet.pass(LEASE);
    assert_eq!(fleet.counts().into_iter().collect::<Vec<_>>(), [(first, 15), (second, 15)]);
    let [puts, lists, gets, heads, deletes] = since(&fleet, before);
    println!("{puts} PUT, {lists} listings, {gets} GET, {heads} HEAD, {deletes} DELETE");
    assert_eq!(puts, 6 + 8 + 2 * 15, "beats, two more when one joins, and each lease is given back and taken");
    assert!(gets <= 4 * 4 * 15 + 2, "{gets}: a server is opened up to four times until it is free");
}

/// Each keeps to its own lease, and is judged by that.
#[test]
fn leases_of_different_lengths_get_along() {
    let mut fleet = Fleet::new(10);
    let [slow, fast] = [LEASE * 10, LEASE / 10].map(|lease| fleet.join(lease, NONE, NONE));
    fleet.pass_until(&[(slow, 5), (fast, 5)], LEASE * 10);
    fleet.pass(LEASE * 60);
    assert!([slow, fast].into_iter().all(|member| fleet.outcome(member).is_none()), "both live");
    fleet.kill(slow);
    let taken = fleet.pass_until(&[(fast, 10)], LEASE * 10);
    assert!(taken > LEASE * 5, "{taken:?}");
}
