//! WAL segments: the files into which PostgreSQL cuts its log.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Lsn, ParseError};

/// The size of a server's WAL segments, set by `initdb --wal-segsize`: a power of two from 1 MiB to 1 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct SegmentSize(u32);

impl SegmentSize {
    /// The smallest segment, 1 MiB.
    pub const MIN: Self = Self(1 << 20);
    /// PostgreSQL's default, 16 MiB.
    pub const DEFAULT: Self = Self(16 << 20);
    /// The largest segment, 1 GiB.
    pub const MAX: Self = Self(1 << 30);

    /// A size in bytes.
    ///
    /// # Errors
    /// If it is not a power of two from 1 MiB to 1 GiB.
    pub fn new(bytes: u64) -> Result<Self, ParseError> {
        u32::try_from(bytes)
            .ok()
            .filter(|size| size.is_power_of_two() && (Self::MIN.0..=Self::MAX.0).contains(size))
            .map(Self)
            .ok_or_else(|| ParseError::new("WAL segment size", bytes, "a power of two from 1 MiB to 1 GiB, in bytes"))
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0 as u64
    }
}

impl TryFrom<u64> for SegmentSize {
    type Error = ParseError;

    fn try_from(bytes: u64) -> Result<Self, ParseError> {
        Self::new(bytes)
    }
}

impl From<SegmentSize> for u64 {
    fn from(size: SegmentSize) -> Self {
        size.bytes()
    }
}

impl fmt::Display for SegmentSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0 >> 20)
    }
}

/// The number of a segment, counted from the start of the log in segments of the server's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNumber(u64);

impl SegmentNumber {
    /// The segment with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The segment that holds the byte at `lsn`.
    #[must_use]
    pub const fn containing(lsn: Lsn, size: SegmentSize) -> Self {
        Self(lsn.as_u64() / size.bytes())
    }

    /// The segment's number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The segment after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position of the segment's first byte; [`Lsn::MAX`] if it lies beyond the log.
    #[must_use]
    pub const fn start(self, size: SegmentSize) -> Lsn {
        Lsn::new(self.0.saturating_mul(size.bytes()))
    }
}

impl fmt::Display for SegmentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_initdb() {
        for megabytes in [1_u64, 2, 16, 64, 1024] {
            assert_eq!(SegmentSize::new(megabytes << 20).unwrap().bytes(), megabytes << 20);
        }
        for bytes in [0, 1, 1 << 19, 3 << 20, (1 << 30) + 1, 1 << 31, u64::MAX] {
            assert!(SegmentSize::new(bytes).is_err(), "{bytes}");
        }
    }

    #[test]
    fn a_segment_holds_its_bytes() {
        let size = SegmentSize::DEFAULT;
        let segment = SegmentNumber::containing("16/B374D848".parse().unwrap(), size);
        assert_eq!(segment.start(size), "16/B3000000".parse().unwrap());
        assert_eq!(segment.next().start(size), "16/B4000000".parse().unwrap());
        assert_eq!(SegmentNumber::new(u64::MAX).start(size), Lsn::MAX);
    }
}
