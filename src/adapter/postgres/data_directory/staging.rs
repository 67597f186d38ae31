//! The staged log: a directory from which `restore_command` takes segments, and what it must know.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::super::OsUser;
use super::super::disk::{self, blocking, failed};
use super::access::Access;
use super::draft::{Draft, Opening, replace_file};
use super::layout::STAGING;
use super::postmaster;
use super::writer::{Places, StagedSegment};
use crate::model::{SegmentSize, TimelineId};
use crate::port::{PortError, PortErrorKind, RecoverySettings};

/// What PostgreSQL runs for every file of the log that it wants.
const RESTORE_COMMAND: &str = include_str!("restore_command.sh");
/// How often it is looked whether recovery has taken a segment.
const POLL: Duration = Duration::from_millis(20);
/// What is staged ahead of recovery has this size, but recovery shall never wait for a segment that has yet to be begun.
const BYTES_AHEAD_MAX: u64 = 256 << 20;
const SEGMENTS_AHEAD_MIN: usize = 2;
/// How long a server that has ended before it had recovered may take to be started again.
const RESTART_TIME_MAX: Duration = Duration::from_secs(5);

/// The directory `pitr_wal` of a data directory. As long as it lives, recovery knows that more segments may come.
#[derive(Debug)]
pub(super) struct Staging {
    directory: PathBuf,
    data_directory: PathBuf,
    owner: Option<OsUser>,
    ahead_max: Option<NonZeroUsize>,
    /// Segments that are being written. They are counted under a lock, so that two do not take the last place.
    in_flight: Arc<Mutex<usize>>,
    feeder: Mutex<Option<Feeder>>,
    /// Whether a server was seen in the data directory: before, it is waited for.
    began: AtomicBool,
}

impl Staging {
    /// Makes the directory, which must not be there: so of two restores into one place, one is refused.
    pub(super) fn create(
        data_directory: &Path,
        owner: Option<OsUser>,
        ahead_max: Option<NonZeroUsize>,
    ) -> Result<Self, PortError> {
        let directory = data_directory.join(STAGING);
        fs::create_dir(&directory).map_err(failed("take possession of", &directory))?;
        for made in [&directory, &directory.join("ready"), &directory.join("kept"), &directory.join("history")] {
            disk::make_directory(made, 0o700, owner)?;
        }
        let feeder = Feeder::lock(directory.join("feeder"), owner)?;
        let data_directory = data_directory.to_owned();
        Ok(Self {
            directory,
            data_directory,
            owner,
            ahead_max,
            in_flight: Arc::default(),
            feeder: Mutex::new(Some(feeder)),
            began: AtomicBool::default(),
        })
    }

    /// Writes the history file of `timeline`.
    pub(super) async fn history(&self, timeline: TimelineId, content: Bytes) -> Result<(), PortError> {
        let path = self.directory.join("history").join(format!("{:08X}.history", timeline.as_u32()));
        let owner = self.owner;
        blocking(move || replace_file(&path, &content, Access::OWNER.file, owner)).await
    }

    /// Writes the command and the list of the segments that it waits for. What PostgreSQL takes from here, is for whom `access` says.
    pub(super) fn expect(&self, recovery: &RecoverySettings, access: Access) -> Result<Expected, PortError> {
        let names: BTreeSet<String> = recovery.segments.iter().cloned().collect();
        if let Some(name) = names.iter().find(|name| !is_segment_name(name)) {
            return Err(PortError::new(PortErrorKind::Invalid, format!("{name:?} is no name of a WAL segment")));
        }
        let list: String = names.iter().map(|name| format!("{name}\n")).collect();
        for (name, content) in [("segments", &*list), ("restore_command", RESTORE_COMMAND)] {
            replace_file(&self.directory.join(name), content.as_bytes(), Access::OWNER.file, self.owner)?;
        }
        let histories = disk::list(&self.directory.join("history"))?;
        histories.iter().try_for_each(|history| access.grant(history))?;
        Ok(Expected { names, segment_size: recovery.segment_size, access })
    }

    /// Begins to stage a segment as soon as there is a place for it; `None` if recovery has ended.
    pub(super) async fn segment(&self, name: &str, expected: &Expected) -> Result<Option<StagedSegment>, PortError> {
        if !expected.names.contains(name) {
            let context = format!("segment {name:?} is none of those that recovery was told to wait for");
            return Err(PortError::new(PortErrorKind::Invalid, context));
        }
        let Some(slot) = self.place(expected.segment_size).await? else { return Ok(None) };
        let [kept, to] = ["kept", "ready"].map(|part| self.directory.join(part).join(name));
        let places = Places { from: self.part(name), kept, to };
        let draft = Draft::new(places.from.clone(), expected.access.file, self.owner, Opening::Anew);
        Ok(Some(StagedSegment::new(draft, expected.segment_size.bytes(), places, slot)))
    }

    /// Where the segment `name` lies while it is written.
    fn part(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.part"))
    }

    /// Says that nothing more is staged.
    pub(super) async fn end(&self) -> Result<(), PortError> {
        let (path, owner) = (self.directory.join("end"), self.owner);
        blocking(move || replace_file(&path, b"", Access::OWNER.file, owner)).await
    }

