//! What another retention would take, and cost.

use serde::Serialize;

use super::billing::as_text;
use super::calendar::DAY_MICROS;
use super::steps::micros_between;
use super::{BillingTerms, StoredBytes, StoredKind};
use crate::model::{RetentionDays, Timestamp};

/// The bytes that are stored now, by how many whole days ago they were stored; the last place has all that is older.
type ByAge = [u64; RetentionDays::MAX.days() as usize + 1];

/// How much the backups of a server grow in a day, as observed, and what follows from that for other retentions.
///
/// # What a forecast assumes
///
/// With a retention of *r* days, in the long run there are stored:
///
/// - one snapshot at or before the window's start, the anchor, with all that it refers to, and held ones: the *base*. Where
///   snapshots are incremental that is one copy of the server, where they are full it is one of them;
/// - what the snapshots of *r* days added, and the log of *r* + 1 days, for recovery starts at the anchor. "With a backup
///   retention window of seven days, database snapshots and transaction log backups are stored for the last 8 days";
/// - as many bytes of snapshots on demand and of timeline histories as now.
///
/// The days to come are taken to be like the observed ones, the base to stay as large as it is, and log backups to be
/// compacted as they were. So growth of the server is not foreseen, nor is a season of which no day was observed.
///
/// A rate is what was stored in the observed days *and is still there*: log that was compacted does not count twice. That
/// needs all of these days to lie within the retention in force, so that nothing of them has expired.
///
/// # Example: a server that was observed for two weeks
///
/// ```
/// use std::time::Duration;
/// use pitr::model::{RetentionDays, Timestamp};
/// use pitr::plan::usage::{BillingTerms, ObservedRates, StoredBytes, StoredKind};
///
/// let gib = |count: u64| count << 30;
/// let now: Timestamp = "2026-11-23T12:00:00Z".parse()?;
/// let ago = |days: u64| now.saturating_sub(Duration::from_secs(86_400 * days));
/// let full = StoredBytes::new(StoredKind::Snapshot, gib(100), ago(14));
/// let daily = (0..14).map(|day| StoredBytes::new(StoredKind::Snapshot, gib(2), ago(day)));
/// let logs = (0..14).map(|day| StoredBytes::new(StoredKind::Log, gib(3), ago(day)));
///
/// let rates = ObservedRates::observe(daily.chain(logs).chain([full]), now, RetentionDays::MAX, 14);
/// assert_eq!((rates.observed_days, rates.base_bytes), (14, gib(100)));
/// let forecast = rates.forecast(RetentionDays::MAX, gib(250), &BillingTerms::new(95_000));
/// assert_eq!(forecast.total_bytes, gib(100 + 35 * 2 + 36 * 3));
/// assert_eq!(forecast.monthly_charge_micros, 28 * 95_000);
/// assert_eq!(forecast.another_day_charge_micros, 5 * 95_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ObservedRates {
    /// The instant at which the observation ends.
    pub now: Timestamp,
    /// How many days were observed: whole days, back from `now`. 0 if the first snapshot is not a day old, and then nothing
    /// is known of the rates.
    pub observed_days: u8,
    /// The bytes of snapshots that were stored before the retention in force, or by the first snapshot: the base.
    pub base_bytes: u64,
    /// The bytes that snapshots added in all of the observed days.
    pub snapshot_bytes: u64,
    /// The bytes of log of all of the observed days.
    pub log_bytes: u64,
    /// The bytes of snapshots that somebody asked for, and of timeline histories.
    pub other_bytes: u64,
}

impl ObservedRates {
    /// Observes the last `days` before `now` of a server whose retention is `in_force`. What was stored after `now` is not
    /// looked at. If the retention was raised lately, give the one before: what has been kept longer than that since then
    /// counts as base, which errs towards more.
    ///
    /// No more days are observed than the retention in force, or than have passed since the first snapshot. 7 are always good,
    /// and hold every day of the week once. One pass, in any order.
    #[must_use]
    pub fn observe(
        stored: impl IntoIterator<Item = StoredBytes>,
        now: Timestamp,
        in_force: RetentionDays,
        days: u8,
    ) -> Self {
        let mut seen = Seen::default();
        stored.into_iter().filter(|item| item.stored_at <= now).for_each(|item| seen.add(&item, now));
        let whole_days = seen.first_snapshot.map_or(0, |first| age(first, now));
        let in_window = whole_days.min(usize::from(in_force.days()));
        let observed = in_window.min(usize::from(days));
        Self {
            now,
            observed_days: u8::try_from(observed).expect("not more than a retention"),
            base_bytes: sum(&seen.snapshots[in_window..]),
            snapshot_bytes: sum(&seen.snapshots[..observed]),
            log_bytes: sum(&seen.logs[..observed]),
            other_bytes: seen.others,
        }
    }

    /// How well the rates are known.
    #[must_use]
    pub const fn period(&self) -> ObservedPeriod {
        match self.observed_days {
            0 => ObservedPeriod::Nothing,
            1..7 => ObservedPeriod::PartOfWeek,
            7.. => ObservedPeriod::Week,
        }
    }

    /// The bytes that snapshots add in a day, rounded up; 0 if nothing was observed.
    #[must_use]
    pub fn snapshot_bytes_per_day(&self) -> u64 {
        self.in_days(self.snapshot_bytes, 1)
    }

    /// The bytes of log of a day, rounded up; 0 if nothing was observed.
    #[must_use]
    pub fn log_bytes_per_day(&self) -> u64 {
        self.in_days(self.log_bytes, 1)
    }

