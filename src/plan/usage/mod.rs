//! What backups take in the storage, over time; what that costs; and what another retention would cost.
//!
//! All of it is computed from a list of what was stored and deleted when ([`StoredBytes`]), in any order:
//! [`UsageHistory`] answers for any instant of the past, [`monthly_bills`] charges for it, [`ObservedRates`] look ahead.

mod billing;
mod calendar;
mod display;
mod forecast;
mod steps;
mod stored;

pub use billing::{BillingTerms, Gigabyte, MonthBill, ProvisionedStorage, monthly_bills};
pub use forecast::{Forecast, ObservedPeriod, ObservedRates};

use std::ops::Range;

use serde::{Deserialize, Serialize};

use self::steps::{Changes, Pieces, Steps, micros_between};
use crate::model::Timestamp;
pub use crate::model::{DayUsage, Usage};

/// The kinds of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StoredKind {
    /// What the daily snapshots take: manifests, blocks.
    Snapshot,
    /// What snapshots take that somebody asked for.
    OnDemandSnapshot,
    /// Log backups.
    Log,
    /// Timeline histories.
    History,
}

/// Something that is or was stored: an artifact, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredBytes {
    /// What it is.
    pub kind: StoredKind,
    /// Its bytes as stored, after compression and sealing; of one copy, however many the redundancy keeps.
    pub bytes: u64,
    /// From when on it counts. For all parts of a snapshot: when the snapshot was complete.
    pub stored_at: Timestamp,
    /// When it was deleted; `None` if it is still there. What was deleted no later than it was stored never counts.
    pub deleted_at: Option<Timestamp>,
}

impl StoredBytes {
    /// `bytes` that are there from `stored_at` on.
    #[must_use]
    pub const fn new(kind: StoredKind, bytes: u64, stored_at: Timestamp) -> Self {
        Self { kind, bytes, stored_at, deleted_at: None }
    }

    /// The same, deleted at `at`.
    #[must_use]
    pub const fn deleted(mut self, at: Timestamp) -> Self {
        self.deleted_at = Some(at);
        self
    }

    /// Whether it is there at `at`.
    #[must_use]
    pub fn is_there(&self, at: Timestamp) -> bool {
        self.stored_at <= at && self.deleted_at.is_none_or(|deleted| at < deleted)
    }
}

/// What was stored at every instant.
///
/// # Rules
///
/// - What is stored counts from the instant at which it was stored until just before the one at which it was deleted.
/// - Intervals include their start and exclude their end. Days and months are those of UTC.
/// - Everything is computed in whole numbers. Integrals over time are exact, in bytes times microseconds; where a result is
///   rounded, it says which way.
/// - More than `u64::MAX` bytes (16 EiB) at once count as so many.
///
/// # Cost
///
/// Made once in O(*n* log *n*) for *n* entries. It takes 16 bytes for each instant at which the bytes of a kind changed, and
/// while it is made as much again for each instant at which something was stored, and each at which something was deleted.
///
/// # Example: what is stored, and what that means over time
///
/// ```
/// use pitr::model::Timestamp;
/// use pitr::plan::usage::{StoredBytes, StoredKind, UsageHistory};
///
/// let noon: Timestamp = "2026-11-23T12:00:00Z".parse()?;
/// let midnight: Timestamp = "2026-11-24T00:00:00Z".parse()?;
/// let snapshot = StoredBytes::new(StoredKind::Snapshot, 1000, noon);
/// let log = StoredBytes::new(StoredKind::Log, 200, "2026-11-23T18:00:00Z".parse()?).deleted(midnight);
/// let history = UsageHistory::new([log, snapshot]);
///
/// assert_eq!(history.at("2026-11-23T20:00:00Z".parse()?).total(), 1200);
/// assert_eq!(history.at(midnight).total(), 1000, "the log is gone");
/// assert_eq!(history.average(noon..midnight), Some(1100), "200 for half of the time");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageHistory {
    /// In the order of [`StoredKind`].
    kinds: [Steps; 4],
}

impl UsageHistory {
    /// The history of these, in whatever order they come.
    #[must_use]
    pub fn new(stored: impl IntoIterator<Item = StoredBytes>) -> Self {
        let mut kinds: [Changes; 4] = Default::default();
        for StoredBytes { kind, bytes, stored_at, deleted_at } in stored {
            kinds[kind as usize].add(bytes, stored_at, deleted_at);
        }
        Self { kinds: kinds.map(Changes::into_steps) }
    }

    /// What was stored at `at`. O(log *n*).
    #[must_use]
    pub fn at(&self, at: Timestamp) -> Usage {
        self.kinds.each_ref().map(|steps| steps.at(at)).into()
    }

    /// Each UTC day of `range`; the first and the last one only as far as `range` reaches into them.
    ///
    /// Takes time proportional to the days and to the changes in them.
    pub fn by_day(&self, range: Range<Timestamp>) -> impl Iterator<Item = DayUsage> {
        calendar::days(range).map(|part| self.day(part))
    }

    /// The average of all bytes over `range`, weighted by time and rounded down; `None` if `range` is empty.
    ///
    /// Takes time proportional to the changes in `range`.
    #[must_use]
    pub fn average(&self, range: Range<Timestamp>) -> Option<u64> {
        (!range.is_empty()).then(|| average(self.byte_micros(range.clone()), micros_between(range.start, range.end)))
    }

    /// The exact integral of all bytes over `range`: bytes times microseconds. It always fits.
    #[must_use]
    pub fn byte_micros(&self, range: Range<Timestamp>) -> u128 {
        self.pieces(&range).map(|(micros, usage)| product(usage.total(), micros)).sum()
    }

    /// How many changes it remembers, each of 16 bytes.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.kinds.iter().map(Steps::len).sum()
    }

    fn day(&self, part: Range<Timestamp>) -> DayUsage {
        let (mut byte_micros, mut maximum, mut at_end) = (0, 0, Usage::default());
        for (micros, usage) in self.pieces(&part) {
            byte_micros += product(usage.total(), micros);
            maximum = usage.total().max(maximum);
            at_end = usage;
        }
        let average = average(byte_micros, micros_between(part.start, part.end));
        DayUsage { day: calendar::day_start(part.start), from: part.start, until: part.end, at_end, maximum, average }
    }

    fn pieces(&self, range: &Range<Timestamp>) -> impl Iterator<Item = (u64, Usage)> {
        Pieces::new(self.kinds.each_ref(), range).map(|piece| (piece.micros, piece.bytes.into()))
    }
}

impl FromIterator<StoredBytes> for UsageHistory {
    fn from_iter<I: IntoIterator<Item = StoredBytes>>(stored: I) -> Self {
        Self::new(stored)
    }
}

fn product(bytes: u64, micros: u64) -> u128 {
    u128::from(bytes) * u128::from(micros)
}

/// Rounded down; `micros` is not 0.
fn average(byte_micros: u128, micros: u64) -> u64 {
    u64::try_from(byte_micros / u128::from(micros)).expect("an average is not above the maximum")
}

#[cfg(test)]
mod tests;
