//! What tells that a file has not changed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};

use crate::model::FileStamp;

/// Clocks of file systems are coarse: those of ext3 and of some network file systems show whole seconds.
const SETTLE_TIME_MIN: Duration = Duration::from_secs(2);
/// A single write takes no longer, if a machine is in order.
pub(super) const SETTLE_TIME: Duration = Duration::from_secs(300);

/// Gives stamps to files that have settled: that changed last some time before a backup was asked for.
///
/// A file gets its time of change when a write to it begins. Until that is done, part of it is still to come, and nothing shows it: the kernel may make the writer
/// wait in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamper {
    asked: SystemTime,
    since: Instant,
    settle_time: Duration,
}

impl Stamper {
    /// For a backup that is asked for after this, of files that settle in `settle_time`.
    pub(super) fn new(settle_time: Duration) -> Self {
        Self { asked: SystemTime::now(), since: Instant::now(), settle_time: settle_time.max(SETTLE_TIME_MIN) }
    }

    /// The stamp of a file that has this metadata, if it has settled.
    ///
    /// The kernel sets the time of the last change (`st_ctim`) to its clock whenever the content, the length or the other times change; no
    /// program can set it.
    pub(super) fn stamp(&self, metadata: &Metadata) -> Option<FileStamp> {
        let settled_before = self.settled_before(SystemTime::now(), self.since.elapsed())?;
        changed_before(settled_before, metadata).then(|| stamp_of(metadata))
    }

    /// Before which time files have settled, if the clock shows `now` when so much time has `elapsed`. A clock that was set back meanwhile
    /// makes what has just changed look older, by as much.
    fn settled_before(&self, now: SystemTime, elapsed: Duration) -> Option<SystemTime> {
        let set_back = (self.asked + elapsed).duration_since(now).unwrap_or_default();
        self.asked.checked_sub(self.settle_time)?.checked_sub(set_back)
    }
}

fn changed_before(time: SystemTime, metadata: &Metadata) -> bool {
    let (seconds, nanos) = (u64::try_from(metadata.ctime()), u32::try_from(metadata.ctime_nsec()));
    let changed = seconds.ok().zip(nanos.ok()).map(|(seconds, nanos)| Duration::new(seconds, nanos));
    changed.is_some_and(|changed| SystemTime::UNIX_EPOCH + changed < time)
}

fn stamp_of(metadata: &Metadata) -> FileStamp {
    let state = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    let mut hasher = Sha256::new_with_prefix(metadata.ino().to_le_bytes());
    state.iter().for_each(|time| hasher.update(time.to_le_bytes()));
    FileStamp::new(*hasher.finalize().first_chunk().expect("a SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_changes_the_stamp() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("file"), directory.path().join("other"));
        let stamp = |path| stamp_of(&fs::metadata(path).unwrap());
        fs::write(&path, "1").unwrap();
        let first = stamp(&path);
        assert_eq!(stamp(&path), first);

        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        fs::write(&path, "2").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_ne!(stamp(&path), first, "the time of the last modification was set back");
        fs::rename(&path, &other).unwrap();
        fs::write(&path, "2").unwrap();
        assert_ne!(stamp(&path), stamp(&other), "it is another file");
    }

    #[test]
    fn what_changed_just_now_has_not_settled() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let metadata = file.as_file().metadata().unwrap();
        let now = SystemTime::now();
        assert_eq!(Stamper::new(Duration::ZERO).stamp(&metadata), None);
        assert!(changed_before(now + Duration::from_secs(1), &metadata));
        assert!(!changed_before(now - Duration::from_secs(1), &metadata));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_age_files() {
        let seconds = Duration::from_secs;
        let stamper = Stamper::new(seconds(60));
        let settled = |now, elapsed| stamper.settled_before(now, elapsed).unwrap();
        let asked = stamper.asked;
        assert_eq!(settled(asked, Duration::ZERO), asked - seconds(60));
        assert_eq!(settled(asked + seconds(30), seconds(30)), asked - seconds(60));
        assert_eq!(settled(asked + seconds(90), seconds(30)), asked - seconds(60), "set ahead");
        assert_eq!(settled(asked - seconds(70), seconds(30)), asked - seconds(160), "set back by 100 seconds");
        assert_eq!(Stamper::new(Duration::ZERO).settle_time, SETTLE_TIME_MIN);
    }
}
