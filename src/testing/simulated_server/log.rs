//! The log of a simulated server, on all of its timelines.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use crate::model::{Incarnation, Lsn, SegmentSize, TimelineHistory, TimelineId, TimelineSwitch, Timestamp, Xid};
use crate::testing::synthetic_wal::SyntheticWal;

const XLOG: u8 = 0;
const TRANSACTION: u8 = 1;
const HEAP: u8 = 10;
const COMMIT: u8 = 0x00;
const ABORT: u8 = 0x20;
const BACKUP_END: u8 = 0x50;
const RESTORE_POINT: u8 = 0x70;
const END_OF_RECOVERY: u8 = 0x90;
/// `MAXFNAMELEN`, the space for the name of a restore point.
const NAME_BYTES: usize = 64;
/// How many transactions run long at a time.
const LONG_TRANSACTIONS: usize = 3;

/// A record that bears a time: the end of a transaction, or a restore point.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedRecord {
    /// Where it begins.
    pub start_lsn: Lsn,
    /// Where it ends, as PostgreSQL counts.
    pub end_lsn: Lsn,
    /// The time that it bears.
    pub time: Timestamp,
    /// The transaction, if it is the end of one.
    pub xid: Option<Xid>,
    /// The name, if it is a restore point.
    pub restore_point: Option<String>,
}

#[derive(Debug)]
pub(super) struct ServerLog {
    timelines: BTreeMap<TimelineId, Timeline>,
    current: TimelineId,
    /// The transaction that began last.
    xid: u32,
    /// Those that began long ago and have not ended yet.
    open: VecDeque<u32>,
}

#[derive(Debug)]
struct Timeline {
    history: TimelineHistory,
    wal: SyntheticWal,
    /// Where records begin and end.
    records: Vec<Range<u64>>,
    timed: Vec<LoggedRecord>,
    /// The latest that the clock showed while the log ended there.
    clock: BTreeMap<Lsn, Timestamp>,
}

impl ServerLog {
    /// Log whose second segment begins with the last `tail` bytes, or so, of a long record.
    pub(super) fn new(incarnation: Incarnation, segment_size: SegmentSize, tail: u64) -> Self {
        let mut wal = SyntheticWal::new(segment_size.bytes());
        wal.system_id = incarnation.system_id.as_u64();
        wal.segment_bytes = segment_size.bytes();
        let first = Timeline::new(TimelineHistory::root(TimelineId::FIRST), wal);
        let (current, open) = (TimelineId::FIRST, VecDeque::new());
        let mut log = Self { timelines: BTreeMap::new(), current, xid: 700, open };
        log.timelines.insert(TimelineId::FIRST, first);
        log.fill(usize::try_from(segment_size.bytes() + tail).expect("segments are short"));
        log
    }

    pub(super) fn current(&self) -> TimelineId {
        self.current
    }

    pub(super) fn flush_lsn(&self) -> Lsn {
        Lsn::new(self.timelines[&self.current].wal.end())
    }

    pub(super) fn history(&self, timeline: TimelineId) -> Option<&TimelineHistory> {
        self.timelines.get(&timeline).map(|timeline| &timeline.history)
    }

    pub(super) fn bytes(&self, timeline: TimelineId, range: Range<Lsn>) -> &[u8] {
        let wal = &self.timelines[&timeline].wal;
        let index = |lsn: Lsn| usize::try_from(lsn.as_u64() - wal.start).expect("simulated log is short");
        &wal.bytes[index(range.start)..index(range.end)]
    }

    pub(super) fn records(&self, timeline: TimelineId) -> &[LoggedRecord] {
        &self.timelines[&timeline].timed
    }

    pub(super) fn latest_clock(&self, timeline: TimelineId, lsn: Lsn) -> Option<Timestamp> {
        self.timelines[&timeline].clock.range(..=lsn).map(|(_, shown)| *shown).max()
    }

    pub(super) fn observe_clock(&mut self, now: Timestamp) {
        let end = self.flush_lsn();
        let shown = self.now_on().clock.entry(end).or_insert(now);
        *shown = now.max(*shown);
    }

    /// A record of `bytes` bytes that says nothing.
    pub(super) fn fill(&mut self, bytes: usize) {
        self.record(HEAP, 0, self.xid, &vec![0x5A; bytes]);
    }

    pub(super) fn commit(&mut self, time: Timestamp) -> Lsn {
        self.end_transaction(COMMIT, time)
    }

    pub(super) fn abort(&mut self, time: Timestamp) {
        self.end_transaction(ABORT, time);
    }

