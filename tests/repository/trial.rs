//! Test restores: what they prove, and what becomes of their records.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pitr::engine::{ErrorKind, FaultKind, Proofs, SweepSettings, TestRestore, TestRestoreSettings};
use pitr::format::layout::ServerLayout;
use pitr::model::{Proven, RestoreProof, Snapshot, TimelineId, Timestamp, Trial};
use pitr::plan::{RecoveryWindow, Target, recovery_window};
use pitr::port::StorageExt;
use pitr::testing::MemoryScratch;

use crate::sharing::{DAY, day, faults, pack, sweep, verify};
use crate::stand::{Damage, inflict};
use crate::world::{World, explain};

/// A server with three days of backups.
fn protected(seed: u64) -> (World, Vec<Snapshot>) {
    let world = World::new(seed);
    let days = (0..3).map(|_| day(&world, 10)).collect();
    (world, days)
}

fn run(world: &World, scratch: &MemoryScratch, settings: TestRestoreSettings) -> pitr::engine::Result<RestoreProof> {
    let restore = TestRestore::new(&world.server, Arc::new(scratch.clone())).settings(settings);
    world.finish(restore.run())
}

fn prove(world: &World, scratch: &MemoryScratch) -> RestoreProof {
    run(world, scratch, TestRestoreSettings::default()).unwrap_or_else(|error| panic!("{}", explain(&error)))
}

fn window(world: &World) -> RecoveryWindow {
    let catalog = world.catalog();
    recovery_window(&catalog, catalog.current().unwrap())
}

fn latest(world: &World) -> Timestamp {
    window(world).intervals.last().unwrap().until
}

fn proofs(world: &World) -> Proofs {
    world.finish(world.server.proofs()).unwrap()
}

#[test]
fn instants_come_from_all_of_the_window_and_from_nowhere_else() {
    let (world, _) = protected(1);
    // What lies between two archivers that missed each other is lost.
    world.source.write(3_000_000);
    world.source.lose_log();
    world.archive(|| u64::MAX);
    for _ in 0..2 {
        day(&world, 10);
    }
    let window = window(&world);
    assert!(window.intervals.len() > 1, "{window:?}");
    let mut hit = BTreeSet::new();
    for _ in 0..100 {
        let proof = prove(&world, &MemoryScratch::new());
        assert_eq!(proof.proven(), Proven::Files, "{proof}");
        let within = |place: &usize| {
            let interval = window.intervals[*place];
            interval.from <= proof.instant && proof.instant <= interval.until
        };
        hit.insert((0..window.intervals.len()).find(within).unwrap());
    }
    assert!(hit.len() > 1, "{hit:?}");
}

#[test]
fn what_was_proved_is_recorded() {
    let (world, days) = protected(2);
    let scratch = MemoryScratch::new();
    let proof = prove(&world, &scratch);
    assert!(scratch.restored().is_none(), "the place was cleared");
    let route = proof.route.as_ref().unwrap();
    assert!(days.iter().any(|day| day.id == route.snapshot && day.logical_bytes == route.file_bytes));
    assert!(route.log_bytes > 0 && proof.files_millis.is_some() && proof.trial.is_none());
    world.clock.advance(DAY);
    let at = window(&world).intervals[0].from;
    let second = run(&world, &scratch, TestRestoreSettings::default().at(at)).unwrap();
    assert_eq!(second.instant, at);
    assert_eq!(proofs(&world).proofs, [proof, second]);
    assert!(verify(&world).is_sound());
}

#[test]
fn a_server_that_is_not_what_it_should_be_is_no_proof() {
    let (world, _) = protected(3);
    let at = latest(&world);
    let plan = world.plan(Target::time(at));
    let tried = |found: Result<Trial, String>| {
        let scratch = MemoryScratch::with_postgres(found);
        let proof = run(&world, &scratch, TestRestoreSettings::default().at(at).keep_failed()).unwrap();
        assert_eq!(scratch.restored().is_some(), proof.failure.is_some(), "only what has failed is kept");
        proof
    };
    let sound = Trial::new("15.0", TimelineId::new(9).unwrap(), plan.stop().end);
    assert_eq!(tried(Ok(sound.clone())).proven(), Proven::Server);
    let mut wrong: Vec<_> = (0..4).map(|_| sound.clone()).collect();
    wrong[0].reached = wrong[0].reached.saturating_add(1);
    wrong[1].reached = plan.snapshot().wal.start;
    wrong[2].last_commit = Some(at.saturating_add(Duration::from_micros(1)));
    wrong[3].faults = vec!["table a: rotten".to_owned(), "table b: rotten too".to_owned()];
    for (found, reason) in
        wrong.into_iter().zip(["recovery ended at", "recovery ended at", "was replayed", "rotten, and 1 more"])
    {
        let proof = tried(Ok(found.clone()));
        assert!(proof.failure.as_ref().unwrap().contains(reason), "{proof}");
        assert_eq!((proof.proven(), proof.trial), (Proven::Nothing, Some(found)));
    }
    let failure = tried(Err("it crashed".to_owned())).failure.unwrap();
    assert!(failure.contains("it crashed"), "{failure}");
    assert_eq!(proofs(&world).proofs.len(), 6);
}

