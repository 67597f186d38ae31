//! Digests of blocks: what tells one block of a server from all others.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::model::{ParseError, text_serde};

/// What a block is known by: the first 16 bytes of a BLAKE3 with the server's digest key, written as 32 hexadecimal digits.
///
/// Blocks of one server with the same digest are the same. Who has not the key learns nothing from it, and can make no two blocks
/// that share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 16]);

impl Digest {
    /// How many bytes it has.
    pub const BYTES: usize = 16;

    /// The digest of these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// Makes the digests of one server's blocks. Clones share the one copy of the key, which is wiped when the last is dropped.
#[derive(Clone)]
pub struct DigestKey(Arc<Zeroizing<[u8; 32]>>);

impl DigestKey {
    /// The key of these bytes, which [`ServerKey::digest_key`](super::seal::ServerKey::digest_key) derives.
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(Arc::new(bytes))
    }

    /// The digest of `bytes`.
    #[must_use]
    pub fn digest(&self, bytes: &[u8]) -> Digest {
        let hash = blake3::keyed_hash(&self.0, bytes);
        let (digest, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        Digest(*digest)
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = text.len() == 2 * Self::BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        let error = || ParseError::new("digest", text, "32 hexadecimal digits");
        number.map(|number| Self(number.to_be_bytes())).ok_or_else(error)
    }
}

text_serde!(Digest);

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: [u8; 32]) -> DigestKey {
        DigestKey::new(Zeroizing::new(bytes))
    }

    /// BLAKE3's test vectors: input of 1 byte, `keyed_hash`, with the key "whats the Elvish word for friend".
    #[test]
    fn is_keyed_blake3_cut_to_16_bytes() {
        let key = key(*b"whats the Elvish word for friend");
        assert_eq!(key.digest(&[0]).to_string(), "6d7878dfff2f485635d39013278ae14f");
        assert_eq!(format!("{key:?}"), "(secret)");
    }

    #[test]
    fn prints_as_it_parses_and_depends_on_the_key() {
        let digest = key([7; 32]).digest(b"abc");
        assert_ne!(digest, key([8; 32]).digest(b"abc"));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.to_string().to_uppercase().parse(), Ok(digest));
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{digest}\""));
        assert_eq!(Digest::new(*digest.as_bytes()), digest);
    }

    #[test]
    fn other_texts_are_refused() {
        let text = key([7; 32]).digest(b"abc").to_string();
        let signed = format!("+{}", &text[1..]);
        for text in ["", &text[1..], &format!("{text}0"), &format!("g{}", &text[1..]), &signed, &"é".repeat(16)] {
            assert!(text.parse::<Digest>().is_err(), "{text:?}");
        }
    }
}