    /// What a retention of `retention` would take in the long run, and cost.
    #[must_use]
    pub fn forecast(&self, retention: RetentionDays, provisioned_bytes: u64, terms: &BillingTerms) -> Forecast {
        let days = retention.days();
        let charge = |bytes| terms.monthly_charge(bytes, provisioned_bytes);
        let (total_bytes, longer) = (self.total_bytes(days), self.total_bytes(days + 1));
        Forecast {
            retention,
            observed_days: self.observed_days,
            period: self.period(),
            snapshot_bytes: self.snapshots_over(days),
            log_bytes: self.logs_over(days),
            other_bytes: self.other_bytes,
            total_bytes,
            provisioned_bytes,
            excess_bytes: terms.excess(total_bytes, provisioned_bytes),
            monthly_charge_micros: charge(total_bytes),
            another_day_bytes: longer - total_bytes,
            another_day_charge_micros: charge(longer) - charge(total_bytes),
        }
    }

    /// The longest retention that would not be charged; `None` if even the shortest one would be, or nothing was observed.
    #[must_use]
    pub fn longest_free(&self, provisioned_bytes: u64, terms: &BillingTerms) -> Option<RetentionDays> {
        let is_free = |days: &u8| terms.excess(self.total_bytes(*days), provisioned_bytes) == 0;
        let mut free = (RetentionDays::MIN.days()..=RetentionDays::MAX.days()).take_while(is_free);
        let longest = if self.observed_days == 0 { None } else { free.by_ref().last() };
        longest.and_then(|days| RetentionDays::new(days).ok())
    }

    fn total_bytes(&self, days: u8) -> u64 {
        self.snapshots_over(days).saturating_add(self.logs_over(days)).saturating_add(self.other_bytes)
    }

    fn snapshots_over(&self, days: u8) -> u64 {
        self.base_bytes.saturating_add(self.in_days(self.snapshot_bytes, days))
    }

    /// One day more than the window, for recovery starts at the snapshot before it.
    fn logs_over(&self, days: u8) -> u64 {
        self.in_days(self.log_bytes, days + 1)
    }

    /// Rounded up: a forecast shall not flatter.
    fn in_days(&self, observed_bytes: u64, days: u8) -> u64 {
        if self.observed_days == 0 {
            return 0;
        }
        let bytes = (u128::from(observed_bytes) * u128::from(days)).div_ceil(u128::from(self.observed_days));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

#[derive(Debug)]
struct Seen {
    snapshots: ByAge,
    logs: ByAge,
    others: u64,
    /// Of all there ever were: the one that is full for want of another.
    first_snapshot: Option<Timestamp>,
}

impl Default for Seen {
    fn default() -> Self {
        let none = [0; RetentionDays::MAX.days() as usize + 1];
        Self { snapshots: none, logs: none, others: 0, first_snapshot: None }
    }
}

impl Seen {
    fn add(&mut self, item: &StoredBytes, now: Timestamp) {
        if item.kind == StoredKind::Snapshot {
            self.first_snapshot = Some(self.first_snapshot.map_or(item.stored_at, |first| first.min(item.stored_at)));
        }
        if item.is_there(now) {
            let place = self.place(item.kind, age(item.stored_at, now));
            *place = place.saturating_add(item.bytes);
        }
    }

    fn place(&mut self, kind: StoredKind, age: usize) -> &mut u64 {
        match kind {
            StoredKind::Snapshot => &mut self.snapshots[age],
            StoredKind::Log => &mut self.logs[age],
            StoredKind::OnDemandSnapshot | StoredKind::History => &mut self.others,
        }
    }
}

/// The whole days from `stored_at` to `now`, at most those of the longest retention.
fn age(stored_at: Timestamp, now: Timestamp) -> usize {
    let most = usize::from(RetentionDays::MAX.days());
    usize::try_from(micros_between(stored_at, now) / DAY_MICROS).map_or(most, |days| days.min(most))
}

fn sum(bytes: &[u64]) -> u64 {
    bytes.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes))
}

/// How well observed rates are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ObservedPeriod {
    /// Not a day was observed. Only what is stored now is known: a forecast is a lower bound.
    Nothing,
    /// Not every day of a week was observed: a working day may stand for a weekend, or the reverse.
    PartOfWeek,
    /// At least a week was observed.
    Week,
}

/// What a retention would take in the long run, and cost: see [`ObservedRates`] for what that assumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Forecast {
    /// The retention.
    pub retention: RetentionDays,
    /// The days by which the rates are known.
    pub observed_days: u8,
    /// How well they are known by that.
    pub period: ObservedPeriod,
    /// The bytes of daily snapshots.
    pub snapshot_bytes: u64,
    /// The bytes of log backups.
    pub log_bytes: u64,
    /// The bytes of all else, as it is now.
    pub other_bytes: u64,
    /// All bytes, of one copy.
    pub total_bytes: u64,
    /// The bytes that are free.
    pub provisioned_bytes: u64,
    /// The bytes that are charged for, every copy that counts.
    pub excess_bytes: u64,
    /// What a month costs, in millionths of a currency's unit, rounded down.
    #[serde(serialize_with = "as_text")]
    pub monthly_charge_micros: u128,
    /// The bytes that another day of retention would add.
    pub another_day_bytes: u64,
    /// What another day of retention would add to what a month costs, in millionths of a currency's unit.
    #[serde(serialize_with = "as_text")]
    pub another_day_charge_micros: u128,
}
