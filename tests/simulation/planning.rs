//! Plans for which something must be read first: where each transaction ended, and each restore point was made.

use std::collections::BTreeMap;

use pitr::engine::ErrorKind;
use pitr::model::{Branch, Catalog, LogBackup, LogRef, Lsn, ObjectKey, TransactionEnd, Xid};
use pitr::plan::{Need, PlanError, RestorePlan, RestoreRequest, Target, plan_restore};
use pitr::port::{Operation, PutMode, Storage, StorageExt};
use pitr::testing::{Fault, Habits, LoggedRecord};

use crate::truth::check;
use crate::world::{World, explain};

const NEVER: u64 = u64::MAX;

/// A server with a snapshot near its beginning, and many small log backups on three timelines, of which two were left late.
fn world(seed: u64) -> World {
    let mut world = World::new(seed);
    world.bytes_max = 2_048 << (seed % 4);
    world.source.write(20_000);
    world.archive(|| NEVER);
    world.take().unwrap();
    for lag in [15_000, 30_000] {
        world.source.write(400_000);
        // What is archived now is left behind when a standby that has not seen it takes over.
        world.archive(|| NEVER);
        world.source.promote(lag);
    }
    world.source.write(400_000);
    world.archive(|| NEVER);
    world
}

/// What the server wrote on the way to where it is now, in order.
fn past(world: &World) -> Vec<LoggedRecord> {
    let source = &world.source;
    let history = source.history(source.identity().timeline).unwrap();
    let on = |(timeline, begin, end): (_, Lsn, Option<Lsn>)| {
        let records = source.records(timeline).into_iter();
        records.filter(move |record| begin < record.end_lsn && end.is_none_or(|end| record.end_lsn <= end))
    };
    history.stretches().flat_map(on).collect()
}

fn plan(world: &World, catalog: &mut Catalog, target: Target) -> Result<RestorePlan, PlanError> {
    let planned = world.finish(world.server.plan(catalog, &RestoreRequest::new(target)));
    planned.unwrap_or_else(|error| panic!("{}", explain(&error)))
}

fn consistent(catalog: &Catalog) -> Lsn {
    catalog.snapshots().map(|snapshot| snapshot.wal.end).min().unwrap()
}

#[test]
fn every_transaction_is_found_where_it_ended() {
    let mut reads = Vec::new();
    for seed in 0..6 {
        let world = world(seed);
        check(&world).unwrap();
        let first = consistent(&world.catalog());
        let ends: Vec<_> = past(&world).into_iter().filter(|record| record.end_lsn > first).collect();
        let numbers: Vec<_> = ends.iter().filter_map(|end| end.xid).map(Xid::as_u32).collect();
        assert!(numbers.len() > 100 && !numbers.is_sorted(), "{numbers:?}");
        let (fresh, mut shared) = (world.catalog(), world.catalog());
        for (number, end) in ends.iter().enumerate() {
            let xid = end.xid.unwrap();
            let mut catalog = if number % 4 == 0 { fresh.clone() } else { std::mem::take(&mut shared) };
            let before = world.storage.count(Operation::Get);
            let after = plan(&world, &mut catalog, Target::xid(xid)).unwrap();
            if number % 4 == 0 {
                reads.push(world.storage.count(Operation::Get) - before);
            }
            assert_eq!(after.stop().end, end.end_lsn, "seed {seed}: {xid}\n{after}");
            let without = plan(&world, &mut catalog, Target::just_before_xid(xid));
            let expected = Lsn::new(end.end_lsn.as_u64() - 8);
            // Before the first one after the snapshot there is nothing but the snapshot.
            match without {
                Ok(without) => assert_eq!(without.stop().end, expected, "seed {seed}: {xid}\n{without}"),
                Err(error) => assert!(expected < first, "seed {seed}: {xid}: {error}"),
            }
            if number % 4 != 0 {
                shared = catalog;
            }
        }
    }
    reads.sort_unstable();
    let (middle, most) = (reads[reads.len() / 2], reads[reads.len() - 1]);
    // A footer takes two reads or three, and there are about a hundred.
    assert!(middle <= 40, "{middle} reads, {most} at most");
}

