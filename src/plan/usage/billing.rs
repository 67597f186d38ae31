//! What backup storage costs.

use std::num::NonZeroU8;
use std::ops::Range;

use serde::Serialize;

use super::steps::{Pieces, Steps, micros_between};
use super::{UsageHistory, average, calendar, product};
use crate::model::{ServerSpec, Timestamp};

/// How many bytes the GB of a price is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Gigabyte {
    /// 2^30 bytes, a GiB: the unit of provisioned sizes.
    #[default]
    Binary,
    /// 10^9 bytes.
    Decimal,
}

impl Gigabyte {
    /// Its bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Binary => 1 << 30,
            Self::Decimal => 1_000_000_000,
        }
    }
}

/// What is charged for, and how.
///
/// *Up to 100 % of the provisioned storage of a server is free; what is stored beyond that is charged in GB per month*
/// ("Backup storage cost" of Azure Database for PostgreSQL – Flexible Server). What that leaves open, pitr fixes so:
///
/// - **GB.** A GB is 2^30 bytes ([`Gigabyte::Binary`]) unless the terms say otherwise. Sizes of servers are provisioned in
///   binary units (a server "of 250 GB" has 250 GiB), so both sides of the rule are measured alike; Azure's present page
///   writes GiB for the same sizes. The unit is only that of the price: the free bytes are as many as are provisioned.
/// - **Month.** The calendar month of UTC, with its own 28 to 31 days: 1 GB all of February and 1 GB all of March are a
///   GB-month each. Part of a month is charged in proportion.
/// - **Excess.** At every instant, what is stored beyond what is provisioned *then*; the charge is its integral. The free
///   storage is a level, not a budget that could be saved up: who stores nothing until the 15th and twice the provisioned
///   size from then on has exceeded it for half a month, and pays for that, although the average over the month is just what
///   is provisioned. So a bill is never lower than by averages, it is the same where the level is not crossed during the
///   month, and it adds up: the bills of the parts of a month are the bill of the month.
/// - **Copies.** Local and zone redundancy count the bytes once, however many copies there are. A geo-redundant backup
///   counts twice, against the same free storage: (2 × stored) − provisioned. See [`BillingTerms::counting`].
/// - **Rounding.** The charge of a month is rounded down to a millionth of the currency's unit. The integrals beside it are
///   exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BillingTerms {
    /// The price of a GB-month, in millionths of a currency's unit: 95 000 for $0.095.
    pub price_micros: u64,
    /// The GB of that price.
    pub gigabyte: Gigabyte,
    /// How often stored bytes count.
    pub copies: NonZeroU8,
}

impl BillingTerms {
    /// So many millionths of a currency's unit for a month of 2^30 bytes that are counted once.
    #[must_use]
    pub const fn new(price_micros: u64) -> Self {
        Self { price_micros, gigabyte: Gigabyte::Binary, copies: NonZeroU8::MIN }
    }

    /// The same for another GB.
    #[must_use]
    pub const fn per(mut self, gigabyte: Gigabyte) -> Self {
        self.gigabyte = gigabyte;
        self
    }

    /// The same, counting stored bytes so often: twice for a geo-redundant backup.
    #[must_use]
    pub const fn counting(mut self, copies: NonZeroU8) -> Self {
        self.copies = copies;
        self
    }

    /// What is charged for storing `bytes` (of one copy) throughout a month, in millionths of a currency's unit, rounded
    /// down.
    #[must_use]
    pub fn monthly_charge(&self, bytes: u64, provisioned_bytes: u64) -> u128 {
        product(self.excess(bytes, provisioned_bytes), self.price_micros) / u128::from(self.gigabyte.bytes())
    }

    /// The bytes that are charged for while `bytes` (of one copy) are stored.
    #[must_use]
    pub fn excess(&self, bytes: u64, provisioned_bytes: u64) -> u64 {
        self.counted(bytes).saturating_sub(provisioned_bytes)
    }

    fn counted(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(u64::from(self.copies.get()))
    }

    /// The charge for this integral of the excess in a month that is so long.
    fn charge(&self, excess_byte_micros: u128, month_micros: u64) -> u128 {
        mul_div(excess_byte_micros, self.price_micros, product(self.gigabyte.bytes(), month_micros))
    }
}

/// The provisioned storage of a server over time: what is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionedStorage(Steps);

impl ProvisionedStorage {
    /// Always so many bytes. With 0, all that is stored is charged.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self(Steps::constant(bytes))
    }

    /// What the server has now, for all time; `None` if its size is not known.
    #[must_use]
    pub fn of(spec: &ServerSpec) -> Option<Self> {
        (spec.storage_bytes > 0).then(|| Self::new(spec.storage_bytes))
    }

    /// The same, changed to `bytes` at `since`, until the next change. Changes can be told in any order; of two at the same
    /// instant, the one that is told later counts.
    #[must_use]
    pub fn changed(mut self, since: Timestamp, bytes: u64) -> Self {
        self.0.set(since, bytes);
        self
    }

    /// The bytes at `at`.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> u64 {
        self.0.at(at)
    }
}

