//! Holds what is archived against what the simulated server wrote. Reads the storage itself, without the engine.

use std::collections::BTreeMap;
use std::ops::Range;

use pitr::engine::Verifier;
use pitr::format::layout::ServerLayout;
use pitr::format::log::{LogFooter, LogReader};
use pitr::format::seal::{self, ServerKey, WrappedKey};
use pitr::model::{Branch, Catalog, CommitIndex, IndexedCommit, LogBackup, Lsn, ObjectKey, TimelineId};
use pitr::port::{KeyProvider, Storage};
use pitr::testing::LoggedRecord;

use crate::world::{World, explain};

/// What is wrong with an archive, in words. Nothing, if all is well.
pub(crate) type Verdict = Result<(), String>;

struct StoredLog {
    backup: LogBackup,
    footer: LogFooter,
    wal: Vec<u8>,
}

/// Whether everything that was acknowledged is archived, and everything that is archived is true.
pub(crate) fn check(world: &World) -> Verdict {
    world.storage.heal();
    let (catalog, source) = (world.catalog(), &world.source);
    let incarnation = source.identity().incarnation;
    for branch in catalog.branches() {
        demand(branch.incarnation == incarnation, || format!("{branch} is nobody's"))?;
        let truth = source.history(branch.timeline).ok_or_else(|| format!("{branch} never was"))?;
        demand(catalog.history(branch) == Some(&truth), || format!("{branch} has another history"))?;
        let logs: Vec<StoredLog> = catalog.logs(branch).map(|log| read(world, log.to_backup())).collect();
        check_order(&logs)?;
        let mut run_start = Lsn::ZERO;
        for (number, log) in logs.iter().enumerate() {
            if number == 0 || logs[number - 1].backup.wal.end < log.backup.wal.start {
                run_start = log.backup.wal.start;
            }
            check_log(world, log, run_start)?;
        }
    }
    check_verification(world)?;
    ends(world).into_iter().try_for_each(|(timeline, end)| check_coverage(world, &catalog, timeline, end))
}

/// What the engine itself says of what is archived.
fn check_verification(world: &World) -> Verdict {
    let report =
        world.finish(Verifier::new(&world.repository, world.server.name()).run()).map_err(|error| explain(&error))?;
    report.faults.iter().try_for_each(|fault| Err(format!("verification finds that {fault}")))
}

fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// One archiver archives nothing twice.
fn check_order(logs: &[StoredLog]) -> Verdict {
    logs.windows(2).try_for_each(|pair| {
        let (one, next) = (pair[0].backup.wal, pair[1].backup.wal);
        demand(one.end <= next.start, || format!("{one} and {next} overlap"))
    })
}

fn check_log(world: &World, log: &StoredLog, run_start: Lsn) -> Verdict {
    let (wal, source) = (log.backup.wal, &world.source);
    let wrong = |what: &str| format!("{what} of {wal} is wrong: {:?}, {:?}", log.backup, log.footer);
    demand(log.footer.wal == wal, || wrong("the footer"))?;
    demand(log.wal == source.wal(wal.timeline, wal.start..wal.end), || format!("{wal} has other bytes"))?;
    let records: Vec<_> = ended_in(&source.records(wal.timeline), wal.start..wal.end, run_start);
    let ends: Vec<_> = records.iter().filter(|record| record.restore_point.is_none()).collect();
    demand(log.backup.max_commit_time == ends.iter().map(|end| end.time).max(), || wrong("the latest commit time"))?;
    check_index(&log.footer.index, &records).map_err(|what| wrong(&what))?;
    let shown = source.clock_while_at(wal.timeline, wal.end);
    let points = records.iter().filter(|record| record.restore_point.is_some()).count();
    demand(log.backup.restore_points as usize == points, || wrong("the number of restore points"))?;
    demand(log.backup.complete_through <= shown, || format!("{}, not {shown:?}", wrong("complete_through")))
}

/// What ends in `range`; what began before the archiver did, it could not read.
fn ended_in(records: &[LoggedRecord], range: Range<Lsn>, run_start: Lsn) -> Vec<LoggedRecord> {
    let inside = |record: &&LoggedRecord| {
        range.start < record.end_lsn && record.end_lsn <= range.end && record.start_lsn >= run_start
    };
    records.iter().filter(inside).cloned().collect()
}

