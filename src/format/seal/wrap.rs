//! The key of a server, wrapped by the key of a key provider.
//!
//! `magic [8] ‖ version u16 ‖ scheme ‖ wrapping key ‖ server ‖ server key id [16] ‖ ciphertext ‖ CRC-32C of all before
//! u32`. Scheme, wrapping key, server and ciphertext are each a length u16 and so many bytes; integers are big-endian.

use std::ops::RangeInclusive;

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce};
use bytes::{BufMut, Bytes, BytesMut};
use zeroize::Zeroizing;

use super::key::Label;
use super::{KeyId, Salt, ServerKey, UnwrapError, WrappingKey, take};
use crate::model::{ParseError, ServerName};

const MAGIC: [u8; 8] = *b"\x89pitk\r\n\x1a";
const VERSION: u16 = 1;

const SCHEME_LENGTHS: RangeInclusive<usize> = 1..=64;
/// Names of keys can be long addresses.
const WRAPPING_KEY_LENGTHS: RangeInclusive<usize> = 1..=2048;
const CIPHERTEXT_LENGTHS: RangeInclusive<usize> = 1..=16_384;

/// Wraps the key of a server for a key provider that holds the wrapping key itself.
#[must_use]
pub fn wrap(wrapping: &WrappingKey, salt: Salt, server: &ServerName, key: &ServerKey) -> WrappedKey {
    let salt = salt.into_bytes();
    let mut wrapped = WrappedKey {
        scheme: WrappedKey::SCHEME.to_owned(),
        wrapping_key: wrapping.id().to_string(),
        server: server.clone(),
        server_key_id: key.id(),
        ciphertext: Bytes::new(),
    };
    let mut secret = Zeroizing::new(*key.expose());
    let tag = cipher(wrapping, &salt, &wrapped)
        .encrypt_inout_detached(&Nonce::default(), &[], secret.as_mut_slice().into())
        .expect("a key is shorter than AES-GCM allows");
    wrapped.ciphertext = Bytes::from([&salt[..], &secret[..], &tag[..]].concat());
    wrapped
}

/// Unwraps the key of `server`, which [`wrap`] wrapped.
///
/// # Errors
/// If another provider, another wrapping key or another server's key was meant, or if the record was changed.
pub fn unwrap(wrapping: &WrappingKey, server: &ServerName, wrapped: &WrappedKey) -> Result<ServerKey, UnwrapError> {
    if wrapped.scheme != WrappedKey::SCHEME {
        return Err(UnwrapError::ForeignScheme { found: wrapped.scheme.clone() });
    }
    if wrapped.wrapping_key != wrapping.id().to_string() {
        return Err(UnwrapError::WrongWrappingKey { found: wrapped.wrapping_key.clone(), given: wrapping.id() });
    }
    if wrapped.server != *server {
        return Err(UnwrapError::ForeignServer { found: wrapped.server.clone(), given: server.clone() });
    }
    let mut ciphertext = &wrapped.ciphertext[..];
    let salt = take(&mut ciphertext).ok_or(UnwrapError::Corrupt)?;
    let mut secret = Zeroizing::new(take::<32>(&mut ciphertext).ok_or(UnwrapError::Corrupt)?);
    let tag = <[u8; 16]>::try_from(ciphertext).map_err(|_| UnwrapError::Corrupt)?;
    cipher(wrapping, &salt, wrapped)
        .decrypt_inout_detached(&Nonce::default(), &[], secret.as_mut_slice().into(), &tag.into())
        .map_err(|_| UnwrapError::Corrupt)?;
    wrapped.accept(&secret)
}

/// Its key serves for one record only, being derived from all that the record says in clear and from a random salt; so the
/// nonce can be zero.
fn cipher(wrapping: &WrappingKey, salt: &[u8; 32], wrapped: &WrappedKey) -> Aes256Gcm {
    let context = [&salt[..], &wrapped.clear_fields()[..]].concat();
    Aes256Gcm::new((&*wrapping.derive(Label::Wrap, &context)).into())
}

/// The key of a server, encrypted by a key provider: what stands in a storage instead of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    scheme: String,
    wrapping_key: String,
    server: ServerName,
    server_key_id: KeyId,
    ciphertext: Bytes,
}

impl WrappedKey {
    /// The scheme of [`wrap`].
    pub const SCHEME: &str = "aes-256-gcm";

