//! Many servers.

use std::collections::BTreeSet;

use super::*;

/// The server's own delay after 02:00.
fn delay(name: &str) -> Duration {
    let midnight = at("06-01T02:00");
    Schedule::default().next_slot(&name.parse().unwrap(), midnight).duration_since(midnight)
}

#[test]
fn a_servers_delay_is_always_the_same() {
    assert_eq!(delay("prod"), Duration::from_micros(1_679_895_304), "computed with Python's hashlib");
    assert_eq!(delay("prod-restored"), Duration::from_micros(591_423_956));
}

#[test]
fn ten_thousand_servers_spread_evenly() {
    let mut servers_by_minute = [0; 60];
    let mut delays = BTreeSet::new();
    for number in 0..10_000 {
        let delay = delay(&format!("tenant-{number}"));
        servers_by_minute[usize::try_from(delay.as_secs() / 60).unwrap()] += 1;
        delays.insert(delay);
    }
    // 167 each on average, with a standard deviation of 13.
    assert!(servers_by_minute.iter().all(|servers| (115..=220).contains(servers)), "{servers_by_minute:?}");
    assert!(delays.len() > 9_950, "hardly any two begin in the same microsecond");
}

#[test]
fn servers_that_failed_together_do_not_try_again_together() {
    let mut facts = facts(at("06-01T02:00"));
    let failed = at("06-02T03:00");
    facts.snapshot = facts.snapshot.failed(failed);
    let retry = |number| {
        let server = format!("tenant-{number}").parse().unwrap();
        let later = Schedule::default().agenda(&server, &facts, failed).later;
        later.into_iter().find(|later| later.task == Task::Snapshot).unwrap().at
    };
    let retries: BTreeSet<Timestamp> = (0..1_000).map(retry).collect();
    assert!(retries.len() > 990);
    assert!(retries.last().unwrap().duration_since(*retries.first().unwrap()) > seconds(2), "over a quarter of ten");
}
