//! What is noticed while a server's files are read.

use crate::engine::error::{Error, ErrorKind, Result};

/// The most pages, and the most files, that a report names; there may be more.
const NAMED_MAX: usize = 1000;

/// What was noticed in a block of a file, or in all of a file.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The numbers of pages with wrong checksums.
    pub(super) damaged_pages: Vec<u32>,
    /// It has changed, though its stamp has not.
    pub(super) contradicts: bool,
}

impl Findings {
    pub(super) fn add(&mut self, other: Self) {
        self.damaged_pages.extend(other.damaged_pages);
        self.contradicts |= other.contradicts;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.damaged_pages.is_empty() && !self.contradicts
    }
}

/// A page of the server with a wrong checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedPage {
    /// The file, relative to the data directory.
    pub path: String,
    /// Its block number, counted as PostgreSQL counts those of the relation that the file is of.
    pub block: u32,
}

/// What was noticed in all files.
#[derive(Debug, Default)]
pub(super) struct Noticed {
    pub(super) checksum_failures: u64,
    pub(super) damaged_pages: Vec<DamagedPage>,
    pub(super) contradicted: Vec<String>,
}

impl Noticed {
    /// Adds what was noticed in the file `path`.
    pub(super) fn add(&mut self, path: &str, found: Findings) {
        self.checksum_failures += found.damaged_pages.len() as u64;
        let room = NAMED_MAX.saturating_sub(self.damaged_pages.len());
        let pages = found.damaged_pages.into_iter().map(|block| DamagedPage { path: path.to_owned(), block });
        self.damaged_pages.extend(pages.take(room));
        if found.contradicts && self.contradicted.len() < NAMED_MAX {
            self.contradicted.push(path.to_owned());
        }
    }

    /// That no page has a wrong checksum.
    pub(super) fn require_sound_pages(&self) -> Result<()> {
        if self.checksum_failures == 0 {
            return Ok(());
        }
        let first = self.damaged_pages.first().map(|page| format!(", first block {} of {:?}", page.block, page.path));
        let context = format!("pages of the server have wrong checksums{}", first.unwrap_or_default());
        Err(Error::new(ErrorKind::Corrupt, context))
    }
}
