//! For whoever writes an adapter: conformance suites, faulty storage, a manual clock, a simulated server.
//!
//! What is here is made for tests: it panics where a test should fail, and its randomness is no secret.

mod clock;
pub mod conformance;
mod entropy;
mod executor;
mod faulty;
mod memory_provisioner;
mod memory_scratch;
mod memory_target;
mod simulated_server;
mod synthetic_wal;

pub use clock::ManualClock;
pub use entropy::SeededEntropy;
pub use executor::ManualExecutor;
pub use faulty::{Fault, FaultyStorage};
pub use memory_provisioner::{MemoryProvisioner, Place, Start};
pub use memory_scratch::MemoryScratch;
pub use memory_target::{MemoryTarget, RestoredServer};
pub use simulated_server::{Habits, LoggedRecord, ServerFiles, SimulatedServer};
pub use synthetic_wal::SyntheticWal;
