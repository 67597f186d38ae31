//! Paths of files below a data directory or a tablespace.

use std::fmt;

use crate::model::ParseError;

/// A path that cannot leave the directory that it is joined to.
///
/// - one part at least, joined by `/`;
/// - no part is empty, `.` or `..`, so that it is not absolute and has no `/` at its end;
/// - no NUL.
///
/// It is bytes, not text, as file names are on the systems that PostgreSQL runs on. Safe as long as no part before the
/// last is a symbolic link: that is for whoever writes the files to see to. The order is that of the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(Box<[u8]>);

impl RelativePath {
    /// The path with these bytes.
    ///
    /// # Errors
    /// If it is not a safe relative path.
    pub fn new(path: impl AsRef<[u8]>) -> Result<Self, ParseError> {
        let path = path.as_ref();
        let safe = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
        if path.split(|&byte| byte == b'/').all(safe) && !path.contains(&0) {
            Ok(Self(path.into()))
        } else {
            let expected = "a relative path without empty parts, . or ..";
            Err(ParseError::new("file path", String::from_utf8_lossy(path), expected))
        }
    }

    /// The path as the file system knows it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as text, or `None` if it is not UTF-8.
    #[must_use]
    pub fn to_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

/// Shows a path that is not UTF-8 with replacement characters.
impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_the_directory() {
        for path in ["a", "base/1/1259", "pg_wal/.x", "...", "a b\\c\n", "ü"] {
            assert_eq!(RelativePath::new(path).unwrap().to_str(), Some(path));
        }
        for path in ["", "/", "/etc/passwd", "a/", "a//b", ".", "./a", "a/./b", "..", "../a", "a/..", "a/../b", "a\0b"]
        {
            assert!(RelativePath::new(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_kept() {
        let path = RelativePath::new(b"base/\xff").unwrap();
        assert_eq!((path.as_bytes(), path.to_str()), (&b"base/\xff"[..], None));
        assert_eq!(format!("{path} {path:?}"), "base/\u{fffd} \"base/\\xff\"");
    }
}
