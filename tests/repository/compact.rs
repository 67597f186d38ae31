//! Small log backups become larger ones, and nothing that can be restored changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pitr::engine::{CompactReport, CompactSettings, Compactor, ErrorKind, Verifier};
use pitr::format::block::Compression;
use pitr::format::layout::ServerLayout;
use pitr::model::{Branch, Catalog, LogBackup, LogRef, ObjectKey, Timestamp};
use pitr::plan::compaction::CompactionPolicy;
use pitr::plan::retention::Protections;
use pitr::plan::{RestorableInterval, RestoreRequest, Target, plan_restore, recovery_windows};
use pitr::port::StorageExt;
use pitr::testing::MemoryTarget;

use crate::stand::Damage;
use crate::world::{Outcome, World, explain, run};

const HOUR: Duration = Duration::from_secs(3600);

/// A server with many small log backups on two timelines, two snapshots between them, and an idle end.
fn busy() -> World {
    let mut world = World::new(21);
    world.bytes_max = 4 << 10;
    world.source.hold_files(3, 2_000);
    for part in 0..4 {
        world.source.write(400_000);
        world.archive(|| u64::MAX);
        if part % 2 == 0 {
            world.take().unwrap();
        } else {
            world.source.promote(2_000);
        }
    }
    go_on(&world, 2 * HOUR);
    world
}

/// Lets time pass, after which the server is seen again.
fn go_on(world: &World, duration: Duration) {
    world.clock.advance(duration);
    world.source.write(1_000);
    world.archive(|| u64::MAX);
}

fn settings() -> CompactSettings {
    let mut policy = CompactionPolicy::default();
    (policy.bytes_max, policy.count_min) = (300 << 10, 4);
    CompactSettings::default().policy(policy).compression(Compression::none())
}

fn compactor(world: &World) -> Compactor {
    Compactor::new(&world.server).settings(settings())
}

fn compact(world: &World) -> CompactReport {
    let report =
        world.finish(compactor(world).run(&Protections::none())).unwrap_or_else(|error| panic!("{}", explain(&error)));
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    report
}

/// What a run merges may follow what it has just deleted: day after day, nothing fails.
#[test]
fn what_is_merged_is_not_read_from_what_was_deleted() {
    let mut world = World::new(23);
    world.bytes_max = 4 << 10;
    world.source.hold_files(3, 2_000);
    world.take().unwrap();
    let (mut deleted, mut merged) = (0, 0);
    for _ in 0..6 {
        world.source.write(700_000);
        world.archive(|| u64::MAX);
        go_on(&world, 25 * HOUR);
        let report = compact(&world);
        deleted += report.deleted;
        merged += u64::from(report.deleted > 0) * report.merged;
        assert_sound(&world);
    }
    assert!(deleted > 100 && merged > 100, "runs that deleted {deleted} also merged {merged}");
}

fn logs(catalog: &Catalog) -> Vec<LogBackup> {
    catalog.branches().flat_map(|branch| catalog.logs(branch)).map(LogRef::to_backup).collect()
}

/// What could be restored up to `end`.
fn windows(catalog: &Catalog, end: Timestamp) -> BTreeMap<Branch, Vec<RestorableInterval>> {
    let clip =
        |interval: RestorableInterval| (interval.from <= end).then(|| (interval.from, interval.until.min(end)).into());
    let windows = recovery_windows(catalog).into_iter();
    windows.map(|window| (window.branch, window.intervals.into_iter().filter_map(clip).collect())).collect()
}

fn assert_sound(world: &World) {
    let report = world.finish(Verifier::new(&world.repository, world.server.name()).run()).unwrap();
    assert!(report.is_sound(), "{:?}", report.faults);
}

fn stored(world: &World) -> BTreeSet<ObjectKey> {
    world.finish(world.storage.list_all(None)).unwrap().into_iter().map(|object| object.key).collect()
}

/// The last instant that was restorable.
fn end(catalog: &Catalog) -> Timestamp {
    recovery_windows(catalog).iter().filter_map(|window| window.latest()).max().unwrap()
}

#[test]
fn many_become_few_and_the_same_can_be_restored() {
    let world = busy();
    let before = world.catalog();
    let made = compact(&world);
    assert!(made.made >= 4 && made.merged >= 4 * made.made && made.deleted == 0, "{made:?}");
    let end = end(&before);
    assert_eq!(windows(&world.catalog(), end), windows(&before, end));
    assert_sound(&world);
    assert_eq!(compact(&world).made, 0, "what is merged is not merged again");
    go_on(&world, 23 * HOUR);
    assert_eq!(compact(&world).deleted, 0, "a restore may still be reading it");
    go_on(&world, 2 * HOUR);
    let swept = compact(&world);
    assert_eq!(swept.deleted, made.merged);
    let after = world.catalog();
    assert_eq!(windows(&after, end), windows(&before, end));
    assert!(logs(&after).len() * 3 < logs(&before).len(), "{} of {}", logs(&after).len(), logs(&before).len());
    assert_sound(&world);
}