    /// What a key management service made of the key `server_key_id` of `server`, with its key of the name `wrapping_key`.
    /// `scheme` names the service. How the ciphertext is made is its own business.
    ///
    /// # Errors
    /// If the scheme has not 1 to 64 bytes, the wrapping key's name 1 to 2048, or the ciphertext 1 to 16384.
    pub fn new(
        scheme: &str,
        wrapping_key: &str,
        server: ServerName,
        server_key_id: KeyId,
        ciphertext: Bytes,
    ) -> Result<Self, ParseError> {
        let checks = [
            (scheme.len(), SCHEME_LENGTHS, "a scheme of 1 to 64 bytes"),
            (wrapping_key.len(), WRAPPING_KEY_LENGTHS, "a wrapping key's name of 1 to 2048 bytes"),
            (ciphertext.len(), CIPHERTEXT_LENGTHS, "a ciphertext of 1 to 16384 bytes"),
        ];
        if let Some((length, _, expected)) = checks.into_iter().find(|(length, allowed, _)| !allowed.contains(length)) {
            return Err(ParseError::new("wrapped key", format_args!("{length} bytes"), expected));
        }
        let (scheme, wrapping_key) = (scheme.to_owned(), wrapping_key.to_owned());
        Ok(Self { scheme, wrapping_key, server, server_key_id, ciphertext })
    }

    /// Who can unwrap it: [`WrappedKey::SCHEME`], or the name of a key management service.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The name of the key that it was wrapped with, as its provider calls it.
    #[must_use]
    pub fn wrapping_key(&self) -> &str {
        &self.wrapping_key
    }

    /// Whose key it is.
    #[must_use]
    pub const fn server(&self) -> &ServerName {
        &self.server
    }

    /// The fingerprint of the key that is wrapped.
    #[must_use]
    pub const fn server_key_id(&self) -> KeyId {
        self.server_key_id
    }

    /// What the provider made of the key.
    #[must_use]
    pub const fn ciphertext(&self) -> &Bytes {
        &self.ciphertext
    }

    /// The key whose bytes a provider decrypted.
    ///
    /// # Errors
    /// [`UnwrapError::Corrupt`] if it is not the key that was wrapped.
    pub fn accept(&self, secret: &[u8; 32]) -> Result<ServerKey, UnwrapError> {
        let key = ServerKey::new(*secret);
        if key.id() == self.server_key_id { Ok(key) } else { Err(UnwrapError::Corrupt) }
    }

    /// The record as it is stored.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut record = self.clear_fields();
        put_part(&mut record, &self.ciphertext);
        let checksum = crc32c::crc32c(&record);
        record.put_u32(checksum);
        record.freeze()
    }

    /// Reads a record that was stored. It is not authentic before it is unwrapped.
    ///
    /// # Errors
    /// If it is no wrapped key, a newer pitr's, or damaged.
    pub fn parse(record: &[u8]) -> Result<Self, UnwrapError> {
        let mut rest = record;
        take(&mut rest).filter(|magic| *magic == MAGIC).ok_or(UnwrapError::NotWrapped)?;
        match take(&mut rest).map(u16::from_be_bytes) {
            Some(VERSION) => {}
            None | Some(0) => return Err(UnwrapError::Corrupt),
            Some(found) => return Err(UnwrapError::FutureVersion { found, supported: VERSION }),
        }
        let (signed, checksum) = record.split_last_chunk().ok_or(UnwrapError::Corrupt)?;
        let intact = crc32c::crc32c(signed) == u32::from_be_bytes(*checksum);
        intact.then(|| Self::parse_fields(rest)).flatten().ok_or(UnwrapError::Corrupt)
    }

    /// Reads what stands between the version and the checksum.
    fn parse_fields(mut rest: &[u8]) -> Option<Self> {
        let text = |rest: &mut _| std::str::from_utf8(take_part(rest)?).ok();
        let (scheme, wrapping_key) = (text(&mut rest)?, text(&mut rest)?);
        let server = text(&mut rest)?.parse().ok()?;
        let server_key_id = KeyId::new(take(&mut rest)?);
        let ciphertext = Bytes::copy_from_slice(take_part(&mut rest)?);
        let only_checksum_left = rest.len() == size_of::<u32>();
        let parsed = Self::new(scheme, wrapping_key, server, server_key_id, ciphertext).ok()?;
        only_checksum_left.then_some(parsed)
    }

    /// All that stands before the ciphertext.
    fn clear_fields(&self) -> BytesMut {
        let mut record = BytesMut::new();
        record.put_slice(&MAGIC);
        record.put_u16(VERSION);
        put_part(&mut record, self.scheme.as_bytes());
        put_part(&mut record, self.wrapping_key.as_bytes());
        put_part(&mut record, self.server.as_str().as_bytes());
        record.put_slice(self.server_key_id.as_bytes());
        record
    }
}

fn put_part(record: &mut BytesMut, part: &[u8]) {
    record.put_u16(u16::try_from(part.len()).expect("each part's length was checked"));
    record.put_slice(part);
}

fn take_part<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_be_bytes(take(input)?);
    let (part, rest) = input.split_at_checked(length.into())?;
    *input = rest;
    Some(part)
}
