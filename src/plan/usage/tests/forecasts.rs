//! What another retention would cost.

use super::*;
use crate::model::RetentionDays;

const TERMS: BillingTerms = BillingTerms::new(1_000_000);

fn now() -> Timestamp {
    at("2026-11-23T12:00:00Z")
}

fn days(count: u8) -> RetentionDays {
    RetentionDays::new(count).unwrap()
}

fn days_ago(days: u32) -> Timestamp {
    now().saturating_sub(DAY * days)
}

/// A server whose first snapshot was full, `age` days and an hour ago; every day since then has an incremental one, and
/// log in two parts. What a retention of `retention` expires is deleted, the full snapshot excepted: later ones refer to it.
fn server(age: u32, retention: RetentionDays) -> Vec<StoredBytes> {
    let an_hour_before = |ago: u32| days_ago(ago).saturating_sub(Duration::from_secs(3600));
    let full = StoredBytes::new(StoredKind::Snapshot, gib(100), an_hour_before(age));
    let expires = |stored: StoredBytes| {
        let end = stored.stored_at.saturating_add(DAY * (u32::from(retention.days()) + 1));
        if end <= now() { stored.deleted(end) } else { stored }
    };
    let of_day = |ago: u32| {
        let log = |hours: u64| stored_log(gib(5), days_ago(ago).saturating_sub(Duration::from_secs(3600 * hours)));
        [StoredBytes::new(StoredKind::Snapshot, gib(2), an_hour_before(ago)), log(2), log(14)]
    };
    (0..age).flat_map(of_day).map(expires).chain([full]).collect()
}

fn stored_log(bytes: u64, from: Timestamp) -> StoredBytes {
    StoredBytes::new(StoredKind::Log, bytes, from)
}

#[test]
fn thirty_five_days_of_an_established_server() {
    let rates = ObservedRates::observe(server(100, RetentionDays::MIN), now(), RetentionDays::MIN, 7);
    assert_eq!((rates.observed_days, rates.period()), (7, ObservedPeriod::Week));
    assert_eq!((rates.snapshot_bytes_per_day(), rates.log_bytes_per_day()), (gib(2), gib(10)));
    assert_eq!(rates.base_bytes, gib(100 + 2), "the full snapshot, and the anchor's own");
    let forecast = rates.forecast(RetentionDays::MAX, gib(250), &TERMS);
    assert_eq!((forecast.snapshot_bytes, forecast.log_bytes), (gib(102 + 35 * 2), gib(36 * 10)));
    assert_eq!(forecast.excess_bytes, gib(532 - 250));
    assert_eq!(forecast.monthly_charge_micros, 282_000_000);
    assert_eq!((forecast.another_day_bytes, forecast.another_day_charge_micros), (gib(12), 12_000_000));
}

/// What is forecast for the retention in force is what is stored, when a day of its log has just begun to expire.
#[test]
fn the_retention_in_force_is_forecast_as_it_is() {
    for retention in [days(7), days(14), days(35)] {
        let stored = server(100, retention);
        let usage = UsageHistory::new(stored.iter().copied()).at(now());
        for observed in [7, 14, 35, 255] {
            let rates = ObservedRates::observe(stored.iter().copied(), now(), retention, observed);
            let forecast = rates.forecast(retention, 0, &TERMS);
            assert_eq!(forecast.total_bytes, usage.total(), "{retention:?} by {observed} days");
        }
    }
}

#[test]
fn full_snapshots_every_day_multiply() {
    let fulls = (0..8).map(|ago| StoredBytes::new(StoredKind::Snapshot, gib(100), days_ago(ago)));
    let rates = ObservedRates::observe(fulls, now(), RetentionDays::MIN, 7);
    assert_eq!(rates.forecast(days(7), 0, &TERMS).total_bytes, gib(800), "the last 8");
    assert_eq!(rates.forecast(days(35), 0, &TERMS).total_bytes, gib(3600));
}

#[test]
fn a_young_server_is_known_by_few_days() {
    let rates = ObservedRates::observe(server(2, RetentionDays::MIN), now(), RetentionDays::MIN, 7);
    assert_eq!((rates.observed_days, rates.period()), (2, ObservedPeriod::PartOfWeek));
    assert_eq!((rates.base_bytes, rates.snapshot_bytes_per_day()), (gib(100), gib(2)), "the full one is no rate");
    let shown = rates.forecast(days(10), gib(250), &TERMS).to_string();
    assert!(shown.ends_with("known by  2 observed days only, less than a week"), "{shown}");
}