/// Whatever is asked for, PostgreSQL is told the same, and is given the same log.
#[test]
fn what_is_restored_is_the_same() {
    let world = busy();
    let before = world.catalog();
    compact(&world);
    go_on(&world, 25 * HOUR);
    assert!(compact(&world).deleted > 0);
    let after = world.catalog();
    let times = logs(&before).into_iter().flat_map(|log| [log.max_commit_time, log.complete_through]).flatten();
    let targets =
        times.map(Target::time).chain(before.snapshots().map(|snapshot| Target::Snapshot(snapshot.id.clone())));
    let mut compared = 0;
    for request in targets.map(RestoreRequest::new) {
        let planned = [&before, &after].map(|catalog| plan_restore(catalog, &request).ok());
        let [Some(old), Some(new)] = planned else { continue };
        assert_eq!((old.timeline(), &old.snapshot().id), (new.timeline(), &new.snapshot().id), "{old}\n{new}");
        assert!(new.logs().len() <= old.logs().len());
        let target = MemoryTarget::new();
        world.restore(&new, &target).unwrap();
        let given =
            |at: u64| new.logs().iter().any(|log| log.needed.start.as_u64() <= at && at < log.needed.end.as_u64());
        assert!(old.logs().iter().all(|log| given(log.needed.start.as_u64()) && given(log.needed.end.as_u64() - 1)));
        compared += 1;
    }
    assert!(compared > 30, "{compared} restores were compared");
}

/// The same as without an interruption, in the end; and at every moment the same can be restored.
fn assert_goes_on(world: &World, before: &Catalog, undisturbed: &BTreeSet<ObjectKey>) {
    world.storage.heal();
    let end = end(before);
    assert_eq!(windows(&world.catalog(), end), windows(before, end));
    assert_sound(world);
    compact(world);
    go_on(world, 25 * HOUR);
    compact(world);
    assert_eq!(&stored(world), undisturbed);
    assert_eq!(windows(&world.catalog(), end), windows(before, end));
}

fn undisturbed(world: &World) -> BTreeSet<ObjectKey> {
    compact(world);
    go_on(world, 25 * HOUR);
    compact(world);
    stored(world)
}

#[test]
fn a_compaction_may_crash_at_every_operation() {
    let expected = undisturbed(&busy());
    for crash in (0..).step_by(7) {
        let world = busy();
        let before = world.catalog();
        world.storage.crash_after(crash);
        let ended = world.finish(compactor(&world).run(&Protections::none())).is_ok();
        assert_goes_on(&world, &before, &expected);
        if ended {
            assert!(crash > 50, "{crash} operations are too few");
            return;
        }
    }
}

#[test]
fn the_deletion_of_what_was_merged_may_be_killed_at_any_moment() {
    let expected = undisturbed(&busy());
    for polls in (1..).step_by(3) {
        let world = busy();
        let before = world.catalog();
        compact(&world);
        go_on(&world, 25 * HOUR);
        let outcome = run(&world.executor, compactor(&world).run(&Protections::none()), polls);
        let end = end(&before);
        assert_eq!(windows(&world.catalog(), end), windows(&before, end));
        assert_sound(&world);
        compact(&world);
        assert_eq!(stored(&world), expected);
        if matches!(outcome, Outcome::Finished(_)) {
            assert!(polls > 20, "it took {polls} polls only");
            return;
        }
    }
}

#[test]
fn what_is_damaged_is_neither_merged_nor_trusted() {
    let world = busy();
    let original = logs(&world.catalog())[3].clone();
    crate::stand::inflict(&world, &original.key(), &Damage::Flipped { at: 2_000 });
    let report = world.finish(compactor(&world).run(&Protections::none())).unwrap();
    let [(failed, error)] = &report.failed[..] else { panic!("{:?}", report.failed) };
    assert!(report.made > 0 && explain(error).contains(original.key().as_str()), "{failed}: {}", explain(error));

    let world = busy();
    compact(&world);
    let largest = logs(&world.catalog()).into_iter().max_by_key(|log| log.wal.bytes()).unwrap();
    crate::stand::inflict(&world, &largest.key(), &Damage::Flipped { at: 2_000 });
    go_on(&world, 25 * HOUR);
    let before = logs(&world.catalog());
    let report = world.finish(compactor(&world).run(&Protections::none())).unwrap();
    assert_eq!(report.failed.iter().map(|(key, _)| key).collect::<Vec<_>>(), [&largest.key()]);
    assert!(report.deleted > 0);
    let within = |log: &&LogBackup| largest.wal.start <= log.wal.start && log.wal.end <= largest.wal.end;
    let left: BTreeSet<_> = logs(&world.catalog()).iter().map(LogBackup::key).collect();
    assert!(before.iter().filter(within).all(|log| left.contains(&log.key())), "what it was made of is needed");
}

#[test]
fn nothing_is_merged_while_it_is_unknown_where_snapshots_end() {
    let world = busy();
    let snapshot = world.catalog().snapshots().next().cloned().unwrap();
    let record = ServerLayout::new(world.server.name()).snapshot(snapshot.incarnation, &snapshot.id);
    crate::stand::inflict(&world, &record, &Damage::Flipped { at: 200 });
    let before = stored(&world);
    let error = world.finish(compactor(&world).run(&Protections::none())).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(record.as_str()), "{}", explain(&error));
    assert_eq!(stored(&world), before);
}

#[test]
fn a_restore_that_was_planned_before_goes_on_for_the_grace() {
    let world = busy();
    let plan = world.plan(Target::Latest);
    compact(&world);
    go_on(&world, 20 * HOUR);
    compact(&world);
    world.restore(&plan, &MemoryTarget::new()).unwrap();
    go_on(&world, 20 * HOUR);
    let until = last_seen(&world).saturating_add(HOUR);
    let leased = Protections::none().with_lease(plan.lease("restore", until));
    let report = world.finish(compactor(&world).run(&leased)).unwrap();
    world.restore(&plan, &MemoryTarget::new()).unwrap();
    let rest = compact(&world).deleted;
    assert!(rest > 0, "{report:?}");
    world.restore(&plan, &MemoryTarget::new()).unwrap_err();
}

fn last_seen(world: &World) -> Timestamp {
    let catalog = world.catalog();
    catalog.last_seen(catalog.current().unwrap()).unwrap()
}
