//! Bytes over time, as step functions.

use std::ops::Range;

use crate::model::Timestamp;

/// Bytes over time: constant from each step to the next, none before the first.
///
/// - the steps are in order, and no two are at the same instant;
/// - 16 bytes of memory a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Steps(Vec<Step>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    at: Timestamp,
    bytes: u64,
}

impl Steps {
    /// Always so many bytes.
    pub(super) fn constant(bytes: u64) -> Self {
        Self(vec![Step { at: Timestamp::MIN, bytes }])
    }

    /// The bytes at `at`.
    pub(super) fn at(&self, at: Timestamp) -> u64 {
        let begun = self.begun_by(at);
        begun.checked_sub(1).map_or(0, |last| self.0[last].bytes)
    }

    /// Makes it `bytes` from `since` on, until the next step.
    pub(super) fn set(&mut self, since: Timestamp, bytes: u64) {
        let begun = self.begun_by(since);
        match self.0[..begun].last_mut() {
            Some(last) if last.at == since => last.bytes = bytes,
            _ => self.0.insert(begun, Step { at: since, bytes }),
        }
    }

    /// The number of steps.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn begun_by(&self, at: Timestamp) -> usize {
        self.0.partition_point(|step| step.at <= at)
    }
}

/// A stretch of time in which none of `N` step functions changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<const N: usize> {
    /// How long it is, in microseconds; never 0.
    pub(super) micros: u64,
    /// The bytes of each function.
    pub(super) bytes: [u64; N],
}

/// The pieces of `range`, in order.
pub(super) struct Pieces<'a, const N: usize> {
    at: Timestamp,
    until: Timestamp,
    bytes: [u64; N],
    /// The steps after `at`.
    later: [&'a [Step]; N],
}

impl<'a, const N: usize> Pieces<'a, N> {
    pub(super) fn new(functions: [&'a Steps; N], range: &Range<Timestamp>) -> Self {
        let at = range.start;
        let later = functions.map(|steps| &steps.0[steps.begun_by(at)..]);
        Self { at, until: range.end, bytes: functions.map(|steps| steps.at(at)), later }
    }
}

impl<const N: usize> Iterator for Pieces<'_, N> {
    type Item = Piece<N>;

    fn next(&mut self) -> Option<Piece<N>> {
        if self.at >= self.until {
            return None;
        }
        let changes = self.later.iter().filter_map(|later| later.first());
        let next = changes.map(|step| step.at).fold(self.until, Ord::min);
        let piece = Piece { micros: micros_between(self.at, next), bytes: self.bytes };
        for (bytes, later) in self.bytes.iter_mut().zip(&mut self.later) {
            if let [step, rest @ ..] = later
                && step.at <= next
            {
                (*bytes, *later) = (step.bytes, rest);
            }
        }
        self.at = next;
        Some(piece)
    }
}

/// The microseconds between two instants.
pub(super) fn micros_between(a: Timestamp, b: Timestamp) -> u64 {
    a.as_unix_micros().abs_diff(b.as_unix_micros())
}

/// What comes and goes, in any order; becomes [`Steps`].
#[derive(Debug, Default)]
pub(super) struct Changes {
    stored: Tally,
    deleted: Tally,
}

impl Changes {
    /// `bytes` from `since` on, until just before `until` if that is ever.
    pub(super) fn add(&mut self, bytes: u64, since: Timestamp, until: Option<Timestamp>) {
        if until.is_none_or(|until| since < until) {
            self.stored.add(since, bytes);
            until.into_iter().for_each(|until| self.deleted.add(until, bytes));
        }
    }

    /// More than `u64::MAX` bytes at once become `u64::MAX`.
    pub(super) fn into_steps(self) -> Steps {
        let (stored, deleted) = (self.stored.into_sorted(), self.deleted.into_sorted());
        let (mut stored, mut deleted) = (stored.as_slice(), deleted.as_slice());
        let (mut steps, mut total, mut last) = (Vec::new(), 0_u128, 0);
        while let Some(at) = [stored, deleted].iter().filter_map(|rest| rest.first()).map(|&(at, _)| at).min() {
            // What goes was there: nothing is deleted at or before the instant at which it was stored.
            total += take_sum(&mut stored, at);
            total -= take_sum(&mut deleted, at);
            let bytes = u64::try_from(total).unwrap_or(u64::MAX);
            if bytes != last {
                steps.push(Step { at, bytes });
                last = bytes;
            }
        }
        steps.shrink_to_fit();
        Steps(steps)
    }
}

fn take_sum(rest: &mut &[(Timestamp, u64)], at: Timestamp) -> u128 {
    let mut sum = 0;
    while let [(first, bytes), later @ ..] = *rest
        && *first == at
    {
        sum += u128::from(*bytes);
        *rest = later;
    }
    sum
}

/// Bytes by instant. What falls into the same instant is added up before it takes memory.
#[derive(Debug, Default)]
struct Tally {
    entries: Vec<(Timestamp, u64)>,
    merge_at: usize,
}

impl Tally {
    /// Fewer entries are not worth merging.
    const MERGE_MIN: usize = 4096;

    fn add(&mut self, at: Timestamp, bytes: u64) {
        self.entries.push((at, bytes));
        if self.entries.len() >= self.merge_at.max(Self::MERGE_MIN) {
            self.merge();
            self.merge_at = self.entries.len().saturating_mul(2);
        }
    }

    fn into_sorted(mut self) -> Vec<(Timestamp, u64)> {
        self.merge();
        self.entries
    }

    fn merge(&mut self) {
        self.entries.sort_unstable_by_key(|&(at, _)| at);
        self.entries.dedup_by(|(at, bytes), (kept_at, kept)| {
            // A sum that does not fit stays in several entries.
            let sum = if at == kept_at { kept.checked_add(*bytes) } else { None };
            sum.map(|sum| *kept = sum).is_some()
        });
    }
}
