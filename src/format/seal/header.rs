//! The header of a sealed object: in clear, and authenticated.
//!
//! `magic [8] ‖ version u16 ‖ algorithm u8 ‖ frame size exponent u8 ‖ key id [16] ‖ salt [32] ‖ name length u16 ‖ name ‖
//! HMAC-SHA256 of all before [32]`, integers big-endian. The version governs the header and its authentication, the
//! algorithm the frames.

use bytes::{BufMut, Bytes, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::frame::FrameCipher;
use super::key::Label;
use super::{Cut, FrameSize, KeyId, KeyRing, OpenError, Salt, ServerKey, take};
use crate::model::ObjectKey;

/// As in PNG: a byte that is no ASCII and both line ends tell a transfer as text, which would have damaged them.
const MAGIC: [u8; 8] = *b"\x89pitr\r\n\x1a";
const VERSION: u16 = 1;
/// AES-256-GCM under a key by HKDF-Expand with SHA-256, nonces in STREAM's order.
const AES_256_GCM: u8 = 1;

/// Where the length of the name stands.
const NAME_LENGTH_AT: usize = MAGIC.len() + 2 + 1 + 1 + 16 + 32;
const NAME_AT: usize = NAME_LENGTH_AT + 2;
const MAC_LEN: usize = 32;

/// How long the header of the object `name` is, in bytes.
pub(super) fn header_len(name: &ObjectKey) -> usize {
    NAME_AT + name.as_str().len() + MAC_LEN
}

/// A new header, and the cipher of the frames that follow it.
pub(super) fn write(key: &ServerKey, name: &ObjectKey, salt: Salt, frame_size: FrameSize) -> (Bytes, FrameCipher) {
    let text = name.as_str().as_bytes();
    let name_length = u16::try_from(text.len()).expect("an object key has at most 1024 bytes");
    let mut header = BytesMut::with_capacity(header_len(name));
    header.put_slice(&MAGIC);
    header.put_u16(VERSION);
    header.put_u8(AES_256_GCM);
    header.put_u8(frame_size.exponent());
    header.put_slice(key.id().as_bytes());
    header.put_slice(&salt.into_bytes());
    header.put_u16(name_length);
    header.put_slice(text);
    let cipher = FrameCipher::new(key, &header, frame_size);
    let mac = authenticator(key, &header).finalize().into_bytes();
    header.put_slice(&mac);
    (header.freeze(), cipher)
}

/// How long the header is that begins with `start`, in bytes; the least it can be while `start` is too short to tell.
pub(super) fn length_of(start: &[u8]) -> Result<usize, OpenError> {
    let magic = &start[..start.len().min(MAGIC.len())];
    if !MAGIC.starts_with(magic) {
        return Err(OpenError::NotSealed);
    }
    let mut rest = &start[magic.len()..];
    match take(&mut rest).map(u16::from_be_bytes) {
        None | Some(VERSION) => {}
        Some(0) => return Err(OpenError::CorruptHeader),
        Some(found) => return Err(OpenError::FutureVersion { found, supported: VERSION }),
    }
    let name_length = start.get(NAME_LENGTH_AT..).and_then(|mut rest| take(&mut rest)).map(u16::from_be_bytes);
    let name_length = name_length.map_or(1, usize::from);
    let possible = (1..=ObjectKey::LENGTH_MAX).contains(&name_length);
    possible.then_some(NAME_AT + name_length + MAC_LEN).ok_or(OpenError::CorruptHeader)
}

/// The cipher of the frames that follow the header which `start` begins with, and the header's length.
pub(super) fn read(keys: &KeyRing, name: &ObjectKey, start: &[u8]) -> Result<(FrameCipher, usize), OpenError> {
    let length = length_of(start)?;
    let truncated = OpenError::Truncated { at: start.len() as u64, cut: Cut::WithinHeader };
    let header = start.get(..length).ok_or(truncated)?;
    let fields = Fields::split(header).ok_or(OpenError::CorruptHeader)?;
    let (found, given) = (fields.key_id, keys.current().id());
    let key = keys.find(found).ok_or(OpenError::WrongKey { found, given })?;
    authenticator(key, fields.signed).verify_slice(fields.mac).map_err(|_| OpenError::CorruptHeader)?;
    if fields.algorithm != AES_256_GCM {
        return Err(OpenError::UnknownAlgorithm { found: fields.algorithm });
    }
    let frame_size = FrameSize::from_exponent(fields.frame_exponent).ok_or(OpenError::CorruptHeader)?;
    let sealed_as = fields.name().ok_or(OpenError::CorruptHeader)?;
    if sealed_as != *name {
        return Err(OpenError::Misplaced { sealed_as, stored_as: name.clone() });
    }
    Ok((FrameCipher::new(key, fields.signed, frame_size), length))
}

/// What authenticates the fields of a header, all that stands before the authenticator.
pub(super) fn authenticator(key: &ServerKey, fields: &[u8]) -> Hmac<Sha256> {
    let header_key = key.derive(Label::Header, &[]);
    let hmac = Hmac::<Sha256>::new_from_slice(&header_key[..]).expect("HMAC takes keys of any length");
    hmac.chain_update(fields)
}

/// A whole header, cut into its fields.
struct Fields<'a> {
    algorithm: u8,
    frame_exponent: u8,
    key_id: KeyId,
    name: &'a [u8],
    mac: &'a [u8],
    signed: &'a [u8],
}

impl<'a> Fields<'a> {
    fn split(header: &'a [u8]) -> Option<Self> {
        let (signed, mac) = header.split_last_chunk::<MAC_LEN>()?;
        let mut rest = signed;
        let _magic_and_version = take::<10>(&mut rest)?;
        let [algorithm, frame_exponent] = take(&mut rest)?;
        let key_id = KeyId::new(take(&mut rest)?);
        let _salt = take::<32>(&mut rest)?;
        let _name_length = take::<2>(&mut rest)?;
        Some(Self { algorithm, frame_exponent, key_id, name: rest, mac, signed })
    }

    fn name(&self) -> Option<ObjectKey> {
        std::str::from_utf8(self.name).ok()?.parse().ok()
    }
}
