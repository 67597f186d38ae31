//! The header of one member of a tar archive.

use std::ops::Range;

use bytes::Bytes;

use crate::format::relative_path::RelativePath;
use crate::model::ParseError;

/// Everything in a tar archive comes in blocks of this size.
pub(super) const BLOCK_BYTES: usize = 512;

/// What a header says (POSIX ustar, as `tarCreateHeader` of PostgreSQL's `src/port/tar.c` writes it).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TarHeader {
    /// Where it belongs, below the data directory or below the tablespace that the archive is of. A leading `./` and a
    /// directory's trailing `/` are not part of it.
    pub path: RelativePath,
    /// What it is.
    pub kind: TarKind,
    /// The length of its contents in bytes; 0 unless it is a file.
    pub size: u64,
    /// Its permissions, as `chmod` takes them.
    pub mode: u32,
    /// When it was last modified, in seconds since 1970, which may be negative.
    pub mtime: i64,
    /// The user who owns it on the server.
    pub uid: u32,
    /// The group that owns it on the server.
    pub gid: u32,
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TarKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link: a tablespace, in a backup without a `tablespace_map`.
    #[non_exhaustive]
    Symlink {
        /// What it points to: any path, usually an absolute one.
        target: Bytes,
    },
}

/// A header that is damaged, or says what `BASE_BACKUP` never says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TarHeaderError {
    /// Neither a header nor the end of the archive.
    #[error("expected a ustar header or zeros")]
    NotUstar,
    /// The header was changed after it was written.
    #[error("the header's checksum is {computed}, but {stored} is stored")]
    Checksum {
        /// The checksum that the header states.
        stored: u64,
        /// The checksum that it has.
        computed: u64,
    },
    /// A field that should hold a number does not, or a number that is too large.
    #[error("the field {field} holds no number that fits")]
    Number {
        /// The field's name in POSIX.
        field: &'static str,
    },
    /// A path that could lead out of the directory that the archive is unpacked into.
    #[error("unsafe path: {problem}")]
    UnsafePath {
        /// The path.
        problem: ParseError,
    },
    /// Neither a file, a directory nor a symbolic link.
    #[error("unknown kind of member {:?}: expected a file, a directory or a symbolic link", char::from(*.flag))]
    UnknownKind {
        /// The byte that says what it is.
        flag: u8,
    },
    /// Only files have contents.
    #[error("a directory or symbolic link has no contents, but {size} bytes are announced")]
    UnexpectedContents {
        /// How many bytes are announced.
        size: u64,
    },
    /// A symbolic link that points nowhere.
    #[error("a symbolic link without a target")]
    NoTarget,
}

const NAME: Range<usize> = 0..100;
const MODE: Field = Field { name: "mode", range: 100..108 };
const UID: Field = Field { name: "uid", range: 108..116 };
const GID: Field = Field { name: "gid", range: 116..124 };
const SIZE: Field = Field { name: "size", range: 124..136 };
const MTIME: Field = Field { name: "mtime", range: 136..148 };
const CHECKSUM: Field = Field { name: "chksum", range: 148..156 };
const KIND: usize = 156;
const TARGET: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..263;
const PREFIX: Range<usize> = 345..500;

impl TarHeader {
    pub(super) fn parse(block: &[u8; BLOCK_BYTES]) -> Result<Self, TarHeaderError> {
        if block.get(MAGIC) != Some(b"ustar\0") {
            return Err(TarHeaderError::NotUstar);
        }
        check(block)?;
        let kind = kind(block)?;
        let path = path(block, &kind).map_err(|problem| TarHeaderError::UnsafePath { problem })?;
        let size = SIZE.number(block)?;
        if size > 0 && kind != TarKind::File {
            return Err(TarHeaderError::UnexpectedContents { size });
        }
        // PostgreSQL writes a time before 1970 as the two's complement of 64 bits.
        let mtime = MTIME.number(block)?.cast_signed();
        let (mode, uid, gid) = (MODE.number_u32(block)?, UID.number_u32(block)?, GID.number_u32(block)?);
        Ok(Self { path, kind, size, mode, mtime, uid, gid })
    }
}

fn check(block: &[u8; BLOCK_BYTES]) -> Result<(), TarHeaderError> {
    let stored = CHECKSUM.number(block)?;
    // The sum is taken while the field that will hold it is blank.
    let blanked = |(index, &byte)| if CHECKSUM.range.contains(&index) { b' ' } else { byte };
    let computed = block.iter().enumerate().map(blanked).map(u64::from).sum();
    if stored == computed { Ok(()) } else { Err(TarHeaderError::Checksum { stored, computed }) }
}

fn kind(block: &[u8; BLOCK_BYTES]) -> Result<TarKind, TarHeaderError> {
    match block[KIND] {
        b'0' => Ok(TarKind::File),
        b'5' => Ok(TarKind::Directory),
        b'2' if text(block, TARGET).is_empty() => Err(TarHeaderError::NoTarget),
        b'2' => Ok(TarKind::Symlink { target: Bytes::copy_from_slice(text(block, TARGET)) }),
        flag => Err(TarHeaderError::UnknownKind { flag }),
    }
}

fn path(block: &[u8; BLOCK_BYTES], kind: &TarKind) -> Result<RelativePath, ParseError> {
    let (prefix, name) = (text(block, PREFIX), text(block, NAME));
    let joined = if prefix.is_empty() { name.to_vec() } else { [prefix, name].join(&b'/') };
    let path = joined.strip_prefix(b"./").unwrap_or(&joined);
    // PostgreSQL marks what is or points to a directory by a slash.
    let path = if *kind == TarKind::File { path } else { path.strip_suffix(b"/").unwrap_or(path) };
    RelativePath::new(path)
}

/// The bytes of a field up to the first NUL.
fn text(block: &[u8; BLOCK_BYTES], range: Range<usize>) -> &[u8] {
    block.get(range).and_then(|field| field.split(|&byte| byte == 0).next()).unwrap_or_default()
}

/// A field that holds a number.
struct Field {
    name: &'static str,
    range: Range<usize>,
}

impl Field {
    fn number(&self, block: &[u8; BLOCK_BYTES]) -> Result<u64, TarHeaderError> {
        let field = block.get(self.range.clone()).unwrap_or_default();
        let number = match field {
            [0x80, number @ ..] => base_256(number),
            field => octal(field),
        };
        number.ok_or(TarHeaderError::Number { field: self.name })
    }

    fn number_u32(&self, block: &[u8; BLOCK_BYTES]) -> Result<u32, TarHeaderError> {
        self.number(block)?.try_into().map_err(|_| TarHeaderError::Number { field: self.name })
    }
}

/// GNU's way to write what octal digits have no room for: big-endian, after a byte 0x80.
fn base_256(number: &[u8]) -> Option<u64> {
    number.iter().try_fold(0_u64, |sum, &byte| sum.checked_mul(256)?.checked_add(u64::from(byte)))
}

/// POSIX's way: digits that a space or NUL ends.
fn octal(field: &[u8]) -> Option<u64> {
    let end = field.iter().position(|&byte| byte == b' ' || byte == 0).unwrap_or(field.len());
    let (digits, rest) = field.split_at_checked(end)?;
    let well_formed = !digits.is_empty() && digits.iter().all(|digit| (b'0'..=b'7').contains(digit));
    let ended = rest.iter().all(|&byte| byte == b' ' || byte == 0);
    (well_formed && ended)
        .then(|| digits.iter().try_fold(0_u64, |sum, digit| sum.checked_mul(8)?.checked_add(u64::from(digit - b'0'))))
        .flatten()
}
