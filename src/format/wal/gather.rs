//! Short structures that may arrive in pieces.

/// Collects up to `N` bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gather<const N: usize> {
    bytes: [u8; N],
    filled: usize,
}

impl<const N: usize> Gather<N> {
    /// Nothing yet.
    pub(super) const EMPTY: Self = Self { bytes: [0; N], filled: 0 };

    /// Takes bytes off `input` until `wanted` (at most `N`) are there; says how many it took.
    pub(super) fn fill(&mut self, input: &[u8], wanted: usize) -> usize {
        let space = self.bytes.get_mut(self.filled..wanted).unwrap_or_default();
        let taken = space.len().min(input.len());
        for (to, from) in space.iter_mut().zip(input) {
            *to = *from;
        }
        self.filled += taken;
        taken
    }

    /// What was collected.
    pub(super) fn collected(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// How many bytes were collected.
    pub(super) const fn len(&self) -> usize {
        self.filled
    }

    /// All the space, the rest of it zero.
    pub(super) const fn bytes(&self) -> &[u8; N] {
        &self.bytes
    }

    /// Forgets what was collected.
    pub(super) const fn clear(&mut self) {
        *self = Self::EMPTY;
    }
}
