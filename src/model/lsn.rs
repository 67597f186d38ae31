//! Positions in the write-ahead log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ParseError, text_serde};

/// A log sequence number: a byte position in the write-ahead log.
///
/// Prints and parses as PostgreSQL's `pg_lsn` does: `16/B374D848`. The order is that of the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// The start of the log. PostgreSQL calls it invalid: no record stands there.
    pub const ZERO: Self = Self(0);
    /// The largest position that can be written.
    pub const MAX: Self = Self(u64::MAX);

    /// The position `bytes` after the start of the log.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The position as bytes from the start of the log.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The position `bytes` later, or `None` past [`Lsn::MAX`].
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The position `bytes` later, or [`Lsn::MAX`] where there is none.
    #[must_use]
    pub const fn saturating_add(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// Bytes from `earlier` to this position; 0 if `earlier` is not earlier.
    #[must_use]
    pub const fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The largest multiple of `alignment` (a power of two) that is not after this position.
    #[must_use]
    pub(crate) const fn align_down(self, alignment: u64) -> Self {
        Self(self.0 & !(alignment - 1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Lsn {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("LSN", text, "two hexadecimal numbers of 1 to 8 digits, as in 16/B374D848");
        let (high, low) = text.split_once('/').ok_or_else(error)?;
        let half = |digits: &str| super::hex_u64(digits, 1..=8).ok_or_else(error);
        Ok(Self(half(high)? << 32 | half(low)?))
    }
}

text_serde!(Lsn);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_pg_lsn_and_parses_back() {
        for (bytes, text) in [(0, "0/0"), (0x16_B374_D848, "16/B374D848"), (u64::MAX, "FFFFFFFF/FFFFFFFF")] {
            assert_eq!(Lsn::new(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(Lsn::new(bytes)));
        }
        assert_eq!("16/b374d848".parse(), Ok(Lsn::new(0x16_B374_D848)));
    }

    #[test]
    fn refuses_what_pg_lsn_refuses() {
        for text in ["", "/", "1", "1/", "/1", "1/123456789", "123456789/1", "+1/0", "1/-1", "g/0", " 1/0", "1/0/0"] {
            assert!(text.parse::<Lsn>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn arithmetic_does_not_wrap() {
        assert_eq!(Lsn::MAX.checked_add(1), None);
        assert_eq!(Lsn::MAX.saturating_add(1), Lsn::MAX);
        assert_eq!(Lsn::new(3).bytes_since(Lsn::new(5)), 0);
        assert_eq!(Lsn::new(0x2FFF).align_down(0x2000), Lsn::new(0x2000));
    }
}
