//! Reading `pg_control`, and whether it is that of the server.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::super::data_directory::CONTROL;
use super::super::disk::blocking;
use super::walk::entry;
use crate::format::control_file::{ControlFile, ServerState};
use crate::model::{FileEntry, Lsn, ServerRole, SystemId};
use crate::port::{PortError, PortErrorKind};

/// How often it is read until it is whole, and how much later each time: the server writes it often, but not all the time.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// `pg_control` as it was at some moment.
pub(super) struct Control {
    pub(super) entry: FileEntry,
    pub(super) bytes: Bytes,
    pub(super) content: ControlFile,
}

/// Reads the file of the data directory `directory`.
pub(super) async fn read(directory: &Path) -> Result<Control, PortError> {
    let path = directory.join(CONTROL);
    blocking(move || read_whole(&path)).await
}

/// Reads until the checksum is right: a file that is read while it is written may be a mixture.
fn read_whole(path: &Path) -> Result<Control, PortError> {
    let failed = |error| PortError::io(format!("cannot read {}", path.display()), error);
    for attempt in 0.. {
        let bytes = Bytes::from(fs::read(path).map_err(failed)?);
        match ControlFile::parse(&bytes) {
            Ok(content) => {
                let mut entry = entry(CONTROL.to_owned(), &fs::metadata(path).map_err(failed)?);
                entry.bytes = bytes.len() as u64;
                return Ok(Control { entry, bytes, content });
            }
            Err(_) if attempt < ATTEMPTS => thread::sleep(PAUSE * attempt),
            Err(error) => {
                let context = format!("{} is damaged", path.display());
                return Err(PortError::new(PortErrorKind::Invalid, context).caused_by(error));
            }
        }
    }
    unreachable!("the last attempt has a result")
}

/// The content of the file, which must be that of the server `system_id`, which is what `role` says and began a backup at `begin` just now.
pub(super) async fn of_server(
    directory: &Path,
    system_id: SystemId,
    role: ServerRole,
    begin: Lsn,
) -> Result<ControlFile, PortError> {
    let control = read(directory).await?.content;
    if control.system_id != system_id {
        let context = format!("is of server {}, but the connection leads to server {system_id}", control.system_id);
        return Err(foreign(directory, &context));
    }
    let expected = match role {
        ServerRole::Primary => ServerState::InProduction,
        ServerRole::Standby => ServerState::InArchiveRecovery,
    };
    if control.state != expected {
        let context =
            format!("is of a server that is {:?}, the connection leads to one that is {expected:?}", control.state);
        return Err(foreign(directory, &context));
    }
    if control.redo < begin {
        let context = format!("stands at {}, but the server's last checkpoint at {begin}: it is a copy", control.redo);
        return Err(foreign(directory, &context));
    }
    Ok(control)
}

/// That a server runs in `directory`, at `port`: what it says in its `postmaster.pid` (`src/include/utils/pidfile.h`).
pub(super) async fn require_port(directory: &Path, port: u16) -> Result<(), PortError> {
    let directory = directory.to_owned();
    blocking(move || {
        let path = directory.join("postmaster.pid");
        let file = fs::read_to_string(&path).map_err(|error| {
            PortError::io(format!("no server runs in {}: cannot read {}", directory.display(), path.display()), error)
        })?;
        match file.lines().nth(3).map(str::trim) {
            Some(line) if line == port.to_string() => Ok(()),
            Some(line) => Err(foreign(&directory, &format!("is that of the server at port {line}, not {port}"))),
            None => Err(foreign(&directory, "has a server that is just starting, or none")),
        }
    })
    .await
}

fn foreign(directory: &Path, what: &str) -> PortError {
    PortError::new(PortErrorKind::Invalid, format!("the data directory {} {what}", directory.display()))
}
