//! Transactions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ParseError;

/// The ID of a transaction (PostgreSQL's `xid`): 32 bits that are counted round and round.
///
/// Prints and parses in decimal, as `recovery_target_xid` takes it. There is no order: what is earlier depends on where the
/// counter stands, see [`Xid::precedes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Xid(u32);

impl Xid {
    /// The first ID that a transaction can have; those below are special (`src/include/access/transam.h`).
    pub const FIRST: Self = Self(3);

    /// The transaction with this ID, or `None` for 0, 1 and 2, which are no transactions of users.
    #[must_use]
    pub const fn new(id: u32) -> Option<Self> {
        if id >= Self::FIRST.0 { Some(Self(id)) } else { None }
    }

    /// The ID.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// Whether this one was assigned before `other`, if less than 2^31 transactions lie between them
    /// (`TransactionIdPrecedes` in `src/backend/access/transam/transam.c`).
    #[must_use]
    pub const fn precedes(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Xid {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let id = digits.then(|| text.parse().ok().and_then(Self::new)).flatten();
        id.ok_or_else(|| ParseError::new("transaction ID", text, "a decimal number from 3 to 4294967295"))
    }
}

impl TryFrom<u32> for Xid {
    type Error = ParseError;

    fn try_from(id: u32) -> Result<Self, ParseError> {
        Self::new(id).ok_or_else(|| ParseError::new("transaction ID", id, "a number from 3 to 4294967295"))
    }
}

impl From<Xid> for u32 {
    fn from(xid: Xid) -> Self {
        xid.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_users_transactions() {
        assert_eq!("3".parse(), Ok(Xid::FIRST));
        assert_eq!("4294967295".parse::<Xid>().unwrap().to_string(), "4294967295");
        for text in ["", "0", "2", "-3", "+3", "4294967296", "0x3", "3 "] {
            assert!(text.parse::<Xid>().is_err(), "{text:?}");
        }
        assert!(serde_json::from_str::<Xid>("2").is_err());
    }

    #[test]
    fn the_counter_goes_round() {
        let xid = |id| Xid::new(id).unwrap();
        assert!(xid(3).precedes(xid(4)) && !xid(4).precedes(xid(3)) && !xid(4).precedes(xid(4)));
        assert!(xid(u32::MAX).precedes(xid(3)));
        assert!(!xid(3).precedes(xid(u32::MAX)));
    }
}
