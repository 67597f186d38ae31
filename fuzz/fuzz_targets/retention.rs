//! Whatever is in a catalog: what expires loses nothing, and when it is gone nothing more expires.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use pitr::model::{Hold, Period, RetentionDays, Timestamp};
use pitr::plan::retention::{Protections, RetentionPolicy, plan_retention, retention_change};
use pitr_fuzz::Artifacts;

#[derive(Arbitrary, Debug)]
struct Input {
    artifacts: Artifacts,
    days: u8,
    now: u8,
    minimum: u8,
    sparse: Option<(u8, u8)>,
    held: Option<u8>,
}

libfuzzer_sys::fuzz_target!(|input: Input| {
    let Some(catalog) = input.artifacts.catalog() else { return };
    let days = RetentionDays::new(7 + input.days % 29).expect("7 to 35");
    let mut policy = RetentionPolicy::new(days).with_minimum_snapshots(u32::from(input.minimum % 4));
    if let Some((period, count)) = input.sparse {
        let periods = [Period::Day, Period::Week, Period::Month, Period::Year];
        policy = policy.with_sparse(periods[usize::from(period % 4)], u32::from(count));
    }
    let held = input.held.map(|number| Hold::new(format!("s{}", number % 8).parse().expect("an ID"), "held"));
    let protections = held.into_iter().fold(Protections::none(), Protections::with_hold);
    let now = Timestamp::from_unix_micros(i64::from(input.now) * 86_400_000_000).expect("months are few");

    let plan = plan_retention(&catalog, &policy, &protections, now);
    assert!(!plan.to_string().is_empty());
    plan.check(&catalog).unwrap_or_else(|fault| panic!("{fault}: {plan}"));
    let all: u64 = catalog.artifacts().map(|artifact| artifact.stored_bytes()).sum();
    assert_eq!(plan.kept_bytes() + plan.freed_bytes(), all);
    let remaining = plan.remaining(&catalog).expect("it was checked");
    let again = plan_retention(&remaining, &policy, &protections, now);
    assert!(again.is_empty(), "{plan}\nthen {again}");

    let longest = RetentionPolicy::new(RetentionDays::MAX);
    let change = retention_change(&catalog, &policy, &longest, &protections, now);
    assert!(change.earliest_after.is_none_or(|after| Some(after) >= change.earliest_before));
    assert_eq!(change.promised_from.is_some(), change.earliest_after.is_some());
});
