//! Opening sealed objects: as a whole, in chunks, or frame by frame.

use bytes::{Buf, Bytes, BytesMut};

use super::frame::FrameCipher;
use super::layout::sealed_frame_len;
use super::{Cut, FramePosition, FrameSize, FrameSpan, KeyRing, OpenError, SealedLayout, header};
use crate::model::ObjectKey;

/// Opens a whole object that was stored as `name`.
///
/// # Errors
/// If it is not exactly what was sealed; [`OpenError`] says what is wrong.
pub fn open(keys: impl Into<KeyRing>, name: &ObjectKey, sealed: &[u8]) -> Result<Bytes, OpenError> {
    let mut opener = Opener::new(keys, name);
    let plaintext = opener.open(sealed)?;
    opener.finish()?;
    Ok(plaintext)
}

/// Opens the frames of one object, in any order and on several threads at once: share it by an `Arc`.
#[derive(Debug)]
pub struct ObjectOpener {
    cipher: FrameCipher,
    header_len: u64,
}

impl ObjectOpener {
    /// Opens the object that was stored as `name`, of which `start` is the header at least; bytes after it are not read.
    ///
    /// # Errors
    /// If `start` is not the header of that object, or is too short.
    pub fn from_header(keys: impl Into<KeyRing>, name: &ObjectKey, start: &[u8]) -> Result<Self, OpenError> {
        let (cipher, header_len) = header::read(&keys.into(), name, start)?;
        Ok(Self { cipher, header_len: header_len as u64 })
    }

    /// How many bytes of plaintext each frame but the last one holds.
    #[must_use]
    pub const fn frame_size(&self) -> FrameSize {
        self.cipher.frame_size()
    }

    /// Where the frames stand, if the object takes `sealed_len` bytes in its storage.
    ///
    /// # Errors
    /// [`OpenError::Truncated`] or [`OpenError::Extended`] if no object of its kind is so long. Any other length is taken
    /// as it is: that the object really ends there is known once its last frame was opened.
    pub fn layout(&self, sealed_len: u64) -> Result<SealedLayout, OpenError> {
        SealedLayout::after_header(self.header_len, self.frame_size(), sealed_len)
    }

    /// The plaintext of the frame that should be at `position`.
    ///
    /// # Errors
    /// If `sealed` is not exactly that frame: corrupt, truncated, another frame of the object, or one that ends the object
    /// where `position` does not, or the other way round.
    pub fn open_frame(&self, position: FramePosition, sealed: &[u8]) -> Result<Bytes, OpenError> {
        let mut plaintext = BytesMut::with_capacity(sealed.len());
        self.open_frame_into(position, sealed, &mut plaintext)?;
        Ok(plaintext.freeze())
    }

    /// Appends the plaintext of the frame that should be at `position` to `plaintext`.
    ///
    /// # Errors
    /// As [`open_frame`](Self::open_frame); then nothing was appended.
    pub fn open_frame_into(
        &self,
        position: FramePosition,
        sealed: &[u8],
        plaintext: &mut BytesMut,
    ) -> Result<(), OpenError> {
        let (index, start) = (position.index(), plaintext.len());
        let length = self.length_of(index, sealed)?;
        let (frame, extra) =
            sealed.split_at_checked(length).ok_or_else(|| self.truncated_frame(index, sealed.len()))?;
        let is_last = self.open_at(index, frame, plaintext)?;
        if is_last == position.is_last() && extra.is_empty() {
            return Ok(());
        }
        plaintext.truncate(start);
        let at = self.place(index).saturating_add(length as u64);
        Err(match (is_last, position.is_last()) {
            (true, _) => OpenError::Extended { at },
            (false, true) => OpenError::Truncated { at, cut: Cut::BeforeFrame(index.saturating_add(1)) },
            (false, false) => OpenError::CorruptFrame { index },
        })
    }

    /// The plaintext of a range: `fetched` is what stands at the span's [`sealed_bytes`](FrameSpan::sealed_bytes).
    ///
    /// # Errors
    /// As [`open_frame`](Self::open_frame).
    pub fn open_span(&self, span: &FrameSpan, fetched: &Bytes) -> Result<Bytes, OpenError> {
        let mut plaintext = BytesMut::with_capacity(fetched.len());
        for (position, sealed) in span.split(fetched) {
            self.open_frame_into(position, &sealed, &mut plaintext)?;
        }
        plaintext.advance(span.skip().min(plaintext.len()));
        plaintext.truncate(usize::try_from(span.plain_len()).unwrap_or(usize::MAX));
        Ok(plaintext.freeze())
    }

    /// Opens the frame of this index, and says whether it is the last one.
    fn open_at(&self, index: u32, sealed: &[u8], plaintext: &mut BytesMut) -> Result<bool, OpenError> {
        let start = plaintext.len();
        let found = self.cipher.open(sealed, plaintext).map_err(|_| OpenError::CorruptFrame { index })?;
        if found.index() == index {
            return Ok(found.is_last());
        }
        plaintext.truncate(start);
        Err(OpenError::ReorderedFrame { expected: index, found: found.index() })
    }

    /// How long the frame of this index is, which begins with `start`.
    fn length_of(&self, index: u32, start: &[u8]) -> Result<usize, OpenError> {
        self.cipher.length_of(start).map_err(|_| OpenError::CorruptFrame { index })
    }

