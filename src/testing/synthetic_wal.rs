//! Writes log as PostgreSQL would, for tests and benches. Depends on nothing but the standard library and CRC-32C.

const PAGE: u64 = 8192;
const FIRST_IS_CONTINUATION: u16 = 1;
const LONG_HEADER: u16 = 2;
/// The flag of a page that begins with a record where the rest of a lost one should be.
const FIRST_IS_OVERWRITE: u16 = 8;

/// A stretch of log that grows by records.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SyntheticWal {
    /// The position of the first byte.
    pub start: u64,
    /// The log.
    pub bytes: Vec<u8>,
    /// What every page begins with: tells the major version.
    pub magic: u16,
    /// The system identifier that the next segments' headers say.
    pub system_id: u64,
    /// The size of a segment.
    pub segment_bytes: u64,
    /// The timeline that the next pages' headers say.
    pub timeline: u32,
    previous: u64,
}

impl SyntheticWal {
    /// Empty log of PostgreSQL 15 on timeline 1 from `start` on, a multiple of 8.
    #[must_use]
    pub fn new(start: u64) -> Self {
        let (magic, system_id, segment_bytes) = (0xD110, 7_301_234_567_890_123_456, 1 << 20);
        Self { start, bytes: Vec::new(), magic, system_id, segment_bytes, timeline: 1, previous: 0 }
    }

    /// What a promotion at `switch` makes of it: a copy from the start of that segment to there, to go on as `timeline` behind
    /// the record at `previous`.
    #[must_use]
    pub fn promoted(&self, switch: u64, previous: u64, timeline: u32) -> Self {
        let start = (switch - switch % self.segment_bytes).max(self.start);
        let index = |lsn: u64| usize::try_from(lsn - self.start).expect("synthetic log is short");
        let bytes = self.bytes[index(start)..index(switch)].to_vec();
        Self { start, bytes, timeline, previous, ..*self }
    }

    /// The position behind the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Appends a record whose main data is `data`; returns where it starts.
    pub fn record(&mut self, rmid: u8, info: u8, xid: u32, data: &[u8]) -> u64 {
        let mut body = match u8::try_from(data.len()) {
            _ if data.is_empty() => Vec::new(),
            Ok(length) => vec![255, length],
            Err(_) => [&[254], &u32::try_from(data.len()).expect("synthetic log is short").to_le_bytes()[..]].concat(),
        };
        body.extend_from_slice(data);
        self.raw_record(rmid, info, xid, &body)
    }

    /// Appends a record with this body; returns where it starts.
    pub fn raw_record(&mut self, rmid: u8, info: u8, xid: u32, body: &[u8]) -> u64 {
        self.page_header(0, 0);
        let lsn = self.end();
        let total_len = u32::try_from(24 + body.len()).expect("synthetic log is short");
        let mut record = [&total_len.to_le_bytes()[..], &xid.to_le_bytes(), &self.previous.to_le_bytes()].concat();
        record.extend([info, rmid, 0, 0]);
        let crc = crc32c::crc32c_append(crc32c::crc32c(body), &record);
        record.extend(crc.to_le_bytes());
        record.extend_from_slice(body);
        self.previous = lsn;
        self.spread(&record);
        lsn
    }

    /// Appends a switch record, and zeros up to the end of the segment.
    pub fn switch(&mut self) -> u64 {
        let lsn = self.raw_record(0, 0x40, 0, &[]);
        self.zeros(self.end().next_multiple_of(self.segment_bytes) - self.end());
        lsn
    }

    /// Appends zeros.
    pub fn zeros(&mut self, count: u64) {
        self.bytes.resize(self.bytes.len() + usize::try_from(count).expect("synthetic log is short"), 0);
    }

    /// Cuts the record at the last page's end short, as a crash does, and marks the next page so.
    pub fn lose_after(&mut self, page: u64, previous: u64) {
        self.bytes.truncate(usize::try_from(page - self.start).expect("synthetic log is short"));
        self.previous = previous;
        self.page_header(FIRST_IS_OVERWRITE, 0);
    }

    fn spread(&mut self, mut record: &[u8]) {
        loop {
            let room = usize::try_from(PAGE - self.end() % PAGE).expect("synthetic log is short");
            let (part, rest) = record.split_at(room.min(record.len()));
            self.bytes.extend_from_slice(part);
            if rest.is_empty() {
                return self.zeros(self.end().next_multiple_of(8) - self.end());
            }
            self.page_header(FIRST_IS_CONTINUATION, u32::try_from(rest.len()).expect("synthetic log is short"));
            record = rest;
        }
    }

    /// Begins a page, if the last one is full.
    fn page_header(&mut self, flags: u16, remaining: u32) {
        let page = self.end();
        if !page.is_multiple_of(PAGE) {
            return;
        }
        let long = page.is_multiple_of(self.segment_bytes);
        let flags = flags | if long { LONG_HEADER } else { 0 };
        self.bytes.extend(self.magic.to_le_bytes());
        self.bytes.extend(flags.to_le_bytes());
        self.bytes.extend(self.timeline.to_le_bytes());
        self.bytes.extend(page.to_le_bytes());
        self.bytes.extend(remaining.to_le_bytes());
        self.zeros(4);
        if long {
            self.bytes.extend(self.system_id.to_le_bytes());
            self.bytes.extend(u32::try_from(self.segment_bytes).expect("synthetic log is short").to_le_bytes());
            self.bytes.extend(8192_u32.to_le_bytes());
        }
    }
}