#[test]
fn of_the_first_day_no_rate_is_known() {
    let first = [
        StoredBytes::new(StoredKind::Snapshot, gib(100), at("2026-11-23T00:00:00Z")),
        stored_log(gib(5), at("2026-11-23T11:00:00Z")),
    ];
    let rates = ObservedRates::observe(first, now(), RetentionDays::MIN, 7);
    assert_eq!((rates.period(), rates.log_bytes_per_day()), (ObservedPeriod::Nothing, 0));
    let forecast = rates.forecast(RetentionDays::MAX, gib(250), &TERMS);
    assert_eq!((forecast.total_bytes, rates.longest_free(gib(250), &TERMS)), (gib(100), None));
    assert!(forecast.to_string().contains("nothing yet"));
    let none = ObservedRates::observe([], now(), RetentionDays::MIN, 7);
    assert_eq!((none.observed_days, none.base_bytes), (0, 0));
}

/// Compaction stores log a second time, and deletes it where it was.
#[test]
fn compacted_log_counts_once() {
    let mut stored = server(20, days(14));
    for small in stored.clone().iter().filter(|item| item.kind == StoredKind::Log && item.deleted_at.is_none()) {
        let compacted = small.stored_at.saturating_add(Duration::from_secs(3600));
        stored.retain(|item| item != small);
        stored.extend([small.deleted(compacted), stored_log(small.bytes, compacted)]);
    }
    let rates = ObservedRates::observe(stored, now(), days(14), 7);
    assert_eq!(rates.log_bytes_per_day(), gib(10));
}

#[test]
fn held_snapshots_stay_and_snapshots_on_demand_are_as_now() {
    let mut stored = server(100, RetentionDays::MIN);
    stored.push(StoredBytes::new(StoredKind::Snapshot, gib(7), days_ago(90)));
    stored.push(StoredBytes::new(StoredKind::OnDemandSnapshot, gib(9), days_ago(1)));
    stored.push(StoredBytes::new(StoredKind::OnDemandSnapshot, gib(9), days_ago(5)).deleted(days_ago(1)));
    let rates = ObservedRates::observe(stored, now(), RetentionDays::MIN, 7);
    assert_eq!((rates.base_bytes, rates.other_bytes), (gib(109), gib(9)));
    assert_eq!(rates.snapshot_bytes_per_day(), gib(2));
}

/// "250 GiB provisioned, 25 GiB a day": ten days are free, nine of them and the anchor's.
#[test]
fn the_longest_free_retention() {
    let logs = (0..7).map(|ago| stored_log(gib(25), days_ago(ago)));
    let snapshot = StoredBytes::new(StoredKind::Snapshot, 0, days_ago(7));
    let rates = ObservedRates::observe(logs.chain([snapshot]), now(), RetentionDays::MIN, 7);
    assert_eq!(rates.longest_free(gib(250), &TERMS), Some(days(9)));
    assert_eq!(rates.longest_free(gib(25) * 8 - 1, &TERMS), None, "not even the shortest");
    assert_eq!(rates.longest_free(gib(25) * 36, &TERMS), Some(RetentionDays::MAX));
    let forecast = rates.forecast(days(9), gib(250), &TERMS);
    assert_eq!((forecast.monthly_charge_micros, forecast.another_day_charge_micros), (0, 25_000_000));
    assert_eq!(rates.forecast(days(8), gib(250), &TERMS).another_day_charge_micros, 0, "the tenth day is free");
}

#[test]
fn rates_are_rounded_up() {
    let stored = [StoredBytes::new(StoredKind::Snapshot, 5, days_ago(10)), stored_log(10, days_ago(1))];
    let rates = ObservedRates::observe(stored, now(), days(14), 7);
    assert_eq!(rates.log_bytes_per_day(), 2, "10 in 7 days");
    assert_eq!(rates.forecast(days(7), 0, &TERMS).log_bytes, 12, "80 in 7");
}

#[test]
fn forecasts_of_the_most_do_not_overflow() {
    let of_day =
        |ago| [StoredBytes::new(StoredKind::Snapshot, u64::MAX, days_ago(ago)), stored_log(u64::MAX, days_ago(ago))];
    let rates = ObservedRates::observe((0..50).flat_map(of_day), now(), RetentionDays::MAX, 35);
    let forecast = rates.forecast(RetentionDays::MAX, 0, &BillingTerms::new(u64::MAX));
    assert_eq!((forecast.total_bytes, forecast.another_day_bytes), (u64::MAX, 0));
}

#[test]
fn operators_read_forecasts_and_machines_too() {
    let rates = ObservedRates::observe(server(100, RetentionDays::MIN), now(), RetentionDays::MIN, 7);
    let forecast = rates.forecast(RetentionDays::MAX, gib(250), &BillingTerms::new(95_000));
    let expected = "35 days of retention would cost 26.790000 a month\n  \
                    stored    532.0 GiB: 172.0 GiB of snapshots, 360.0 GiB of log, 0 bytes of others\n  \
                    charged   282.0 GiB, with 250.0 GiB free\n  \
                    a day     more would add 12.0 GiB and 1.140000 a month\n  \
                    known by  7 observed days";
    assert_eq!(forecast.to_string(), expected);
    let json = serde_json::to_value(forecast).unwrap();
    assert_eq!((&json["monthly_charge_micros"], &json["period"]), (&"26790000".into(), &"week".into()));
}
