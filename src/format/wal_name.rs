//! Names of WAL files, as PostgreSQL gives them in `pg_wal` and to `archive_command`.

use std::fmt;

use crate::model::{Lsn, ParseError, SegmentNumber, SegmentSize, TimelineId, hex_u64};

/// The name of a file in a WAL archive.
///
/// Which segment a name means depends on the server's [`SegmentSize`], so parsing and printing take it. A file has exactly
/// one name (hexadecimal in upper case): what parses prints back to the same text. The rules are those of PostgreSQL's
/// `src/include/access/xlog_internal.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WalFileName {
    /// A whole segment: `0000000100000016000000B3`.
    Segment {
        /// The timeline that the segment was written on.
        timeline: TimelineId,
        /// Which segment.
        segment: SegmentNumber,
    },
    /// The last segment of a timeline that was left, or one that is still being received:
    /// `0000000100000016000000B3.partial`.
    Partial {
        /// The timeline that the segment was written on.
        timeline: TimelineId,
        /// Which segment.
        segment: SegmentNumber,
    },
    /// The backup history file of a snapshot that starts `offset` bytes into the segment:
    /// `0000000100000016000000B3.0000D748.backup`.
    Backup {
        /// The timeline that the snapshot was taken on.
        timeline: TimelineId,
        /// The segment in which it starts.
        segment: SegmentNumber,
        /// Where in the segment it starts, in bytes.
        offset: u32,
    },
    /// The history of a timeline: `00000002.history`.
    History {
        /// The timeline whose history it is.
        timeline: TimelineId,
    },
}

const EXPECTED: &str = "a segment, .partial, .backup or .history file as PostgreSQL names them for this segment size";

impl WalFileName {
    /// The segment of `timeline` that holds the byte at `lsn`.
    #[must_use]
    pub const fn segment_at(timeline: TimelineId, lsn: Lsn, size: SegmentSize) -> Self {
        Self::Segment { timeline, segment: SegmentNumber::containing(lsn, size) }
    }

    /// The file with this name on a server whose segments have this size.
    ///
    /// # Errors
    /// If PostgreSQL would not give a file that name.
    pub fn parse(name: &str, size: SegmentSize) -> Result<Self, ParseError> {
        read(name, size)
            .filter(|file| file.display(size).to_string() == name)
            .ok_or_else(|| ParseError::new("WAL file name", name, EXPECTED))
    }

    /// The name on a server whose segments have this size.
    #[must_use]
    pub fn display(self, size: SegmentSize) -> impl fmt::Display {
        Printed { file: self, size }
    }

    /// The timeline that the file belongs to.
    #[must_use]
    pub const fn timeline(self) -> TimelineId {
        match self {
            Self::Segment { timeline, .. }
            | Self::Partial { timeline, .. }
            | Self::Backup { timeline, .. }
            | Self::History { timeline } => timeline,
        }
    }
}

/// Reads a name in any spelling; the caller sees to it that it is the right one.
fn read(name: &str, size: SegmentSize) -> Option<WalFileName> {
    let (stem, suffix) = name.split_once('.').unwrap_or((name, ""));
    if suffix == "history" {
        return Some(WalFileName::History { timeline: timeline(stem)? });
    }
    let (head, rest) = stem.split_at_checked(8)?;
    let timeline = timeline(head)?;
    let segment = segment(rest, size)?;
    match suffix {
        "" => Some(WalFileName::Segment { timeline, segment }),
        "partial" => Some(WalFileName::Partial { timeline, segment }),
        _ => Some(WalFileName::Backup { timeline, segment, offset: offset(suffix.strip_suffix(".backup")?, size)? }),
    }
}

fn timeline(digits: &str) -> Option<TimelineId> {
    TimelineId::new(u32::try_from(hex_u64(digits, 8..=8)?).ok()?)
}

fn segment(digits: &str, size: SegmentSize) -> Option<SegmentNumber> {
    let (high, low) = digits.split_at_checked(8)?;
    let (high, low) = (hex_u64(high, 8..=8)?, hex_u64(low, 8..=8)?);
    let per_id = segments_per_id(size);
    (low < per_id).then(|| SegmentNumber::new(high * per_id + low))
}

