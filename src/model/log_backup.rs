//! Log backups: contiguous stretches of the write-ahead log.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    CommitIndex, Incarnation, Lsn, ObjectKey, ParseError, StoredObject, TimelineId, Timestamp, WalRange, hex_u64,
};

/// What a name has in place of a time that is not known.
const NO_TIME: &str = "none";

/// A contiguous range of log on one timeline, and what was learnt by decoding it.
///
/// A commit belongs to the log backup in which its record *ends*. An empty range is a log backup too: it says that up to
/// `complete_through` the server wrote nothing.
///
/// The name of its object says all of this but the index: see [`LogBackup::name`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Spelled", try_from = "Spelled")]
#[non_exhaustive]
pub struct LogBackup {
    /// Which life of the server it is of.
    pub incarnation: Incarnation,
    /// The bytes that it holds.
    pub wal: WalRange,
    /// The latest time of a commit or abort record that ends in the range; `None` if none does.
    ///
    /// Commit times are not monotonic in the log, so this need not be the time of the last one.
    pub max_commit_time: Option<Timestamp>,
    /// The server's own clock at a moment when its flush LSN was not beyond the range's end. `None` if the clock was not
    /// observed.
    pub complete_through: Option<Timestamp>,
    /// How many named restore points it holds.
    pub restore_points: u32,
    /// Where it is stored: the directory of its object.
    pub directory: ObjectKey,
    /// The size of its object as stored, in bytes.
    pub stored_bytes: u64,
    /// What lies where inside, if that was read.
    pub index: Option<Arc<CommitIndex>>,
}

impl LogBackup {
    /// A log backup of `wal`, stored below `directory`, of which nothing else is known.
    #[must_use]
    pub const fn new(incarnation: Incarnation, wal: WalRange, directory: ObjectKey, stored_bytes: u64) -> Self {
        Self {
            incarnation,
            wal,
            max_commit_time: None,
            complete_through: None,
            restore_points: 0,
            directory,
            stored_bytes,
            index: None,
        }
    }

    /// The log backup on `timeline` of `incarnation` whose `object` has a [`name`](Self::name).
    ///
    /// # Errors
    /// If it is no name that [`name`](Self::name) prints.
    pub fn named(incarnation: Incarnation, timeline: TimelineId, object: &StoredObject) -> Result<Self, ParseError> {
        let expected = "<start>-<end>-<latest commit>-<complete through>-<restore points> in upper hexadecimal digits";
        let error = || ParseError::new("name of a log backup", &object.key, expected);
        let (directory, name) = object.key.split_name().ok_or_else(error)?;
        let mut parts = name.split('-');
        let mut parsed = || {
            let mut lsn = || upper_hex(parts.next()?, 16).map(Lsn::new);
            let wal = WalRange::new(timeline, lsn()?, lsn()?).ok()?;
            let mut log = Self::new(incarnation, wal, directory.parse().ok()?, object.bytes);
            log.max_commit_time = parse_time(parts.next()?)?;
            log.complete_through = parse_time(parts.next()?)?;
            log.restore_points = u32::try_from(upper_hex(parts.next()?, 8)?).ok()?;
            parts.next().is_none().then_some(log)
        };
        parsed().ok_or_else(error)
    }

    /// The name of its object within the directory: it says everything that planning needs, so that a catalog is read from a
    /// listing, and two log backups of which the same is known have the same name.
    pub fn name(&self) -> impl fmt::Display + Ord + use<> {
        let Self { wal, max_commit_time, complete_through, restore_points, .. } = *self;
        LogName { wal, max_commit_time, complete_through, restore_points }
    }

    /// Its object's key.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        self.directory.child(self.name())
    }

    /// Its object.
    #[must_use]
    pub fn object(&self) -> StoredObject {
        StoredObject::new(self.key(), self.stored_bytes)
    }
}

/// What the name of a log backup says.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct LogName {
    wal: WalRange,
    max_commit_time: Option<Timestamp>,
    complete_through: Option<Timestamp>,
    restore_points: u32,
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WalRange { start, end, .. } = self.wal;
        write!(f, "{:016X}-{:016X}", start.as_u64(), end.as_u64())?;
        for time in [self.max_commit_time, self.complete_through] {
            match time {
                Some(time) => write!(f, "-{:016X}", time.as_unix_micros())?,
                None => write!(f, "-{NO_TIME}")?,
            }
        }
        write!(f, "-{:08X}", self.restore_points)
    }
}

fn parse_time(part: &str) -> Option<Option<Timestamp>> {
    if part == NO_TIME {
        return Some(None);
    }
    Some(Some(Timestamp::from_unix_micros(upper_hex(part, 16)?.cast_signed())?))
}

/// Names have one spelling only: they must print as they were parsed.
fn upper_hex(part: &str, digits: usize) -> Option<u64> {
    let upper = part.bytes().all(|byte| !byte.is_ascii_lowercase());
    upper.then(|| hex_u64(part, digits..=digits)).flatten()
}

/// A log backup as machines read it: the object is spelled out.
#[derive(Serialize, Deserialize)]
struct Spelled {
    incarnation: Incarnation,
    wal: WalRange,
    max_commit_time: Option<Timestamp>,
    complete_through: Option<Timestamp>,
    restore_points: u32,
    object: StoredObject,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<CommitIndex>,
}

impl From<LogBackup> for Spelled {
    fn from(log: LogBackup) -> Self {
        let object = log.object();
        let LogBackup { incarnation, wal, max_commit_time, complete_through, restore_points, index, .. } = log;
        let index = index.map(Arc::unwrap_or_clone);
        Self { incarnation, wal, max_commit_time, complete_through, restore_points, object, index }
    }
}

impl TryFrom<Spelled> for LogBackup {
    type Error = ParseError;

    fn try_from(spelled: Spelled) -> Result<Self, ParseError> {
        let mut log = Self::named(spelled.incarnation, spelled.wal.timeline, &spelled.object)?;
        log.index = spelled.index.map(Arc::new);
        let Spelled { wal, max_commit_time, complete_through, restore_points, .. } = spelled;
        let told = (wal, max_commit_time, complete_through, restore_points);
        if told == (log.wal, log.max_commit_time, log.complete_through, log.restore_points) {
            Ok(log)
        } else {
            Err(ParseError::new("log backup", &spelled.object.key, "an object whose name says what is said of it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> LogBackup {
        let wal = WalRange::new(TimelineId::FIRST, Lsn::new(0x100_0000), Lsn::new(0x1A2_B3C4)).unwrap();
        let mut log = LogBackup::new("7-15".parse().unwrap(), wal, "logs/00000001".parse().unwrap(), 5);
        log.max_commit_time = Some("2026-11-23T21:09:08.000001Z".parse().unwrap());
        log.restore_points = 3;
        log
    }

    #[test]
    fn the_name_says_everything() {
        for time in [Some(Timestamp::MIN), None] {
            let log = LogBackup { complete_through: time, ..log() };
            assert_eq!(LogBackup::named(log.incarnation, log.wal.timeline, &log.object()), Ok(log));
        }
    }

    #[test]
    fn machines_read_it_back_unless_its_name_lies() {
        let log = LogBackup { index: Some(Arc::default()), ..log() };
        let json = serde_json::to_string(&log).unwrap();
        assert_eq!(serde_json::from_str::<LogBackup>(&json).unwrap(), log);
        let lie = json.replacen("\"restore_points\":3", "\"restore_points\":4", 1);
        assert!(serde_json::from_str::<LogBackup>(&lie).is_err());
    }
}