/// What is read of the log backups is what ends in them, wherever the record begins.
#[test]
fn the_transactions_of_a_log_backup_are_those_that_end_in_it() {
    let (mut read, mut cut) = (0, 0);
    for seed in 0..6 {
        let world = world(seed);
        let mut catalog = world.catalog();
        let known: Vec<_> = past(&world).iter().filter_map(|record| record.xid).collect();
        // Transactions that never ended: they may have, wherever the range of transactions includes them.
        let (oldest, newest) = (known.iter().min_by_key(|xid| xid.as_u32()), known.iter().max_by_key(|x| x.as_u32()));
        for number in oldest.unwrap().as_u32()..newest.unwrap().as_u32() {
            let xid = Xid::new(number).unwrap();
            if known.contains(&xid) {
                continue;
            }
            let error = plan(&world, &mut catalog, Target::xid(xid)).unwrap_err();
            assert!(matches!(error, PlanError::NotFound { .. } | PlanError::WrongBranch { .. }), "{xid}: {error}");
        }
        for branch in catalog.branches().collect::<Vec<_>>() {
            let records = world.source.records(branch.timeline);
            for log in catalog.logs(branch) {
                let Some(transactions) = log.index().and_then(|index| index.transactions.clone()) else { continue };
                let inside = |end: &&LoggedRecord| log.start() < end.end_lsn && end.end_lsn <= log.end();
                let ends = records.iter().filter(inside);
                let truth = ends.filter_map(|end| Some(TransactionEnd::new(end.xid?, end.end_lsn, end.time)));
                assert_eq!(transactions, truth.collect::<Vec<_>>(), "seed {seed}: {}", log.key());
                cut += records.iter().filter(inside).filter(|end| end.start_lsn < log.start()).count();
                read += 1;
                let xids = log.index().unwrap().xids.unwrap();
                assert!(transactions.iter().all(|end| xids.contains(end.xid)), "the rest of the index is still there");
            }
        }
    }
    assert!(read > 50 && cut > 0, "{read} log backups were read, {cut} records of them were cut");
}

/// A promotion threw these away; their numbers may have been given again.
#[test]
fn transactions_of_an_abandoned_branch_are_found_on_it_only() {
    let (mut gone, mut again) = (0, 0);
    for seed in 0..6 {
        let world = world(seed);
        let mut catalog = world.catalog();
        let known: BTreeMap<_, _> =
            past(&world).into_iter().filter_map(|end| Some((end.xid?.as_u32(), end.end_lsn))).collect();
        let history = world.source.history(world.source.identity().timeline).unwrap();
        for switch in history.ancestors() {
            let left = world.source.records(switch.timeline).into_iter().filter(|end| end.end_lsn > switch.switch);
            for end in left.collect::<Vec<_>>() {
                let target = Target::xid(end.xid.unwrap());
                let planned = plan(&world, &mut catalog, target.clone());
                match known.get(&end.xid.unwrap().as_u32()) {
                    Some(lsn) => {
                        again += 1;
                        assert_eq!(planned.unwrap().stop().end, *lsn);
                    }
                    None => {
                        gone += 1;
                        let error = planned.unwrap_err();
                        assert!(matches!(error, PlanError::WrongBranch { .. } | PlanError::NotFound { .. }), "{error}");
                    }
                }
                let there = RestoreRequest::new(target).on_timeline(switch.timeline);
                let there = world.finish(world.server.plan(&mut catalog, &there)).unwrap().unwrap();
                assert_eq!((there.stop().end, there.timeline()), (end.end_lsn, switch.timeline));
            }
        }
    }
    assert!(gone > 0 && again > 10, "{gone} gone, {again} again");
}

#[test]
fn restore_points_are_found_by_their_names() {
    let world = world(3);
    let once = world.source.restore_point("once");
    let mut twice = Vec::new();
    for _ in 0..2 {
        world.source.write(10_000);
        twice.push(world.source.restore_point("twice"));
    }
    world.source.write(10_000);
    world.archive(|| NEVER);
    check(&world).unwrap();
    let point = |name: &str| Target::RestorePoint(name.to_owned());
    let mut catalog = world.catalog();
    assert_eq!(plan(&world, &mut catalog, point("once")).unwrap().stop().end, once);
    let error = plan(&world, &mut catalog, point("twice")).unwrap_err();
    let PlanError::Ambiguous { at, .. } = &error else { panic!("{error}") };
    assert_eq!(at.iter().map(|(lsn, _)| *lsn).collect::<Vec<_>>(), twice);
    assert_eq!(plan(&world, &mut catalog, Target::Lsn(at[0].0)).unwrap().stop().end, twice[0]);
    let error = plan(&world, &mut catalog, point("never")).unwrap_err();
    assert!(matches!(error, PlanError::NotFound { .. }), "{error}");
}

/// No number of reads finds what is not there, but their number has an end, and the second time nothing is read.
#[test]
fn a_transaction_that_nobody_knows_is_not_found() {
    let world = world(1);
    let mut catalog = world.catalog();
    let nobody = Target::xid(Xid::new(4_000_000).unwrap());
    let error = plan(&world, &mut catalog, nobody.clone()).unwrap_err();
    assert!(matches!(error, PlanError::NotFound { .. }), "{error}");
    let before = world.storage.operations();
    assert_eq!(plan(&world, &mut catalog, nobody), Err(error));
    assert_eq!(world.storage.operations(), before);
}

/// The first need of a plan for a transaction that ended in the middle.
fn needed(world: &World) -> (Target, ObjectKey) {
    let catalog = world.catalog();
    let ends = past(world);
    let target = Target::xid(ends[ends.len() / 2].xid.unwrap());
    let error = plan_restore(&catalog, &RestoreRequest::new(target.clone())).unwrap_err();
    let PlanError::Unknown { needs, .. } = error else { panic!("{error}") };
    let [Need::Index(log)] = &needs[..] else { panic!("{needs:?}") };
    (target, log.key())
}

