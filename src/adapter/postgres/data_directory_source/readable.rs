//! A file that is read where it lies, and whose pages are checked.

use std::fs::File;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;

use super::super::disk::read_at;
use crate::adapter::pace::Pace;
use crate::format::page;
use crate::model::Lsn;
use crate::port::{FileReader, PortError};

/// How a server's pages are checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageSettings {
    /// The length of a page (`block_size`).
    pub(super) page_bytes: usize,
    /// The length at which a relation is continued in another file (`segment_size`).
    pub(super) segment_bytes: u64,
    /// Where the backup began: later pages are in the log.
    pub(super) begin: Lsn,
}

/// The pages of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pages {
    settings: PageSettings,
    /// The number of its first page in the relation.
    first: u32,
}

impl Pages {
    /// Those of the segment `number` of a relation; `None` if no relation is as long.
    pub(super) fn of_segment(settings: PageSettings, number: u32) -> Option<Self> {
        let first = u64::from(number) * (settings.segment_bytes / u64::try_from(settings.page_bytes).ok()?);
        Some(Self { settings, first: u32::try_from(first).ok()? })
    }
}

/// A file of a data directory.
#[derive(Debug)]
pub(super) struct ReadableFile {
    pub(super) file: File,
    /// Its name, for errors.
    pub(super) path: String,
    /// `None` if it has none, or they have no checksums.
    pub(super) pages: Option<Pages>,
    pub(super) pace: Arc<Pace>,
}

#[async_trait]
impl FileReader for ReadableFile {
    async fn admit(&self, bytes: usize) {
        self.pace.wait(bytes).await;
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<Vec<u32>, PortError> {
        let failed = |error| PortError::io(format!("cannot read {:?} of the data directory", self.path), error);
        let read = read_at(&self.file, offset, buffer).map_err(failed)?;
        // It was truncated meanwhile, and replay will do so again.
        buffer[read..].fill(0);
        match self.pages {
            Some(pages) => self.damaged(pages, offset, &mut buffer[..read]).map_err(failed),
            None => Ok(Vec::new()),
        }
    }
}

impl ReadableFile {
    /// Which of the whole pages in `buffer`, which was read at `offset`, are damaged, and stay so when they are read once more.
    fn damaged(&self, pages: Pages, offset: u64, buffer: &mut [u8]) -> io::Result<Vec<u32>> {
        let Pages { settings: PageSettings { page_bytes, begin, .. }, first } = pages;
        let number = offset.div_ceil(page_bytes as u64);
        let skipped = usize::try_from(number * page_bytes as u64 - offset).unwrap_or(usize::MAX).min(buffer.len());
        let mut damaged = Vec::new();
        for (number, content) in (number..).zip(buffer[skipped..].chunks_exact_mut(page_bytes)) {
            let block = first.saturating_add(u32::try_from(number).unwrap_or(u32::MAX));
            if page::is_damaged(content, block, begin) {
                let whole = read_at(&self.file, number * page_bytes as u64, content)? == page_bytes;
                if whole && page::is_damaged(content, block, begin) {
                    damaged.push(block);
                }
            }
        }
        Ok(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 8192;

    fn file(content: &[u8]) -> ReadableFile {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, content).unwrap();
        let settings = PageSettings { page_bytes: PAGE, segment_bytes: 1 << 30, begin: Lsn::MAX };
        let pages = Pages::of_segment(settings, 2);
        ReadableFile {
            file,
            path: "base/5/16384.2".to_owned(),
            pages,
            pace: Arc::new(Pace::new(None, Arc::new(crate::adapter::SystemClock::new()))),
        }
    }

    #[test]
    fn damaged_pages_have_the_numbers_of_the_relation() {
        let mut content = vec![0; PAGE * 4];
        for page in [1, 3] {
            content[page * PAGE + 100] = 1;
        }
        let (file, first) = (file(&content), 2 * 131_072);
        let mut buffer = vec![9; PAGE * 4];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), [first + 1, first + 3]);
        assert_eq!(buffer, content);
        assert_eq!(file.read_at(PAGE as u64 * 2, &mut buffer[..PAGE * 2]).unwrap(), [first + 3]);
        assert_eq!(file.read_at(PAGE as u64 / 2, &mut buffer[..PAGE * 2]).unwrap(), [first + 1], "the whole one");
        assert_eq!(file.read_at(0, &mut buffer[..PAGE / 2]).unwrap(), [0; 0]);
    }

    #[test]
    fn what_was_truncated_is_zeros() {
        let file = file(&[7; PAGE + 100]);
        let mut buffer = vec![9; PAGE * 2];
        file.read_at(100, &mut buffer).unwrap();
        assert_eq!(buffer, [vec![7; PAGE], vec![0; PAGE]].concat());
        file.read_at(PAGE as u64 * 9, &mut buffer).unwrap();
        assert_eq!(buffer, vec![0; PAGE * 2]);
    }
}
