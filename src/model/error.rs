//! The one error of everything that is parsed from text.

use std::fmt;

/// How much of the offending input an error repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// A text that is not what it should be: says what was read and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {input:?}: expected {expected}")]
pub struct ParseError {
    what: &'static str,
    input: String,
    expected: &'static str,
}

impl ParseError {
    /// An error about `input`, which is no `what` because it is not `expected`; long input is shortened.
    pub(crate) fn new(what: &'static str, input: impl fmt::Display, expected: &'static str) -> Self {
        let input = input.to_string().chars().take(SHOWN_CHARS_MAX).collect();
        Self { what, input, expected }
    }

    /// What was to be parsed, in the words of the documentation: `"LSN"`, `"timeline ID"`.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.what
    }
}
