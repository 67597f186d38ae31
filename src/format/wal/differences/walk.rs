//! Where records are, and what can be expected of each.

use std::mem;
use std::ops::Range;

use super::pages::Pages;
use super::{RELATION, XID, aligned};
use crate::format::wal::fields::Fields;
use crate::format::wal::record::RECORD_HEADER_BYTES;

const KINDS: usize = 256;

/// What a record is without what is new in it.
#[derive(Debug)]
pub(super) struct Expected {
    /// The transaction of the record before.
    pub(super) xid: u32,
    /// Where that begins, as an LSN.
    pub(super) link: u64,
    /// The last record of this kind, in the stream of records. Empty if there was none.
    pub(super) like: Range<usize>,
}

/// A way through a stream of records. It goes by what no difference changes (lengths, kinds, headers of pages) and by records that were
/// passed, so it is the same on the way back, where each record is restored when it is reached.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pages: &'a Pages,
    /// The page in which `at` is.
    page: usize,
    at: usize,
    last: Option<usize>,
    link: u64,
    kinds: [Range<usize>; KINDS],
}

impl<'a> Walk<'a> {
    pub(super) fn new(pages: &'a Pages) -> Self {
        let at = pages.get(0).map_or(0, |page| page.first_record());
        Self { pages, page: 0, at, last: None, link: 0, kinds: [const { 0..0 }; KINDS] }
    }

    /// The next record of `stream`, of which all records before it are as they were in the log.
    pub(super) fn next(&mut self, stream: &[u8]) -> Option<(Range<usize>, Expected)> {
        let record = self.find(stream)?;
        let xid = self.last.map_or(0, |last| Fields::of(&stream[last + XID.start..]).u32());
        let like = mem::replace(&mut self.kinds[kind(&stream[record.clone()])], record.clone());
        let lsn = self.pages.get(self.page)?.lsn(record.start);
        let expected = Expected { xid, link: mem::replace(&mut self.link, lsn), like };
        self.last = Some(record.start);
        self.at = aligned(record.end);
        Some((record, expected))
    }

    /// What is no record is passed over up to the first one of a page, of which the header tells.
    fn find(&mut self, stream: &[u8]) -> Option<Range<usize>> {
        loop {
            while self.pages.get(self.page + 1).is_some_and(|next| next.content <= self.at) {
                self.page += 1;
            }
            if let Some(record) = record_at(stream, self.at) {
                return Some(record);
            }
            self.page += 1;
            self.at = self.pages.get(self.page)?.first_record();
        }
    }
}

/// The record that begins there, if one does that ends in `stream`.
#[inline]
fn record_at(stream: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = stream.get(at..)?;
    let header = rest.first_chunk::<RECORD_HEADER_BYTES>()?;
    let length = usize::try_from(Fields::of(header).u32()).ok()?;
    (RECORD_HEADER_BYTES..=rest.len()).contains(&length).then(|| at..at + length)
}

/// Records of one length, operation and relation have mostly the same in the same places.
#[inline]
fn kind(record: &[u8]) -> usize {
    let relation = record.get(RELATION).map_or(0, |field| Fields::of(field).u32());
    let words = [Fields::of(record).u32(), Fields::of(&record[16..]).u32(), relation];
    let hash = words.iter().fold(0, |hash: u32, word| (hash ^ word).wrapping_mul(0x9E37_79B1));
    (hash >> 24) as usize
}
