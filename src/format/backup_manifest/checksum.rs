//! The checksums of files that a manifest holds.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::line::from_hex;
use crate::model::ParseError;

/// How a file's checksum is computed: `MANIFEST_CHECKSUMS` of `BASE_BACKUP`.
///
/// Prints and parses by PostgreSQL's names: `CRC32C`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ChecksumAlgorithm {
    /// Not at all.
    None,
    /// PostgreSQL's default: finds damage, not forgery.
    Crc32c,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

const NAMES: [(ChecksumAlgorithm, &str); 6] = [
    (ChecksumAlgorithm::None, "NONE"),
    (ChecksumAlgorithm::Crc32c, "CRC32C"),
    (ChecksumAlgorithm::Sha224, "SHA224"),
    (ChecksumAlgorithm::Sha256, "SHA256"),
    (ChecksumAlgorithm::Sha384, "SHA384"),
    (ChecksumAlgorithm::Sha512, "SHA512"),
];

impl fmt::Display for ChecksumAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(algorithm, _)| algorithm == self).map(|(_, name)| *name);
        f.write_str(name.unwrap_or_default())
    }
}

impl FromStr for ChecksumAlgorithm {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let expected = "NONE, CRC32C, SHA224, SHA256, SHA384 or SHA512";
        let known = NAMES.iter().find(|(_, name)| *name == text).map(|(algorithm, _)| *algorithm);
        known.ok_or_else(|| ParseError::new("checksum algorithm", text, expected))
    }
}

/// The checksum of a file's contents. Prints as the manifest has it: in hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileChecksum {
    /// It has none. Equal only to itself.
    None,
    /// CRC-32C, as it lies in the memory of a little-endian server (`src/common/checksum_helper.c`).
    Crc32c([u8; 4]),
    /// SHA-224.
    Sha224([u8; 28]),
    /// SHA-256.
    Sha256([u8; 32]),
    /// SHA-384.
    Sha384([u8; 48]),
    /// SHA-512.
    Sha512([u8; 64]),
}

impl FileChecksum {
    /// The checksum that these hexadecimal digits say.
    ///
    /// # Errors
    /// If they are not digits, or not as many as the algorithm's checksums have.
    pub fn parse(algorithm: ChecksumAlgorithm, digits: &str) -> Result<Self, ParseError> {
        let bytes = from_hex(digits).unwrap_or_default();
        Self::from_bytes(algorithm, &bytes).filter(|_| bytes.len() * 2 == digits.len()).ok_or_else(|| {
            ParseError::new("checksum", digits, "as many hexadecimal digits as the algorithm's checksums have")
        })
    }

    fn from_bytes(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Option<Self> {
        match algorithm {
            ChecksumAlgorithm::None => bytes.is_empty().then_some(Self::None),
            ChecksumAlgorithm::Crc32c => bytes.try_into().ok().map(Self::Crc32c),
            ChecksumAlgorithm::Sha224 => bytes.try_into().ok().map(Self::Sha224),
            ChecksumAlgorithm::Sha256 => bytes.try_into().ok().map(Self::Sha256),
            ChecksumAlgorithm::Sha384 => bytes.try_into().ok().map(Self::Sha384),
            ChecksumAlgorithm::Sha512 => bytes.try_into().ok().map(Self::Sha512),
        }
    }

    /// How it was computed.
    #[must_use]
    pub const fn algorithm(&self) -> ChecksumAlgorithm {
        match self {
            Self::None => ChecksumAlgorithm::None,
            Self::Crc32c(_) => ChecksumAlgorithm::Crc32c,
            Self::Sha224(_) => ChecksumAlgorithm::Sha224,
            Self::Sha256(_) => ChecksumAlgorithm::Sha256,
            Self::Sha384(_) => ChecksumAlgorithm::Sha384,
            Self::Sha512(_) => ChecksumAlgorithm::Sha512,
        }
    }

    /// Its bytes, in the order of the manifest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Crc32c(bytes) => bytes,
            Self::Sha224(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
            Self::Sha384(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }
}

impl fmt::Display for FileChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({self})", self.algorithm())
    }
}

