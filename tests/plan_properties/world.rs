//! A server with a past: what it wrote, when, on which timelines, and what of that was archived.
//!
//! Positions are counted in units of log. Every record is as long as it takes to end at a multiple of one.

use std::sync::Arc;
use std::time::Duration;

use pitr::model::{
    Artifact, Branch, CommitIndex, Incarnation, IndexedCommit, LogBackup, Lsn, PostgresMajor, RestorePoint,
    SegmentSize, ServerRole, Snapshot, SnapshotKind, StoredHistory, StoredObject, SystemId, TimelineHistory,
    TimelineId, TimelineSwitch, Timestamp, TransactionEnd, WalRange, Xid, XidRange,
};

use crate::steps::{Read, Step};

/// Everything happens at multiples of this.
pub(crate) const UNIT: u64 = (1 << 20) / SEGMENT;
/// The units of a segment.
pub(crate) const SEGMENT: u64 = 4;
/// How many bytes a stored history has.
pub(crate) const HISTORY: u64 = 64;
/// How many transactions run at any time.
const RUNNING: usize = 3;
/// The first one: the counter goes round soon.
const FIRST_XID: u32 = u32::MAX - 4;

pub(crate) fn lsn(unit: u64) -> Lsn {
    Lsn::new(unit * UNIT)
}

/// A record that recovery can stop at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The unit at whose end it ends, plus one.
    pub(crate) end: u64,
    pub(crate) time: Timestamp,
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Commit(Xid),
    Name(&'static str),
}

impl Record {
    pub(crate) fn is_commit(&self) -> bool {
        matches!(self.what, What::Commit(_))
    }
}

/// What one timeline contributes to a past, from one unit to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) timeline: usize,
    pub(crate) begin: u64,
    pub(crate) left: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    pub(crate) id: TimelineId,
    parent: Option<usize>,
    pub(crate) begin: u64,
    pub(crate) history_stored: bool,
    position: u64,
    /// Up to here it is archived or lost.
    cut: u64,
    /// Where its first segment file begins, with a copy of its parent's bytes.
    file_start: u64,
    pub(crate) records: Vec<Record>,
    /// Which transactions run, after each record and at first.
    running: Vec<(u64, Vec<Xid>)>,
    /// What the clock showed at which position.
    clock: Vec<(u64, Timestamp)>,
}

/// A log backup, by the numbers of its timeline and its units.
#[derive(Clone, Debug)]
pub(crate) struct Archived {
    pub(crate) backup: LogBackup,
    pub(crate) timeline: usize,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// A snapshot, by the numbers of its timeline and its units.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) snapshot: Snapshot,
    pub(crate) timeline: usize,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    clock: Timestamp,
    current: usize,
    logs_max: usize,
    pub(crate) timelines: Vec<Timeline>,
    pub(crate) snapshots: Vec<Taken>,
    pub(crate) logs: Vec<Archived>,
}

fn incarnation() -> Incarnation {
    Incarnation::new(SystemId::new(7), PostgresMajor::MIN)
}

fn object(key: String, bytes: u64) -> StoredObject {
    StoredObject::new(key.parse().expect("a key"), bytes)
}