/// The index is a sparse running maximum, ends with the maximum, and has every restore point.
fn check_index(index: &CommitIndex, records: &[LoggedRecord]) -> Verdict {
    let named = records.iter().filter_map(|record| record.restore_point.as_deref().map(|name| (record.end_lsn, name)));
    let points = index.restore_points.iter().map(|point| (point.end_lsn, point.name.as_str()));
    demand(points.eq(named), || "a restore point".to_owned())?;
    let xids = || records.iter().filter_map(|record| record.xid);
    let ends = xids().min_by_key(|xid| xid.as_u32()).zip(xids().max_by_key(|xid| xid.as_u32()));
    let range = index.xids.map(|xids| (xids.oldest, xids.newest));
    demand(range == ends, || "the range of transactions".to_owned())?;
    let mut running: Vec<IndexedCommit> = Vec::new();
    for end in records.iter().filter(|record| record.restore_point.is_none()) {
        if running.last().is_none_or(|max| max.max_time < end.time) {
            running.push(IndexedCommit::new(end.end_lsn, end.time));
        }
    }
    let first_and_last = index.commits.first() == running.first() && index.commits.last() == running.last();
    let all_true = index.commits.iter().all(|commit| running.contains(commit));
    let sorted = index.commits.is_sorted_by(|one, next| one.end_lsn < next.end_lsn);
    demand(first_and_last && all_true && sorted, || "the commit index".to_owned())
}

/// The positions that must be archived: all that was ever acknowledged, and the end of the log.
fn ends(world: &World) -> BTreeMap<TimelineId, Lsn> {
    let end = world.source.identity();
    let acknowledged = world.source.acknowledged().into_iter();
    let mut ends = BTreeMap::new();
    for (timeline, lsn) in acknowledged.chain([(end.timeline, end.flush_lsn)]) {
        let furthest = ends.entry(timeline).or_insert(lsn);
        *furthest = lsn.max(*furthest);
    }
    ends
}

/// From the first position that was archived, no byte is missing on the way to `end`, but what the server lost.
fn check_coverage(world: &World, catalog: &Catalog, timeline: TimelineId, end: Lsn) -> Verdict {
    let source = &world.source;
    let incarnation = source.identity().incarnation;
    let logs = |timeline| catalog.logs(Branch::new(incarnation, timeline));
    let all = catalog.branches().flat_map(|branch| catalog.logs(branch));
    let first = all.map(|log| log.start()).min().ok_or("nothing is archived")?;
    let history = source.history(timeline).ok_or("an unknown timeline was acknowledged")?;
    let mut at = first;
    for (timeline, _, left) in history.stretches() {
        let stretch_end = left.map_or(end, |left| left.min(end));
        while at < stretch_end {
            let covering = logs(timeline).map(|log| log.start()..log.end()).chain(source.lost());
            let next = covering.filter(|range| range.contains(&at)).map(|range| range.end).max();
            at = next.ok_or_else(|| format!("{at} of timeline {timeline} is missing on the way to {end}"))?;
        }
        at = at.min(stretch_end);
    }
    Ok(())
}

fn read(world: &World, backup: LogBackup) -> StoredLog {
    let key = backup.key();
    let plain = seal::open(server_key(world), &key, &object(world, &key)).unwrap();
    let mut reader = LogReader::new();
    reader.feed(&plain);
    let wal = std::iter::from_fn(|| reader.read().unwrap()).collect::<Vec<_>>().concat();
    StoredLog { backup, footer: reader.finish().unwrap(), wal }
}

fn object(world: &World, key: &ObjectKey) -> bytes::Bytes {
    let read = async { world.storage.get(key, None).await.unwrap().collect(usize::MAX).await.unwrap() };
    world.finish(read)
}

fn server_key(world: &World) -> ServerKey {
    let key = ServerLayout::new(world.server.name()).key();
    let wrapped = WrappedKey::parse(&object(world, &key)).unwrap();
    world.finish(world.keys.unwrap(world.server.name(), &wrapped)).unwrap()
}
