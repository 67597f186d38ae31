//! Frames: the pieces that are sealed and opened one by one.
//!
//! `index u32 ‖ last flag (bit 31) and plaintext length u32 ‖ ciphertext ‖ tag [16]`, integers big-endian.

use std::fmt;

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce};
use bytes::BytesMut;

use super::key::Label;
use super::{SealError, ServerKey, take};
use crate::model::ParseError;

const FRAME_HEADER_LEN: usize = 8;
const TAG_LEN: usize = 16;
/// How much longer a frame is than its plaintext, in bytes.
pub(super) const FRAME_OVERHEAD: usize = FRAME_HEADER_LEN + TAG_LEN;
const LAST_FLAG: u32 = 1 << 31;

/// How many bytes of plaintext a frame holds: a power of two from 4 KiB to 1 MiB; 64 KiB by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameSize {
    exponent: u8,
}

impl FrameSize {
    /// 4 KiB.
    pub const MIN: Self = Self { exponent: 12 };
    /// 1 MiB.
    pub const MAX: Self = Self { exponent: 20 };

    /// Frames of so many bytes.
    ///
    /// # Errors
    /// If it is no power of two from 4 KiB to 1 MiB.
    pub fn new(bytes: usize) -> Result<Self, ParseError> {
        let exponent = u8::try_from(bytes.trailing_zeros()).ok().filter(|_| bytes.is_power_of_two());
        let error = || ParseError::new("frame size", bytes, "a power of two from 4096 to 1048576 bytes");
        exponent.and_then(Self::from_exponent).ok_or_else(error)
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        1 << self.exponent
    }

    pub(super) fn from_exponent(exponent: u8) -> Option<Self> {
        let size = Self { exponent };
        (Self::MIN..=Self::MAX).contains(&size).then_some(size)
    }

    pub(super) const fn exponent(self) -> u8 {
        self.exponent
    }
}

impl Default for FrameSize {
    fn default() -> Self {
        Self { exponent: 16 }
    }
}

/// Which frame of an object: its index from 0, and whether it is the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePosition {
    index: u32,
    is_last: bool,
}

impl FramePosition {
    /// The frame of this index, which others follow.
    #[must_use]
    pub const fn inner(index: u32) -> Self {
        Self { index, is_last: false }
    }

    /// The frame of this index, with which the object ends.
    #[must_use]
    pub const fn last(index: u32) -> Self {
        Self { index, is_last: true }
    }

    /// The frame's index, from 0.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Whether the object ends with it.
    #[must_use]
    pub const fn is_last(self) -> bool {
        self.is_last
    }

    /// No two frames of an object have the same nonce, and none has the nonce of another's truncation (STREAM).
    fn nonce(self) -> Nonce<aes_gcm::aes::cipher::consts::U12> {
        let mut nonce = [0; 12];
        nonce[7..11].copy_from_slice(&self.index.to_be_bytes());
        nonce[11] = u8::from(self.is_last);
        nonce.into()
    }
}

impl fmt::Display for FramePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.is_last { "last frame" } else { "frame" }, self.index)
    }
}

/// What stands in clear before the ciphertext of a frame. It is well-formed for the frame size that it was read with.
#[derive(Clone, Copy)]
struct FrameHeader {
    position: FramePosition,
    plain_len: u32,
}

impl FrameHeader {
    /// A plaintext is cut into frames in one way only, so that lengths and places follow from each other.
    fn new(position: FramePosition, plain_len: u32, frame_size: FrameSize) -> Option<Self> {
        let length = plain_len as usize;
        let well_formed = match position {
            FramePosition { is_last: false, .. } => length == frame_size.bytes(),
            FramePosition { index: 0, .. } => length <= frame_size.bytes(),
            FramePosition { .. } => (1..=frame_size.bytes()).contains(&length),
        };
        well_formed.then_some(Self { position, plain_len })
    }

    fn encode(self) -> [u8; FRAME_HEADER_LEN] {
        let flag = if self.position.is_last { LAST_FLAG } else { 0 };
        let (index, length) = (self.position.index.to_be_bytes(), (self.plain_len | flag).to_be_bytes());
        let mut bytes = [0; FRAME_HEADER_LEN];
        bytes[..4].copy_from_slice(&index);
        bytes[4..].copy_from_slice(&length);
        bytes
    }

