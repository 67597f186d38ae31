//! What tells that a file has not changed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::model::{FileStamp, ServerRole};

/// Clocks of file systems are coarse: those of ext3 and of some network file systems show whole seconds.
const CLOCK_TICK: Duration = Duration::from_secs(2);
/// How long a single write may take.
const WRITE_TIME_MAX: Duration = Duration::from_secs(600);

/// Before which moment a file must have changed last to have settled, for a backup that was asked for at `asked`.
///
/// A file gets its time of change when a write to it begins. Until that is done, part of it is still to come, and nothing shows it: the kernel may make the writer
/// wait in between. On a primary, `pg_backup_start` makes a checkpoint, which waits for each page that is being written
/// (`StartBufferIO` in `src/backend/storage/buffer/bufmgr.c`). A standby makes none.
pub(super) fn settled_before(asked: SystemTime, role: ServerRole) -> SystemTime {
    let slack = match role {
        ServerRole::Primary => CLOCK_TICK,
        ServerRole::Standby => WRITE_TIME_MAX,
    };
    asked.checked_sub(slack).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The stamp of a file that has this metadata, if it changed last before `settled_before`.
///
/// The kernel sets the time of the last change (`st_ctim`) to its clock whenever the content, the length or the other times change; no
/// program can set it.
pub(super) fn of(metadata: &Metadata, settled_before: SystemTime) -> Option<FileStamp> {
    let changed = Duration::new(u64::try_from(metadata.ctime()).ok()?, u32::try_from(metadata.ctime_nsec()).ok()?);
    (SystemTime::UNIX_EPOCH + changed < settled_before).then(|| {
        let state = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
        let mut hasher = Sha256::new_with_prefix(metadata.ino().to_le_bytes());
        state.iter().for_each(|time| hasher.update(time.to_le_bytes()));
        FileStamp::new(*hasher.finalize().first_chunk().expect("a SHA-256 has 32 bytes"))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_changes_the_stamp_once_it_has_settled() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("file"), directory.path().join("other"));
        let stamp = |path, after| {
            of(&fs::metadata(path).unwrap(), settled_before(SystemTime::now() + after, ServerRole::Primary))
        };
        let later = Duration::from_secs(3);
        fs::write(&path, "1").unwrap();
        let first = stamp(&path, later);
        assert!(first.is_some());
        assert_eq!(stamp(&path, later * 2), first);
        assert_eq!(stamp(&path, Duration::ZERO), None, "it changed just now");
        let standby = settled_before(SystemTime::now() + later, ServerRole::Standby);
        assert_eq!(of(&fs::metadata(&path).unwrap(), standby), None, "the write may not be done");

        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        fs::write(&path, "2").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_ne!(stamp(&path, later), first, "the time of the last modification was set back");
        fs::rename(&path, &other).unwrap();
        fs::write(&path, "2").unwrap();
        assert_ne!(stamp(&path, later), stamp(&other, later), "it is another file");
    }
}
