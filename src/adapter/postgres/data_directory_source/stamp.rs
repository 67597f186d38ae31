//! What tells that a file has not changed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::model::FileStamp;

/// What changed within this time may change again without another time of change: clocks of file systems are coarse, those of ext3 and
/// of some network file systems show whole seconds.
const UNSETTLED: Duration = Duration::from_secs(2);

/// The stamp of a file that has this metadata at `now`, if it has settled.
///
/// The kernel sets the time of the last change (`st_ctim`) to its clock whenever the content, the length or the other times change; no
/// program can set it.
pub(super) fn of(metadata: &Metadata, now: SystemTime) -> Option<FileStamp> {
    let changed = Duration::new(u64::try_from(metadata.ctime()).ok()?, u32::try_from(metadata.ctime_nsec()).ok()?);
    let age = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.checked_sub(changed)?;
    (age > UNSETTLED).then(|| {
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
        let stamp = |path, after| of(&fs::metadata(path).unwrap(), SystemTime::now() + after);
        let later = Duration::from_secs(3);
        fs::write(&path, "1").unwrap();
        let first = stamp(&path, later);
        assert!(first.is_some());
        assert_eq!(stamp(&path, later * 2), first);
        assert_eq!(stamp(&path, Duration::ZERO), None, "it changed just now");
        assert_eq!(of(&fs::metadata(&path).unwrap(), SystemTime::now() - later), None, "it changed in the future");

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
