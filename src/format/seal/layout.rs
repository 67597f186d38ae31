//! Where the frames of a sealed object stand.

use std::ops::Range;

use bytes::Bytes;

use super::frame::FRAME_OVERHEAD;
use super::{Cut, FramePosition, FrameSize, OpenError, SealError, header};
use crate::model::ObjectKey;

/// The most frames of an object.
const FRAMES_MAX: u64 = u32::MAX as u64;

/// The extent of one sealed object: lengths, and the place of every frame, all following from the length of the
/// plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedLayout {
    header_len: u64,
    frame_size: FrameSize,
    plain_len: u64,
}

impl SealedLayout {
    /// How long the header of the object `name` is, in bytes.
    #[must_use]
    pub fn header_len(name: &ObjectKey) -> usize {
        header::header_len(name)
    }

    /// The layout of the object `name` that holds `plain_len` bytes of plaintext.
    ///
    /// # Errors
    /// [`SealError::TooLong`] if these are more than 2³² − 1 frames.
    pub fn of_plaintext(name: &ObjectKey, frame_size: FrameSize, plain_len: u64) -> Result<Self, SealError> {
        let layout = Self { header_len: header::header_len(name) as u64, frame_size, plain_len };
        let possible = plain_len.div_ceil(frame_size.bytes() as u64) <= FRAMES_MAX;
        possible.then_some(layout).ok_or(SealError::TooLong)
    }

    /// The layout of the object `name` that takes `sealed_len` bytes in a storage.
    ///
    /// # Errors
    /// [`OpenError::Truncated`] or [`OpenError::Extended`] if no object of its kind is so long.
    pub fn of_sealed(name: &ObjectKey, frame_size: FrameSize, sealed_len: u64) -> Result<Self, OpenError> {
        Self::after_header(header::header_len(name) as u64, frame_size, sealed_len)
    }

    pub(super) fn after_header(header_len: u64, frame_size: FrameSize, sealed_len: u64) -> Result<Self, OpenError> {
        let truncated = |cut| OpenError::Truncated { at: sealed_len, cut };
        let frames_len = sealed_len.checked_sub(header_len).ok_or_else(|| truncated(Cut::WithinHeader))?;
        let full = sealed_frame_len(frame_size);
        let last_index = frames_len.div_ceil(full).saturating_sub(1);
        let Some(index) = u32::try_from(last_index).ok().filter(|&index| index < u32::MAX) else {
            return Err(OpenError::Extended { at: header_len + FRAMES_MAX * full });
        };
        let last_plain_len = (frames_len - last_index * full).checked_sub(FRAME_OVERHEAD as u64);
        match last_plain_len {
            _ if frames_len == 0 => Err(truncated(Cut::BeforeFrame(0))),
            None => Err(truncated(Cut::WithinFrame(index))),
            Some(0) if index > 0 => Err(truncated(Cut::WithinFrame(index))),
            Some(last) => Ok(Self { header_len, frame_size, plain_len: last_index * frame_size.bytes() as u64 + last }),
        }
    }

    /// Bytes of plaintext.
    #[must_use]
    pub const fn plain_len(&self) -> u64 {
        self.plain_len
    }

    /// Bytes in a storage.
    #[must_use]
    pub fn sealed_len(&self) -> u64 {
        self.header_len + self.plain_len + u64::from(self.frame_count()) * FRAME_OVERHEAD as u64
    }

    /// The number of frames, 1 at least.
    #[must_use]
    pub fn frame_count(&self) -> u32 {
        let count = self.plain_len.div_ceil(self.frame_size.bytes() as u64).max(1);
        u32::try_from(count).expect("a layout has at most 2³² − 1 frames")
    }

    /// The frame of this index, which must be less than [`frame_count`](Self::frame_count).
    fn position(&self, index: u32) -> FramePosition {
        let is_last = index + 1 == self.frame_count();
        if is_last { FramePosition::last(index) } else { FramePosition::inner(index) }
    }

    /// The frames that hold the bytes `range` of the plaintext; none if it is empty.
    ///
    /// # Errors
    /// [`OpenError::OutOfRange`] if it does not lie within the plaintext.
    pub fn frames_for(&self, range: Range<u64>) -> Result<FrameSpan, OpenError> {
        let Range { start, end } = range;
        if start > end || end > self.plain_len {
            return Err(OpenError::OutOfRange { start, end, plain_len: self.plain_len });
        }
        let frame_size = self.frame_size.bytes() as u64;
        let first = start / frame_size;
        let after = if start == end { first } else { end.div_ceil(frame_size) };
        let index = |frame| u32::try_from(frame).expect("a layout has at most 2³² − 1 frames");
        Ok(FrameSpan { layout: *self, frames: index(first)..index(after), plain: start..end })
    }

    /// The last frame, which proves that the object ends there.
    #[must_use]
    pub fn last_frame(&self) -> FrameSpan {
        let last = self.frame_count() - 1;
        let start = u64::from(last) * self.frame_size.bytes() as u64;
        FrameSpan { layout: *self, frames: last..last + 1, plain: start..self.plain_len }
    }
}

/// The frames that hold a range of plaintext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameSpan {
    layout: SealedLayout,
    frames: Range<u32>,
    plain: Range<u64>,
}

impl FrameSpan {
    /// Which frames.
    #[must_use]
    pub fn frames(&self) -> Range<u32> {
        self.frames.clone()
    }

    /// The bytes of the object to fetch, counted from its beginning.
    #[must_use]
    pub fn sealed_bytes(&self) -> Range<u64> {
        self.place(self.frames.start)..self.place(self.frames.end)
    }

    /// How many bytes of the first frame's plaintext lie before the range.
    #[must_use]
    pub fn skip(&self) -> usize {
        let skip = self.plain.start % self.layout.frame_size.bytes() as u64;
        usize::try_from(skip).expect("a frame fits into memory")
    }

    /// How many bytes of plaintext the range has.
    #[must_use]
    pub fn plain_len(&self) -> u64 {
        self.plain.end - self.plain.start
    }

    /// Cuts what was fetched, [`sealed_bytes`](Self::sealed_bytes), into frames, which can be opened in any order.
    ///
    /// If it is too short, frames are too; if it is too long, the last one is. Opening them tells.
    pub fn split(&self, fetched: &Bytes) -> impl Iterator<Item = (FramePosition, Bytes)> + use<> {
        let (span, mut rest) = (self.clone(), fetched.clone());
        self.frames().map(move |index| {
            let is_end = index + 1 == span.frames.end;
            let full = usize::try_from(sealed_frame_len(span.layout.frame_size)).unwrap_or(usize::MAX);
            let length = if is_end { rest.len() } else { full.min(rest.len()) };
            (span.layout.position(index), rest.split_to(length))
        })
    }

    /// Where a frame begins, or the object ends.
    fn place(&self, index: u32) -> u64 {
        let full = sealed_frame_len(self.layout.frame_size);
        (self.layout.header_len + u64::from(index) * full).min(self.layout.sealed_len())
    }
}

/// How long a full frame is when it is sealed, in bytes.
pub(super) const fn sealed_frame_len(frame_size: FrameSize) -> u64 {
    (frame_size.bytes() + FRAME_OVERHEAD) as u64
}
