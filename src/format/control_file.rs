//! The file `global/pg_control`: what a server remembers of itself.
//!
//! As in `src/include/catalog/pg_control.h`, of which the beginning has been the same since PostgreSQL 11.

use bytes::Buf;

use crate::model::{Lsn, SystemId, TimelineId};

/// What PostgreSQL writes of it; the rest of the file is zeros (`PG_CONTROL_FILE_SIZE`).
pub const CONTROL_FILE_BYTES: usize = 8192;
/// Its content is at least as long, and at most (`PG_CONTROL_MAX_SAFE_SIZE`).
const CONTENT_BYTES_MIN: usize = 64;
const CONTENT_BYTES_MAX: usize = 512;

/// What a server does, or did when it ended (`DBState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerState {
    /// It replays the log of another one: a standby, or a restore.
    InArchiveRecovery,
    /// It takes writes.
    InProduction,
    /// It starts, ends, has ended, or recovers from a crash.
    Other,
}

impl From<u32> for ServerState {
    fn from(number: u32) -> Self {
        match number {
            5 => Self::InArchiveRecovery,
            6 => Self::InProduction,
            _ => Self::Other,
        }
    }
}

/// What stands in `pg_control`, as far as a backup needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ControlFile {
    /// Which server it is.
    pub system_id: SystemId,
    /// The layout of its catalogs: a part of the names of directories in tablespaces.
    pub catalog_version: u32,
    /// What it does.
    pub state: ServerState,
    /// The redo point of its last checkpoint or restart point.
    pub redo: Lsn,
    /// The timeline of that.
    pub timeline: TimelineId,
}

/// A file that is no `pg_control`, or was read while it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no whole pg_control: {0}")]
pub struct ControlFileError(&'static str);

impl ControlFile {
    /// Reads `bytes`, whose checksum must be right.
    ///
    /// # Errors
    /// If it is not the content of such a file, or not all of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ControlFileError> {
        if !has_checksum(bytes) {
            return Err(ControlFileError("its checksum is wrong"));
        }
        let mut rest = bytes;
        let system_id = SystemId::new(rest.get_u64_le());
        let (_version, catalog_version) = (rest.get_u32_le(), rest.get_u32_le());
        let state = rest.get_u32_le().into();
        // What aligns it, the time, and the place of the checkpoint's record.
        rest.advance(20);
        let (redo, timeline) = (Lsn::new(rest.get_u64_le()), TimelineId::new(rest.get_u32_le()));
        let timeline = timeline.ok_or(ControlFileError("it names no timeline"))?;
        Ok(Self { system_id, catalog_version, state, redo, timeline })
    }
}

/// Whether the content ends with its checksum. Where it ends, depends on the version; that the checksum is right at another place by
/// chance, is as unlikely as that it is right for another content.
fn has_checksum(bytes: &[u8]) -> bool {
    (CONTENT_BYTES_MIN..=CONTENT_BYTES_MAX.min(bytes.len().saturating_sub(4))).step_by(4).any(|end| {
        let (content, mut rest) = bytes.split_at(end);
        rest.get_u32_le() == crc32c::crc32c(content)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(content_bytes: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(7_000_000_000_000_000_001_u64.to_le_bytes());
        bytes.extend([1300_u32, 202_209_061, 6, 0].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([1_700_000_000_u64, 0x0100_0060, 0x0100_0028].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(3_u32.to_le_bytes());
        bytes.resize(content_bytes, 9);
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes.resize(CONTROL_FILE_BYTES, 0);
        bytes
    }

    #[test]
    fn the_checksum_is_found_wherever_the_version_has_it() {
        for content_bytes in [64, 288, 292, 508] {
            let read = ControlFile::parse(&control(content_bytes)).unwrap();
            assert_eq!(read.system_id, SystemId::new(7_000_000_000_000_000_001));
            assert_eq!(read.state, ServerState::InProduction);
            assert_eq!(
                (read.catalog_version, read.redo, read.timeline.as_u32()),
                (202_209_061, Lsn::new(0x0100_0028), 3)
            );
        }
    }

    #[test]
    fn what_was_read_while_it_was_written_is_refused() {
        let whole = control(288);
        for length in [0, 3, 63, 64, 291] {
            assert!(ControlFile::parse(&whole[..length]).is_err(), "{length}");
        }
        for byte in [0, 12, 40, 100, 287, 288] {
            let mut torn = whole.clone();
            torn[byte] ^= 1;
            assert!(ControlFile::parse(&torn).is_err(), "{byte}");
        }
        assert!(ControlFile::parse(&[0; CONTROL_FILE_BYTES]).is_err());
    }
}