impl World {
    /// After `steps`, of which cuts no longer count once there are `logs_max` log backups.
    pub(crate) fn after(steps: &[Step], logs_max: usize) -> Self {
        let clock = Timestamp::UNIX_EPOCH.saturating_add(Duration::from_secs(1_000_000));
        let mut running = vec![Xid::new(FIRST_XID).expect("a user's")];
        refill(&mut running);
        let first = Timeline {
            id: TimelineId::FIRST,
            parent: None,
            begin: 0,
            history_stored: false,
            position: SEGMENT,
            cut: SEGMENT,
            file_start: SEGMENT,
            records: Vec::new(),
            running: vec![(0, running)],
            clock: vec![(SEGMENT, clock)],
        };
        let (timelines, snapshots, logs) = (vec![first], Vec::new(), Vec::new());
        let mut world = Self { clock, current: 0, logs_max, timelines, snapshots, logs };
        for step in steps {
            world.take(step);
            let timeline = &mut world.timelines[world.current];
            timeline.clock.push((timeline.position, world.clock));
        }
        world
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Commit { units, seconds, late } => self.commit(units, seconds, late),
            Step::Name(name) => self.write(1, What::Name(["a", "b"][usize::from(name % 2)])),
            Step::Wait { seconds } => self.wait(seconds),
            Step::Cut { observed, lost, read, overlap, stored_bytes } => {
                let Timeline { cut, position, file_start, .. } = self.timelines[self.current];
                if self.logs.len() < self.logs_max {
                    self.timelines[self.current].cut = position;
                    let start = cut.saturating_sub(overlap).max(file_start);
                    if !lost {
                        self.archive(start, position, observed.then_some(self.clock), read, stored_bytes);
                    }
                }
            }
            Step::CutAgain { back, units, observed, read, stored_bytes } => {
                let Timeline { position, file_start, .. } = self.timelines[self.current];
                let end = position.saturating_sub(back).max(file_start);
                let start = end.saturating_sub(units).max(file_start);
                let seen = self.timelines[self.current].clock.iter().rfind(|&&(at, _)| at <= end).map(|&(_, at)| at);
                self.archive(start, end, seen.filter(|_| observed), read, stored_bytes);
            }
            Step::Copy { log, read, stored_bytes } => self.copy(log, read, stored_bytes),
            Step::Snapshot { units, parent, standby, stored_bytes } => {
                self.snapshot(units, parent, standby, stored_bytes);
            }
            Step::Promote { behind, log_from_segment, history_stored } => {
                self.promote(behind, log_from_segment, history_stored);
            }
            Step::GoOn(timeline) => self.current = timeline % self.timelines.len(),
        }
    }

    fn wait(&mut self, seconds: i64) {
        self.clock = shifted(self.clock, seconds);
    }

    fn commit(&mut self, units: u64, seconds: i64, late: usize) {
        self.wait(seconds);
        let timeline = &mut self.timelines[self.current];
        let mut running = timeline.running.last().expect("it has a first one").1.clone();
        let xid = running.remove(late % RUNNING);
        refill(&mut running);
        timeline.running.push((timeline.position + units, running));
        self.write(units, What::Commit(xid));
    }

    fn write(&mut self, units: u64, what: What) {
        let timeline = &mut self.timelines[self.current];
        timeline.position += units;
        timeline.records.push(Record { end: timeline.position, time: self.clock, what });
    }

    fn archive(&mut self, start: u64, end: u64, seen: Option<Timestamp>, read: Read, stored_bytes: u64) {
        if self.logs.len() >= self.logs_max {
            return;
        }
        let (timeline, id) = (self.current, self.timelines[self.current].id);
        let wal = WalRange::new(id, lsn(start), lsn(end)).expect("positions only grow");
        let directory = format!("log/{}", self.logs.len()).parse().expect("a key");
        let mut backup = LogBackup::new(incarnation(), wal, directory, stored_bytes);
        let inside = self.inside(timeline, start, end);
        backup.max_commit_time = inside.iter().filter(|record| record.is_commit()).map(|record| record.time).max();
        backup.complete_through = seen;
        backup.restore_points = u32::try_from(inside.iter().filter(|r| !r.is_commit()).count()).expect("few");
        backup.index = index(&inside, read).map(Arc::new);
        self.logs.push(Archived { backup, timeline, start, end });
    }

    fn copy(&mut self, log: usize, read: Read, stored_bytes: u64) {
        let Some(number) = self.logs.len().checked_sub(1 + log) else { return };
        if self.logs.len() >= self.logs_max {
            return;
        }
        let Archived { timeline, start, end, ref backup } = self.logs[number];
        let mut backup = backup.clone();
        backup.stored_bytes = stored_bytes;
        backup.directory = format!("log/{}", self.logs.len()).parse().expect("a key");
        backup.index = self.read(number, read).map(Arc::new);
        self.logs.push(Archived { backup, timeline, start, end });
    }

    /// What reading a log backup tells.
    pub(crate) fn read(&self, log: usize, read: Read) -> Option<CommitIndex> {
        let Archived { timeline, start, end, .. } = self.logs[log];
        index(&self.inside(timeline, start, end), read)
    }

    fn snapshot(&mut self, units: u64, parent: Option<usize>, standby: Option<i64>, stored_bytes: u64) {
        // A promoted server writes a record before anything else (`CreateEndOfRecoveryRecord`), and one can be backed up then.
        let timeline = &mut self.timelines[self.current];
        timeline.position = timeline.position.max(timeline.begin + 1);
        let Timeline { id, begin, position, .. } = *timeline;
        let (start, end) = (position.saturating_sub(units).max(begin).max(SEGMENT), position);
        let wal = WalRange::new(id, lsn(start), lsn(end)).expect("it began before");
        let number = self.snapshots.len();
        let name = |number: usize| format!("s{number:02}").parse().expect("an ID");
        let manifest = object(format!("snapshots/{number}"), 0);
        let at = shifted(self.clock, standby.unwrap_or(0));
        let mut snapshot = Snapshot::full(name(number), incarnation(), wal, SegmentSize::MIN, at, manifest);
        snapshot.stored_bytes = stored_bytes;
        snapshot.role = if standby.is_some() { ServerRole::Standby } else { ServerRole::Primary };
        if let Some(back) = parent {
            // The parent of the first ones is missing.
            let parent = number.checked_sub(1 + back).map_or_else(|| name(90), name);
            snapshot.kind = SnapshotKind::Incremental { parent };
        }
        self.snapshots.push(Taken { snapshot, timeline: self.current, start, end });
    }

    fn promote(&mut self, behind: u64, log_from_segment: bool, history_stored: bool) {
        let parent = &self.timelines[self.current];
        let begin = parent.position.saturating_sub(behind).max(parent.begin).max(SEGMENT);
        let ran = parent.running.iter().rfind(|&&(at, _)| at <= begin).or_else(|| parent.running.first());
        let running = vec![ran.cloned().expect("it has a first one")];
        let number = u32::try_from(self.timelines.len() + 1).expect("few");
        let id = TimelineId::new(number).expect("not zero");
        let cut = if log_from_segment { begin / SEGMENT * SEGMENT } else { begin };
        let parent = Some(self.current);
        self.current = self.timelines.len();
        let clock = vec![(begin, self.clock)];
        let (position, file_start, records) = (begin, cut, Vec::new());
        let new = Timeline { id, parent, begin, history_stored, position, cut, file_start, records, running, clock };
        self.timelines.push(new);
    }

    /// The stretches that lead to the end of a timeline.
    pub(crate) fn path(&self, timeline: usize) -> Vec<Stretch> {
        let mut path = vec![Stretch { timeline, begin: self.timelines[timeline].begin, left: u64::MAX }];
        let mut at = timeline;
        while let Some(parent) = self.timelines[at].parent {
            let (begin, left) = (self.timelines[parent].begin, self.timelines[at].begin);
            path.insert(0, Stretch { timeline: parent, begin, left });
            at = parent;
        }
        path
    }

    /// Every unit of log on the way to where the last artifact of a timeline ends, each with the timeline that wrote it;
    /// `None` if there is no artifact.
    pub(crate) fn archived_past(&self, timeline: usize) -> Option<Vec<(usize, u64)>> {
        let logs = self.logs.iter().map(|log| (log.timeline, log.end));
        let all = logs.chain(self.snapshots.iter().map(|taken| (taken.timeline, taken.end)));
        let last = all.filter(|&(of, _)| of == timeline).map(|(_, end)| end).max()?;
        let units = |Stretch { timeline, begin, left }| (begin..left.min(last)).map(move |unit| (timeline, unit));
        Some(self.path(timeline).into_iter().flat_map(units).collect())
    }

    /// All records on the way to the end of a timeline, in log order.
    pub(crate) fn records(&self, timeline: usize) -> Vec<Record> {
        let stretch = |Stretch { timeline, begin, left }: Stretch| {
            self.timelines[timeline].records.iter().filter(move |r| begin < r.end && r.end <= left).cloned()
        };
        self.path(timeline).into_iter().flat_map(stretch).collect()
    }

    /// The records that end in a part of the segment files of a timeline, of which the first begins with a copy of its
    /// parent's bytes.
    fn inside(&self, timeline: usize, start: u64, end: u64) -> Vec<Record> {
        let mut records = self.records(timeline);
        records.retain(|record| start < record.end && record.end <= end);
        records
    }

    pub(crate) fn branch(&self, timeline: usize) -> Branch {
        Branch::new(incarnation(), self.timelines[timeline].id)
    }

    /// The number of the timeline with this ID.
    pub(crate) fn timeline(&self, id: TimelineId) -> usize {
        usize::try_from(id.as_u32()).expect("small") - 1
    }

    /// Whether the history of a timeline is stored: of those that nobody else tells of, all are.
    pub(crate) fn history_stored(&self, timeline: usize) -> bool {
        let told = self.timelines.iter().any(|other| other.history_stored && other.parent == Some(timeline));
        timeline > 0 && (self.timelines[timeline].history_stored || !told)
    }

    pub(crate) fn artifacts(&self) -> Vec<Artifact> {
        let history = |number: usize| {
            let mut path = self.path(number);
            path.pop();
            let switch =
                |Stretch { timeline, left, .. }| TimelineSwitch::new(self.timelines[timeline].id, lsn(left), "");
            let history = TimelineHistory::new(self.timelines[number].id, path.into_iter().map(switch).collect());
            let stored = object(format!("history/{number}"), HISTORY);
            StoredHistory::new(incarnation(), history.expect("begins only grow"), stored)
        };
        let stored = (0..self.timelines.len()).filter(|&number| self.history_stored(number));
        let snapshots = self.snapshots.iter().map(|taken| taken.snapshot.clone().into());
        let logs = self.logs.iter().map(|log| log.backup.clone().into());
        stored.map(|number| history(number).into()).chain(snapshots).chain(logs).collect()
    }

    /// Every instant at which something happened, and its neighbours.
    pub(crate) fn instants(&self) -> Vec<Timestamp> {
        let commits = self.timelines.iter().flat_map(|timeline| timeline.records.iter().map(|record| record.time));
        let seen = self.logs.iter().filter_map(|log| log.backup.complete_through);
        let snapshots = self.snapshots.iter().map(|taken| taken.snapshot.consistent_at);
        let tick = Duration::from_micros(1);
        let around = |at: Timestamp| [at.saturating_sub(tick), at, at.saturating_add(tick)];
        let mut instants: Vec<_> = commits.chain(seen).chain(snapshots).flat_map(around).collect();
        instants.sort_unstable();
        instants.dedup();
        instants
    }

    /// The last unit that anything is known of.
    pub(crate) fn end(&self) -> u64 {
        self.timelines.iter().map(|timeline| timeline.position).max().unwrap_or(SEGMENT)
    }
}

