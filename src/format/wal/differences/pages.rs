//! The headers of pages, apart from what the pages hold.

use std::ops::Range;

use super::aligned;
use crate::format::wal::fields::Fields;
use crate::format::wal::page::{ALL_FLAGS, LONG, LONG_HEADER_BYTES, PAGE_BYTES, SHORT_HEADER_BYTES, major_of};

const PAGE: usize = 8192;
const _: () = assert!(PAGE as u64 == PAGE_BYTES);
const ADDRESS: Range<usize> = 8..16;
const REST: Range<usize> = 16..20;

/// Where the first page of some log begins of which the header is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) struct FirstPage(u16);

impl FirstPage {
    /// That of `log`, if it has one.
    pub(in crate::format) fn of(log: &[u8]) -> Option<Self> {
        let at = log.windows(SHORT_HEADER_BYTES).take(PAGE).position(begins_page)?;
        Self::new(u16::try_from(at).ok()?, log.len())
    }

    /// The one at `at` in log of so many bytes, if it can begin there.
    pub(in crate::format) fn new(at: u16, log_bytes: usize) -> Option<Self> {
        (usize::from(at) < PAGE && usize::from(at) + SHORT_HEADER_BYTES <= log_bytes).then_some(Self(at))
    }

    pub(in crate::format) const fn at(self) -> u16 {
        self.0
    }
}

/// Whether a short header's length of log can begin a page.
fn begins_page(header: &[u8]) -> bool {
    let mut fields = Fields::of(header);
    let (magic, flags, _timeline, address) = (fields.u16(), fields.u16(), fields.u32(), fields.u64());
    major_of(magic).is_some() && flags & !ALL_FLAGS == 0 && address.is_multiple_of(PAGE_BYTES)
}

/// Puts into `arranged` what `log` holds, with the headers of its pages in front of the rest; what stands before the first page stays before them.
pub(super) fn arrange(log: &[u8], first_page: FirstPage, arranged: &mut Vec<u8>) {
    let (leading, pages) = log.split_at(first_page.at().into());
    let pages = || pages.chunks(PAGE).map(|page| page.split_at(header_bytes(page, page.len())));
    arranged.clear();
    arranged.extend_from_slice(leading);
    pages().for_each(|(header, _)| arranged.extend_from_slice(header));
    pages().for_each(|(_, content)| arranged.extend_from_slice(content));
}

/// How long the header is that a page begins with, of which `page_bytes` are in the log. If they are too few, they count as content of the
/// page before.
fn header_bytes(header: &[u8], page_bytes: usize) -> usize {
    match page_bytes {
        0..SHORT_HEADER_BYTES => 0,
        _ if Fields::of(&header[2..]).u16() & LONG != 0 => LONG_HEADER_BYTES.min(page_bytes),
        _ => SHORT_HEADER_BYTES,
    }
}

/// Whose pages hold a stream of records.
#[derive(Debug)]
pub(super) struct Pages {
    leading: usize,
    /// Where the stream begins.
    pub(super) stream: usize,
    pages: Vec<Page>,
}

/// A page of which the header is known.
#[derive(Debug)]
pub(super) struct Page {
    header_bytes: usize,
    address: u64,
    /// How much of its content belongs to a record that began before.
    rest: u32,
    /// Where its content begins in the stream.
    pub(super) content: usize,
}

impl Page {
    /// Where the first record begins in the stream that begins in the page.
    pub(super) fn first_record(&self) -> usize {
        let rest = usize::try_from(self.rest).unwrap_or(usize::MAX);
        aligned(self.content.saturating_add(rest))
    }

    /// The position in the log of what is at `at` in the stream.
    pub(super) const fn lsn(&self, at: usize) -> u64 {
        self.address.wrapping_add((self.header_bytes + at - self.content) as u64)
    }
}

impl Pages {
    /// Reads the headers of `arranged` log. `change` is told what stands in each as its address, and what should: the address behind the
    /// page before it. It says what the address is, and what shall stand there.
    pub(super) fn read(arranged: &mut [u8], first_page: FirstPage, change: impl Fn(u64, u64) -> (u64, u64)) -> Self {
        let leading = usize::from(first_page.at());
        let (mut stream, mut content, mut expected) = (leading, 0, 0);
        let mut pages = Vec::with_capacity(arranged.len() / PAGE + 1);
        for begin in (leading..arranged.len()).step_by(PAGE) {
            let page_bytes = PAGE.min(arranged.len() - begin);
            let header_bytes = header_bytes(&arranged[stream..], page_bytes);
            if header_bytes > 0 {
                let header = &mut arranged[stream..stream + header_bytes];
                let (address, shall) = change(Fields::of(&header[ADDRESS]).u64(), expected);
                header[ADDRESS].copy_from_slice(&shall.to_le_bytes());
                pages.push(Page { header_bytes, address, rest: Fields::of(&header[REST]).u32(), content });
                expected = address.wrapping_add(PAGE_BYTES);
            }
            (stream, content) = (stream + header_bytes, content + page_bytes - header_bytes);
        }
        Self { leading, stream, pages }
    }

    pub(super) fn get(&self, page: usize) -> Option<&Page> {
        self.pages.get(page)
    }

    /// Appends what was `arranged` to `log`.
    pub(super) fn restore(&self, arranged: &[u8], log: &mut Vec<u8>) {
        let (front, stream) = arranged.split_at(self.stream);
        let (leading, mut headers) = front.split_at(self.leading);
        log.extend_from_slice(leading);
        let ends = self.pages.iter().skip(1).map(|page| page.content).chain([stream.len()]);
        for (page, end) in self.pages.iter().zip(ends) {
            let (header, rest) = headers.split_at(page.header_bytes);
            log.extend_from_slice(header);
            log.extend_from_slice(&stream[page.content..end]);
            headers = rest;
        }
    }
}
