//! What can be wrong with a sealed object or a wrapped key.

use std::fmt;

use super::{FramePosition, KeyId};
use crate::model::{ObjectKey, ServerName};

/// Why something cannot be sealed: a mistake of the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Only the last frame may be shorter than the frame size, and only the first may be empty.
    #[error("{position} of an object with frames of {frame_size} bytes cannot hold {found} bytes")]
    FrameLength {
        /// Which frame.
        position: FramePosition,
        /// The bytes of plaintext that were given.
        found: usize,
        /// The object's frame size in bytes.
        frame_size: usize,
    },
    /// The object needs more than 2³² − 1 frames.
    #[error("too long: an object has at most {} frames; use larger frames or several objects", u32::MAX)]
    TooLong,
}

/// Why an object cannot be opened.
///
/// [`NotSealed`](Self::NotSealed), [`FutureVersion`](Self::FutureVersion), [`WrongKey`](Self::WrongKey) and
/// [`CorruptHeader`](Self::CorruptHeader) are told from bytes that are not authentic yet; all else is certain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It does not begin as sealed objects do.
    #[error("not a sealed object: it begins with other bytes")]
    NotSealed,
    /// A newer pitr wrote it.
    #[error("sealed in format version {found}, but this pitr knows {supported}: upgrade pitr")]
    FutureVersion {
        /// The object's version.
        found: u16,
        /// The newest version that can be read.
        supported: u16,
    },
    /// Its header is authentic, but names an algorithm that this pitr does not know.
    #[error("sealed by the unknown algorithm {found}: upgrade pitr")]
    UnknownAlgorithm {
        /// The algorithm's number.
        found: u8,
    },
    /// Another server's key sealed it.
    #[error("sealed with key {found}, but opened with key {given}")]
    WrongKey {
        /// The key that sealed it.
        found: KeyId,
        /// The key that was to open it.
        given: KeyId,
    },
    /// Its header was changed.
    #[error("corrupt header: read another copy of the object")]
    CorruptHeader,
    /// It is authentic, but another object: one was renamed, or two were swapped.
    #[error("misplaced: this is {sealed_as}, but it is stored as {stored_as}")]
    Misplaced {
        /// The name that it was sealed under.
        sealed_as: ObjectKey,
        /// The name that it was opened under.
        stored_as: ObjectKey,
    },
    /// A frame was changed, or is another object's.
    #[error("corrupt frame {index}: read another copy of the object")]
    CorruptFrame {
        /// Which frame, from 0.
        index: u32,
    },
    /// A frame is authentic, but stands in another's place.
    #[error("frames out of order: frame {found} stands in the place of frame {expected}")]
    ReorderedFrame {
        /// The frame that belongs there.
        expected: u32,
        /// The frame that stands there.
        found: u32,
    },
    /// It ends too early.
    #[error("truncated: it ends at byte {at}, {cut}")]
    Truncated {
        /// How many bytes there are, counted from the start of the object.
        at: u64,
        /// What is incomplete.
        cut: Cut,
    },
    /// It goes on after its last frame.
    #[error("extended: bytes follow its end at byte {at}")]
    Extended {
        /// How long the object should be, in bytes.
        at: u64,
    },
    /// The range does not lie within the plaintext.
    #[error("no bytes {start} to {end} in a plaintext of {plain_len} bytes")]
    OutOfRange {
        /// The first byte that was asked for.
        start: u64,
        /// The first byte after it.
        end: u64,
        /// How long the plaintext is.
        plain_len: u64,
    },
}

/// Where a truncated object ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// Within its header.
    WithinHeader,
    /// Within the frame of this index.
    WithinFrame(u32),
    /// Between frames: the last one is missing, and this is the first that is.
    BeforeFrame(u32),
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WithinHeader => f.write_str("within its header"),
            Self::WithinFrame(index) => write!(f, "within frame {index}"),
            Self::BeforeFrame(index) => write!(f, "before frame {index}, without its last frame"),
        }
    }
}

/// Why a wrapped key cannot be read or unwrapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// It does not begin as wrapped keys do.
    #[error("not a wrapped key: it begins with other bytes")]
    NotWrapped,
    /// A newer pitr wrote it.
    #[error("wrapped in format version {found}, but this pitr knows {supported}: upgrade pitr")]
    FutureVersion {
        /// The record's version.
        found: u16,
        /// The newest version that can be read.
        supported: u16,
    },
    /// It was changed.
    #[error("corrupt wrapped key: read another copy of it")]
    Corrupt,
    /// Another key provider wrapped it.
    #[error("wrapped by {found}, which another key provider must unwrap")]
    ForeignScheme {
        /// How it was wrapped.
        found: String,
    },
    /// Another wrapping key wrapped it.
    #[error("wrapped with key {found}, but unwrapped with key {given}")]
    WrongWrappingKey {
        /// The key that wrapped it.
        found: String,
        /// The key that was to unwrap it.
        given: KeyId,
    },
    /// It is the key of another server.
    #[error("this is the key of server {found}, not of {given}")]
    ForeignServer {
        /// The server that it belongs to.
        found: ServerName,
        /// The server that was meant.
        given: ServerName,
    },
}
