//! Who keeps the keys that wrap the servers' keys.

use std::fmt::Debug;

use async_trait::async_trait;

use super::PortError;
use crate::format::seal::{ServerKey, WrappedKey};
use crate::model::ServerName;

/// Wraps and unwraps the keys of servers: a key in memory, a key file, a key management service.
///
/// A server's own key never reaches a storage unwrapped. Rotation of the wrapping key means to unwrap with the old provider
/// and to wrap with the new one; nothing else is rewritten.
#[async_trait]
pub trait KeyProvider: Debug + Send + Sync + 'static {
    /// Wraps `key` under the provider's current wrapping key, bound to `server`.
    ///
    /// # Errors
    /// [`Denied`](super::PortErrorKind::Denied) or [`Unavailable`](super::PortErrorKind::Unavailable) if the provider does not
    /// serve. Nothing is kept of a failed call.
    async fn wrap(&self, server: &ServerName, key: &ServerKey) -> Result<WrappedKey, PortError>;

    /// Unwraps the key of `server`.
    ///
    /// # Errors
    /// [`Denied`](super::PortErrorKind::Denied) if the wrapping key is another one, was revoked or is lost;
    /// [`Invalid`](super::PortErrorKind::Invalid) if `wrapped` is damaged or belongs to another server;
    /// [`Unavailable`](super::PortErrorKind::Unavailable) if the provider cannot be reached.
    async fn unwrap(&self, server: &ServerName, wrapped: &WrappedKey) -> Result<ServerKey, PortError>;
}
