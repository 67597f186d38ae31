//! A wrapping key in memory.

use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::format::seal::{self, KeyId, Salt, ServerKey, UnwrapError, WrappedKey, WrappingKey};
use crate::model::ServerName;
use crate::port::{Entropy, KeyProvider, PortError, PortErrorKind};

/// A wrapping key that the embedding program keeps, and gives in memory.
///
/// Whoever loses it loses every backup.
#[derive(Clone, Debug)]
pub struct MemoryKey {
    key: WrappingKey,
    entropy: Arc<dyn Entropy>,
}

impl MemoryKey {
    /// The provider of `key`, which draws what it needs of randomness from `entropy`.
    #[must_use]
    pub fn new(key: WrappingKey, entropy: Arc<dyn Entropy>) -> Self {
        Self { key, entropy }
    }

    /// The public fingerprint of the wrapping key, by which wrapped keys name it.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.key.id()
    }
}

#[async_trait]
impl KeyProvider for MemoryKey {
    async fn wrap(&self, server: &ServerName, key: &ServerKey) -> Result<WrappedKey, PortError> {
        let salt = Salt::new(*random(&*self.entropy)?);
        Ok(seal::wrap(&self.key, salt, server, key))
    }

    async fn unwrap(&self, server: &ServerName, wrapped: &WrappedKey) -> Result<ServerKey, PortError> {
        let failed =
            |error| PortError::new(kind_of(&error), format!("cannot unwrap the key of {server}")).caused_by(error);
        seal::unwrap(&self.key, server, wrapped).map_err(failed)
    }
}

/// 32 bytes that nobody can predict.
pub(super) fn random(entropy: &dyn Entropy) -> Result<Zeroizing<[u8; 32]>, PortError> {
    let mut bytes = Zeroizing::new([0; 32]);
    entropy.fill(&mut *bytes)?;
    Ok(bytes)
}

fn kind_of(error: &UnwrapError) -> PortErrorKind {
    match error {
        UnwrapError::ForeignScheme { .. } | UnwrapError::WrongWrappingKey { .. } => PortErrorKind::Denied,
        _ => PortErrorKind::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;
    use crate::adapter::OsEntropy;

    fn provider(byte: u8) -> MemoryKey {
        MemoryKey::new(WrappingKey::new([byte; 32]), Arc::new(OsEntropy::new()))
    }

    #[tokio::test]
    async fn wraps_and_unwraps() {
        let (server, key) = ("prod-1".parse().unwrap(), ServerKey::new([9; 32]));
        let wrapped = provider(1).wrap(&server, &key).await.unwrap();
        assert_eq!(wrapped.wrapping_key(), provider(1).id().to_string());
        assert_eq!(provider(1).unwrap(&server, &wrapped).await.unwrap().expose(), key.expose());
        let again = provider(1).wrap(&server, &key).await.unwrap();
        assert_ne!(again, wrapped, "each wrapping needs a salt of its own");
    }

    #[tokio::test]
    async fn refuses_what_is_not_its_own() {
        let server = "prod-1".parse().unwrap();
        let wrapped = provider(1).wrap(&server, &ServerKey::new([9; 32])).await.unwrap();
        let other_key = provider(2).unwrap(&server, &wrapped).await.unwrap_err();
        assert_eq!(other_key.kind(), PortErrorKind::Denied);
        assert!(other_key.source().unwrap().to_string().contains(&provider(2).id().to_string()));
        let other_server = provider(1).unwrap(&"prod-2".parse().unwrap(), &wrapped).await.unwrap_err();
        assert_eq!(other_server.kind(), PortErrorKind::Invalid);
    }
}
