//! A server that lives for years, a day at a time: what it archives, and what is kept for whom.

use std::collections::BTreeMap;
use std::time::Duration;

use pitr::model::{
    Artifact, Branch, Catalog, Hold, Incarnation, Lease, LogBackup, Lsn, ObjectKey, Period, PostgresMajor,
    RetentionDays, SegmentSize, Snapshot, SnapshotId, SnapshotKind, StoredHistory, StoredObject, SystemId,
    TimelineHistory, TimelineId, TimelineSwitch, Timestamp, WalRange,
};
use pitr::plan::retention::{Protections, RetentionPolicy, RunningSnapshot};
use pitr::plan::{RestoreRequest, Target, plan_restore};

use crate::random::Random;

pub(crate) const DAY: u64 = 86_400;
const SEGMENT: u64 = 1 << 20;
const UNIT: u64 = SEGMENT / 4;

/// What can happen in a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Character {
    /// Clocks are right and nothing is lost.
    Calm,
    /// Log and objects are lost.
    Lossy,
    /// Clocks step as well, by years too.
    Wild,
}

#[derive(Debug)]
struct Timeline {
    id: TimelineId,
    parent: Option<usize>,
    begin: Lsn,
    position: Lsn,
    /// Up to here it is archived or lost.
    cut: Lsn,
}

#[derive(Debug)]
struct Life {
    incarnation: Incarnation,
    timelines: Vec<Timeline>,
}

/// A snapshot that is being taken.
#[derive(Debug)]
struct Taking {
    life: usize,
    timeline: usize,
    start: Lsn,
    parent: Option<SnapshotId>,
    done_on: u64,
    /// Whether any of its log was lost.
    damaged: bool,
}

/// What a restore reads until its lease ends.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) lease: Lease,
    pub(crate) objects: Vec<ObjectKey>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) character: Character,
    pub(crate) day: u64,
    now: Timestamp,
    server_skew: i64,
    our_skew: i64,
    stopped: u64,
    lives: Vec<Life>,
    life: usize,
    timeline: usize,
    snapshots: u64,
    taking: Option<Taking>,
    pub(crate) holds: Vec<Hold>,
    pub(crate) readings: Vec<Reading>,
    pub(crate) policy: RetentionPolicy,
    pub(crate) artifacts: BTreeMap<ObjectKey, Artifact>,
    /// A snapshot that came to its end today, though all of its log was archived while it was taken.
    pub(crate) completed: Option<SnapshotId>,
}

fn object(key: String, bytes: u64) -> StoredObject {
    StoredObject::new(key.parse().expect("a key"), bytes)
}

fn shifted(at: Timestamp, seconds: i64) -> Timestamp {
    let duration = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { at.saturating_sub(duration) } else { at.saturating_add(duration) }
}

fn back(lsn: Lsn, units: u64) -> Lsn {
    Lsn::new(lsn.as_u64().saturating_sub(units * UNIT))
}

