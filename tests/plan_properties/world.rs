//! A server with a random past: what it wrote, when, on which timelines, and what of that was archived.

use std::sync::Arc;
use std::time::Duration;

use pitr::model::{
    Artifact, Branch, CommitIndex, Incarnation, IndexedCommit, LogBackup, Lsn, PostgresMajor, SegmentSize, Snapshot,
    SnapshotKind, StoredHistory, StoredObject, SystemId, TimelineHistory, TimelineId, TimelineSwitch, Timestamp,
    WalRange,
};
use proptest::prelude::*;

/// Everything happens at multiples of this; a segment has four.
pub(crate) const UNIT: u64 = SEGMENT / 4;
pub(crate) const SEGMENT: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The server writes, and commits at the end.
    Commit {
        units: u64,
        seconds: i64,
    },
    Wait {
        seconds: i64,
    },
    /// What was written since the last cut becomes a log backup, or is lost.
    Cut {
        observed: bool,
        lost: bool,
        indexed: bool,
        overlap: u64,
    },
    /// A snapshot ends, which began so much log ago.
    Snapshot {
        units: u64,
        incremental: bool,
        stored_bytes: u64,
    },
    /// A standby that is so far behind is promoted.
    Promote {
        behind: u64,
        log_from_segment: bool,
    },
    /// The server goes on with another timeline.
    GoOn {
        timeline: usize,
    },
}

pub(crate) fn steps(monotonic: bool, overlaps: bool) -> impl Strategy<Value = Vec<Step>> {
    let least = if monotonic { 0 } else { -20_i64 };
    let overlap = if overlaps { 0..4_u64 } else { 0..1 };
    let cut = (any::<bool>(), prop::bool::weighted(0.1), any::<bool>(), overlap);
    let step = prop_oneof![
        5 => (1..3_u64, least..10).prop_map(|(units, seconds)| Step::Commit { units, seconds }),
        2 => (least..10).prop_map(|seconds| Step::Wait { seconds }),
        5 => cut.prop_map(|(observed, lost, indexed, overlap)| Step::Cut { observed, lost, indexed, overlap }),
        3 => (0..3_u64, any::<bool>(), 0..500_000_000_u64)
            .prop_map(|(units, incremental, stored_bytes)| Step::Snapshot { units, incremental, stored_bytes }),
        1 => (0..3_u64, any::<bool>()).prop_map(|(behind, log_from_segment)| Step::Promote { behind, log_from_segment }),
        1 => (0..4_usize).prop_map(|timeline| Step::GoOn { timeline }),
    ];
    prop::collection::vec(step, 1..40)
}

#[derive(Debug)]
pub(crate) struct Timeline {
    pub(crate) id: TimelineId,
    parent: Option<usize>,
    pub(crate) begin: Lsn,
    position: Lsn,
    /// Up to here it is archived or lost.
    cut: Lsn,
    /// Where its first segment file begins, with a copy of its parent's bytes.
    file_start: Lsn,
    commits: Vec<(Lsn, Timestamp)>,
}

#[derive(Debug)]
pub(crate) struct World {
    clock: Timestamp,
    current: usize,
    pub(crate) timelines: Vec<Timeline>,
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) logs: Vec<LogBackup>,
}

fn incarnation() -> Incarnation {
    Incarnation::new(SystemId::new(7), PostgresMajor::MIN)
}

fn object(key: String, bytes: u64) -> StoredObject {
    StoredObject::new(key.parse().expect("a key"), bytes)
}

