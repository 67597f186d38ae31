//! Keys, and what is derived from them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::format::digest::DigestKey;
use crate::model::{ParseError, text_serde};

/// What each derived key is for. None of these is the beginning of another, so whatever context follows a label, no two
/// derivations have the same input. They are part of the format.
#[derive(Clone, Copy, Debug)]
pub(super) enum Label {
    ServerKeyId,
    WrappingKeyId,
    Header,
    Frames,
    Wrap,
    PageDigests,
    Digests,
}

impl Label {
    const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::ServerKeyId => b"pitr server key id",
            Self::WrappingKeyId => b"pitr wrapping key id",
            Self::Header => b"pitr seal v1 header",
            Self::Frames => b"pitr seal v1 frames",
            Self::Wrap => b"pitr wrap v1",
            Self::PageDigests => b"pitr page digests v1",
            Self::Digests => b"pitr digests v1",
        }
    }
}

/// The secret that all objects of one server are sealed with: 32 bytes, uniformly random.
///
/// Clones share the one copy, which is wiped when the last of them is dropped. It is not printed by `Debug`.
#[derive(Clone, Debug)]
pub struct ServerKey {
    secret: Secret,
    id: KeyId,
}

impl ServerKey {
    /// The key of these bytes, which must come from a cryptographic random number generator.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        let secret = Secret::new(bytes);
        let id = secret.id(Label::ServerKeyId);
        Self { secret, id }
    }

    /// The key's public fingerprint.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The secret itself, for a key provider that must encrypt it. Do not copy or print it.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.secret.0
    }

    /// The keys of the digests of the server's files.
    #[must_use]
    pub fn digest_key(&self) -> DigestKey {
        DigestKey::new(self.derive(Label::PageDigests, &[]), self.derive(Label::Digests, &[]))
    }

    pub(super) fn derive(&self, label: Label, context: &[u8]) -> Zeroizing<[u8; 32]> {
        self.secret.derive(label, context)
    }
}

/// A key that wraps the keys of servers: 32 bytes, uniformly random, kept by a key provider.
///
/// Clones share the one copy, which is wiped when the last of them is dropped. It is not printed by `Debug`.
#[derive(Clone, Debug)]
pub struct WrappingKey {
    secret: Secret,
    id: KeyId,
}

impl WrappingKey {
    /// The key of these bytes, which must come from a cryptographic random number generator.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        let secret = Secret::new(bytes);
        let id = secret.id(Label::WrappingKeyId);
        Self { secret, id }
    }

    /// The key's public fingerprint.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn derive(&self, label: Label, context: &[u8]) -> Zeroizing<[u8; 32]> {
        self.secret.derive(label, context)
    }
}

/// 32 secret bytes, in one place: moving or cloning the owner leaves no copy behind.
#[derive(Clone)]
struct Secret(Arc<Zeroizing<[u8; 32]>>);

impl Secret {
    fn new(mut bytes: [u8; 32]) -> Self {
        let secret = Self(Arc::new(Zeroizing::new(bytes)));
        bytes.zeroize();
        secret
    }

    /// HKDF-Expand with SHA-256 (RFC 5869, section 2.3). The secret is uniformly random, so it needs no extraction
    /// (section 3.3).
    fn derive<const N: usize>(&self, label: Label, context: &[u8]) -> Zeroizing<[u8; N]> {
        let expand = Hkdf::<Sha256>::from_prk(&self.0[..]).expect("a key is as long as a SHA-256 digest");
        let mut derived = Zeroizing::new([0; N]);
        let filled = expand.expand_multi_info(&[label.as_bytes(), context], &mut derived[..]);
        filled.expect("a key is shorter than 255 digests");
        derived
    }

    fn id(&self, label: Label) -> KeyId {
        KeyId(*self.derive(label, &[]))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The public fingerprint of a key: tells keys apart and says nothing about them.
///
/// Prints and parses as 32 hexadecimal digits, in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    pub(super) const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The fingerprint's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = (digits && text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten();
        let error = || ParseError::new("key id", text, "32 hexadecimal digits in lower case");
        number.map(|number| Self(number.to_be_bytes())).ok_or_else(error)
    }
}

text_serde!(KeyId);

/// 32 bytes that make the key of one sealed object, or of one wrapped key, unlike all others.
///
/// A salt is used up by sealing with it and cannot be cloned, because sealing two plaintexts with one salt under one name
/// would break both. Draw a new one for each object and each attempt.
#[derive(Debug)]
pub struct Salt([u8; 32]);

impl Salt {
    /// The salt of these bytes, which must come fresh from a cryptographic random number generator.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) const fn into_bytes(self) -> [u8; 32] {
        self.0
    }
}
