//! Sealing objects: as a whole, in chunks, or frame by frame.

use bytes::{Bytes, BytesMut};

use super::frame::{FRAME_OVERHEAD, FrameCipher};
use super::{FramePosition, FrameSize, Salt, SealError, SealedLayout, ServerKey, header};
use crate::model::ObjectKey;

/// Seals a whole object.
///
/// # Errors
/// [`SealError::TooLong`] if it needs more than 2³² − 1 frames.
pub fn seal(
    key: &ServerKey,
    name: &ObjectKey,
    salt: Salt,
    frame_size: FrameSize,
    plaintext: &[u8],
) -> Result<Bytes, SealError> {
    let layout = SealedLayout::of_plaintext(name, frame_size, plaintext.len() as u64)?;
    let object = ObjectSealer::new(key, name, salt, frame_size);
    let last_index = layout.frame_count() - 1;
    let (inner, last) = plaintext.split_at(last_index as usize * frame_size.bytes());
    let mut sealed = BytesMut::with_capacity(usize::try_from(layout.sealed_len()).unwrap_or_default());
    sealed.extend_from_slice(object.header());
    for (index, plain) in (0..).zip(inner.chunks_exact(frame_size.bytes())) {
        object.seal_frame_into(FramePosition::inner(index), plain, &mut sealed)?;
    }
    object.seal_frame_into(FramePosition::last(last_index), last, &mut sealed)?;
    Ok(sealed.freeze())
}

/// Seals the frames of one object, in any order and on several threads at once: share it by an `Arc`.
///
/// The object is its [`header`](Self::header) and all its frames in order. **Each frame may be sealed once only**, or again
/// with the same plaintext: two plaintexts in one place would share a nonce, which breaks both. [`Sealer`] cannot go wrong
/// here.
#[derive(Debug)]
pub struct ObjectSealer {
    header: Bytes,
    cipher: FrameCipher,
}

impl ObjectSealer {
    /// Seals the object that is to be stored as `name`.
    #[must_use]
    pub fn new(key: &ServerKey, name: &ObjectKey, salt: Salt, frame_size: FrameSize) -> Self {
        let (header, cipher) = header::write(key, name, salt, frame_size);
        Self { header, cipher }
    }

    /// What the object begins with.
    #[must_use]
    pub const fn header(&self) -> &Bytes {
        &self.header
    }

    /// How many bytes of plaintext each frame but the last one holds.
    #[must_use]
    pub const fn frame_size(&self) -> FrameSize {
        self.cipher.frame_size()
    }

    /// One sealed frame.
    ///
    /// # Errors
    /// [`SealError::FrameLength`] if the plaintext is not as long as the frame must be: the frame size, or 1 to the frame
    /// size for the last one, which may be empty only where it is the first one too.
    pub fn seal_frame(&self, position: FramePosition, plaintext: &[u8]) -> Result<Bytes, SealError> {
        let mut sealed = BytesMut::with_capacity(plaintext.len() + FRAME_OVERHEAD);
        self.seal_frame_into(position, plaintext, &mut sealed)?;
        Ok(sealed.freeze())
    }

    /// Appends one sealed frame to `sealed`.
    ///
    /// # Errors
    /// As [`seal_frame`](Self::seal_frame); then nothing was appended.
    pub fn seal_frame_into(
        &self,
        position: FramePosition,
        plaintext: &[u8],
        sealed: &mut BytesMut,
    ) -> Result<(), SealError> {
        self.cipher.seal(position, plaintext, sealed)
    }
}

/// Seals one object in chunks of any size: all that [`seal`](Self::seal) and [`finish`](Self::finish) return, in order, is
/// the sealed object. It holds back at most one frame.
#[derive(Debug)]
pub struct Sealer {
    object: ObjectSealer,
    next_index: u32,
    /// Plaintext that is not sealed yet: at most a frame.
    pending: BytesMut,
    /// What is sealed and not returned yet: the header, at first.
    sealed: BytesMut,
}

impl Sealer {
    /// Seals the object that is to be stored as `name`.
    #[must_use]
    pub fn new(key: &ServerKey, name: &ObjectKey, salt: Salt, frame_size: FrameSize) -> Self {
        let object = ObjectSealer::new(key, name, salt, frame_size);
        let sealed = BytesMut::from(&object.header()[..]);
        Self { object, next_index: 0, pending: BytesMut::new(), sealed }
    }

    /// Seals the next bytes of the plaintext, and returns what is sealed by now; it may be empty.
    ///
    /// # Errors
    /// [`SealError::TooLong`] if there are more than 2³² − 1 frames.
    pub fn seal(&mut self, mut chunk: &[u8]) -> Result<Bytes, SealError> {
        let frame_size = self.object.frame_size().bytes();
        let frames = (self.pending.len() + chunk.len()) / frame_size;
        self.sealed.reserve(frames * (frame_size + FRAME_OVERHEAD));
        // A full frame waits until more follows: only then is it known not to be the last one.
        while self.pending.len() + chunk.len() > frame_size {
            let (head, rest) = chunk.split_at(frame_size - self.pending.len());
            self.seal_inner(head)?;
            chunk = rest;
        }
        self.pending.extend_from_slice(chunk);
        Ok(self.sealed.split().freeze())
    }

    /// Seals the last frame, and returns the end of the sealed object.
    ///
    /// # Errors
    /// [`SealError::TooLong`] if there are more than 2³² − 1 frames.
    pub fn finish(mut self) -> Result<Bytes, SealError> {
        let position = FramePosition::last(self.take_index()?);
        self.object.seal_frame_into(position, &self.pending, &mut self.sealed)?;
        Ok(self.sealed.freeze())
    }

    /// Seals the frame that `head` completes. A frame that lies in one chunk is sealed from there, without a copy.
    fn seal_inner(&mut self, head: &[u8]) -> Result<(), SealError> {
        let position = FramePosition::inner(self.take_index()?);
        if self.pending.is_empty() {
            return self.object.seal_frame_into(position, head, &mut self.sealed);
        }
        self.pending.extend_from_slice(head);
        self.object.seal_frame_into(position, &self.pending, &mut self.sealed)?;
        self.pending.clear();
        Ok(())
    }

    fn take_index(&mut self) -> Result<u32, SealError> {
        let index = self.next_index;
        self.next_index = index.checked_add(1).ok_or(SealError::TooLong)?;
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_never_used_twice() {
        let (key, name) = (ServerKey::new([7; 32]), "a".parse().unwrap());
        let mut sealer = Sealer::new(&key, &name, Salt::new([1; 32]), FrameSize::MIN);
        sealer.next_index = u32::MAX - 1;
        let plaintext = [0; FrameSize::MIN.bytes()];
        assert!(sealer.seal(&plaintext).is_ok());
        assert!(sealer.seal(&plaintext).is_ok());
        assert_eq!(sealer.seal(&plaintext), Err(SealError::TooLong));
        assert_eq!(sealer.finish(), Err(SealError::TooLong));
    }
}
