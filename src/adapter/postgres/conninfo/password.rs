//! A password.

use std::fmt;

use zeroize::Zeroizing;

/// A password: wiped from memory when dropped, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct Password(Zeroizing<String>);

impl Password {
    pub(in super::super) fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The password itself.
    pub(in super::super) fn reveal(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