    fn decode(bytes: [u8; FRAME_HEADER_LEN], frame_size: FrameSize) -> Option<Self> {
        let mut input = &bytes[..];
        let index = u32::from_be_bytes(take(&mut input)?);
        let length = u32::from_be_bytes(take(&mut input)?);
        let position = FramePosition { index, is_last: length & LAST_FLAG != 0 };
        Self::new(position, length & !LAST_FLAG, frame_size)
    }
}

/// A sealed frame is not what it should be.
#[derive(Debug)]
pub(super) struct CorruptFrame;

/// Seals and opens the frames of one object. It has no state, so frames may be taken in any order and at once.
#[derive(Debug)]
pub(super) struct FrameCipher {
    cipher: Aes256Gcm,
    frame_size: FrameSize,
}

impl FrameCipher {
    /// The key is derived from every field of the object's header, so it is this object's alone.
    pub(super) fn new(key: &ServerKey, header_fields: &[u8], frame_size: FrameSize) -> Self {
        let object_key = key.derive(Label::Frames, header_fields);
        Self { cipher: Aes256Gcm::new((&*object_key).into()), frame_size }
    }

    pub(super) const fn frame_size(&self) -> FrameSize {
        self.frame_size
    }

    /// Appends the sealed frame to `out`.
    pub(super) fn seal(&self, position: FramePosition, plain: &[u8], out: &mut BytesMut) -> Result<(), SealError> {
        let frame_size = self.frame_size;
        let error = || SealError::FrameLength { position, found: plain.len(), frame_size: frame_size.bytes() };
        let plain_len = u32::try_from(plain.len()).map_err(|_| error())?;
        let header = FrameHeader::new(position, plain_len, frame_size).ok_or_else(error)?.encode();
        out.reserve(FRAME_OVERHEAD + plain.len());
        out.extend_from_slice(&header);
        let tag = self
            .cipher
            .encrypt_inout_detached(&position.nonce(), &header, appended(plain, out))
            .expect("a frame is shorter than AES-GCM allows");
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// How long the frame is that begins with `start`, in bytes; the least it can be while `start` is too short to tell.
    pub(super) fn length_of(&self, start: &[u8]) -> Result<usize, CorruptFrame> {
        let Some(header) = start.first_chunk() else { return Ok(FRAME_OVERHEAD) };
        let header = FrameHeader::decode(*header, self.frame_size).ok_or(CorruptFrame)?;
        Ok(FRAME_OVERHEAD + header.plain_len as usize)
    }

    /// Appends the plaintext of exactly one frame to `out`, and says which frame it is. Nothing is appended unless it is
    /// authentic.
    pub(super) fn open(&self, sealed: &[u8], out: &mut BytesMut) -> Result<FramePosition, CorruptFrame> {
        let (header, body) = sealed.split_first_chunk().ok_or(CorruptFrame)?;
        let (cipher_text, tag) = body.split_last_chunk::<TAG_LEN>().ok_or(CorruptFrame)?;
        let FrameHeader { position, plain_len } = FrameHeader::decode(*header, self.frame_size).ok_or(CorruptFrame)?;
        if cipher_text.len() != plain_len as usize {
            return Err(CorruptFrame);
        }
        let start = out.len();
        let buffer = appended(cipher_text, out);
        let opened = self.cipher.decrypt_inout_detached(&position.nonce(), header, buffer, tag.into());
        if opened.is_err() {
            out.truncate(start);
            return Err(CorruptFrame);
        }
        Ok(position)
    }
}

/// From `input` to as many bytes that are appended to `out`: the cipher writes there itself, so nothing is copied.
fn appended<'a>(input: &'a [u8], out: &'a mut BytesMut) -> InOutBuf<'a, 'a, u8> {
    let start = out.len();
    out.resize(start + input.len(), 0);
    InOutBuf::new(input, &mut out[start..]).expect("the appended part is as long as the input")
}
