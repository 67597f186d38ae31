//! The best restore, found by trying every subset of the log backups with every chain of snapshots.

use pitr::model::Lsn;
use pitr::plan::{CostModel, Objective};

use crate::past::{Past, chain, first};
use crate::world::{Archived, HISTORY, Taken, UNIT};

/// More than this is too much to try.
pub(crate) const LOGS_MAX: usize = 9;

/// By what subsets are compared: the objective, then bytes, then objects.
pub(crate) type Weight = (u128, u64, u64);

/// What is fetched and replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taking {
    pub(crate) bytes: u64,
    pub(crate) objects: u64,
    pub(crate) replayed: u64,
}

impl Taking {
    /// The weight as a whole number: times are multiplied by both rates, so that nothing is rounded.
    pub(crate) fn weight(self, objective: Objective, costs: &CostModel) -> Weight {
        let [bytes, objects, replayed] = [self.bytes, self.objects, self.replayed].map(u128::from);
        let fetch = u128::from(costs.fetch_bytes_per_second.max(1));
        let replay = u128::from(costs.replay_bytes_per_second.max(1));
        let first = match objective {
            Objective::Bytes => bytes,
            Objective::Artifacts => objects,
            _ => {
                let latency = costs.object_latency.as_micros() * objects * fetch * replay;
                bytes * 1_000_000 * replay + replayed * 1_000_000 * fetch + latency
            }
        };
        (first, self.bytes, self.objects)
    }

    /// In microseconds, each part rounded down.
    pub(crate) fn micros(self, costs: &CostModel) -> u128 {
        let [bytes, objects, replayed] = [self.bytes, self.objects, self.replayed].map(u128::from);
        let (fetch, replay) = (costs.fetch_bytes_per_second.max(1), costs.replay_bytes_per_second.max(1));
        bytes * 1_000_000 / u128::from(fetch)
            + costs.object_latency.as_micros() * objects
            + replayed * 1_000_000 / u128::from(replay)
    }
}

/// A set of artifacts that does it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Best<'w> {
    pub(crate) taken: &'w Taken,
    pub(crate) weight: Weight,
}

/// All subsets of the log backups that hold any of a past, each with what it holds and takes.
#[derive(Debug)]
pub(crate) struct Subsets<'p, 'w> {
    past: &'p Past<'w>,
    logs: Vec<&'w Archived>,
    written: Vec<u128>,
    takings: Vec<Taking>,
}

impl<'p, 'w> Subsets<'p, 'w> {
    pub(crate) fn new(past: &'p Past<'w>) -> Self {
        let on_path = |log: &&Archived| past.path.iter().any(|stretch| stretch.timeline == log.timeline);
        let logs: Vec<&Archived> = past.world.logs.iter().filter(on_path).collect();
        assert!(past.world.end() < 128, "too large a world");
        let all = logs.len() <= LOGS_MAX;
        let written = unions(logs.iter().filter(|_| all).map(|log| past.written(log)));
        let mut takings = vec![Taking::default()];
        for log in logs.iter().filter(|_| all) {
            let with = |taking: &Taking| Taking {
                bytes: taking.bytes + log.backup.stored_bytes,
                objects: taking.objects + 1,
                ..*taking
            };
            takings.extend(takings.iter().map(with).collect::<Vec<_>>());
        }
        Self { past, logs, written, takings }
    }