fn first_timeline() -> Timeline {
    let start = Lsn::new(SEGMENT);
    Timeline { id: TimelineId::FIRST, parent: None, begin: Lsn::ZERO, position: start, cut: start }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let character = [Character::Calm, Character::Lossy, Character::Wild][random.index(3)];
        let incarnation = Incarnation::new(SystemId::new(1000), PostgresMajor::MIN);
        let mut world = Self {
            random,
            character,
            day: 0,
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            server_skew: 0,
            our_skew: 0,
            stopped: 0,
            lives: vec![Life { incarnation, timelines: vec![first_timeline()] }],
            life: 0,
            timeline: 0,
            snapshots: 0,
            taking: None,
            holds: Vec::new(),
            readings: Vec::new(),
            policy: RetentionPolicy::default(),
            artifacts: BTreeMap::new(),
            completed: None,
        };
        world.change_policy();
        world
    }

    /// What our own clock shows.
    pub(crate) fn our_clock(&self) -> Timestamp {
        shifted(self.now, self.our_skew)
    }

    fn server_clock(&self) -> Timestamp {
        shifted(self.now, self.server_skew)
    }

    pub(crate) fn catalog(&self) -> Catalog {
        Catalog::new(self.artifacts.values().cloned()).expect("a world does not contradict itself")
    }

    pub(crate) fn protections(&self) -> Protections {
        let mut protections = self.holds.iter().cloned().fold(Protections::none(), Protections::with_hold);
        for reading in &self.readings {
            protections = protections.with_lease(reading.lease.clone());
        }
        if let Some(Taking { life, timeline, start, parent, .. }) = &self.taking {
            let branch = self.branch(*life, *timeline);
            protections = protections.with_running(RunningSnapshot::new(branch, *start, parent.clone()));
        }
        protections
    }

    fn branch(&self, life: usize, timeline: usize) -> Branch {
        Branch::new(self.lives[life].incarnation, self.lives[life].timelines[timeline].id)
    }

    /// The timelines that lead to the end of a branch, each with where it was left.
    pub(crate) fn path(&self, branch: Branch) -> Vec<(Branch, Lsn)> {
        let life = self.lives.iter().find(|life| life.incarnation == branch.incarnation).expect("it lived");
        let mut at = life.timelines.iter().position(|timeline| timeline.id == branch.timeline);
        let mut left = Lsn::MAX;
        let mut path = Vec::new();
        while let Some(number) = at {
            let timeline = &life.timelines[number];
            path.insert(0, (Branch::new(branch.incarnation, timeline.id), left));
            (left, at) = (timeline.begin, timeline.parent);
        }
        path
    }

    pub(crate) fn live_a_day(&mut self) {
        self.day += 1;
        self.completed = None;
        let midnight = self.now;
        self.happen();
        if self.stopped > 0 {
            self.stopped -= 1;
        } else {
            self.snapshot_of_the_day();
            for _ in 0..=self.random.index(2) {
                self.pass(DAY / 4);
                self.write_and_archive();
            }
            self.finish_taking();
        }
        self.now = midnight.saturating_add(Duration::from_secs(DAY));
        self.protect();
        self.lose();
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.saturating_add(Duration::from_secs(seconds));
    }

    fn at(&mut self) -> &mut Timeline {
        &mut self.lives[self.life].timelines[self.timeline]
    }

    fn write_and_archive(&mut self) {
        let idle = self.random.chance(100);
        let units = if idle { 0 } else { 1 + self.random.next() % 3 };
        let commit = (!idle).then(|| shifted(self.server_clock(), -i64::from(self.random.number(30))));
        let timeline = self.at();
        timeline.position = timeline.position.saturating_add(units * UNIT);
        let observed = self.random.chance(900);
        let lost = self.character != Character::Calm && self.random.chance(10);
        self.cut(commit, observed || idle, lost);
    }

    fn cut(&mut self, commit: Option<Timestamp>, observed: bool, lost: bool) {
        let (branch, clock) = (self.branch(self.life, self.timeline), self.server_clock());
        let timeline = self.at();
        let wal = WalRange::new(timeline.id, timeline.cut, timeline.position).expect("positions only grow");
        timeline.cut = timeline.position;
        if lost {
            self.taking.iter_mut().for_each(|taking| taking.damaged = true);
            return;
        }
        let directory = format!("logs/{}/{}", branch.incarnation, branch.timeline).parse().expect("a key");
        let mut log = LogBackup::new(branch.incarnation, wal, directory, 100);
        log.max_commit_time = commit;
        log.complete_through = observed.then_some(clock);
        self.store(log.into());
    }

    fn store(&mut self, artifact: Artifact) {
        self.artifacts.insert(artifact.object().key, artifact);
    }

    /// The last snapshot that is stored and lies in the past of where the server is.
    fn parent(&self) -> Option<SnapshotId> {
        let path = self.path(self.branch(self.life, self.timeline));
        let on_path = |snapshot: &&Snapshot| {
            let branch = Branch::new(snapshot.incarnation, snapshot.wal.timeline);
            path.iter().any(|&(passed, left)| passed == branch && snapshot.wal.end <= left)
        };
        let snapshots = self.stored_snapshots().filter(on_path);
        snapshots.max_by_key(|snapshot| (snapshot.wal.end, &snapshot.id)).map(|snapshot| snapshot.id.clone())
    }

    pub(crate) fn stored_snapshots(&self) -> impl Iterator<Item = &Snapshot> {
        self.artifacts.values().filter_map(|artifact| match artifact {
            Artifact::Snapshot(snapshot) => Some(&**snapshot),
            _ => None,
        })
    }

    fn snapshot_of_the_day(&mut self) {
        if self.random.chance(40) {
            return;
        }
        let parent = if self.random.chance(500) { self.parent() } else { None };
        let start = self.at().position;
        self.take_until_now(start, parent);
    }

    /// The snapshot ends, and a log backup where it does.
    fn take_until_now(&mut self, start: Lsn, parent: Option<SnapshotId>) -> SnapshotId {
        let units = self.random.next() % 2;
        let timeline = self.at();
        timeline.position = timeline.position.saturating_add(units * UNIT);
        let wal = WalRange::new(timeline.id, start, timeline.position).expect("positions only grow");
        self.cut(None, true, false);
        self.snapshots += 1;
        let id: SnapshotId = format!("s{:05}", self.snapshots).parse().expect("an ID");
        let manifest = object(format!("snapshots/{id}"), 0);
        let (life, clock) = (self.lives[self.life].incarnation, self.server_clock());
        let mut snapshot = Snapshot::full(id.clone(), life, wal, SegmentSize::MIN, clock, manifest);
        snapshot.stored_bytes = 1000 + self.snapshots;
        if let Some(parent) = parent {
            snapshot.kind = SnapshotKind::Incremental { parent };
        }
        self.store(snapshot.into());
        id
    }

    fn finish_taking(&mut self) {
        let here = (self.life, self.timeline);
        self.taking.take_if(|taking| (taking.life, taking.timeline) != here);
        let Some(taking) = self.taking.take_if(|taking| taking.done_on <= self.day) else { return };
        let Taking { start, parent, damaged, .. } = taking;
        let whole = parent.as_ref().is_none_or(|parent| self.is_restorable(parent));
        let id = self.take_until_now(start, parent);
        self.completed = Some(id).filter(|_| whole && !damaged);
    }

    fn is_restorable(&self, id: &SnapshotId) -> bool {
        plan_restore(&self.catalog(), &Target::Snapshot(id.clone()).into()).is_ok()
    }

    fn happen(&mut self) {
        match self.random.number(1000) {
            0..6 => self.promote(),
            6..10 => self.promote_and_return(),
            10..12 => self.return_to_another(),
            12..14 => self.upgrade(),
            14..20 => self.stopped = 1 + u64::from(self.random.number(40)),
            20..25 => self.change_policy(),
            25..32 if self.taking.is_none() && self.at().position > Lsn::new(SEGMENT) => self.begin_taking(),
            32..44 if self.character == Character::Wild => self.server_skew = self.step(),
            44..54 if self.character == Character::Wild => self.our_skew = self.step(),
            _ => {}
        }
        if self.random.chance(200) {
            self.server_skew = 0;
        }
        if self.random.chance(300) {
            self.our_skew = 0;
        }
    }

    fn step(&mut self) -> i64 {
        let most = [60, 3600, 20 * 3600, 10 * 86_400, 30 * 86_400, 3 * 365 * 86_400][self.random.index(6)];
        let size = i64::from(self.random.number(most));
        if self.random.chance(500) { size } else { -size }
    }

    fn begin_taking(&mut self) {
        let parent = if self.random.chance(500) { self.parent() } else { None };
        let (start, done_on) = (self.at().position, self.day + 1 + u64::from(self.random.number(12)));
        let damaged = self.at().cut < start || !self.has_segment_up_to(start);
        self.taking = Some(Taking { life: self.life, timeline: self.timeline, start, parent, done_on, damaged });
    }

    /// Whether the timeline's own log is stored from the start of the segment up to there.
    fn has_segment_up_to(&self, lsn: Lsn) -> bool {
        let branch = self.branch(self.life, self.timeline);
        let mut reach = lsn.as_u64() / SEGMENT * SEGMENT;
        let mine = |artifact: &&Artifact| crate::oracle::branch_of(artifact) == Some(branch);
        let mut logs: Vec<_> = self
            .artifacts
            .values()
            .filter(mine)
            .filter_map(|artifact| match artifact {
                Artifact::Log(log) => Some(log.wal),
                _ => None,
            })
            .collect();
        logs.sort_by_key(|wal| wal.start);
        for wal in logs.iter().filter(|wal| wal.end > wal.start) {
            if wal.start.as_u64() <= reach {
                reach = reach.max(wal.end.as_u64());
            }
        }
        reach >= lsn.as_u64()
    }

    fn promote(&mut self) {
        let behind = self.random.next() % 3;
        let parent = self.timeline;
        let timeline = self.at();
        let begin = back(timeline.position, behind).max(timeline.begin).max(Lsn::new(SEGMENT));
        let timelines = &mut self.lives[self.life].timelines;
        let id = TimelineId::new(u32::try_from(timelines.len() + 1).expect("few")).expect("not zero");
        self.timeline = timelines.len();
        timelines.push(Timeline { id, parent: Some(parent), begin, position: begin, cut: begin });
        self.archive_history();
    }

    /// As an archiver does whenever it begins on a timeline.
    fn archive_history(&mut self) {
        let branch = self.branch(self.life, self.timeline);
        let mut ancestors = self.path(branch);
        ancestors.pop();
        if ancestors.is_empty() {
            return;
        }
        let switch = |(passed, left): (Branch, Lsn)| TimelineSwitch::new(passed.timeline, left, "");
        let history = TimelineHistory::new(branch.timeline, ancestors.into_iter().map(switch).collect());
        let stored = object(format!("history/{}/{}", branch.incarnation, branch.timeline), 64);
        self.store(StoredHistory::new(branch.incarnation, history.expect("begins only grow"), stored).into());
    }

    /// A standby is promoted by mistake, with a clock of its own, and goes away.
    fn promote_and_return(&mut self) {
        let (stays, skew) = (self.timeline, self.server_skew);
        self.promote();
        if self.character == Character::Wild && self.random.chance(300) {
            self.server_skew = self.step();
        }
        for _ in 0..self.random.index(3) {
            self.write_and_archive();
        }
        (self.timeline, self.server_skew) = (stays, skew);
        self.archive_history();
    }

    fn return_to_another(&mut self) {
        self.timeline = self.random.index(self.lives[self.life].timelines.len());
        self.archive_history();
    }

    fn upgrade(&mut self) {
        let number = if self.random.chance(500) { 1000 + self.lives.len() } else { 1000 - self.lives.len() };
        let incarnation = Incarnation::new(SystemId::new(number as u64), PostgresMajor::MIN);
        (self.life, self.timeline) = (self.lives.len(), 0);
        self.lives.push(Life { incarnation, timelines: vec![first_timeline()] });
    }

    fn change_policy(&mut self) {
        let days = RetentionDays::new([7, 7, 7, 8, 14][self.random.index(5)]).expect("allowed");
        self.policy = RetentionPolicy::new(days).with_minimum_snapshots(self.random.number(4));
        for (every, most) in [(Period::Day, 20), (Period::Week, 8), (Period::Month, 6), (Period::Year, 3)] {
            if self.random.chance(150) {
                self.policy = self.policy.clone().with_sparse(every, self.random.number(most));
            }
        }
    }

    fn protect(&mut self) {
        let now = self.our_clock();
        if self.random.chance(15)
            && let Some(snapshot) = self.any_snapshot()
        {
            let mut hold = Hold::new(snapshot, format!("hold {}", self.day));
            hold.until = self.random.chance(600).then(|| shifted(now, i64::from(self.random.number(60 * 86_400))));
            self.holds.push(hold);
        }
        if self.random.chance(30) && !self.holds.is_empty() {
            let any = self.random.index(self.holds.len());
            self.holds[any].released_at.get_or_insert(now);
        }
        if self.random.chance(20) {
            self.begin_to_read(now);
        }
    }

    fn any_snapshot(&mut self) -> Option<SnapshotId> {
        let all: Vec<_> = self.stored_snapshots().map(|snapshot| snapshot.id.clone()).collect();
        (!all.is_empty()).then(|| all[self.random.index(all.len())].clone())
    }

    fn begin_to_read(&mut self, now: Timestamp) {
        let target = match self.random.index(3) {
            0 => Target::Latest,
            1 => Target::time(shifted(now, -i64::from(self.random.number(9 * 86_400)))),
            _ => self.any_snapshot().map_or(Target::Earliest, Target::Snapshot),
        };
        let Ok(plan) = plan_restore(&self.catalog(), &RestoreRequest::new(target)) else { return };
        let until = shifted(now, i64::from(self.random.number(20 * 86_400)));
        let snapshots = plan.snapshots().iter().map(|snapshot| snapshot.manifest.key.clone());
        let logs = plan.logs().iter().map(|log| log.backup.key());
        let objects = snapshots.chain(logs).chain(plan.histories().iter().map(|object| object.key.clone())).collect();
        self.readings.push(Reading { lease: plan.lease(format!("restore {}", self.day), until), objects });
    }

    /// An object is lost in the storage.
    fn lose(&mut self) {
        if self.character != Character::Calm && self.random.chance(8) && !self.artifacts.is_empty() {
            let any = self.random.index(self.artifacts.len());
            let key = self.artifacts.keys().nth(any).cloned().expect("so many");
            self.artifacts.remove(&key);
            self.readings.iter_mut().for_each(|reading| reading.objects.retain(|object| *object != key));
            self.taking.iter_mut().for_each(|taking| taking.damaged = true);
            self.completed = None;
        }
    }
}
