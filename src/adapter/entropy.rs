//! The randomness of the operating system.

use crate::port::{Entropy, PortError, PortErrorKind};

/// The randomness of the operating system.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct OsEntropy;

impl OsEntropy {
    /// The operating system's generator.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), PortError> {
        let failed =
            |error| PortError::new(PortErrorKind::Unavailable, "the system gave no random bytes").caused_by(error);
        getrandom::fill(bytes).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_gives_the_same_twice() {
        let (mut one, mut other) = ([0; 32], [0; 32]);
        OsEntropy::new().fill(&mut one).unwrap();
        OsEntropy::new().fill(&mut other).unwrap();
        assert_ne!(one, other);
        assert_ne!(one, [0; 32]);
    }
}