    pub(super) fn restore_point(&mut self, name: &str, time: Timestamp) -> Lsn {
        let mut data = [&micros(time)[..], name.as_bytes()].concat();
        data.resize(8 + NAME_BYTES, 0);
        let record = self.record(XLOG, RESTORE_POINT, 0, &data);
        self.note(&record, time, None, Some(name.to_owned()))
    }

    /// Writes the record with which a base backup ends; returns its end.
    pub(super) fn backup_end(&mut self) -> Lsn {
        let start = self.flush_lsn().as_u64().to_le_bytes();
        Lsn::new(self.record(XLOG, BACKUP_END, 0, &start).end)
    }

    /// Ends the segment.
    pub(super) fn switch_segment(&mut self) {
        let timeline = self.now_on();
        let start = timeline.wal.switch();
        timeline.records.push(start..timeline.wal.end());
    }

    /// Goes on, on a new timeline, where a record ends that is at most `lag` bytes before the end, and after the current
    /// timeline's own beginning.
    pub(super) fn promote(&mut self, lag: u64, now: Timestamp) {
        let next = TimelineId::new(self.current.as_u32() + 1).expect("timelines count from 1");
        let parent = &self.timelines[&self.current];
        let earliest = (parent.wal.end().saturating_sub(lag)).max(parent.history.begin().as_u64() + 1);
        let Some(last) = parent.records.iter().find(|record| record.end >= earliest).cloned() else { return };
        let mut ancestors = parent.history.ancestors().to_vec();
        ancestors.push(TimelineSwitch::new(self.current, Lsn::new(last.end), "no recovery target specified"));
        let history = TimelineHistory::new(next, ancestors).expect("a promotion follows the last one");
        let wal = parent.wal.promoted(last.end, last.start, next.as_u32());
        // A standby knows of the transactions that it replayed; those that were open are forgotten, and their numbers used again.
        let replayed = parent.timed.iter().filter(|record| record.end_lsn.as_u64() <= last.end);
        let latest = replayed.filter_map(|record| record.xid).map(Xid::as_u32).max();
        self.xid = latest.unwrap_or(self.xid);
        self.open.clear();
        self.timelines.insert(next, Timeline::new(history, wal));
        let previous = std::mem::replace(&mut self.current, next);
        let timelines = [next, previous].map(|timeline| timeline.as_u32().to_le_bytes()).concat();
        self.record(XLOG, END_OF_RECOVERY, 0, &[&micros(now)[..], &timelines].concat());
    }

    pub(super) fn damage(&mut self, lsn: Lsn) {
        let wal = &mut self.now_on().wal;
        let index = usize::try_from(lsn.as_u64() - wal.start).expect("simulated log is short");
        wal.bytes[index] ^= 1;
    }

    fn end_transaction(&mut self, info: u8, time: Timestamp) -> Lsn {
        let xid = self.ending();
        let record = self.record(TRANSACTION, info, xid, &micros(time));
        self.note(&record, time, Xid::new(xid), None)
    }

    /// Which transaction ends next. Every fourth that begins takes longer, so that they do not end in the order of their
    /// numbers.
    fn ending(&mut self) -> u32 {
        loop {
            self.xid += 1;
            match self.xid % 4 {
                0 => self.open.push_back(self.xid),
                1 if self.open.len() > LONG_TRANSACTIONS => return self.open.pop_front().expect("there are some"),
                _ => return self.xid,
            }
        }
    }

    fn note(&mut self, record: &Range<u64>, time: Timestamp, xid: Option<Xid>, restore_point: Option<String>) -> Lsn {
        let (start_lsn, end_lsn) = (Lsn::new(record.start), Lsn::new(record.end));
        self.now_on().timed.push(LoggedRecord { start_lsn, end_lsn, time, xid, restore_point });
        end_lsn
    }

    fn record(&mut self, rmid: u8, info: u8, xid: u32, data: &[u8]) -> Range<u64> {
        let timeline = self.now_on();
        let start = timeline.wal.record(rmid, info, xid, data);
        let record = start..timeline.wal.end();
        timeline.records.push(record.clone());
        record
    }

    fn now_on(&mut self) -> &mut Timeline {
        self.timelines.get_mut(&self.current).expect("the current timeline is one of them")
    }
}

impl Timeline {
    fn new(history: TimelineHistory, wal: SyntheticWal) -> Self {
        Self { history, wal, records: Vec::new(), timed: Vec::new(), clock: BTreeMap::new() }
    }
}

fn micros(time: Timestamp) -> [u8; 8] {
    time.as_postgres_micros().to_le_bytes()
}
