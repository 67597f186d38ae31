//! Randomness for keys, salts and names.

use std::fmt::Debug;

use super::PortError;

/// A source of random bytes that nobody can predict.
///
/// Everything that is sealed depends on it: a source that repeats itself breaks the encryption.
pub trait Entropy: Debug + Send + Sync + 'static {
    /// Fills `bytes` with random bytes.
    ///
    /// # Errors
    /// If the system cannot give any; then `bytes` must not be used.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), PortError>;
}
