//! Sealing: AES-256-GCM in frames.

/// Placeholder until sealing lands.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerKey;
/// Placeholder until sealing lands.
#[derive(Debug)]
#[non_exhaustive]
pub struct WrappedKey;
