//! Names of objects in a storage.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ParseError, text_serde};

/// The name of an object in a storage: parts joined by `/`.
///
/// - one part at least, and 1024 bytes at most in all (the limit of S3, Azure Blob and GCS);
/// - each part has 1 to 200 bytes of `A-Z a-z 0-9 . _ -`, and does not begin with a dot.
///
/// So every key is a safe relative path on every file system, and keys order bytewise as every object store lists them.
/// Clones share the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    /// The longest key, in bytes.
    pub const LENGTH_MAX: usize = 1024;

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts between the slashes.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last part.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parts().next_back().unwrap_or_default()
    }

    /// This key with `part` appended.
    ///
    /// # Errors
    /// If the result is not a key.
    pub fn join(&self, part: impl fmt::Display) -> Result<Self, ParseError> {
        format!("{self}/{part}").parse()
    }

    /// The directory, and the last part; `None` if there is only one part.
    #[must_use]
    pub fn split_name(&self) -> Option<(&str, &str)> {
        self.0.rsplit_once('/')
    }

    /// This key with the name of an artifact appended, which is part of a key, and short.
    pub(crate) fn child(&self, name: impl fmt::Display) -> Self {
        Self(format!("{self}/{name}").into())
    }

    /// The directory directly below `directory` (of all if `None`) that this key lies in; `None` if it lies elsewhere, or in none.
    #[must_use]
    pub fn directory_below(&self, directory: Option<&Self>) -> Option<Self> {
        let start = directory.map_or(0, |directory| directory.0.len() + 1);
        let below =
            directory.is_none_or(|directory| self.is_below(directory)).then(|| self.0.get(start..)).flatten()?;
        Some(Self(self.0[..start + below.find('/')?].into()))
    }

    /// A key that comes after everything below this directory, and before all that follows; `None` if it would be too long.
    pub(crate) fn end_of_directory(&self) -> Option<Self> {
        // What comes next after the slash.
        format!("{self}0").parse().ok()
    }

    /// Whether this key lies below `directory` (which itself does not).
    #[must_use]
    pub fn is_below(&self, directory: &Self) -> bool {
        self.0.strip_prefix(&*directory.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for ObjectKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let well_formed = text.len() <= Self::LENGTH_MAX && text.split('/').all(is_part);
        let expected =
            "parts of 1 to 200 of A-Z a-z 0-9 . _ -, not beginning with a dot, joined by /, at most 1024 bytes";
        if well_formed { Ok(Self(text.into())) } else { Err(ParseError::new("object key", text, expected)) }
    }
}

fn is_part(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=200).contains(&part.len()) && !part.starts_with('.') && part.bytes().all(allowed)
}

text_serde!(ObjectKey);

/// An object that is stored: where, and how many bytes it takes there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredObject {
    /// Its name.
    pub key: ObjectKey,
    /// Its size as stored, in bytes.
    pub bytes: u64,
}

impl StoredObject {
    /// The object `key` of `bytes` bytes.
    #[must_use]
    pub const fn new(key: ObjectKey, bytes: u64) -> Self {
        Self { key, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_safe_paths() {
        for text in ["a", "servers/prod-1/key", "a/b.c/d_e", &"x".repeat(200)] {
            assert_eq!(text.parse::<ObjectKey>().unwrap().to_string(), text);
        }
        let long = ["x"; 513].join("/");
        for text in
            ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.b", "a b", "a\\b", "ü", &"x".repeat(201), &long]
        {
            assert!(text.parse::<ObjectKey>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn below_means_a_part_deeper() {
        let key = |text: &str| text.parse::<ObjectKey>().unwrap();
        assert!(key("a/b/c").is_below(&key("a/b")));
        assert!(!key("a/bc").is_below(&key("a/b")));
        assert!(!key("a/b").is_below(&key("a/b")));
        assert_eq!(key("a/b").join("c").unwrap().name(), "c");
        assert!(key("a").join("../c").is_err());
    }

    #[test]
    fn directories_are_told_from_what_lies_in_them() {
        let key = |text: &str| text.parse::<ObjectKey>().unwrap();
        for (object, directory, expected) in [
            ("a/b/c", None, Some("a")),
            ("a/b/c", Some("a"), Some("a/b")),
            ("a/b/c", Some("a/b"), None),
            ("a/b/c", Some("b"), None),
            ("a/b/c", Some("a/b/c"), None),
            ("a", None, None),
        ] {
            let found = key(object).directory_below(directory.map(key).as_ref());
            assert_eq!(found, expected.map(key), "{object} below {directory:?}");
        }
        let end = key("a/b").end_of_directory().unwrap();
        assert!(key("a/b/zzz") < end && key("a/b-c/d") < end && end < key("a/b1/a"));
        assert_eq!(key(&"x".repeat(200)).end_of_directory(), None);
    }
}
