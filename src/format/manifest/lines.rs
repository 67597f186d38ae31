//! Text of JSON lines.

use bytes::{Buf, BytesMut};
use serde::Serialize;

use super::ManifestError;

/// The longest line, without its end: that of a file with about a million blocks.
pub(super) const LINE_BYTES_MAX: usize = 64 << 20;

/// Prints `line`, which is of `what`, at the end of `text`.
pub(super) fn print(text: &mut Vec<u8>, line: &impl Serialize, what: impl Fn() -> String) -> Result<(), ManifestError> {
    let begin = text.len();
    serde_json::to_writer(&mut *text, line).expect("lines of a manifest hold nothing that JSON cannot");
    let bytes = text.len() - begin;
    if bytes > LINE_BYTES_MAX {
        text.truncate(begin);
        return Err(ManifestError::TooLong { what: what(), bytes: bytes as u64 });
    }
    text.push(b'\n');
    Ok(())
}

/// Cuts text that arrives in pieces into its lines. Keeps at most one.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffered: BytesMut,
    /// The number of the line that was given last.
    number: u64,
}

impl Lines {
    /// Takes the next line off `text`, without its end; `None` if its end is still to come: then all of `text` was taken.
    pub(super) fn next(&mut self, text: &mut &[u8]) -> Result<Option<BytesMut>, ManifestError> {
        let end = text.iter().position(|byte| *byte == b'\n');
        let part = &text[..end.unwrap_or(text.len())];
        if self.buffered.len() + part.len() > LINE_BYTES_MAX {
            return Err(ManifestError::Malformed { line: self.number + 1, reason: "it is too long".to_owned() });
        }
        self.buffered.extend_from_slice(part);
        text.advance(part.len() + usize::from(end.is_some()));
        Ok(end.map(|_| {
            self.number += 1;
            self.buffered.split()
        }))
    }

    /// Whether the text ended with a line.
    pub(super) fn is_complete(&self) -> bool {
        self.buffered.is_empty()
    }

    /// That the line that was given last is malformed.
    pub(super) fn malformed(&self, reason: impl std::fmt::Display) -> ManifestError {
        ManifestError::Malformed { line: self.number, reason: reason.to_string() }
    }
}