fn offset(digits: &str, size: SegmentSize) -> Option<u32> {
    let offset = hex_u64(digits, 8..=8).filter(|offset| *offset < size.bytes())?;
    u32::try_from(offset).ok()
}

/// How many segments make up 4 GiB, the part of the log that shares the middle digits of the name.
const fn segments_per_id(size: SegmentSize) -> u64 {
    (1 << 32) / size.bytes()
}

struct Printed {
    file: WalFileName,
    size: SegmentSize,
}

impl Printed {
    fn stem(&self, f: &mut fmt::Formatter<'_>, timeline: TimelineId, segment: SegmentNumber) -> fmt::Result {
        let (number, per_id) = (segment.as_u64(), segments_per_id(self.size));
        write!(f, "{:08X}{:08X}{:08X}", timeline.as_u32(), number / per_id, number % per_id)
    }
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file {
            WalFileName::Segment { timeline, segment } => self.stem(f, timeline, segment),
            WalFileName::Partial { timeline, segment } => {
                self.stem(f, timeline, segment)?;
                f.write_str(".partial")
            }
            WalFileName::Backup { timeline, segment, offset } => {
                self.stem(f, timeline, segment)?;
                write!(f, ".{offset:08X}.backup")
            }
            WalFileName::History { timeline } => write!(f, "{:08X}.history", timeline.as_u32()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn size(mebibytes: u64) -> SegmentSize {
        SegmentSize::new(mebibytes * MIB).unwrap()
    }

    #[test]
    fn a_position_has_the_name_that_pg_walfile_name_gives_it() {
        let lsn = "16/B374D848".parse().unwrap();
        let cases =
            [(16, "0000000A00000016000000B3"), (1, "0000000A0000001600000B37"), (1024, "0000000A0000001600000002")];
        for (mebibytes, name) in cases {
            let file = WalFileName::segment_at(TimelineId::new(10).unwrap(), lsn, size(mebibytes));
            assert_eq!(file.display(size(mebibytes)).to_string(), name);
            assert_eq!(WalFileName::parse(name, size(mebibytes)), Ok(file));
        }
    }

    #[test]
    fn every_kind_of_file_prints_as_it_was_parsed() {
        let segment = SegmentNumber::containing("16/B374D848".parse().unwrap(), SegmentSize::DEFAULT);
        let timeline = TimelineId::FIRST;
        let offset = 0x74_D848;
        for (name, file) in [
            ("0000000100000016000000B3", WalFileName::Segment { timeline, segment }),
            ("0000000100000016000000B3.partial", WalFileName::Partial { timeline, segment }),
            ("0000000100000016000000B3.0074D848.backup", WalFileName::Backup { timeline, segment, offset }),
            ("00000001.history", WalFileName::History { timeline }),
        ] {
            assert_eq!(WalFileName::parse(name, SegmentSize::DEFAULT), Ok(file));
            assert_eq!(file.display(SegmentSize::DEFAULT).to_string(), name);
            assert_eq!(file.timeline(), timeline);
        }
    }

    #[test]
    fn refuses_what_postgresql_would_not_write() {
        for name in [
            "",
            "0000000100000016000000b3",
            "0000000000000016000000B3",
            "000000010000001600000100",
            "0000000100000016000000B",
            "0000000100000016000000B30",
            "0000000100000016000000B3.",
            "0000000100000016000000B3.Partial",
            "0000000100000016000000B3.00D748.backup",
            "0000000100000016000000B3.01000000.backup",
            "0000000100000016000000B3.backup",
            "0000000100000016000000B3.0074D848.backup.gz",
            "00000000.history",
            "2.history",
            "0000000é00000016000000B3",
            "archive_status",
        ] {
            assert!(WalFileName::parse(name, SegmentSize::DEFAULT).is_err(), "{name:?}");
        }
    }
}
