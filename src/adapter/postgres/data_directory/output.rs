//! A file that is written from its start to its end, past the page cache where that can be.
//!
//! A restore writes much and reads nothing of it again. To give every page of it memory of its own, and to fill that, takes more of a
//! processor's time than to decrypt, decompress and check it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Asks for direct I/O (`open(2)`). Where no system call knows of it, large pieces are written at once like all others.
#[cfg(target_os = "linux")]
const DIRECT: i32 = libc::O_DIRECT;
#[cfg(not(target_os = "linux"))]
const DIRECT: i32 = 0;
/// Where direct I/O may begin and end, in the file and in memory: a multiple of what devices and file systems want.
const BLOCK_BYTES: usize = 4096;
/// How much is written at once.
const DIRECT_BYTES: usize = 1 << 20;
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

#[derive(Debug)]
pub(super) struct Output {
    file: File,
    /// Where what comes next belongs, except for what was gathered.
    position: u64,
    direct: Option<Direct>,
}

impl Output {
    /// Writes `file`, to whose start nothing was written yet.
    pub(super) fn new(file: File) -> Self {
        Self { file, position: 0, direct: None }
    }

    /// The same file, which is at `path`, is written past the page cache if its file system can.
    pub(super) fn past_page_cache(self, path: &Path) -> Self {
        Self { direct: Direct::open(path).ok(), ..self }
    }

    /// The file, of which everything was written.
    pub(super) fn complete(&mut self) -> io::Result<&File> {
        self.flush()?;
        Ok(&self.file)
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some(direct) = self.direct.as_mut().filter(|_| !bytes.is_empty()) {
            bytes = direct.gather(bytes);
            if direct.is_full() {
                self.flush()?;
            }
        }
        self.write_cached(bytes)
    }

    /// Beyond what stands there, zeros are a hole, and the file's length is for others to set.
    pub(super) fn zeros(&mut self, bytes: u64) -> io::Result<()> {
        let end = self.position()? + bytes;
        let mut written = self.standing()?.min(bytes);
        while written > 0 {
            let part = ZEROS.len().min(usize::try_from(written).unwrap_or(usize::MAX));
            self.write_cached(&ZEROS[..part])?;
            written -= part as u64;
        }
        self.position = end;
        Ok(())
    }

    /// Passes over `bytes` bytes that stand there.
    pub(super) fn keep(&mut self, bytes: u64) -> io::Result<()> {
        let end = self.position()? + bytes;
        if self.standing()? < bytes {
            return Err(io::Error::other("what stood there has gone meanwhile: somebody else writes here"));
        }
        self.position = end;
        Ok(())
    }

    fn position(&mut self) -> io::Result<u64> {
        self.flush()?;
        Ok(self.position)
    }

    /// How many bytes stand from here on.
    fn standing(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len().saturating_sub(self.position))
    }

    fn write_cached(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.position)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Writes what was gathered: whole blocks directly, the rest of a block through the page cache.
    fn flush(&mut self) -> io::Result<()> {
        let Some(mut direct) = self.direct.take() else { return Ok(()) };
        let gathered = direct.gathered();
        let is_aligned = self.position.is_multiple_of(BLOCK_BYTES as u64);
        let (blocks, rest) = gathered.split_at(if is_aligned { gathered.len() / BLOCK_BYTES * BLOCK_BYTES } else { 0 });
        match direct.file.write_all_at(blocks, self.position) {
            Ok(()) => {
                self.position += blocks.len() as u64;
                self.write_cached(rest)?;
                direct.bytes = 0;
                self.direct = Some(direct);
                Ok(())
            }
            // It can be opened so on file systems that it cannot be written so on.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                self.write_cached(gathered)
            }
            Err(error) => Err(error),
        }
    }
}

/// The way past the page cache, and what is to go there.
#[derive(Debug)]
struct Direct {
    file: File,
    memory: Vec<u8>,
    /// Where a block begins in memory.
    start: usize,
    /// What is gathered from there on.
    bytes: usize,
}

impl Direct {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).custom_flags(DIRECT).open(path)?;
        let memory = vec![0; DIRECT_BYTES + BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        Ok(Self { file, memory, start, bytes: 0 })
    }

    /// Takes what there is room for, and gives back the rest.
    fn gather<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (taken, rest) = bytes.split_at(bytes.len().min(DIRECT_BYTES - self.bytes));
        let place = self.start + self.bytes;
        self.memory[place..place + taken.len()].copy_from_slice(taken);
        self.bytes += taken.len();
        rest
    }

    fn is_full(&self) -> bool {
        self.bytes == DIRECT_BYTES
    }

    fn gathered(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.bytes]
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// What is written next, and how much of it.
    #[derive(Clone, Copy, Debug)]
    enum Part {
        Bytes(u8, usize),
        Zeros(usize),
        Kept(usize),
    }

    fn parts() -> impl Strategy<Value = Vec<Part>> {
        let bytes = prop_oneof![0..9usize, (0..9usize).prop_map(|blocks| blocks * BLOCK_BYTES), 0..3 * DIRECT_BYTES];
        let part = (0..4, any::<u8>(), bytes).prop_map(|(kind, byte, bytes)| match kind {
            0 => Part::Zeros(bytes),
            1 => Part::Kept(bytes),
            _ => Part::Bytes(byte, bytes),
        });
        prop::collection::vec(part, 0..6)
    }

    /// What there is in the end, if `parts` are written over `standing`, of which `None` if it is too short.
    fn expected(standing: &[u8], parts: &[Part]) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        for part in parts {
            match *part {
                Part::Bytes(byte, bytes) => content.resize(content.len() + bytes, byte),
                Part::Zeros(bytes) => content.resize(content.len() + bytes, 0),
                Part::Kept(0) => {}
                Part::Kept(bytes) => content.extend_from_slice(standing.get(content.len()..content.len() + bytes)?),
            }
        }
        Some(content)
    }

    fn write(output: &mut Output, parts: &[Part]) -> io::Result<()> {
        parts.iter().try_for_each(|part| match *part {
            Part::Bytes(byte, bytes) => output.write(&vec![byte; bytes]),
            Part::Zeros(bytes) => output.zeros(bytes as u64),
            Part::Kept(bytes) => output.keep(bytes as u64),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// By which way whatever part of it is written, also if the file system refuses direct I/O when it is tried.
        #[test]
        fn a_file_is_what_was_written(parts in parts(), standing in 0..4 * DIRECT_BYTES, off in 0..2usize) {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("file");
            let standing: Vec<_> = (0..standing).map(|at| (at / 1000).to_le_bytes()[0]).collect();
            fs::write(&path, &standing).unwrap();
            let mut output = Output::new(OpenOptions::new().write(true).open(&path).unwrap()).past_page_cache(&path);
            if let Some(direct) = &mut output.direct {
                direct.start = (direct.start + off) % BLOCK_BYTES;
            }
            let written = write(&mut output, &parts);
            prop_assert_eq!(written.is_ok(), expected(&standing, &parts).is_some());
            if let Some(content) = expected(&standing, &parts) {
                output.complete().unwrap().set_len(content.len() as u64).unwrap();
                prop_assert!(fs::read(&path).unwrap() == content);
            }
        }
    }
}
