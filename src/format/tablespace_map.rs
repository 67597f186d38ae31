//! The `tablespace_map` file: where the tablespaces of a base backup were.

use bytes::Bytes;

use crate::model::ParseError;

/// The tablespaces outside the data directory, in the order of the file, no OID twice.
///
/// One line each, as `do_pg_backup_start` of PostgreSQL writes them (`src/backend/access/transam/xlog.c`): the OID, a
/// space, and the path with a backslash before each backslash, carriage return and line feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablespaceMap {
    tablespaces: Vec<Tablespace>,
}

/// One tablespace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tablespace {
    /// Its OID, which is also the name of its link below `pg_tblspc`; never 0.
    pub oid: u32,
    /// The directory: 1 to 1023 bytes without NUL, which need not be UTF-8.
    pub path: Bytes,
}

/// A text that is no `tablespace_map`, or a map that PostgreSQL could not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TablespaceMapError {
    /// A line is not what it should be.
    #[error("line {line} of the tablespace map: {problem}")]
    Line {
        /// Which entry, from 1. A path that holds a new line takes several lines, which count as one here.
        line: usize,
        /// What was read and what was expected.
        problem: ParseError,
    },
    /// A tablespace cannot be in two places.
    #[error("tablespace {oid} is in the tablespace map twice")]
    Twice {
        /// Its OID.
        oid: u32,
    },
}

impl Tablespace {
    /// The longest path, in bytes: PostgreSQL's `MAXPGPATH` less the NUL.
    pub const PATH_LENGTH_MAX: usize = 1023;

    /// The tablespace `oid` at `path`.
    ///
    /// # Errors
    /// If the OID is 0, or the path empty, longer than [`Tablespace::PATH_LENGTH_MAX`] or has a NUL in it.
    pub fn new(oid: u32, path: impl Into<Bytes>) -> Result<Self, ParseError> {
        let path = path.into();
        if oid == 0 {
            return Err(ParseError::new("tablespace OID", oid, "a decimal number from 1 to 4294967295"));
        }
        if path.is_empty() || path.len() > Self::PATH_LENGTH_MAX || path.contains(&0) {
            let path = String::from_utf8_lossy(&path);
            return Err(ParseError::new("tablespace path", path, "1 to 1023 bytes, none of them NUL"));
        }
        Ok(Self { oid, path })
    }
}

impl TablespaceMap {
    /// The map of these tablespaces.
    ///
    /// # Errors
    /// If an OID comes twice.
    pub fn new(tablespaces: Vec<Tablespace>) -> Result<Self, TablespaceMapError> {
        let mut oids: Vec<u32> = tablespaces.iter().map(|tablespace| tablespace.oid).collect();
        oids.sort_unstable();
        let twice = oids.iter().zip(oids.iter().skip(1)).find(|(oid, next)| oid == next);
        match twice {
            Some((&oid, _)) => Err(TablespaceMapError::Twice { oid }),
            None => Ok(Self { tablespaces }),
        }
    }

    /// Reads the contents of the file, as `read_tablespace_map` of PostgreSQL does
    /// (`src/backend/access/transam/xlogrecovery.c`).
    ///
    /// # Errors
    /// If it is not what PostgreSQL writes; the error names the line and what was expected there.
    pub fn parse(file: &[u8]) -> Result<Self, TablespaceMapError> {
        let tablespaces = lines(file).enumerate().map(|(index, line)| {
            tablespace(line).map_err(|problem| TablespaceMapError::Line { line: index.saturating_add(1), problem })
        });
        Self::new(tablespaces.collect::<Result<_, _>>()?)
    }

    /// The contents of the file, as PostgreSQL writes them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut file = Vec::new();
        for Tablespace { oid, path } in &self.tablespaces {
            file.extend_from_slice(format!("{oid} ").as_bytes());
            for &byte in path {
                file.extend(is_escaped(byte).then_some(b'\\'));
                file.push(byte);
            }
            file.push(b'\n');
        }
        file
    }

    /// The tablespaces, in the order of the file.
    #[must_use]
    pub fn tablespaces(&self) -> &[Tablespace] {
        &self.tablespaces
    }

    /// Where tablespace `oid` was, if it is in the map.
    #[must_use]
    pub fn path(&self, oid: u32) -> Option<&Bytes> {
        self.tablespaces.iter().find(|tablespace| tablespace.oid == oid).map(|tablespace| &tablespace.path)
    }
}

fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'\\' | b'\n' | b'\r')
}

/// The entries, each still escaped and with the line feed that ends it, if there is one.
fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut escaped = false;
    file.split_inclusive(move |&byte| {
        let ends = byte == b'\n' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn tablespace(line: &[u8]) -> Result<Tablespace, ParseError> {
    let error = |expected| ParseError::new("line", String::from_utf8_lossy(line), expected);
    let entry = line.strip_suffix(b"\n").ok_or_else(|| error("a line feed at its end"))?;
    let parts = entry.iter().position(|&byte| byte == b' ').and_then(|space| entry.split_at_checked(space));
    let (oid, path) = parts.ok_or_else(|| error("an OID, a space and a path"))?;
    let path = unescape(path.get(1..).unwrap_or_default()).ok_or_else(|| {
        error("a backslash before each backslash, line feed and carriage return, and before no other")
    })?;
    Tablespace::new(decimal(oid).ok_or_else(|| error("a decimal OID from 1 to 4294967295"))?, path)
}

fn unescape(path: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = path.iter().copied();
    let mut unescaped = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        let literal = if byte == b'\\' { bytes.next().filter(|&byte| is_escaped(byte)) } else { Some(byte) };
        unescaped.push(literal.filter(|_| byte == b'\\' || !is_escaped(byte))?);
    }
    Some(unescaped)
}

/// A number without sign or leading zeros: there is one spelling of a map.
fn decimal(digits: &[u8]) -> Option<u32> {
    let well_formed = digits.first() != Some(&b'0') && digits.iter().all(u8::is_ascii_digit);
    well_formed.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn odd_paths_are_escaped() {
        let file = b"16385 /srv/a b\n16384 /srv/back\\\\slash\\\nline\\\r\n4294967295 \xff\n";
        let map = TablespaceMap::parse(file).unwrap();
        assert_eq!(map.to_bytes(), file);
        assert_eq!(map.path(16385).unwrap(), "/srv/a b");
        assert_eq!(map.path(16384).unwrap(), "/srv/back\\slash\nline\r");
        assert_eq!(map.path(u32::MAX).unwrap(), &b"\xff"[..]);
        assert_eq!((map.path(1), map.tablespaces().len()), (None, 3));
    }

    #[test]
    fn an_error_names_the_line_and_what_was_expected() {
        for (file, says) in [
            ("16384 /a", "line 1 of the tablespace map: invalid line \"16384 /a\": expected a line feed at its end"),
            ("16384 /a\\\n", "expected a backslash before each"),
            ("16384 /a\n\n", "line 2 of the tablespace map"),
            ("16384\n", "expected an OID, a space and a path"),
            ("16384 \n", "invalid tablespace path"),
            ("16384 /a\0\n", "none of them NUL"),
            ("x /a\n", "expected a decimal OID"),
            ("0 /a\n", "expected a decimal OID"),
            ("016384 /a\n", "expected a decimal OID"),
            ("4294967296 /a\n", "expected a decimal OID"),
            ("16384 /a\\b\n", "before no other"),
            ("16384 /a\rb\n", "a backslash before each"),
            ("1 /a\n2 /b\n1 /c\n", "tablespace 1 is in the tablespace map twice"),
        ] {
            let error = TablespaceMap::parse(file.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{file:?}: {error}");
        }
        assert!(Tablespace::new(1, vec![b'x'; 1024]).is_err());
        assert!(Tablespace::new(0, "/a").is_err());
        assert_eq!(TablespaceMap::parse(b"").unwrap().to_bytes(), b"");
    }

    proptest! {
        #[test]
        fn any_map_comes_back(paths in prop::collection::btree_map(1_u32.., prop::collection::vec(1_u8.., 1..50), 0..5)) {
            let tablespaces = paths.into_iter().map(|(oid, path)| Tablespace::new(oid, path).unwrap()).collect();
            let map = TablespaceMap::new(tablespaces).unwrap();
            prop_assert_eq!(TablespaceMap::parse(&map.to_bytes()), Ok(map));
        }
    }
}
