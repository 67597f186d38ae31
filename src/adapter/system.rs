//! What the operating system gives every program.

use std::sync::Arc;

use super::{OsEntropy, SystemClock, ThreadPool};
use crate::port::Environment;

/// The clock and the randomness of the operating system, and a thread for each processor.
#[must_use]
pub fn system() -> Environment {
    Environment::new(Arc::new(SystemClock::new()), Arc::new(OsEntropy), Arc::new(ThreadPool::default()))
}
