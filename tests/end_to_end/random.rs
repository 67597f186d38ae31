//! Random choices that are the same in every run.

use pitr::model::Timestamp;

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// An instant between two others.
    pub(crate) fn instant(&mut self, from: Timestamp, to: Timestamp) -> Timestamp {
        let span = u64::try_from(to.duration_since(from).as_micros()).unwrap();
        from.saturating_add(std::time::Duration::from_micros(self.next() % span))
    }
}
