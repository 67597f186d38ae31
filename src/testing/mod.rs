//! For whoever writes an adapter: conformance suites, faulty storage, a manual clock.
//!
//! What is here is made for tests: it panics where a test should fail, and its randomness is no secret.

mod clock;
pub mod conformance;
mod entropy;
mod faulty;

pub use clock::ManualClock;
pub use entropy::SeededEntropy;
pub use faulty::{Fault, FaultyStorage, Operation};