/// What a UTC month costs, or the part of it that was asked about.
///
/// Integrals are in bytes times microseconds; serialized they are decimal text, for JSON's numbers are often read as floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MonthBill {
    /// Where it starts: the first instant of the month, unless what was asked about starts later.
    pub from: Timestamp,
    /// Where it ends; not part of it.
    pub until: Timestamp,
    /// How long the whole month is, in microseconds.
    pub month_micros: u64,
    /// The integral of what was stored, every copy that counts.
    #[serde(serialize_with = "as_text")]
    pub used_byte_micros: u128,
    /// The integral of what was provisioned.
    #[serde(serialize_with = "as_text")]
    pub provisioned_byte_micros: u128,
    /// The integral of what was stored beyond what was provisioned.
    #[serde(serialize_with = "as_text")]
    pub excess_byte_micros: u128,
    /// The most bytes at once, every copy that counts.
    pub maximum: u64,
    /// The average of what was stored, every copy that counts, in bytes, rounded down.
    pub average: u64,
    /// What is charged, in millionths of a currency's unit, rounded down.
    #[serde(serialize_with = "as_text")]
    pub charge_micros: u128,
}

/// What each UTC month of `range` costs; the first and the last one only as far as `range` reaches into them.
///
/// Takes time proportional to the months and to the changes in them.
///
/// # Example: 250 GB are provisioned, and 260 stored
///
/// ```
/// use pitr::model::Timestamp;
/// use pitr::plan::usage::{BillingTerms, ProvisionedStorage, StoredBytes, StoredKind, UsageHistory, monthly_bills};
///
/// let gib = |count: u64| count << 30;
/// let (from, until): (Timestamp, Timestamp) = ("2026-11-01T00:00:00Z".parse()?, "2026-12-01T00:00:00Z".parse()?);
/// let history = UsageHistory::new([StoredBytes::new(StoredKind::Snapshot, gib(260), from)]);
/// let terms = BillingTerms::new(95_000);
/// let bill = monthly_bills(&history, &ProvisionedStorage::new(gib(250)), terms, from..until).next().unwrap();
/// assert_eq!(bill.charge_micros, 950_000, "10 GB-months at 0.095");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn monthly_bills(
    history: &UsageHistory,
    provisioned: &ProvisionedStorage,
    terms: BillingTerms,
    range: Range<Timestamp>,
) -> impl Iterator<Item = MonthBill> {
    calendar::months(range).map(move |part| month_bill(history, provisioned, terms, &part))
}

fn month_bill(
    history: &UsageHistory,
    provisioned: &ProvisionedStorage,
    terms: BillingTerms,
    part: &Range<Timestamp>,
) -> MonthBill {
    let (mut used_sum, mut provisioned_sum, mut excess_sum, mut maximum) = (0, 0, 0, 0);
    let [snapshots, on_demand, logs, histories] = &history.kinds;
    for piece in Pieces::new([snapshots, on_demand, logs, histories, &provisioned.0], part) {
        let [kinds @ .., free] = piece.bytes;
        let stored = super::Usage::from(kinds).total();
        maximum = terms.counted(stored).max(maximum);
        used_sum += product(terms.counted(stored), piece.micros);
        provisioned_sum += product(free, piece.micros);
        excess_sum += product(terms.excess(stored, free), piece.micros);
    }
    let month_micros = calendar::month_micros(part.start);
    MonthBill {
        from: part.start,
        until: part.end,
        month_micros,
        used_byte_micros: used_sum,
        provisioned_byte_micros: provisioned_sum,
        excess_byte_micros: excess_sum,
        maximum,
        average: average(used_sum, micros_between(part.start, part.end)),
        charge_micros: terms.charge(excess_sum, month_micros),
    }
}

/// ⌊`a` × `b` / `divisor`⌋, although the product may not fit; `divisor` is not 0 and below 2^126.
///
/// By long multiplication, bit by bit from the highest: `quotient` × `divisor` + `rest` is `a`'s remainder times those bits
/// of `b` that were seen.
fn mul_div(a: u128, b: u64, divisor: u128) -> u128 {
    let (whole, part) = (a / divisor, a % divisor);
    let (mut quotient, mut rest) = (0_u128, 0_u128);
    for bit in (0..u64::BITS).rev() {
        rest = 2 * rest + if b >> bit & 1 == 1 { part } else { 0 };
        quotient = 2 * quotient + rest / divisor;
        rest %= divisor;
    }
    whole.saturating_mul(u128::from(b)).saturating_add(quotient)
}

pub(super) fn as_text<S: serde::Serializer>(number: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_multiplication_is_exact() {
        assert_eq!(mul_div(7, 3, 2), 10);
        assert_eq!(mul_div((1 << 126) - 1, 1, 1), (1 << 126) - 1);
        assert_eq!(mul_div(1 << 100, 1 << 60, 1 << 110), 1 << 50, "the product has 161 bits");
        assert_eq!(mul_div((1 << 100) + 1, u64::MAX, (1 << 100) + 1), u128::from(u64::MAX));
        assert_eq!(mul_div(u128::MAX, u64::MAX, 1), u128::MAX, "what does not fit at all");
        for (a, b, divisor) in [(0, 5, 3), (12_345_678_901, 98_765, 1 << 40), (u128::from(u64::MAX), 1 << 40, 999)] {
            assert_eq!(mul_div(a, b, divisor), a * u128::from(b) / divisor);
        }
    }
}
