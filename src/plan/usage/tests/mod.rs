//! Known answers, and comparisons with sums over all entries.

mod bills;
mod forecasts;
mod random;

use std::time::Duration;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn gib(count: u64) -> u64 {
    count << 30
}

fn stored(kind: StoredKind, bytes: u64, from: &str) -> StoredBytes {
    StoredBytes::new(kind, bytes, at(from))
}

#[test]
fn usage_changes_when_something_is_stored_and_when_it_is_deleted() {
    let (from, until) = ("2026-11-23T10:00:00Z", "2026-11-24T10:00:00Z");
    let history = UsageHistory::new([
        stored(StoredKind::Log, 7, from).deleted(at(until)),
        stored(StoredKind::Snapshot, 100, "2026-11-20T00:00:00Z"),
        stored(StoredKind::OnDemandSnapshot, 50, from),
        stored(StoredKind::History, 3, from),
    ]);
    assert_eq!(history.at(Timestamp::MIN), Usage::default());
    assert_eq!(history.at(at("2026-11-23T09:59:59.999999Z")), Usage::from([100, 0, 0, 0]));
    assert_eq!(history.at(at(from)), Usage::from([100, 50, 7, 3]));
    assert_eq!(history.at(at("2026-11-24T09:59:59.999999Z")).total(), 160);
    assert_eq!(history.at(at(until)), Usage::from([100, 50, 0, 3]));
    assert_eq!(history.at(Timestamp::MAX).total(), 153);
}

#[test]
fn what_was_deleted_before_it_was_stored_never_counts() {
    let backwards = stored(StoredKind::Log, 7, "2026-11-23T10:00:00Z").deleted(at("2026-11-23T09:00:00Z"));
    let at_once = stored(StoredKind::Log, 7, "2026-11-23T10:00:00Z").deleted(at("2026-11-23T10:00:00Z"));
    assert_eq!(UsageHistory::new([backwards, at_once]), UsageHistory::default());
}

#[test]
fn what_falls_into_one_instant_is_one_change() {
    let one = stored(StoredKind::Log, 2, "2026-11-23T10:00:00Z");
    let history = UsageHistory::new(std::iter::repeat_n(one, 100_000));
    assert_eq!((history.changes(), history.at(Timestamp::MAX).logs), (1, 200_000));
    let replaced = one.deleted(at("2026-11-23T11:00:00Z"));
    let by = stored(StoredKind::Log, 2, "2026-11-23T11:00:00Z");
    assert_eq!(UsageHistory::new([replaced, by]).changes(), 1, "nothing changes where as much comes as goes");
    let more = stored(StoredKind::Snapshot, 1, "2026-11-23T11:00:00Z");
    assert_eq!(UsageHistory::new([replaced, more]).changes(), 3, "each kind by itself");
}

#[test]
fn more_than_can_be_counted_is_counted_as_the_most() {
    let most = stored(StoredKind::Snapshot, u64::MAX, "2026-11-23T10:00:00Z");
    let gone = at("2026-11-24T00:00:00Z");
    let history = UsageHistory::new([most, most.deleted(gone), stored(StoredKind::Log, 9, "2026-11-24T00:00:00Z")]);
    assert_eq!(history.at(most.stored_at).total(), u64::MAX);
    assert_eq!(history.at(gone).total(), u64::MAX);
    let forever = Timestamp::MIN..Timestamp::MAX;
    assert!(history.byte_micros(forever.clone()) > 0);
    assert!(history.average(forever).is_some());
}

#[test]
fn days_end_at_midnight_of_utc() {
    let history = UsageHistory::new([
        stored(StoredKind::Snapshot, 100, "2026-11-23T12:00:00Z"),
        stored(StoredKind::Log, 60, "2026-11-23T18:00:00Z").deleted(at("2026-11-23T20:00:00Z")),
        stored(StoredKind::Log, 1, "2026-11-24T00:00:00Z"),
    ]);
    let days: Vec<DayUsage> = history.by_day(at("2026-11-22T06:00:00Z")..at("2026-11-24T12:00:00Z")).collect();
    let [first, second, third] = days.as_slice() else { panic!("three days: {days:?}") };
    assert_eq!((first.day, first.from), (at("2026-11-22T00:00:00Z"), at("2026-11-22T06:00:00Z")));
    assert_eq!((first.maximum, first.average), (0, 0));
    assert_eq!(second.until, at("2026-11-24T00:00:00Z"));
    assert_eq!(second.at_end, Usage::from([100, 0, 0, 0]), "midnight is of the next day");
    assert_eq!((second.maximum, second.average), (160, 50 + 60 * 2 / 24));
    assert_eq!((third.at_end.total(), third.average, third.until), (101, 101, at("2026-11-24T12:00:00Z")));
}

#[test]
fn days_reach_to_both_ends_of_time() {
    let history = UsageHistory::default();
    let year_one = history.by_day(Timestamp::MIN..at("0001-01-02T00:00:00.000001Z")).count();
    let last: Vec<DayUsage> = history.by_day(at("9999-12-31T00:00:00Z")..Timestamp::MAX).collect();
    assert_eq!((year_one, last.len(), last[0].until), (2, 1, Timestamp::MAX));
    assert_eq!(history.by_day(Timestamp::MAX..Timestamp::MIN).count(), 0, "an interval that is empty");
    assert_eq!(history.average(Timestamp::MAX..Timestamp::MIN), None);
}

#[test]
fn averages_are_rounded_down() {
    let history = UsageHistory::new([stored(StoredKind::Log, 1, "2026-11-23T10:00:00Z")]);
    let range = at("2026-11-23T09:59:59.999999Z")..at("2026-11-23T10:00:00.000002Z");
    assert_eq!((history.byte_micros(range.clone()), history.average(range)), (2, Some(0)));
}

#[test]
fn operators_read_usage_and_machines_too() {
    let history = UsageHistory::new([stored(StoredKind::Snapshot, gib(3) / 2, "2026-11-23T12:00:00Z")]);
    let day = history.by_day(at("2026-11-23T00:00:00Z")..at("2026-11-24T00:00:00Z")).next().unwrap();
    let expected = "2026-11-23  768.0 MiB on average, 1.5 GiB at most; at its end 1.5 GiB in all: 1.5 GiB of snapshots, \
                    0 bytes of snapshots on demand, 0 bytes of log, 0 bytes of histories";
    assert_eq!(day.to_string(), expected);
    let json = serde_json::to_value(day).unwrap();
    assert_eq!((&json["maximum"], &json["at_end"]["snapshots"]), (&gib(3).div_euclid(2).into(), &json["maximum"]));
}
