//! Memory that is used again and again: what an allocator gives back to the system, and is given anew, is cleared page by page. For
//! a restore, that took as long as decompressing.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// How many buffers are kept.
const BUFFERS_MAX: usize = 64;

/// Buffers that nobody uses just now. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer that comes back when it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    home: Buffers,
}

impl Buffers {
    /// A buffer with some content or none.
    pub(super) fn take(&self) -> Buffer {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: bytes.unwrap_or_default(), home: self.clone() }
    }
}

impl Buffer {
    /// Its content, shared until the last has dropped it.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut buffers = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < BUFFERS_MAX {
            buffers.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_used_again() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take();
        buffer.bytes.extend_from_slice(b"content");
        let address = buffer.bytes.as_ptr();
        let (frozen, other) = (buffer.freeze(), buffers.take());
        assert_eq!((&frozen[..], other.bytes.len()), (&b"content"[..], 0));
        let part = frozen.slice(3..);
        drop(frozen);
        assert_eq!(buffers.take().bytes.len(), 0, "a part of it is still used");
        drop(part);
        assert_eq!(buffers.take().bytes.as_ptr(), address);
    }
}