#[test]
fn what_cannot_be_read_is_named() {
    let world = world(2);
    let (target, key) = needed(&world);
    let (intact, _) = world.finish(world.storage.find(&key, usize::MAX)).unwrap().unwrap();
    let mut flipped = intact.to_vec();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    for damaged in [Some(flipped.into()), None] {
        // It was listed, and was damaged or removed after that.
        let mut catalog = world.catalog();
        match &damaged {
            Some(bytes) => {
                drop(world.finish(world.storage.put(&key, bytes::Bytes::clone(bytes), PutMode::Overwrite)).unwrap())
            }
            None => world.finish(world.storage.delete(&key)).unwrap(),
        }
        let planned = world.finish(world.server.plan(&mut catalog, &RestoreRequest::new(target.clone())));
        let error = planned.unwrap_err();
        let kind = if damaged.is_some() { ErrorKind::Corrupt } else { ErrorKind::NotFound };
        assert_eq!(error.kind(), kind, "{}", explain(&error));
        assert!(explain(&error).contains(key.as_str()), "{}", explain(&error));
    }
    world.finish(world.storage.put(&key, intact, PutMode::Overwrite)).unwrap();
    assert!(plan(&world, &mut world.catalog(), target).is_ok());
}

/// One that is missing does not keep the others from being read.
#[test]
fn what_can_be_read_is_read_all_the_same() {
    let world = world(2);
    let identity = world.source.identity();
    let branch = Branch::new(identity.incarnation, identity.timeline);
    for name in ["gone", "good"] {
        world.source.restore_point(name);
        world.source.write(30_000);
        world.archive(|| NEVER);
    }
    let mut catalog = world.catalog();
    let with_points = |catalog: &Catalog| -> Vec<LogBackup> {
        catalog.logs(branch).filter(|log| log.restore_points() > 0).map(LogRef::to_backup).collect()
    };
    let [gone, good] = &with_points(&catalog)[..] else { panic!("a log backup for each") };
    world.finish(world.storage.delete(&gone.key())).unwrap();
    // A name need not be unique, so all must be known.
    let request = RestoreRequest::new(Target::RestorePoint("good".to_owned()));
    let error = world.finish(world.server.plan(&mut catalog, &request)).unwrap_err();
    assert!(explain(&error).contains(gone.key().as_str()), "{}", explain(&error));
    let read = with_points(&catalog).into_iter().find(|log| log.key() == good.key()).unwrap();
    assert_eq!(read.index.unwrap().restore_points[0].name, "good");
}

#[test]
fn a_storage_that_fails_in_passing_is_an_error_and_planning_can_be_repeated() {
    let world = world(5);
    let (target, _) = needed(&world);
    let request = RestoreRequest::new(target);
    let fresh = world.catalog();
    let before = world.storage.operations();
    let planned = world.finish(world.server.plan(&mut fresh.clone(), &request)).unwrap().unwrap();
    for crash in 0..world.storage.operations() - before {
        let mut catalog = fresh.clone();
        world.storage.crash_after(crash);
        let error = world.finish(world.server.plan(&mut catalog, &request)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", explain(&error));
        world.storage.heal();
        assert_eq!(world.finish(world.server.plan(&mut catalog, &request)).unwrap().unwrap(), planned);
    }
    world.storage.fail_next(Operation::Get, Fault::After);
    assert!(world.finish(world.server.plan(&mut fresh.clone(), &request)).is_err());
}

/// An eventful life, with an archiver that is killed again and again.
#[test]
fn transactions_are_found_whatever_happened() {
    let mut found = 0;
    for seed in 0..30 {
        let mut habits = Habits::eventful(60);
        habits.loses_log_one_in = if seed % 3 == 0 { 40 } else { 0 };
        let mut world = World::eventful(seed, Habits::default(), None);
        world.archive(|| NEVER);
        world.take().unwrap();
        world.source.live_by(habits);
        world.bytes_max = 4096;
        let mut lives = (0..).map(|n: u64| 40 + n * 37 % 300);
        world.archive(|| lives.next().unwrap());
        check(&world).unwrap();
        let mut catalog = world.catalog();
        let ends = past(&world);
        // Clocks step: which timeline is the current one cannot be left to them.
        let timeline = world.source.identity().timeline;
        for end in &ends {
            let Some(xid) = end.xid else { continue };
            let request = RestoreRequest::new(Target::xid(xid)).on_timeline(timeline);
            match world.finish(world.server.plan(&mut catalog, &request)).unwrap() {
                Ok(plan) => {
                    found += 1;
                    assert_eq!(plan.stop().end, end.end_lsn, "seed {seed}: {xid}");
                }
                // Lost with the server's slot; or the snapshot was left behind by a promotion, or is only consistent later.
                Err(PlanError::NotFound { .. } | PlanError::WrongBranch { .. }) if seed % 3 == 0 => {}
                Err(PlanError::InGap { .. } | PlanError::NothingToRestore { .. } | PlanError::TooEarly { .. }) => {}
                Err(error) => panic!("seed {seed}: {xid}: {error}"),
            }
        }
    }
    assert!(found > 500, "{found}");
}
