//! What is kept of a write, to recognise it by.

use bytes::{Bytes, BytesMut};

use crate::model::ObjectKey;
use crate::port::{ObjectMeta, PortError, Storage, Version};

/// How much of the end of an object is kept.
const TAIL_BYTES: usize = 4096;

/// How long an object is, and how it ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    bytes: u64,
    tail: BytesMut,
}

impl Trace {
    pub(super) fn of(bytes: &Bytes) -> Self {
        let mut trace = Self::default();
        trace.append(bytes);
        trace
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        drop(self.tail.split_to(excess));
    }

    /// Holds what is stored as `key` against what was written.
    pub(super) async fn compare(&self, storage: &dyn Storage, key: &ObjectKey) -> Result<Seen, PortError> {
        let meta = storage.head(key).await?;
        let is_same = meta.bytes == self.bytes && self.ends_as(storage, &meta).await?;
        Ok(Seen { is_same, version: meta.version })
    }

    async fn ends_as(&self, storage: &dyn Storage, meta: &ObjectMeta) -> Result<bool, PortError> {
        let tail = self.bytes - self.tail.len() as u64..self.bytes;
        let read = storage.get(&meta.key, Some(tail)).await?;
        Ok(read.meta == *meta && read.collect(TAIL_BYTES).await? == self.tail)
    }
}

/// What is stored where something was written.
pub(super) struct Seen {
    pub(super) is_same: bool,
    pub(super) version: Option<Version>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_the_same_however_it_was_written() {
        let content = Bytes::from_iter((0..10_000_u32).map(|number| number.to_le_bytes()[0]));
        for piece in [1, 7, 4095, 4096, 4097, 10_000] {
            let mut pieces = Trace::default();
            content.chunks(piece).for_each(|chunk| pieces.append(chunk));
            assert_eq!((pieces.bytes, &pieces.tail[..]), (10_000, &content[10_000 - TAIL_BYTES..]), "{piece}");
        }
        assert_eq!(Trace::of(&content).tail, Trace::of(&content.slice(3..)).tail);
    }
}
