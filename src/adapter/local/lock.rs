//! The right to change the store, and its clock.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::root::Root;
use super::{failed, invalid};
use crate::port::PortError;

/// The right to change names in the store, which one thread of one process has at a time.
///
/// It ends when this is dropped, and by the kernel's hand when the process dies. The modification time of the lock's file
/// is the clock of the store.
pub(super) struct Exclusive {
    path: PathBuf,
    file: File,
}

/// Time stamps are kept in nanoseconds by some file systems, in units up to two seconds by others.
const TICKS: [Duration; 6] = [
    Duration::from_nanos(1),
    Duration::from_nanos(100),
    Duration::from_micros(1),
    Duration::from_millis(1),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

impl Exclusive {
    /// Waits for the right.
    pub(super) fn acquire(root: &Root) -> Result<Self, PortError> {
        let directory = root.private();
        fs::create_dir_all(&directory).map_err(failed("make", &directory))?;
        let path = directory.join("lock");
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(failed("open", &path))?;
        lock(&file).map_err(failed("lock", &path))?;
        Ok(Self { path, file })
    }

    /// Draws a time that was never drawn before: `now`, or the next one that is free.
    pub(super) fn draw(&self, now: SystemTime) -> Result<SystemTime, PortError> {
        let last = self.last()?;
        for next in TICKS.iter().filter_map(|tick| last.checked_add(*tick)) {
            self.set(now.max(next))?;
            let stored = self.last()?;
            if stored > last {
                return Ok(stored);
            }
        }
        Err(invalid(format!("{} cannot keep a later time: versions would be reused", self.path.display())))
    }

    /// Sees to it that no time up to `time` is drawn again.
    pub(super) fn pass(&self, time: SystemTime) -> Result<(), PortError> {
        if self.last()? < time { self.set(time) } else { Ok(()) }
    }

    fn last(&self) -> Result<SystemTime, PortError> {
        self.file.metadata().and_then(|metadata| metadata.modified()).map_err(failed("read the time of", &self.path))
    }

    fn set(&self, time: SystemTime) -> Result<(), PortError> {
        self.file.set_modified(time).map_err(failed("set the time of", &self.path))
    }
}

/// Waits for the lock, also when a signal comes meanwhile.
fn lock(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            locked => return locked,
        }
    }
}
