//! Who a server is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ParseError, text_serde};

/// A major version of PostgreSQL that pitr can protect: 15 to 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct PostgresMajor(u32);

impl PostgresMajor {
    /// The oldest one.
    pub const MIN: Self = Self(15);
    /// The newest one.
    pub const MAX: Self = Self(18);

    /// The major version with this number.
    ///
    /// # Errors
    /// If pitr does not know it.
    pub fn new(major: u32) -> Result<Self, ParseError> {
        let known = (Self::MIN.0..=Self::MAX.0).contains(&major);
        if known {
            Ok(Self(major))
        } else {
            Err(ParseError::new("PostgreSQL major version", major, "15, 16, 17 or 18"))
        }
    }

    /// The version's number.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for PostgresMajor {
    type Error = ParseError;

    fn try_from(major: u32) -> Result<Self, ParseError> {
        Self::new(major)
    }
}

impl From<PostgresMajor> for u32 {
    fn from(major: PostgresMajor) -> Self {
        major.0
    }
}

impl fmt::Display for PostgresMajor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The number that `initdb` gives a database cluster (`system_identifier` of `pg_control_system()`).
///
/// Prints and parses in decimal, as PostgreSQL does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemId(u64);

impl SystemId {
    /// The identifier with this value.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The identifier's value.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for SystemId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .then(|| text.parse().ok().map(Self))
            .flatten()
            .ok_or_else(|| ParseError::new("system identifier", text, "a decimal number of 64 bits"))
    }
}

text_serde!(SystemId);

/// One `initdb` or `pg_upgrade` life of a server. Backups of two incarnations never mix.
///
/// Prints and parses as `7301234567890123456-15`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Incarnation {
    /// Which database cluster.
    pub system_id: SystemId,
    /// Which major version of PostgreSQL runs it.
    pub major: PostgresMajor,
}

impl Incarnation {
    /// The life of cluster `system_id` under PostgreSQL `major`.
    #[must_use]
    pub const fn new(system_id: SystemId, major: PostgresMajor) -> Self {
        Self { system_id, major }
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.system_id, self.major)
    }
}

impl FromStr for Incarnation {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let expected = "a system identifier and a major version, as in 7301234567890123456-15";
        let error = || ParseError::new("incarnation", text, expected);
        let (system_id, major) = text.split_once('-').ok_or_else(error)?;
        let system_id = system_id.parse().map_err(|_| error())?;
        let major = major.parse().ok().and_then(|major| PostgresMajor::new(major).ok()).ok_or_else(error)?;
        let incarnation = Self { system_id, major };
        // One spelling only: names of objects must print as they were parsed.
        if incarnation.to_string() == text { Ok(incarnation) } else { Err(error()) }
    }
}

text_serde!(Incarnation);

/// The name under which a server is protected: 1 to 63 of `a-z 0-9 -`, beginning and ending with a letter or digit.
///
/// These are Azure's rules for server names, and a safe part of an object key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(String);

impl ServerName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ServerName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let well_formed =
            (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-');
        let expected = "1 to 63 of a-z 0-9 -, beginning and ending with a letter or digit";
        if well_formed { Ok(Self(text.to_owned())) } else { Err(ParseError::new("server name", text, expected)) }
    }
}

text_serde!(ServerName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_azures_rules() {
        for text in ["a", "prod-1", "0", &"x".repeat(63)] {
            assert_eq!(text.parse::<ServerName>().unwrap().as_str(), text);
        }
        for text in ["", "-a", "a-", "A", "a_b", "a.b", "a/b", &"x".repeat(64)] {
            assert!(text.parse::<ServerName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_incarnation_has_one_spelling() {
        let text = "7301234567890123456-15";
        assert_eq!(text.parse::<Incarnation>().unwrap().to_string(), text);
        for text in ["", "1", "1-14", "1-19", "01-15", "1-+15", "1-15-1", "18446744073709551616-15", "-15"] {
            assert!(text.parse::<Incarnation>().is_err(), "{text:?}");
        }
    }
}
