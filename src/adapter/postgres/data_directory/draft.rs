//! A file that is being written.

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::super::OsUser;
use super::super::disk::{self, blocking, failed};
use super::output::Output;
use crate::port::PortError;

/// What is gathered before it is written at once: few jumps to another thread, and large writes.
const GATHERED_BYTES_MAX: usize = 1 << 20;

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

impl Opening {
    /// For a file of which nothing that stands there stays.
    const fn without_content(self) -> Self {
        if matches!(self, Self::Over) { Self::Anew } else { self }
    }
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
    is_cached: bool,
    output: Option<Output>,
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
        let (gathered, gathered_bytes, output) = (Vec::new(), 0, None);
        Self { path, mode, owner, opening, gathered, gathered_bytes, is_cached: true, output }
    }

    /// Whether somebody reads it soon. Otherwise it is written past the page cache, if it is large.
    pub(super) fn cached(self, is_cached: bool) -> Self {
        Self { is_cached, ..self }
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
        if matches!(self.gathered[..], [Piece::Zeros(zeros)] if self.output.is_none() && Some(zeros) == length) {
            self.opening = self.opening.without_content();
        }
        let output = self.write_out()?;
        // What is right already is not set: a file that was not touched has nothing to be synced.
        let mut complete = || {
            let file = output.complete()?;
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

    fn write_out(&mut self) -> Result<&mut Output, PortError> {
        let mut output = match self.output.take() {
            Some(output) => output,
            None => self.open().map_err(failed("create", &self.path))?,
        };
        for piece in self.gathered.drain(..) {
            write(&mut output, piece).map_err(failed("write", &self.path))?;
        }
        self.gathered_bytes = 0;
        Ok(self.output.insert(output))
    }

    fn open(&self) -> io::Result<Output> {
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        match self.opening {
            Opening::New => options.create_new(true),
            Opening::Anew => options.create(true).truncate(true),
            Opening::Over => options.create(true),
        };
        let output = Output::new(options.open(&self.path)?);
        let is_small = self.gathered_bytes < GATHERED_BYTES_MAX;
        Ok(if is_small || self.is_cached { output } else { output.past_page_cache(&self.path) })
    }
}

fn write(output: &mut Output, piece: Piece) -> io::Result<()> {
    match piece {
        Piece::Bytes(bytes) => output.write(&bytes),
        Piece::Zeros(bytes) => output.zeros(bytes),
        Piece::Kept(bytes) => output.keep(bytes),
    }
}

/// Writes a whole small file under a temporary name, syncs it and puts it in place.
pub(super) fn replace_file(path: &Path, content: &[u8], mode: u32, owner: Option<OsUser>) -> Result<(), PortError> {
    let mut waiting = path.as_os_str().to_owned();
    waiting.push(".pitr");
    let waiting = PathBuf::from(waiting);
    Draft::new(waiting.clone(), mode, owner, Opening::Anew).with(Bytes::copy_from_slice(content)).close(None)?;
    disk::rename(&waiting, path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Writes `pieces` over what stands at `path`, and says how many bytes the disk has for it.
    fn over(path: &Path, length: u64, pieces: impl FnOnce(Draft) -> Draft) -> Result<u64, PortError> {
        pieces(Draft::new(path.to_owned(), 0o600, None, Opening::Over)).close(Some(length))?;
        Ok(fs::metadata(path).unwrap().blocks() * 512)
    }

    #[test]
    fn zeros_take_no_room_where_nothing_stands() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        assert_eq!(over(&path, 1 << 20, |draft| draft.with_zeros(1 << 20)).unwrap(), 0, "a new file");
        fs::write(&path, [7; 1 << 20]).unwrap();
        assert_eq!(over(&path, 1 << 20, |draft| draft.with_zeros(1 << 20)).unwrap(), 0, "nothing of it stays");
        fs::write(&path, [7; 4096]).unwrap();
        let mixed = |draft: Draft| draft.with_kept(1024).with_zeros(1 << 20);
        assert!(over(&path, (1 << 20) + 1024, mixed).unwrap() <= 8192);
        assert_eq!(fs::read(&path).unwrap(), [[7; 1024].to_vec(), vec![0; 1 << 20]].concat());
    }

    #[test]
    fn what_was_to_stay_must_be_there() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        let kept = |draft: Draft| draft.with_kept(4096);
        let error = over(&path, 4096, kept).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("somebody else"), "{error}");
        fs::write(&path, [7; 4096]).unwrap();
        over(&path, 4096, kept).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [7; 4096]);
    }
}
