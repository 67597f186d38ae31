//! The keys of one server: one that seals, and those that sealed before.

use bytes::Bytes;
use zeroize::{Zeroize, Zeroizing};

use super::{KeyId, ServerKey};
use crate::format::digest::DigestKey;

/// The version that this pitr writes.
const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;

/// The keys of one server. What is sealed from now on, is sealed by the current one; what the retired ones sealed can still be opened.
#[derive(Clone, Debug)]
pub struct KeyRing {
    current: ServerKey,
    /// Oldest first.
    retired: Vec<ServerKey>,
}

/// Bytes that are no list of retired keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// Written by a newer pitr.
    #[error("list of retired keys of version {version}, this pitr reads up to {VERSION}: upgrade it")]
    FutureVersion {
        /// The version found.
        version: u8,
    },
    /// Not as long as any list.
    #[error("{bytes} bytes are no list of retired keys")]
    Length {
        /// How long it is.
        bytes: usize,
    },
}

impl KeyRing {
    /// The key that seals.
    #[must_use]
    pub const fn current(&self) -> &ServerKey {
        &self.current
    }

    /// The key that has this fingerprint, if it is one of them.
    #[must_use]
    pub fn find(&self, id: KeyId) -> Option<&ServerKey> {
        std::iter::once(&self.current).chain(&self.retired).find(|key| key.id() == id)
    }

    /// The keys of the digests of the server's files: those of the oldest key, for ever. Otherwise no snapshot could build on one before
    /// a rotation.
    #[must_use]
    pub fn digest_key(&self) -> DigestKey {
        self.retired.first().unwrap_or(&self.current).digest_key()
    }

    /// The same with a new key that seals.
    #[must_use]
    pub fn rotated(mut self, key: ServerKey) -> Self {
        self.retired.push(std::mem::replace(&mut self.current, key));
        self
    }

    /// The retired keys as they are stored, sealed by the current one.
    #[must_use]
    pub fn retired_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + self.retired.len() * KEY_BYTES));
        bytes.push(VERSION);
        self.retired.iter().for_each(|key| bytes.extend_from_slice(key.expose()));
        bytes
    }

    /// The ring of `current` and the retired keys that were stored as `retired`, of which no copy stays if there is no other owner of it.
    ///
    /// # Errors
    /// If these are no retired keys.
    pub fn parse(current: ServerKey, retired: Bytes) -> Result<Self, KeyRingError> {
        let parsed = parse(&retired);
        if let Ok(mut bytes) = retired.try_into_mut() {
            bytes.zeroize();
        }
        Ok(Self { current, retired: parsed? })
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<ServerKey>, KeyRingError> {
    let wrong = KeyRingError::Length { bytes: bytes.len() };
    let (&version, keys) = bytes.split_first().ok_or(wrong)?;
    if version > VERSION {
        return Err(KeyRingError::FutureVersion { version });
    }
    let (keys, rest) = keys.as_chunks::<KEY_BYTES>();
    if rest.is_empty() { Ok(keys.iter().map(|key| ServerKey::new(*key)).collect()) } else { Err(wrong) }
}

impl From<ServerKey> for KeyRing {
    fn from(current: ServerKey) -> Self {
        Self { current, retired: Vec::new() }
    }
}

impl From<&ServerKey> for KeyRing {
    fn from(current: &ServerKey) -> Self {
        current.clone().into()
    }
}

impl From<&Self> for KeyRing {
    fn from(keys: &Self) -> Self {
        keys.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> KeyRing {
        KeyRing::from(ServerKey::new([1; 32])).rotated(ServerKey::new([2; 32])).rotated(ServerKey::new([3; 32]))
    }

    /// The bytes of version 1: they must stay readable for ever.
    #[test]
    fn the_bytes_are_those_that_are_documented() {
        let bytes = [&[1][..], &[1; 32], &[2; 32]].concat();
        assert_eq!(*ring().retired_bytes(), bytes);
        let read = KeyRing::parse(ServerKey::new([3; 32]), bytes.into()).unwrap();
        for key in [1, 2, 3].map(|byte| ServerKey::new([byte; 32])) {
            assert_eq!(read.find(key.id()).unwrap().expose(), key.expose());
        }
        assert!(read.find(ServerKey::new([4; 32]).id()).is_none());
        assert_eq!(read.current().id(), ServerKey::new([3; 32]).id());
    }

    #[test]
    fn digests_are_those_of_the_first_key() {
        let first = ServerKey::new([1; 32]).digest_key().digest(b"abc");
        assert_eq!(ring().digest_key().digest(b"abc"), first);
    }

    #[test]
    fn other_bytes_are_refused() {
        let parse = |bytes: Vec<u8>| KeyRing::parse(ServerKey::new([3; 32]), bytes.into()).unwrap_err();
        assert_eq!(parse(Vec::new()), KeyRingError::Length { bytes: 0 });
        assert_eq!(parse(vec![1; 40]), KeyRingError::Length { bytes: 40 });
        assert_eq!(parse(vec![2; 33]), KeyRingError::FutureVersion { version: 2 });
    }
}
