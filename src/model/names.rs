//! Names that pitr draws, or is given.

use serde::{Deserialize, Serialize};

use super::{ParseError, text_serde};

/// Defines the name of something: 1 to 64 of `A-Z a-z 0-9 -`, beginning with a letter or digit, a safe part of an object key.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $what:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// 1 to 64 of `A-Z a-z 0-9 -`, beginning with a letter or digit.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                if is_name(text) { Ok(Self(text.to_owned())) } else { Err(ParseError::new($what, text, EXPECTED)) }
            }
        }

        text_serde!($name);
    )*};
}

names! {
    /// The name of a snapshot within its server.
    SnapshotId: "snapshot ID";
    /// The name of one life of a worker, which no other has.
    WorkerId: "worker ID";
    /// The name of a request, drawn by whoever makes it: made again, it has the same one. A UUID will do.
    RequestId: "request ID";
    /// The name of a lock within its server.
    LockName: "lock name";
}

const EXPECTED: &str = "1 to 64 of A-Z a-z 0-9 -, beginning with a letter or digit";

fn is_name(text: &str) -> bool {
    let allowed = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (1..=64).contains(&text.len()) && allowed && !text.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_of_keys() {
        for text in ["a", "20261123T210908Z-0a1b2c3d", "f47ac10b-58cc-4372-a567-0e02b2c3d479", &"x".repeat(64)] {
            assert_eq!(text.parse::<RequestId>().unwrap().to_string(), text);
        }
        for text in ["", "-a", "a b", "a/b", "a.b", "\u{fc}", &"x".repeat(65)] {
            assert!(text.parse::<RequestId>().is_err(), "{text:?}");
        }
    }
}
