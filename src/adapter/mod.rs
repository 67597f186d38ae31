//! Adapters: the ports' implementations that pitr brings.

mod clock;
#[cfg(not(target_family = "wasm"))]
mod entropy;
mod keys;
#[cfg(feature = "local")]
mod local;
mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
mod threads;
