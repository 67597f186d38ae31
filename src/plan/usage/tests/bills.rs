//! What backup storage costs: the reference's examples, and what it leaves open.

use std::num::NonZeroU8;

use super::*;
use crate::model::ServerSpec;

/// 1 a GB-month.
const TERMS: BillingTerms = BillingTerms::new(1_000_000);

fn november() -> Range<Timestamp> {
    at("2026-11-01T00:00:00Z")..at("2026-12-01T00:00:00Z")
}

/// So many bytes at all of these times, and none otherwise.
fn level(bytes: u64, from: &str, until: &str) -> StoredBytes {
    stored(StoredKind::Snapshot, bytes, from).deleted(at(until))
}

fn bills(stored: &[StoredBytes], provisioned: &ProvisionedStorage, terms: BillingTerms) -> Vec<MonthBill> {
    monthly_bills(&UsageHistory::new(stored.iter().copied()), provisioned, terms, november()).collect()
}

fn charge(stored: &[StoredBytes], provisioned_bytes: u64) -> u128 {
    bills(stored, &ProvisionedStorage::new(provisioned_bytes), TERMS)[0].charge_micros
}

/// "If you have provisioned a server with 250 GB of storage, you have 250 GB of additional storage available for server
/// backups at no additional charge. Storage consumed for backups more than 250 GB is charged."
#[test]
fn as_much_as_is_provisioned_is_free() {
    let november = |bytes| [level(bytes, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")];
    assert_eq!(charge(&november(gib(250)), gib(250)), 0);
    assert_eq!(charge(&november(gib(251)), gib(250)), 1_000_000);
    assert_eq!(charge(&november(gib(250) + 1), gib(250)), 0, "a byte-month is less than a millionth");
    let exact = bills(&november(gib(250) + 1), &ProvisionedStorage::new(gib(250)), TERMS)[0].excess_byte_micros;
    assert_eq!(exact, 30 * u128::from(calendar::DAY_MICROS), "but it is not lost");
}

/// "250 GiB provisioned, 25 GiB a day": ten days are free.
#[test]
fn twenty_five_gib_a_day_are_free_for_ten_days() {
    let start = at("2026-11-01T00:00:00Z");
    let daily: Vec<StoredBytes> =
        (0..30).map(|day| StoredBytes::new(StoredKind::Snapshot, gib(25), start.saturating_add(DAY * day))).collect();
    let history = UsageHistory::new(daily);
    let provisioned = ProvisionedStorage::new(gib(250));
    let until = |day| start..start.saturating_add(DAY * day);
    let charged = |day| monthly_bills(&history, &provisioned, TERMS, until(day)).next().unwrap().excess_byte_micros;
    assert_eq!(charged(10), 0);
    assert_eq!(charged(11), u128::from(gib(25)) * u128::from(calendar::DAY_MICROS));
    assert_eq!(charged(12), u128::from(gib(25 + 50)) * u128::from(calendar::DAY_MICROS));
}

/// Free storage is a level, not a budget: the average of this month is just what is provisioned.
#[test]
fn free_storage_cannot_be_saved_up() {
    let second_half = [level(gib(200), "2026-11-16T00:00:00Z", "2026-12-01T00:00:00Z")];
    let bill = &bills(&second_half, &ProvisionedStorage::new(gib(100)), TERMS)[0];
    assert_eq!(bill.used_byte_micros, bill.provisioned_byte_micros);
    assert_eq!((bill.average, bill.maximum), (gib(100), gib(200)));
    assert_eq!(bill.charge_micros, 50_000_000, "100 GB too much for half of a month");
}

#[test]
fn the_bills_of_parts_add_up() {
    let history = UsageHistory::new([level(gib(300), "2026-11-10T00:00:00Z", "2026-11-20T00:00:00Z")]);
    let provisioned = ProvisionedStorage::new(gib(100)).changed(at("2026-11-12T00:00:00Z"), gib(150));
    let excess = |range| -> u128 {
        monthly_bills(&history, &provisioned, TERMS, range).map(|bill| bill.excess_byte_micros).sum()
    };
    let Range { start, end } = november();
    let middle = at("2026-11-17T08:15:00Z");
    assert_eq!(excess(start..end), excess(start..middle) + excess(middle..end));
    let day = u128::from(calendar::DAY_MICROS);
    assert_eq!(excess(start..end), day * u128::from(2 * gib(200) + 8 * gib(150)), "the size was raised on the 12th");
}

#[test]
fn months_are_those_of_the_calendar() {
    let history = UsageHistory::new([stored(StoredKind::Log, gib(1), "2023-12-31T12:00:00Z")]);
    let range = at("2023-12-31T00:00:00Z")..at("2024-04-01T00:00:00Z");
    let bills: Vec<MonthBill> = monthly_bills(&history, &ProvisionedStorage::new(0), TERMS, range).collect();
    let days = |bill: &MonthBill| bill.month_micros / calendar::DAY_MICROS;
    assert_eq!(bills.iter().map(days).collect::<Vec<_>>(), [31, 31, 29, 31]);
    let charges: Vec<u128> = bills.iter().map(|bill| bill.charge_micros).collect();
    assert_eq!(charges, [1_000_000 / 62, 1_000_000, 1_000_000, 1_000_000], "half a day, then whole months");
    assert_eq!(bills[0].until, at("2024-01-01T00:00:00Z"));
}

/// "((2 × local backup size) − provisioned storage size) × price per GB-month".
#[test]
fn a_geo_redundant_backup_counts_twice() {
    let twice = TERMS.counting(NonZeroU8::new(2).unwrap());
    let used = [level(gib(150), "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")];
    let bill = &bills(&used, &ProvisionedStorage::new(gib(250)), twice)[0];
    assert_eq!((bill.charge_micros, bill.maximum), (50_000_000, gib(300)));
    assert_eq!(twice.monthly_charge(gib(150), gib(250)), 50_000_000);
    assert_eq!(charge(&used, gib(250)), 0, "and once otherwise");
}

#[test]
fn the_gb_of_the_price_can_be_decimal() {
    let decimal = TERMS.per(Gigabyte::Decimal);
    let used = [level(gib(1), "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")];
    assert_eq!(bills(&used, &ProvisionedStorage::new(0), decimal)[0].charge_micros, 1_073_741);
    assert_eq!(decimal.monthly_charge(gib(1), 0), 1_073_741);
}

#[test]
fn changes_of_the_provisioned_size_can_be_told_in_any_order() {
    let (first, second) = (at("2026-11-10T00:00:00Z"), at("2026-11-20T00:00:00Z"));
    let told = ProvisionedStorage::new(1).changed(second, 3).changed(first, 7).changed(first, 2);
    assert_eq!(told, ProvisionedStorage::new(1).changed(first, 2).changed(second, 3));
    let sizes = ["2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z", "2026-11-20T00:00:00Z"].map(|text| told.at(at(text)));
    assert_eq!((sizes, told.at(Timestamp::MIN)), ([1, 2, 3], 1));
}

#[test]
fn a_size_that_is_not_known_is_no_allowance() {
    let mut spec = ServerSpec::new("prod".parse().unwrap(), crate::model::PostgresMajor::MAX);
    assert_eq!(ProvisionedStorage::of(&spec), None);
    spec.storage_bytes = gib(250);
    assert_eq!(ProvisionedStorage::of(&spec), Some(ProvisionedStorage::new(gib(250))));
}

#[test]
fn petabytes_for_millennia_at_any_price_do_not_overflow() {
    let history = UsageHistory::new([StoredBytes::new(StoredKind::Snapshot, u64::MAX, Timestamp::MIN)]);
    let terms = BillingTerms::new(u64::MAX).counting(NonZeroU8::MAX);
    let end = at("9999-12-01T00:00:00Z")..Timestamp::MAX;
    let bill = monthly_bills(&history, &ProvisionedStorage::new(0), terms, end.clone()).next().unwrap();
    let whole_month = (u128::from(u64::MAX) * u128::from(u64::MAX)) >> 30;
    assert!(
        bill.charge_micros < whole_month && whole_month - bill.charge_micros < whole_month >> 40,
        "a microsecond less"
    );
    assert_eq!(bill.average, u64::MAX);
    assert_eq!(terms.monthly_charge(u64::MAX, 0), whole_month);
}

#[test]
fn operators_read_bills_and_machines_too() {
    let bill = bills(
        &[level(gib(250) + gib(3) / 2, "2026-11-01T00:00:00Z", "2027-01-01T00:00:00Z")],
        &ProvisionedStorage::new(gib(250)),
        BillingTerms::new(95_000),
    )[0];
    let expected = "2026-11  0.142500: 251.5 GiB stored on average, 251.5 GiB at most, \
                    from 2026-11-01T00:00:00.000000Z until 2026-12-01T00:00:00.000000Z";
    assert_eq!(bill.to_string(), expected);
    let json = serde_json::to_value(bill).unwrap();
    assert_eq!(json["charge_micros"], "142500");
    assert_eq!(json["excess_byte_micros"], (u128::from(gib(3) / 2) * 30 * 86_400_000_000).to_string());
}
