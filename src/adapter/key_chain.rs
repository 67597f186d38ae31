//! Several key providers as one.

use std::sync::Arc;

use async_trait::async_trait;

use crate::format::seal::{ServerKey, WrappedKey};
use crate::model::ServerName;
use crate::port::{KeyProvider, PortError, PortErrorKind};

/// Several key providers as one: the first wraps, any unwraps. So a wrapping key is rotated, or a provider replaced, while servers
/// are opened that were wrapped by either.
#[derive(Clone, Debug)]
pub struct KeyChain {
    current: Arc<dyn KeyProvider>,
    older: Vec<Arc<dyn KeyProvider>>,
}

impl KeyChain {
    /// The provider `current`, by which all keys are wrapped.
    #[must_use]
    pub fn new(current: Arc<dyn KeyProvider>) -> Self {
        Self { current, older: Vec::new() }
    }

    /// And one that is asked for what was wrapped by it before; the last is asked last.
    #[must_use]
    pub fn or(mut self, older: Arc<dyn KeyProvider>) -> Self {
        self.older.push(older);
        self
    }
}

#[async_trait]
impl KeyProvider for KeyChain {
    async fn wrap(&self, server: &ServerName, key: &ServerKey) -> Result<WrappedKey, PortError> {
        self.current.wrap(server, key).await
    }

    /// Of several failures the one is told that can be helped most easily: a provider that was not reached may be the right one.
    async fn unwrap(&self, server: &ServerName, wrapped: &WrappedKey) -> Result<ServerKey, PortError> {
        let mut failure = match self.current.unwrap(server, wrapped).await {
            Ok(key) => return Ok(key),
            Err(failure) => failure,
        };
        for provider in &self.older {
            match provider.unwrap(server, wrapped).await {
                Ok(key) => return Ok(key),
                Err(next) if weight(&next) > weight(&failure) => failure = next,
                Err(_) => {}
            }
        }
        Err(failure)
    }
}

fn weight(failure: &PortError) -> u8 {
    match failure.kind() {
        // It is not this provider's.
        PortErrorKind::Denied => 0,
        PortErrorKind::Invalid => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::adapter::MemoryKey;
    use crate::format::seal::WrappingKey;

    /// Draws zeros.
    #[derive(Debug)]
    struct Zeros;

    impl crate::port::Entropy for Zeros {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), PortError> {
            bytes.fill(0);
            Ok(())
        }
    }

    /// Cannot be reached.
    #[derive(Debug)]
    struct Away;

    #[async_trait]
    impl KeyProvider for Away {
        async fn wrap(&self, _: &ServerName, _: &ServerKey) -> Result<WrappedKey, PortError> {
            Err(PortError::new(PortErrorKind::Unavailable, "away"))
        }

        async fn unwrap(&self, _: &ServerName, _: &WrappedKey) -> Result<ServerKey, PortError> {
            Err(PortError::new(PortErrorKind::Unavailable, "away"))
        }
    }

    fn key(byte: u8) -> Arc<dyn KeyProvider> {
        Arc::new(MemoryKey::new(WrappingKey::new([byte; 32]), Arc::new(Zeros)))
    }

    fn unwrap(chain: &KeyChain, wrapped: &WrappedKey) -> Result<[u8; 32], PortErrorKind> {
        let unwrapped = chain.unwrap(&"prod".parse().unwrap(), wrapped).now_or_never().unwrap();
        unwrapped.map(|key| *key.expose()).map_err(|error| error.kind())
    }

    #[test]
    fn the_first_wraps_and_any_unwraps() {
        let server = "prod".parse().unwrap();
        let secret = ServerKey::new([9; 32]);
        let by = |provider: &dyn KeyProvider| provider.wrap(&server, &secret).now_or_never().unwrap().unwrap();
        let chain = KeyChain::new(key(2)).or(key(1));
        assert_eq!(by(&chain), by(&*key(2)));
        for provider in [1, 2] {
            assert_eq!(unwrap(&chain, &by(&*key(provider))), Ok([9; 32]));
        }
        assert_eq!(unwrap(&chain, &by(&*key(3))), Err(PortErrorKind::Denied));
    }

    #[test]
    fn the_failure_is_told_that_may_pass() {
        let wrapped = key(3).wrap(&"prod".parse().unwrap(), &ServerKey::new([9; 32])).now_or_never().unwrap().unwrap();
        for chain in [KeyChain::new(key(1)).or(Arc::new(Away)), KeyChain::new(Arc::new(Away)).or(key(1))] {
            assert_eq!(unwrap(&chain, &wrapped), Err(PortErrorKind::Unavailable));
        }
        assert_eq!(unwrap(&KeyChain::new(Arc::new(Away)).or(key(3)), &wrapped), Ok([9; 32]));
    }
}
