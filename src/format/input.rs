//! What a streaming parser was fed and has not consumed yet.

use bytes::{Bytes, BytesMut};

/// Appends `chunk` to `input`, without a copy if all of `input` was consumed.
pub(super) fn append(input: &mut Bytes, chunk: Bytes) {
    if input.is_empty() {
        *input = chunk;
    } else {
        let mut joined = BytesMut::from(std::mem::take(input));
        joined.extend_from_slice(&chunk);
        *input = joined.freeze();
    }
}
