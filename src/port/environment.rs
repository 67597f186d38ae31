//! The ports that every program gives alike.

use std::sync::Arc;

use super::{Clock, Entropy, Executor};

/// Time, randomness, and where work is done. Cheap to clone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Environment {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Draws keys, salts and names.
    pub entropy: Arc<dyn Entropy>,
    /// Runs what would block.
    pub executor: Arc<dyn Executor>,
}

impl Environment {
    /// These three.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, executor: Arc<dyn Executor>) -> Self {
        Self { clock, entropy, executor }
    }
}