    /// The lightest of all sets from these snapshots that stops at `stop`: where recovery with log staged up to a unit does
    /// so is told by `suffices`. Of sets with one weight, one from the first snapshot.
    pub(crate) fn best(
        &self,
        snapshots: &[&'w Taken],
        stop: Lsn,
        weight: impl Fn(Taking) -> Weight,
        suffices: impl Fn(&Taken, u64) -> bool,
    ) -> Option<Best<'w>> {
        let mut best: Option<Best<'w>> = None;
        for &taken in snapshots {
            let besides = self.besides_log(taken, stop);
            let mut compete = |staged: u64, taking: Taking| {
                if suffices(taken, staged) {
                    let (bytes, objects) = (taking.bytes + besides.bytes, taking.objects + besides.objects);
                    let weight = weight(Taking { bytes, objects, ..besides });
                    if best.as_ref().is_none_or(|best| weight < best.weight) {
                        best = Some(Best { taken, weight });
                    }
                }
            };
            if self.logs.len() > LOGS_MAX {
                self.ways_without_overlaps(taken, stop)
                    .into_iter()
                    .for_each(|(staged, taking)| compete(staged, taking));
                continue;
            }
            let copied = unions(self.logs.iter().map(|log| self.past.copied(log, taken)));
            for (subset, taking) in self.takings.iter().enumerate() {
                compete(staged(self.past, taken, self.written[subset], copied[subset]), *taking);
            }
        }
        best
    }

    /// Where no log backups overlap, only what the first segment begins with can come from one of two timelines: up to where
    /// each way reaches, and what it takes.
    fn ways_without_overlaps(&self, taken: &Taken, stop: Lsn) -> [(u64, Taking); 2] {
        let begin = self.past.world.timelines[taken.timeline].begin;
        let needed = (1_u128 << stop.as_u64().div_ceil(UNIT)) - (1 << first(taken));
        let since_begin = u128::MAX << begin;
        let way = |holds: &dyn Fn(&Archived) -> u128| {
            let logs: Vec<&Archived> = self.logs.iter().filter(|log| holds(log) & needed != 0).copied().collect();
            let units = logs.iter().fold(0, |units, log| units | holds(log));
            let bytes = logs.iter().map(|log| log.backup.stored_bytes).sum();
            let reach = first(taken) + u64::from((units >> first(taken)).trailing_ones());
            (reach, Taking { bytes, objects: logs.len() as u64, ..Taking::default() })
        };
        [
            way(&|log| self.past.written(log)),
            way(&|log| self.past.copied(log, taken) | self.past.written(log) & since_begin),
        ]
    }

    /// What the chain and the history take, and the replay.
    fn besides_log(&self, taken: &'w Taken, stop: Lsn) -> Taking {
        let chain = chain(self.past.world, taken);
        // PostgreSQL recovers along the timeline that wrote the last byte.
        let timeline = self.past.writer(stop.as_u64().saturating_sub(1) / UNIT);
        let histories = u64::from(self.past.world.history_stored(timeline));
        Taking {
            bytes: chain.iter().map(|taken| taken.snapshot.stored_bytes).sum::<u64>() + histories * HISTORY,
            objects: chain.len() as u64 + histories,
            replayed: stop.as_u64() - taken.snapshot.wal.start.as_u64(),
        }
    }
}

/// For every subset of sets of units, which units are in any of them.
fn unions(sets: impl Iterator<Item = u128>) -> Vec<u128> {
    let mut unions = vec![0];
    for set in sets {
        unions.extend(unions.iter().map(|union| union | set).collect::<Vec<u128>>());
    }
    unions
}

/// Up to where log is there without a hole: if recovery begins in the first segment of the snapshot's timeline, what was
/// written before that began is there as it was written, or all of it as the timeline's own copy.
fn staged(past: &Past<'_>, taken: &Taken, written: u128, copied: u128) -> u64 {
    let since_begin = written & (u128::MAX << past.world.timelines[taken.timeline].begin);
    let first = first(taken);
    let reach = |units: u128| first + u64::from((units >> first).trailing_ones());
    reach(written).max(reach(since_begin | copied))
}

/// How far these log backups reach from a snapshot.
pub(crate) fn staged_by(past: &Past<'_>, taken: &Taken, logs: &[&Archived]) -> u64 {
    let written = logs.iter().fold(0, |units, log| units | past.written(log));
    let copied = logs.iter().fold(0, |units, log| units | past.copied(log, taken));
    staged(past, taken, written, copied)
}