#[test]
fn what_cannot_be_restored_is_recorded_and_named() {
    for has_postgres in [false, true] {
        let (world, _) = protected(4);
        let at = latest(&world);
        let plan = world.plan(Target::time(at));
        // One of which nothing but the name is known to the catalog.
        let log = plan.logs().iter().find(|log| log.backup.index.is_none()).unwrap().backup.key();
        for (key, damage) in
            [(log, Damage::Flipped { at: 300 }), (pack(&world, plan.snapshot()), Damage::Truncated { bytes: 5_000 })]
        {
            inflict(&world, &key, &damage);
            let scratch = match has_postgres {
                true => MemoryScratch::with_postgres(Err("no log came".to_owned())),
                false => MemoryScratch::new(),
            };
            let proof = run(&world, &scratch, TestRestoreSettings::default().at(at)).unwrap();
            assert!(proof.failure.as_ref().unwrap().contains(key.as_str()), "{proof}");
        }
        assert_eq!(proofs(&world).proofs.len(), 2);
    }
}

#[test]
fn what_cannot_be_read_of_the_catalog_is_recorded_and_named() {
    let (world, days) = protected(9);
    let record = ServerLayout::new(world.server.name()).snapshot(days[0].incarnation, &days[0].id);
    let settings = TestRestoreSettings::default().at(latest(&world));
    inflict(&world, &record, &Damage::Flipped { at: 60 });
    // The instant itself is restored, from a later snapshot.
    let proof = run(&world, &MemoryScratch::new(), settings).unwrap();
    assert!(proof.failure.as_ref().unwrap().contains(record.as_str()), "{proof}");
    assert!(proof.files_millis.is_some());
    assert_eq!(proofs(&world).proofs, [proof]);
}

/// Without the last log, the catalog ends before the instant.
#[test]
fn what_cannot_even_be_planned_is_recorded_and_named() {
    let (world, days) = protected(10);
    let at = latest(&world);
    let log = world.plan(Target::time(at)).logs().last().unwrap().backup.key();
    inflict(&world, &log, &Damage::Flipped { at: 300 });
    let proof = run(&world, &MemoryScratch::new(), TestRestoreSettings::default().at(at)).unwrap();
    assert!(proof.failure.as_ref().unwrap().contains(log.as_str()), "{proof}");
    assert_eq!((proof.proven(), &proof.route), (Proven::Nothing, &None));
    assert_eq!(proofs(&world).proofs, [proof]);

    for day in days {
        let record = ServerLayout::new(world.server.name()).snapshot(day.incarnation, &day.id);
        inflict(&world, &record, &Damage::Flipped { at: 60 });
    }
    let error = run(&world, &MemoryScratch::new(), TestRestoreSettings::default()).unwrap_err();
    assert!(explain(&error).contains("cannot be read"), "{}", explain(&error));
}

/// A storage that fails in passing says nothing about the backups.
#[test]
fn what_is_not_known_is_not_recorded() {
    let (world, _) = protected(5);
    let before = world.storage.operations();
    prove(&world, &MemoryScratch::new());
    let operations = world.storage.operations() - before;
    for crash in 0..operations {
        let (world, _) = protected(5);
        world.storage.crash_after(crash);
        let scratch = MemoryScratch::new();
        let error = run(&world, &scratch, TestRestoreSettings::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", explain(&error));
        assert!(scratch.restored().is_none(), "the place was cleared");
        world.storage.heal();
        assert_eq!(proofs(&world).proofs, []);
    }
    let empty = World::new(6);
    let error = run(&empty, &MemoryScratch::new(), TestRestoreSettings::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_record_that_is_damaged_is_named_and_costs_nothing_else() {
    let (world, _) = protected(7);
    prove(&world, &MemoryScratch::new());
    let kept = prove(&world, &MemoryScratch::new());
    let directory = ServerLayout::new(world.server.name()).proofs();
    let records = world.finish(world.storage.list_all(Some(&directory))).unwrap();
    let record = &records[0].key;
    for damage in [
        Damage::Flipped { at: 200 },
        Damage::Truncated { bytes: 100 },
        Damage::Swapped { with: records[1].key.clone() },
    ] {
        inflict(&world, record, &damage);
        let report = verify(&world);
        assert_eq!(faults(&report), [record], "{damage:?}");
        assert_eq!(report.faults[0].kind, FaultKind::Damaged);
        let Proofs { proofs, unreadable, .. } = proofs(&world);
        assert_eq!((proofs.len(), unreadable.len(), &unreadable[0].0), (1, 1, record));
        assert!(proofs[0].begun <= kept.begun);
    }
}

#[test]
fn records_outlive_what_they_are_of_by_a_year() {
    let (world, _) = protected(8);
    prove(&world, &MemoryScratch::new());
    let count = |days: u32| {
        world.clock.advance(DAY * days);
        day(&world, 10);
        sweep(&world, SweepSettings::default());
        proofs(&world).proofs.len()
    };
    assert_eq!((count(30), count(360), count(15)), (1, 1, 0));
}
