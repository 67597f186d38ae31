//! Random histories, compared with sums over all entries and with integrals in small steps.

use std::num::NonZeroU8;

use proptest::prelude::*;

use super::*;

/// The time of these histories: ticks that begin before a day, and a month, does, and end some ticks after it.
const TICKS: i64 = 60;
const TICK_MICROS: i64 = 3_600_000_000;

fn tick(tick: i64) -> Timestamp {
    let begin = at("2024-02-28T18:00:00Z").as_unix_micros();
    Timestamp::from_unix_micros(begin + tick * TICK_MICROS).unwrap()
}

fn kind() -> impl Strategy<Value = StoredKind> {
    use StoredKind::{History, Log, OnDemandSnapshot, Snapshot};
    prop::sample::select(vec![Snapshot, OnDemandSnapshot, Log, History])
}

fn bytes() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..100_u64, 1 => any::<u64>()]
}

prop_compose! {
    fn stored_bytes()(kind in kind(), bytes in bytes(), from in 0..TICKS, until in prop::option::of(0..TICKS)) -> StoredBytes {
        let stored = StoredBytes::new(kind, bytes, tick(from));
        until.map_or(stored, |until| stored.deleted(tick(until)))
    }
}

fn entries() -> impl Strategy<Value = Vec<StoredBytes>> {
    prop::collection::vec(stored_bytes(), 0..40)
}

/// The bytes of a kind, by asking every entry.
fn sum(entries: &[StoredBytes], kind: StoredKind, at: Timestamp) -> u64 {
    let of_kind = entries.iter().filter(|entry| entry.kind == kind && entry.is_there(at));
    of_kind.fold(0, |sum, entry| sum.saturating_add(entry.bytes))
}

fn usage(entries: &[StoredBytes], at: Timestamp) -> Usage {
    use StoredKind::{History, Log, OnDemandSnapshot, Snapshot};
    [Snapshot, OnDemandSnapshot, Log, History].map(|kind| sum(entries, kind, at)).into()
}

/// The integral of `level` over ticks: nothing changes within one.
fn integral(ticks: Range<i64>, level: impl Fn(Timestamp) -> u64) -> u128 {
    ticks.map(|i| u128::from(level(tick(i))) * u128::from(TICK_MICROS.unsigned_abs())).sum()
}

proptest! {
    #[test]
    fn usage_is_the_sum_of_all_that_is_there(entries in entries()) {
        let history = UsageHistory::new(entries.iter().copied());
        for i in -1..=TICKS {
            prop_assert_eq!(history.at(tick(i)), usage(&entries, tick(i)));
        }
    }

    #[test]
    fn the_order_of_entries_does_not_matter(entries in entries().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))) {
        let (one, other) = entries;
        prop_assert_eq!(UsageHistory::new(one), other.into_iter().collect());
    }

    #[test]
    fn averages_are_integrals_by_small_steps(entries in entries(), from in -2..TICKS, length in 1..TICKS) {
        let history = UsageHistory::new(entries.iter().copied());
        let (ticks, range) = (from..from + length, tick(from)..tick(from + length));
        let expected = integral(ticks, |at| usage(&entries, at).total());
        prop_assert_eq!(history.byte_micros(range.clone()), expected);
        let micros = u128::from((length * TICK_MICROS).unsigned_abs());
        prop_assert_eq!(history.average(range).map(u128::from), Some(expected / micros));
    }

    #[test]
    fn days_are_as_their_hours_are(entries in entries(), from in 0..TICKS, length in 1..TICKS) {
        let history = UsageHistory::new(entries.iter().copied());
        let (mut hour, end) = (from, from + length);
        for day in history.by_day(tick(from)..tick(end)) {
            prop_assert_eq!(day.from, tick(hour));
            let next = (hour..).find(|&i| i == end || (i > hour && (i + 18) % 24 == 0)).unwrap();
            let levels = (hour..next).map(|i| usage(&entries, tick(i)).total());
            prop_assert_eq!((day.until, day.maximum), (tick(next), levels.max().unwrap()));
            prop_assert_eq!(day.at_end, usage(&entries, tick(next - 1)));
            let whole = integral(hour..next, |at| usage(&entries, at).total());
            prop_assert_eq!(u128::from(day.average), whole / u128::from(((next - hour) * TICK_MICROS).unsigned_abs()));
            hour = next;
        }
        prop_assert_eq!(hour, end, "no hour is left out");
    }

    #[test]
    fn bills_are_integrals_by_small_steps(
        entries in entries(),
        sizes in prop::collection::vec((0..TICKS, 0..400_u64), 0..4),
        copies in 1..4_u8,
        price in 0..u64::MAX,
    ) {
        let history = UsageHistory::new(entries.iter().copied());
        let terms = BillingTerms::new(price).counting(NonZeroU8::new(copies).unwrap());
        let told = sizes.iter().fold(ProvisionedStorage::new(50), |all, &(since, bytes)| all.changed(tick(since), bytes));
        let size = |at| {
            let begun = sizes.iter().filter(|&&(since, _)| tick(since) <= at);
            begun.max_by_key(|&&(since, _)| since).map_or(50, |&(_, bytes)| bytes)
        };
        let counted = |at| usage(&entries, at).total().saturating_mul(u64::from(copies));
        // The 29th of February ends, and March begins, at tick 30.
        let bills: Vec<MonthBill> = monthly_bills(&history, &told, terms, tick(0)..tick(TICKS)).collect();
        prop_assert_eq!(bills.len(), 2);
        for (bill, ticks) in bills.iter().zip([0..30, 30..TICKS]) {
            prop_assert_eq!((bill.from, bill.until), (tick(ticks.start), tick(ticks.end)));
            let excess = integral(ticks.clone(), |at| counted(at).saturating_sub(size(at)));
            prop_assert_eq!(bill.excess_byte_micros, excess);
            prop_assert_eq!(bill.used_byte_micros, integral(ticks.clone(), counted));
            prop_assert_eq!(bill.provisioned_byte_micros, integral(ticks.clone(), size));
            prop_assert_eq!(Some(bill.maximum), ticks.clone().map(|i| counted(tick(i))).max());
            // By averages it is never more.
            prop_assert!(bill.used_byte_micros.saturating_sub(bill.provisioned_byte_micros) <= excess);
        }
    }

    #[test]
    fn a_longer_retention_is_never_cheaper(entries in entries(), now in 0..TICKS, observed in 1..40_u8) {
        use crate::model::RetentionDays;
        let rates = ObservedRates::observe(entries, tick(now), RetentionDays::MIN, observed);
        let forecasts: Vec<Forecast> =
            (7..=35).map(|days| rates.forecast(RetentionDays::new(days).unwrap(), 90, &BillingTerms::new(1 << 40))).collect();
        for pair in forecasts.windows(2) {
            prop_assert_eq!(pair[0].total_bytes + pair[0].another_day_bytes, pair[1].total_bytes);
            let charge = pair[0].monthly_charge_micros + pair[0].another_day_charge_micros;
            prop_assert_eq!(charge, pair[1].monthly_charge_micros);
        }
    }
}