/// What is known of these records once they were read.
fn index(records: &[Record], read: Read) -> Option<CommitIndex> {
    let mut index = CommitIndex::default();
    for Record { end, time, what } in records {
        match what {
            What::Name(name) => index.restore_points.push(RestorePoint::new(lsn(*end), *time, *name)),
            What::Commit(xid) => {
                index.xids = Some(index.xids.map_or_else(|| XidRange::of(*xid), |range: XidRange| range.with(*xid)));
                if index.commits.last().is_none_or(|last| last.max_time < *time) {
                    index.commits.push(IndexedCommit::new(lsn(*end), *time));
                }
            }
        }
    }
    // Sparse as it is, it always has the maximum.
    let last = index.commits.last().copied();
    index.commits.retain(|commit| !(commit.end_lsn.as_u64() / UNIT).is_multiple_of(3) || Some(*commit) == last);
    let ends = || {
        records.iter().filter_map(|record| match record.what {
            What::Commit(xid) => Some(TransactionEnd::new(xid, lsn(record.end), record.time)),
            What::Name(_) => None,
        })
    };
    index.transactions = (read == Read::Transactions).then(|| ends().collect());
    (read != Read::Nothing).then_some(index)
}

/// Always so many transactions run, and the one that was assigned last goes on.
fn refill(running: &mut Vec<Xid>) {
    while running.len() <= RUNNING {
        let newest = running.iter().copied().reduce(|a, b| if a.precedes(b) { b } else { a }).expect("never empty");
        running.push(Xid::new(newest.as_u32().wrapping_add(1)).unwrap_or(Xid::FIRST));
    }
}

fn shifted(clock: Timestamp, seconds: i64) -> Timestamp {
    let duration = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { clock.saturating_sub(duration) } else { clock.saturating_add(duration) }
}
