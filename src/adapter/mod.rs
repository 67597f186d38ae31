//! Adapters: the ports' implementations that pitr brings.

#[cfg(not(target_family = "wasm"))]
mod clock;
#[cfg(feature = "cloud")]
mod cloud;
#[cfg(not(target_family = "wasm"))]
mod entropy;
mod key_chain;
#[cfg(unix)]
mod key_file;
mod keys;
#[cfg(all(feature = "local", unix))]
mod local;
mod memory;
mod pace;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(not(target_family = "wasm"))]
mod system;
#[cfg(not(target_family = "wasm"))]
mod threads;
mod url;
mod wrappers;
mod zones;

#[cfg(not(target_family = "wasm"))]
pub use clock::SystemClock;
#[cfg(feature = "cloud")]
pub use cloud::{CloudOptions, CloudStorage, Immutability, PastStorage, RequestKind};
#[cfg(not(target_family = "wasm"))]
pub use entropy::OsEntropy;
pub use key_chain::KeyChain;
#[cfg(unix)]
pub use key_file::KeyFile;
pub use keys::MemoryKey;
#[cfg(all(feature = "local", unix))]
pub use local::LocalStorage;
pub use memory::MemoryStorage;
#[cfg(not(target_family = "wasm"))]
pub use system::system;
#[cfg(not(target_family = "wasm"))]
pub use threads::ThreadPool;
pub use url::open_storage;
pub use wrappers::{
    LimitStorage, Limits, Measured, MetricsStorage, PrefixStorage, RetryPolicy, RetryStorage, TimeoutStorage, Timeouts,
};
pub use zones::{Repaired, Zone, ZoneSettings, ZoneStorage};