/// Computes the checksum of a file's contents, piece by piece, to compare it with the manifest's.
///
/// # Example: checking a file
/// ```
/// use pitr::format::backup_manifest::{ChecksumAlgorithm, ChecksumHasher};
///
/// let mut hasher = ChecksumHasher::new(ChecksumAlgorithm::Crc32c);
/// hasher.update(b"1234");
/// hasher.update(b"56789");
/// assert_eq!(hasher.finish().to_string(), "839206e3");
/// ```
#[derive(Clone, Debug)]
pub struct ChecksumHasher(Hasher);

#[derive(Clone, Debug)]
enum Hasher {
    None,
    Crc32c(u32),
    Sha224(Sha224),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl ChecksumHasher {
    /// A hasher that has seen nothing yet.
    #[must_use]
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        Self(match algorithm {
            ChecksumAlgorithm::None => Hasher::None,
            ChecksumAlgorithm::Crc32c => Hasher::Crc32c(0),
            ChecksumAlgorithm::Sha224 => Hasher::Sha224(Sha224::new()),
            ChecksumAlgorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            ChecksumAlgorithm::Sha384 => Hasher::Sha384(Sha384::new()),
            ChecksumAlgorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        })
    }

    /// Adds the next bytes of the file.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            Hasher::None => (),
            Hasher::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, data),
            Hasher::Sha224(hash) => hash.update(data),
            Hasher::Sha256(hash) => hash.update(data),
            Hasher::Sha384(hash) => hash.update(data),
            Hasher::Sha512(hash) => hash.update(data),
        }
    }

    /// The checksum of everything that was added.
    #[must_use]
    pub fn finish(self) -> FileChecksum {
        match self.0 {
            Hasher::None => FileChecksum::None,
            Hasher::Crc32c(crc) => FileChecksum::Crc32c(crc.to_le_bytes()),
            Hasher::Sha224(hash) => FileChecksum::Sha224(hash.finalize().into()),
            Hasher::Sha256(hash) => FileChecksum::Sha256(hash.finalize().into()),
            Hasher::Sha384(hash) => FileChecksum::Sha384(hash.finalize().into()),
            Hasher::Sha512(hash) => FileChecksum::Sha512(hash.finalize().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digests of "abc": FIPS 180-4's examples, and CRC-32C's 0x364B3FB7 in the order of memory.
    const ABC: [(ChecksumAlgorithm, &str); 6] = [
        (ChecksumAlgorithm::None, ""),
        (ChecksumAlgorithm::Crc32c, "b73f4b36"),
        (ChecksumAlgorithm::Sha224, "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        (ChecksumAlgorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            ChecksumAlgorithm::Sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            ChecksumAlgorithm::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd\
             454d4423643ce80e2a9ac94fa54ca49f",
        ),
    ];

    #[test]
    fn known_answers_of_every_algorithm() {
        for (algorithm, digits) in ABC {
            let mut hasher = ChecksumHasher::new(algorithm);
            hasher.update(b"a");
            hasher.update(b"bc");
            let checksum = hasher.finish();
            assert_eq!(checksum.to_string(), digits);
            assert_eq!(FileChecksum::parse(algorithm, digits), Ok(checksum));
            assert_eq!(FileChecksum::parse(algorithm, &digits.to_uppercase()), Ok(checksum));
            assert_eq!((checksum.algorithm(), algorithm.to_string().parse()), (algorithm, Ok(algorithm)));
        }
    }

    #[test]
    fn digits_of_another_length_are_no_checksum() {
        for (algorithm, digits) in ABC {
            for wrong in [format!("{digits}0"), format!("{digits}00"), format!("{digits}é"), "zz".to_owned()] {
                assert!(FileChecksum::parse(algorithm, &wrong).is_err(), "{algorithm} {wrong}");
            }
        }
        assert!("MD5".parse::<ChecksumAlgorithm>().is_err());
    }
}