    /// Where the frame of this index begins, in bytes from the beginning of the object.
    fn place(&self, index: u32) -> u64 {
        self.header_len + u64::from(index) * sealed_frame_len(self.frame_size())
    }

    /// The error of an object that ends after so many bytes of the frame of this index.
    fn truncated_frame(&self, index: u32, bytes: usize) -> OpenError {
        let cut = if bytes == 0 { Cut::BeforeFrame(index) } else { Cut::WithinFrame(index) };
        OpenError::Truncated { at: self.place(index).saturating_add(bytes as u64), cut }
    }
}

/// Opens one object in chunks of any size: all that [`open`](Self::open) returns, in order, is the plaintext.
///
/// What it returns is authentic, but that nothing is missing is known only when [`finish`](Self::finish) says so. It holds
/// back at most one frame. An error is final: whatever follows returns it again.
#[derive(Debug)]
pub struct Opener {
    state: State,
    /// The beginning of a header or of a frame.
    pending: BytesMut,
}

#[derive(Debug)]
enum State {
    Header { keys: KeyRing, name: ObjectKey },
    Frames { object: Box<ObjectOpener>, next_index: u32 },
    Complete { sealed_len: u64 },
    Failed(OpenError),
}

impl Opener {
    /// Opens the object that was stored as `name`.
    #[must_use]
    pub fn new(keys: impl Into<KeyRing>, name: &ObjectKey) -> Self {
        Self { state: State::Header { keys: keys.into(), name: name.clone() }, pending: BytesMut::new() }
    }

    /// Opens the next bytes of the object, and returns the plaintext of the frames that are whole by now; it may be empty.
    ///
    /// # Errors
    /// As soon as the object cannot be what was sealed.
    pub fn open(&mut self, chunk: &[u8]) -> Result<Bytes, OpenError> {
        let mut plaintext = BytesMut::with_capacity(self.pending.len() + chunk.len());
        match self.consume(chunk, &mut plaintext) {
            Ok(()) => Ok(plaintext.freeze()),
            Err(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
        }
    }

    /// Says that the object ends here.
    ///
    /// # Errors
    /// [`OpenError::Truncated`] if it should go on, or the error that there was before.
    pub fn finish(self) -> Result<(), OpenError> {
        let bytes = self.pending.len();
        match self.state {
            State::Header { .. } => Err(OpenError::Truncated { at: bytes as u64, cut: Cut::WithinHeader }),
            State::Frames { object, next_index } => Err(object.truncated_frame(next_index, bytes)),
            State::Complete { .. } => Ok(()),
            State::Failed(error) => Err(error),
        }
    }

    /// Takes headers and frames off `chunk` as long as they are whole. One that lies in one chunk is opened from there,
    /// without a copy.
    fn consume(&mut self, mut chunk: &[u8], plaintext: &mut BytesMut) -> Result<(), OpenError> {
        while !chunk.is_empty() {
            let begun = std::mem::take(&mut self.pending);
            let length = self.state.length_of_part(if begun.is_empty() { chunk } else { &begun })?;
            let (head, rest) = chunk.split_at(chunk.len().min(length - begun.len()));
            chunk = rest;
            self.pending = if begun.is_empty() && head.len() == length {
                self.state.take_part(head, plaintext)?;
                begun
            } else {
                self.extend(begun, head, plaintext)?
            };
        }
        Ok(())
    }

    /// Appends `head` to what was begun, and takes it off if it is whole now.
    fn extend(&mut self, mut begun: BytesMut, head: &[u8], plaintext: &mut BytesMut) -> Result<BytesMut, OpenError> {
        begun.extend_from_slice(head);
        if self.state.length_of_part(&begun)? == begun.len() {
            self.state.take_part(&begun, plaintext)?;
            begun.clear();
        }
        Ok(begun)
    }
}

impl State {
    /// How long the header or frame is that begins with `start`, in bytes; the least it can be while that is not known.
    fn length_of_part(&self, start: &[u8]) -> Result<usize, OpenError> {
        match self {
            Self::Header { .. } => header::length_of(start),
            Self::Frames { object, next_index } => object.length_of(*next_index, start),
            Self::Complete { sealed_len } => Err(OpenError::Extended { at: *sealed_len }),
            Self::Failed(error) => Err(error.clone()),
        }
    }

    /// Opens a whole header or frame.
    fn take_part(&mut self, part: &[u8], plaintext: &mut BytesMut) -> Result<(), OpenError> {
        match self {
            Self::Header { keys, name } => {
                let object = Box::new(ObjectOpener::from_header(&*keys, name, part)?);
                *self = Self::Frames { object, next_index: 0 };
            }
            Self::Frames { object, next_index } => {
                let sealed_len = object.place(*next_index) + part.len() as u64;
                if object.open_at(*next_index, part, plaintext)? {
                    *self = Self::Complete { sealed_len };
                } else {
                    // A well-formed object ends before: it has at most 2³² − 1 frames.
                    *next_index = next_index.checked_add(1).ok_or(OpenError::Extended { at: sealed_len })?;
                }
            }
            Self::Complete { .. } | Self::Failed(_) => {}
        }
        Ok(())
    }
}
