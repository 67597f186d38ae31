//! Random choices that are the same in every run and on every machine.
#![allow(dead_code, reason = "each test has some use for some of it")]

use std::ops::Range;
use std::time::Duration;

use pitr::model::Timestamp;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, or 0 if that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// A place in a list of this length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below the length")
    }

    pub(crate) fn number(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(bound.into())).expect("it is below the bound")
    }

    pub(crate) fn within(&mut self, range: Range<i64>) -> i64 {
        let width = range.end.abs_diff(range.start);
        range.start + i64::try_from(self.below(width)).expect("ranges are narrow")
    }

    pub(crate) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    /// So many times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.index(of.len()))
    }

    /// An instant between two others.
    pub(crate) fn instant(&mut self, from: Timestamp, to: Timestamp) -> Timestamp {
        let span = u64::try_from(to.duration_since(from).as_micros()).expect("times are centuries apart at most");
        from.saturating_add(Duration::from_micros(self.below(span)))
    }
}
