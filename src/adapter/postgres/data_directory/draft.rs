//! A file that is being written.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::PathBuf;

use bytes::Bytes;

use super::super::OsUser;
use super::disk::{blocking, failed};
use crate::port::PortError;

/// What is gathered before it is written at once: few jumps to another thread, and large writes.
const GATHERED_BYTES_MAX: usize = 1 << 20;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What may stand where a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Nothing.
    New,
    /// Something that goes.
    Anew,
    /// Something of which parts may stay.
    Over,
}

/// A file that is written from its start to its end, in large pieces.
///
/// Each file is synced as it is finished: several at a time on the runtime's threads, that takes no longer than to sync all
/// of them in the end, and nothing has to be remembered.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    mode: u32,
    owner: Option<OsUser>,
    opening: Opening,
    gathered: Vec<Piece>,
    gathered_bytes: usize,
    file: Option<File>,
}

#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    Zeros(u64),
    Kept(u64),
}

impl Draft {
    /// A file to be at `path`. Nothing is done yet.
    pub(super) fn new(path: PathBuf, mode: u32, owner: Option<OsUser>, opening: Opening) -> Self {
        Self { path, mode, owner, opening, gathered: Vec::new(), gathered_bytes: 0, file: None }
    }

    /// Goes on with `bytes`, which are not written yet.
    pub(super) fn with(mut self, bytes: Bytes) -> Self {
        self.gathered_bytes += bytes.len();
        self.gathered.push(Piece::Bytes(bytes));
        self
    }

    /// Goes on with `bytes` zeros.
    pub(super) fn with_zeros(mut self, bytes: u64) -> Self {
        match self.gathered.last_mut() {
            Some(Piece::Zeros(zeros)) => *zeros += bytes,
            _ => self.gathered.push(Piece::Zeros(bytes)),
        }
        self
    }

    /// Goes on with the `bytes` bytes that stand there.
    pub(super) fn with_kept(mut self, bytes: u64) -> Self {
        match self.gathered.last_mut() {
            Some(Piece::Kept(kept)) => *kept += bytes,
            _ => self.gathered.push(Piece::Kept(bytes)),
        }
        self
    }

    /// Writes what was gathered if that is much, and gives itself back.
    pub(super) async fn flow(mut self) -> Result<Self, PortError> {
        if self.gathered_bytes < GATHERED_BYTES_MAX {
            return Ok(self);
        }
        blocking(move || {
            self.write_out()?;
            Ok(self)
        })
        .await
    }

    /// Writes what is gathered, gives the file its length if that may be another, its mode and owner, and syncs it.
    pub(super) fn close(mut self, length: Option<u64>) -> Result<(), PortError> {
        let (mode, owner) = (self.mode, self.owner);
        let file = self.write_out()?;
        // What is right already is not set: a file that was not touched has nothing to be synced.
        let complete = || {
            let is = file.metadata()?;
            length.filter(|length| *length != is.len()).map_or(Ok(()), |length| file.set_len(length))?;
            if is.mode() & 0o7777 != mode {
                file.set_permissions(Permissions::from_mode(mode))?;
            }
            let owner = owner.filter(|user| (user.uid(), user.gid()) != (is.uid(), is.gid()));
            owner.map_or(Ok(()), |user| fchown(file, Some(user.uid()), Some(user.gid())))?;
            file.sync_all()
        };
        complete().map_err(failed("complete", &self.path))
    }

    fn write_out(&mut self) -> Result<&File, PortError> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.open().map_err(failed("create", &self.path))?,
        };
        for piece in self.gathered.drain(..) {
            write(&mut file, piece, self.opening).map_err(failed("write", &self.path))?;
        }
        self.gathered_bytes = 0;
        Ok(self.file.insert(file))
    }

    fn open(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        match self.opening {
            Opening::New => options.create_new(true),
            Opening::Anew => options.create(true).truncate(true),
            Opening::Over => options.create(true),
        };
        options.open(&self.path)
    }
}

/// Where nothing stands, zeros are a hole; the file's length is set in the end.
fn write(file: &mut File, piece: Piece, opening: Opening) -> io::Result<()> {
    match piece {
        Piece::Bytes(bytes) => file.write_all(&bytes),
        Piece::Zeros(bytes) if opening == Opening::Over => write_zeros(file, bytes),
        Piece::Zeros(bytes) | Piece::Kept(bytes) => {
            let bytes = i64::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
            file.seek(SeekFrom::Current(bytes)).map(drop)
        }
    }
}

fn write_zeros(file: &mut File, mut bytes: u64) -> io::Result<()> {
    while bytes > 0 {
        let part = bytes.min(ZEROS.len() as u64);
        file.write_all(&ZEROS[..usize::try_from(part).unwrap_or(ZEROS.len())])?;
        bytes -= part;
    }
    Ok(())
}