impl World {
    pub(crate) fn after(steps: &[Step]) -> Self {
        let start = Lsn::new(SEGMENT);
        let first = Timeline {
            id: TimelineId::FIRST,
            parent: None,
            begin: Lsn::ZERO,
            position: start,
            cut: start,
            file_start: start,
            commits: Vec::new(),
        };
        let clock = Timestamp::UNIX_EPOCH.saturating_add(Duration::from_secs(1_000_000));
        let mut world = Self { clock, current: 0, timelines: vec![first], snapshots: Vec::new(), logs: Vec::new() };
        steps.iter().for_each(|step| world.take(step));
        world
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Commit { units, seconds } => self.commit(units, seconds),
            Step::Wait { seconds } => self.wait(seconds),
            Step::Cut { observed, lost, indexed, overlap } => self.cut(observed, lost, indexed, overlap),
            Step::Snapshot { units, incremental, stored_bytes } => self.snapshot(units, incremental, stored_bytes),
            Step::Promote { behind, log_from_segment } => self.promote(behind, log_from_segment),
            Step::GoOn { timeline } => self.current = timeline % self.timelines.len(),
        }
    }

    fn wait(&mut self, seconds: i64) {
        let duration = Duration::from_secs(seconds.unsigned_abs());
        self.clock =
            if seconds < 0 { self.clock.saturating_sub(duration) } else { self.clock.saturating_add(duration) };
    }

    fn commit(&mut self, units: u64, seconds: i64) {
        self.wait(seconds);
        let timeline = &mut self.timelines[self.current];
        timeline.position = timeline.position.saturating_add(units * UNIT);
        timeline.commits.push((timeline.position, self.clock));
    }

    fn cut(&mut self, observed: bool, lost: bool, indexed: bool, overlap: u64) {
        let timeline = &mut self.timelines[self.current];
        let start = back(timeline.cut, overlap).max(timeline.file_start);
        let wal = WalRange::new(timeline.id, start, timeline.position).expect("positions only grow");
        timeline.cut = timeline.position;
        if lost {
            return;
        }
        let mut log =
            LogBackup::new(incarnation(), wal, format!("log/{}", self.logs.len()).parse().expect("a key"), wal.bytes());
        let mut index = CommitIndex::default();
        let commits = self.commits_in_files(self.current);
        let mut running = None;
        for (end, at) in commits.into_iter().filter(|&(end, _)| wal.start < end && end <= wal.end) {
            if Some(at) > running {
                running = Some(at);
                index.commits.push(IndexedCommit::new(end, at));
            }
        }
        log.max_commit_time = running;
        log.complete_through = observed.then_some(self.clock);
        log.index = indexed.then(|| Arc::new(index));
        self.logs.push(log);
    }

    fn snapshot(&mut self, units: u64, incremental: bool, stored_bytes: u64) {
        let timeline = &self.timelines[self.current];
        let start = back(timeline.position, units).max(timeline.begin).max(Lsn::new(SEGMENT));
        let wal = WalRange::new(timeline.id, start, timeline.position).expect("it began before");
        let number = self.snapshots.len();
        let manifest = object(format!("snapshots/{number}"), 0);
        let id = format!("s{number:02}").parse().expect("an ID");
        let mut snapshot = Snapshot::full(id, incarnation(), wal, SegmentSize::MIN, self.clock, manifest);
        snapshot.stored_bytes = stored_bytes;
        if let Some(parent) = self.snapshots.last().filter(|_| incremental) {
            snapshot.kind = SnapshotKind::Incremental { parent: parent.id.clone() };
        }
        self.snapshots.push(snapshot);
    }

    fn promote(&mut self, behind: u64, log_from_segment: bool) {
        let parent = &self.timelines[self.current];
        let begin = back(parent.position, behind).max(parent.begin).max(Lsn::new(SEGMENT));
        let file_start = Lsn::new(begin.as_u64() / SEGMENT * SEGMENT);
        let number = u32::try_from(self.timelines.len() + 1).expect("few");
        let id = TimelineId::new(number).expect("not zero");
        let cut = if log_from_segment { file_start } else { begin };
        let parent = Some(self.current);
        self.current = self.timelines.len();
        self.timelines.push(Timeline { id, parent, begin, position: begin, cut, file_start: cut, commits: Vec::new() });
    }

    /// The stretches that lead to the end of a timeline: each with its number, begin and end.
    pub(crate) fn path(&self, timeline: usize) -> Vec<(usize, Lsn, Lsn)> {
        let mut path = vec![(timeline, self.timelines[timeline].begin, Lsn::MAX)];
        let mut at = timeline;
        while let Some(parent) = self.timelines[at].parent {
            path.insert(0, (parent, self.timelines[parent].begin, self.timelines[at].begin));
            at = parent;
        }
        path
    }

    /// Every unit of log on the way to where the last artifact of a timeline ends, each as the timeline that wrote it and its
    /// number; `None` if there is no artifact.
    pub(crate) fn archived_past(&self, timeline: usize) -> Option<Vec<(usize, u64)>> {
        let logs = self.logs.iter().map(|log| log.wal);
        let all = logs.chain(self.snapshots.iter().map(|snapshot| snapshot.wal));
        let last = all.filter(|wal| wal.timeline == self.timelines[timeline].id).map(|wal| wal.end).max()?;
        let units = |(number, begin, end): (usize, Lsn, Lsn)| {
            (begin.as_u64() / UNIT..end.min(last).as_u64() / UNIT).map(move |unit| (number, unit))
        };
        Some(self.path(timeline).into_iter().flat_map(units).collect())
    }

    /// All commits on the way to the end of a timeline, in log order.
    pub(crate) fn commits(&self, timeline: usize) -> Vec<(Lsn, Timestamp)> {
        let stretch = |(number, begin, end): (usize, Lsn, Lsn)| {
            self.timelines[number].commits.iter().copied().filter(move |&(lsn, _)| begin < lsn && lsn <= end)
        };
        self.path(timeline).into_iter().flat_map(stretch).collect()
    }

    /// What the segment files of a timeline hold, the copy of its parent's bytes among it.
    fn commits_in_files(&self, timeline: usize) -> Vec<(Lsn, Timestamp)> {
        let from = self.timelines[timeline].file_start;
        self.commits(timeline).into_iter().filter(|&(end, _)| end > from).collect()
    }

    pub(crate) fn branch(&self, timeline: usize) -> Branch {
        Branch::new(incarnation(), self.timelines[timeline].id)
    }

    pub(crate) fn artifacts(&self) -> Vec<Artifact> {
        let history = |number: usize| {
            let mut path = self.path(number);
            path.pop();
            let switch = |(number, _, end): (usize, Lsn, Lsn)| TimelineSwitch::new(self.timelines[number].id, end, "");
            let history = TimelineHistory::new(self.timelines[number].id, path.into_iter().map(switch).collect());
            let stored = object(format!("history/{number}"), 64);
            StoredHistory::new(incarnation(), history.expect("begins only grow"), stored)
        };
        let histories = (1..self.timelines.len()).map(|number| history(number).into());
        let snapshots = self.snapshots.iter().cloned().map(Artifact::from);
        histories.chain(snapshots).chain(self.logs.iter().cloned().map(Artifact::from)).collect()
    }

    /// Every instant at which something happened, and its neighbours.
    pub(crate) fn instants(&self) -> Vec<Timestamp> {
        let commits = self.timelines.iter().flat_map(|timeline| timeline.commits.iter().map(|&(_, at)| at));
        let seen = self.logs.iter().filter_map(|log| log.complete_through);
        let snapshots = self.snapshots.iter().map(|snapshot| snapshot.consistent_at);
        let tick = Duration::from_micros(1);
        let around = |at: Timestamp| [at.saturating_sub(tick), at, at.saturating_add(tick)];
        let mut instants: Vec<_> = commits.chain(seen).chain(snapshots).flat_map(around).collect();
        instants.sort_unstable();
        instants.dedup();
        instants
    }
}

fn back(lsn: Lsn, units: u64) -> Lsn {
    Lsn::new(lsn.as_u64().saturating_sub(units * UNIT))
}
