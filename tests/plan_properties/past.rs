//! The past of one timeline as facts that every oracle starts from: which snapshots it went through, which unit of its log is
//! in which log backup. All found by looking at everything.

use pitr::model::{Lsn, SnapshotKind, Timestamp};

use crate::world::{Archived, Record, SEGMENT, Stretch, Taken, UNIT, World};

#[derive(Debug)]
pub(crate) struct Past<'w> {
    pub(crate) world: &'w World,
    pub(crate) timeline: usize,
    pub(crate) path: Vec<Stretch>,
    pub(crate) records: Vec<Record>,
    /// Those on the way whose chain is whole, the furthest in the log first, and of equal ones that with the last ID.
    pub(crate) snapshots: Vec<&'w Taken>,
}

impl<'w> Past<'w> {
    pub(crate) fn new(world: &'w World, timeline: usize) -> Self {
        let (path, records) = (world.path(timeline), world.records(timeline));
        let mut past = Self { world, timeline, path, records, snapshots: Vec::new() };
        past.snapshots = world.snapshots.iter().filter(|taken| past.passed(taken) && is_whole(world, taken)).collect();
        past.snapshots.sort_by_key(|taken| std::cmp::Reverse((taken.end, taken.snapshot.id.clone())));
        past
    }

    /// Whether the timeline's past goes through the end of the snapshot.
    pub(crate) fn passed(&self, taken: &Taken) -> bool {
        self.path.iter().any(|stretch| stretch.timeline == taken.timeline && taken.end <= stretch.left)
    }

    /// The timeline that wrote a unit of this past.
    pub(crate) fn writer(&self, unit: u64) -> usize {
        self.path.iter().find(|stretch| unit < stretch.left).expect("the last has no end").timeline
    }

    /// The units of this past that a log backup holds, one bit for each: those that its timeline wrote.
    pub(crate) fn written(&self, log: &Archived) -> u128 {
        let units = (log.start..log.end).filter(|&unit| self.writer(unit) == log.timeline);
        units.map(|unit| 1_u128 << unit).sum()
    }

    /// The units that a log backup holds as a copy in the first segment file of its timeline, if recovery from `taken` begins
    /// in that.
    pub(crate) fn copied(&self, log: &Archived, taken: &Taken) -> u128 {
        let begin = self.world.timelines[taken.timeline].begin;
        let same = log.timeline == taken.timeline;
        let units = (log.start..log.end).filter(|&unit| same && first(taken) <= unit && unit < begin);
        units.map(|unit| 1_u128 << unit).sum()
    }

    /// How far log is there without a hole if all that is archived is staged; `None` if the snapshot lacks log of its own.
    pub(crate) fn reach(&self, taken: &Taken) -> Option<u64> {
        let begin = self.world.timelines[taken.timeline].begin;
        let there = |unit: u64, timeline: usize| {
            let holds = |log: &Archived| log.timeline == timeline && log.start <= unit && unit < log.end;
            self.world.logs.iter().any(holds)
        };
        let written = |unit: u64| there(unit, self.writer(unit));
        let copied = |unit: u64| if unit < begin { there(unit, taken.timeline) } else { written(unit) };
        let hole = |there: &dyn Fn(u64) -> bool| (first(taken)..).find(|&unit| !there(unit));
        let reach = hole(&written).max(hole(&copied))?;
        (reach >= taken.end).then_some(reach)
    }

    /// The last observation of the clock with the log ending from the end of a snapshot to `reach`: of an ancestor, only from before it was left.
    pub(crate) fn observed(&self, from: u64, reach: u64) -> Option<Timestamp> {
        self.path.iter().rev().filter(|stretch| stretch.begin <= reach).find_map(|stretch| {
            let own = stretch.timeline == self.timeline;
            let counts = |log: &&Archived| {
                log.timeline == stretch.timeline
                    && from <= log.end
                    && log.end <= reach
                    && (own || log.end < stretch.left)
            };
            let seen = |log: &Archived| Some((log.end, log.backup.complete_through?));
            self.world.logs.iter().filter(counts).filter_map(seen).max().map(|(_, at)| at)
        })
    }

    /// The commits that recovery replays between two units.
    pub(crate) fn commits(&self, from: u64, to: u64) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| from < record.end && record.end <= to && record.is_commit())
    }

    /// Whether the log backup with the record that ends here is stored, as the timeline wrote it.
    pub(crate) fn is_archived(&self, end: u64) -> bool {
        let writer = self.writer(end - 1);
        self.world.logs.iter().any(|log| log.timeline == writer && log.start < end && end <= log.end)
    }

    /// Whether the log up to a timeline tells of the record that ends here: as it was written, or as the copy that a timeline's
    /// first segment begins with.
    pub(crate) fn is_told(&self, end: u64, by: usize) -> bool {
        let to = self.path.iter().position(|stretch| stretch.timeline == by).map_or(0, |number| number + 1);
        let tells = |s: &Stretch, log: &Archived| {
            log.timeline == s.timeline && log.start < end && end <= log.end && end <= s.left
        };
        self.world.logs.iter().any(|log| self.path[..to].iter().any(|stretch| tells(stretch, log)))
    }

    /// The position where everything has ended that ends by `asked`: records end at multiples of eight bytes.
    pub(crate) fn whole(asked: Lsn) -> Lsn {
        Lsn::new(asked.as_u64() / 8 * 8)
    }

    /// From which snapshots recovery can end at a position.
    pub(crate) fn ways_to(&self, at: Lsn) -> Vec<&'w Taken> {
        let unit = at.as_u64().div_ceil(UNIT);
        let ends_before = |taken: &&&Taken| taken.snapshot.wal.end <= at;
        let reaches = |taken: &&&Taken| self.reach(taken).is_some_and(|reach| unit <= reach);
        self.snapshots.iter().filter(ends_before).filter(reaches).copied().collect()
    }
}

/// The first unit of the segment that recovery begins in.
pub(crate) fn first(taken: &Taken) -> u64 {
    taken.start / SEGMENT * SEGMENT
}

pub(crate) fn parent<'w>(world: &'w World, taken: &Taken) -> Option<&'w Taken> {
    let SnapshotKind::Incremental { parent } = &taken.snapshot.kind else { return None };
    world.snapshots.iter().find(|other| other.snapshot.id == *parent)
}

/// A snapshot and all that it builds on, itself first.
pub(crate) fn chain<'w>(world: &'w World, taken: &'w Taken) -> Vec<&'w Taken> {
    std::iter::successors(Some(taken), |child| parent(world, child)).collect()
}

/// Whether everything that a snapshot builds on is there, in its past, and was complete when it began.
fn is_whole(world: &World, taken: &Taken) -> bool {
    if taken.snapshot.kind == SnapshotKind::Full {
        return true;
    }
    let passed = |parent: &Taken| {
        let path = world.path(taken.timeline);
        path.iter().any(|stretch| stretch.timeline == parent.timeline && parent.end <= stretch.left)
    };
    parent(world, taken).is_some_and(|parent| parent.end <= taken.start && passed(parent) && is_whole(world, parent))
}