    /// Lets go of the lock: recovery fails when it asks for what is not staged, unless the end was said.
    pub(super) fn abandon(&self) {
        drop(self.feeder.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    async fn place(&self, size: SegmentSize) -> Result<Option<Slot>, PortError> {
        let mut seen = Instant::now();
        loop {
            // Asked before looking for the end of recovery: a server that has recovered may end, too.
            if self.server_is_awaited() {
                seen = Instant::now();
            }
            if has_recovered(&self.data_directory)? {
                return Ok(None);
            }
            if let Some(slot) = self.free_place(size)? {
                return Ok(Some(slot));
            }
            if seen.elapsed() > RESTART_TIME_MAX {
                let context = format!("the server in {} ended before it had recovered", self.data_directory.display());
                return Err(PortError::new(PortErrorKind::Unavailable, context));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether the server runs, or was not started yet.
    fn server_is_awaited(&self) -> bool {
        let runs = postmaster::runs(&self.data_directory);
        let began = self.began.fetch_or(runs, Ordering::Relaxed);
        runs || !began
    }

    fn free_place(&self, size: SegmentSize) -> Result<Option<Slot>, PortError> {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let staged = disk::list(&self.directory.join("ready"))?.len();
        if staged.saturating_add(*in_flight) >= self.ahead_max.map_or_else(|| ahead_of(size), NonZeroUsize::get) {
            return Ok(None);
        }
        self.forget_taken()?;
        *in_flight = in_flight.saturating_add(1);
        Ok(Some(Slot(Arc::clone(&self.in_flight))))
    }

    /// Gives up what is kept of the segments that recovery has taken, except the last: it may still ask for that one again.
    fn forget_taken(&self) -> Result<(), PortError> {
        let ready = self.directory.join("ready");
        // Asked in the order in which it comes to lie there.
        let is_staged = |name: &str| self.part(name).exists() || ready.join(name).exists();
        let mut taken = disk::list(&self.directory.join("kept"))?;
        taken.retain(|path| !path.file_name().and_then(OsStr::to_str).is_some_and(is_staged));
        // They are taken in the order of their names.
        taken.sort_unstable();
        taken.pop();
        taken.iter().try_for_each(|path| fs::remove_file(path).map_err(failed("remove", path)))
    }
}

/// How many segments are staged ahead of recovery unless it is set.
fn ahead_of(size: SegmentSize) -> usize {
    usize::try_from(BYTES_AHEAD_MAX / size.bytes()).unwrap_or(usize::MAX).max(SEGMENTS_AHEAD_MIN)
}

/// Whether PostgreSQL has ended its recovery: it removes the file that asked for it (`exitArchiveRecovery` and what follows
/// it, `src/backend/access/transam/xlog.c`).
pub(super) fn has_recovered(data_directory: &Path) -> Result<bool, PortError> {
    let signal = data_directory.join("recovery.signal");
    signal.try_exists().map(|asked| !asked).map_err(failed("look for", &signal))
}

/// The segments that recovery waits for.
#[derive(Debug)]
pub(super) struct Expected {
    names: BTreeSet<String>,
    segment_size: SegmentSize,
    access: Access,
}

/// A place among the segments that may be staged ahead of recovery, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<Mutex<usize>>);

impl Drop for Slot {
    fn drop(&mut self) {
        let mut in_flight = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *in_flight = in_flight.saturating_sub(1);
    }
}

/// A locked file that says that somebody stages segments. The lock ends with the process, however that ends.
#[derive(Debug)]
struct Feeder {
    path: PathBuf,
    _lock: File,
}

impl Feeder {
    fn lock(path: PathBuf, owner: Option<OsUser>) -> Result<Self, PortError> {
        let locked = || {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            writeln!(file, "{}", std::process::id())?;
            file.lock()?;
            Ok(file)
        };
        let lock = locked().map_err(failed("lock", &path))?;
        disk::own(&path, owner)?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        // Where locks cannot be asked for, the missing file says it. Nothing can be done if it cannot be removed.
        let _ = fs::remove_file(&self.path);
    }
}

/// Says no if somebody stages log.
pub(super) fn require_no_feeder(data_directory: &Path) -> Result<(), PortError> {
    let feeder = data_directory.join(STAGING).join("feeder");
    if OpenOptions::new().write(true).open(&feeder).is_ok_and(|file| file.try_lock().is_err()) {
        let context = format!("another restore is going on in {}", data_directory.display());
        return Err(PortError::new(PortErrorKind::Conflict, context));
    }
    Ok(())
}

/// Removes a staged log, or what is left of one.
pub(super) fn remove(data_directory: &Path) -> Result<(), PortError> {
    let directory = data_directory.join(STAGING);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", &directory)(error)),
        _ => Ok(()),
    }
}

fn is_segment_name(name: &str) -> bool {
    name.len() == 24 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_segments_do_not_take_more_room() {
        for (mebibytes, ahead) in [(1, 256), (16, 16), (64, 4), (1024, 2)] {
            assert_eq!(ahead_of(SegmentSize::new(mebibytes << 20).unwrap()), ahead, "{mebibytes} MiB");
        }
    }
}
