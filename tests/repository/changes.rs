//! A server is changed by one request at a time, once for each, and every change is on record.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use pitr::engine::{Error, ErrorKind, Sweeper};
use pitr::format::layout::{DataPart, ServerLayout};
use pitr::model::{
    Caller, Change, ConfigChange, ConfigUpdate, Hold, LockKind, PostgresMajor, RestoreRun, RestoreSpec, RetentionDays,
    ServerConfig, ServerSpec, SnapshotId,
};
use pitr::plan::retention::{Protections, RetentionPolicy, plan_retention};
use pitr::plan::{ChangeRefusal, Target, apply_change, plan_restore};
use pitr::port::{Operation, PutMode, Storage, StorageExt};
use pitr::testing::{Fault, MemoryTarget};

use crate::random::Random;
use crate::sharing::{DAY, assert_sound};
use crate::sweep;
use crate::world::{Outcome, World, explain, run};

fn caller(request: &str) -> Caller {
    Caller::new("ops", request.parse().unwrap())
}

fn lock(name: &str, kind: LockKind) -> Change {
    Change::PlaceLock { name: name.parse().unwrap(), kind, reason: "it pays our wages".to_owned() }
}

fn unlock(name: &str) -> Change {
    Change::RemoveLock { name: name.parse().unwrap() }
}

fn retention(days: u8) -> Change {
    Change::Configure(Box::new(ConfigUpdate::new().retention(RetentionDays::new(days).unwrap())))
}

pub(crate) fn change(world: &World, request: &str, change: Change) -> Result<ConfigChange, Error> {
    world.finish(world.server.change(&caller(request), change))
}

fn config(world: &World) -> ServerConfig {
    world.finish(world.server.config()).unwrap()
}

fn history(world: &World) -> Vec<ConfigChange> {
    let changes = world.finish(world.server.changes()).unwrap();
    assert!(changes.unreadable.is_empty(), "{:?}", changes.unreadable);
    changes.changes
}

/// Each change is what its request makes of the server that the one before it left.
fn assert_chain(history: &[ConfigChange]) {
    assert!(history.iter().map(|change| change.revision).eq(1..=history.len() as u64));
    for pair in history.windows(2) {
        let [before, after] = pair else { unreachable!("windows of two") };
        let made = apply_change(&before.config, &after.caller, &after.change, after.at);
        assert_eq!(made.as_ref(), Ok(&after.config), "{after}");
    }
}

/// Polls `futures`, and does their work, in an order that `seed` draws, until all are ready.
pub(crate) fn interleave<T>(world: &World, seed: u64, futures: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let (mut random, mut outputs) = (Random::new(seed), Vec::new());
    outputs.resize_with(futures.len(), || None);
    let mut pending: Vec<_> = futures.into_iter().enumerate().collect();
    while !pending.is_empty() {
        let chosen = random.index(pending.len() + 1);
        let Some((number, future)) = pending.get_mut(chosen) else {
            let _ = world.executor.run_one();
            continue;
        };
        if let Poll::Ready(output) = future.poll_unpin(&mut Context::from_waker(Waker::noop())) {
            outputs[*number] = Some(output);
            drop(pending.remove(chosen));
        }
    }
    outputs.into_iter().flatten().collect()
}

#[test]
fn every_change_is_on_record_and_says_what_the_server_was() {
    let world = World::new(1);
    let changes = [
        lock("own", LockKind::CanNotDelete),
        retention(14),
        Change::Pause,
        Change::Resume,
        Change::RequestSnapshot,
        unlock("own"),
        Change::Delete,
    ];
    let mut moments = vec![(world.now(), config(&world))];
    for (number, wanted) in changes.iter().enumerate() {
        world.clock.advance(Duration::from_secs(60));
        let made = change(&world, &format!("request-{number}"), wanted.clone()).unwrap();
        assert_eq!((made.at, &made.config), (world.now(), &config(&world)));
        moments.push((world.now(), made.config));
    }
    let history = history(&world);
    assert_chain(&history);
    assert!(history.iter().skip(1).map(|change| &change.change).eq(&changes));
    assert!(history.iter().skip(1).all(|change| change.caller.by == "ops"));
    assert_eq!((&history[0].change, history[0].caller.by.as_str()), (&Change::Create, "pitr"));
    let moment = |at| world.finish(world.server.config_at(at)).unwrap().map(|change| change.config);
    for (at, config) in moments {
        assert_eq!(moment(at).as_ref(), Some(&config), "{at}");
        assert_eq!(moment(at.saturating_add(Duration::from_secs(59))), Some(config), "{at}");
    }
    assert_eq!(moment(history[0].at.saturating_sub(Duration::from_micros(1))), None);
    println!("{}", history.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_request_that_is_made_again_changes_nothing_more() {
    let world = World::new(2);
    let first = change(&world, "one", Change::Pause).unwrap();
    change(&world, "two", Change::Resume).unwrap();
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(change(&world, "one", Change::Pause).unwrap(), first);
    assert_eq!(config(&world).paused_at, None);
    assert_eq!(history(&world).len(), 3);
    for reused in [change(&world, "one", Change::Delete), change(&world, "two", Change::Pause)] {
        let error = reused.unwrap_err();
        println!("{}", explain(&error));
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let refused = change(&world, "three", unlock("nobodys")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    change(&world, "three", Change::Pause).expect("what was refused was not made");
}

#[test]
fn a_server_is_made_once_by_a_request_and_by_no_other() {
    let world = World::new(3);
    let config = |days| {
        let mut spec = ServerSpec::new("bank".parse().unwrap(), PostgresMajor::MIN);
        spec.retention = RetentionDays::new(days).unwrap();
        ServerConfig::new(spec)
    };
    let create = |request, days| world.finish(world.repository.create_server_for(&caller(request), config(days)));
    let server = create("one", 9).unwrap();
    world.finish(server.change(&caller("two"), retention(30))).unwrap();
    assert_eq!(world.finish(create("one", 9).unwrap().spec()).unwrap().retention.days(), 30, "it is the same server");
    assert_eq!(create("one", 10).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(create("two", 9).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(create("three", 9).unwrap_err().kind(), ErrorKind::Conflict);
    let mut uneven = config(9);
    uneven.schedule.snapshot_every = Duration::from_secs(5 * 3600);
    let error = world.finish(world.repository.create_server_for(&caller("four"), uneven)).unwrap_err();
    println!("{}", explain(&error));
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// Of every write, once before and once after its effect; and killed at every moment.
#[test]
fn whatever_is_lost_a_change_is_made_once() {
    let made = |world: &World| -> Result<ConfigChange, Error> { change(world, "one", retention(14)) };
    for fault in [Fault::Before, Fault::After] {
        for nth in 1..=2 {
            let world = World::new(4);
            change(&world, "zero", Change::Pause).unwrap();
            world.storage.fail_nth(NonZeroU64::new(nth).unwrap(), Operation::Put, fault);
            assert_eq!(made(&world).unwrap_err().kind(), ErrorKind::Unavailable, "{fault:?} of write {nth}");
            made(&world).unwrap();
            assert_made(&world);
        }
    }
    let mut killed = 0;
    loop {
        let world = World::new(5);
        change(&world, "zero", Change::Pause).unwrap();
        let caller = caller("one");
        match run(&world.executor, world.server.change(&caller, retention(14)), killed) {
            Outcome::Killed => killed += 1,
            Outcome::Finished(made) => {
                made.unwrap();
                break;
            }
        }
        made(&world).unwrap();
        assert_made(&world);
    }
    assert!(killed > 3, "it was killed at {killed} moments");
}

fn assert_made(world: &World) {
    let history = history(world);
    assert_chain(&history);
    assert_eq!(history.iter().map(|change| change.change.name()).collect::<Vec<_>>(), ["create", "pause", "configure"]);
    assert_eq!(config(world).spec.retention.days(), 14);
    assert_sound(world);
}

/// Callers who lock, unlock, configure and delete at once: what is on record is one after the other, and each was told what became of his.
#[test]
fn changes_at_once_come_one_after_the_other() {
    let mut deletions = BTreeSet::new();
    for seed in 0..300 {
        let (world, mut random) = (World::new(6), Random::new(seed));
        let wanted: Vec<Vec<(Caller, Change)>> = (0..4)
            .map(|who| {
                let change = |number| {
                    let kind = [LockKind::CanNotDelete, LockKind::ReadOnly][random.index(2)];
                    let name = ["a", "b"][random.index(2)];
                    let change = match random.below(6) {
                        0 | 1 => lock(name, kind),
                        2 | 3 => unlock(name),
                        4 => retention(7 + u8::try_from(random.below(28)).unwrap()),
                        _ => Change::Delete,
                    };
                    (caller(&format!("{who}-{number}")), change)
                };
                (0..4).map(change).collect()
            })
            .collect();
        let server = &world.server;
        let callers = wanted.iter().map(|wanted| {
            async move {
                let mut told = Vec::new();
                for (caller, change) in wanted {
                    told.push((caller.clone(), server.change(caller, change.clone()).await));
                }
                told
            }
            .boxed()
        });
        let told = interleave(&world, seed, callers.collect());
        let history = history(&world);
        assert_chain(&history);
        for (caller, told) in told.into_iter().flatten() {
            let recorded: Vec<_> = history.iter().filter(|change| change.caller == caller).collect();
            match told {
                Ok(made) => assert_eq!(recorded, [&made], "seed {seed}"),
                Err(error) => {
                    assert!(recorded.is_empty(), "seed {seed}: {error} was made");
                    assert!(refusal(&error).is_some(), "seed {seed}: {}", explain(&error));
                }
            }
        }
        deletions.insert(history.last().unwrap().change == Change::Delete);
    }
    assert_eq!(deletions.len(), 2, "some were deleted, some not");
}

pub(crate) fn refusal(error: &Error) -> Option<&ChangeRefusal> {
    std::error::Error::source(error)?.downcast_ref()
}

fn policy() -> RetentionPolicy {
    RetentionPolicy::new(RetentionDays::MIN)
}

fn hold(snapshot: &SnapshotId) -> Change {
    Change::PlaceHold { snapshot: snapshot.clone(), name: "audit".to_owned(), until: None }
}

/// Whether the snapshot can be restored, by itself.
fn is_restorable(world: &World, snapshot: &SnapshotId) -> bool {
    let plan = plan_restore(&world.catalog(), &Target::Snapshot(snapshot.clone()).into());
    plan.is_ok_and(|plan| world.restore(&plan, &MemoryTarget::new()).is_ok())
}

#[test]
fn what_is_held_is_kept_even_from_a_plan_that_was_made_before() {
    let world = sweep::aged(12);
    let plan = sweep::plan(&world);
    let oldest = plan.expired_snapshots[0].snapshot.id.clone();
    change(&world, "one", hold(&oldest)).unwrap();
    let error = world.finish(Sweeper::new(&world.server).run(&plan)).unwrap_err();
    println!("{}", explain(&error));
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let protections = |world: &World| config(world).holds.into_iter().fold(Protections::none(), Protections::with_hold);
    let sweep = |world: &World| {
        let plan = plan_retention(&world.catalog(), &policy(), &protections(world), world.now());
        world.finish(Sweeper::new(&world.server).run(&plan)).unwrap()
    };
    sweep(&world);
    assert!(is_restorable(&world, &oldest));
    assert_sound(&world);
    let released = Change::ReleaseHold { snapshot: oldest.clone(), name: "audit".to_owned() };
    change(&world, "two", released).unwrap();
    world.clock.advance(DAY);
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    sweep(&world);
    assert!(!is_restorable(&world, &oldest), "after the grace");
    assert_sound(&world);
    let error = change(&world, "three", hold(&oldest)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{}", explain(&error));
}

/// Whoever is told that his hold is placed, has the snapshot.
#[test]
fn of_a_hold_and_a_sweep_that_race_both_know() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..60 {
        let world = sweep::aged(9);
        let plan = sweep::plan(&world);
        let oldest = plan.expired_snapshots[0].snapshot.id.clone();
        let (sweeper, caller) = (Sweeper::new(&world.server), caller("one"));
        let sweeping = async { sweeper.run(&plan).await.is_ok() }.boxed();
        let holding = async {
            // Sooner or later.
            for _ in 0..seed / 4 {
                world.server.config().await.unwrap();
            }
            world.server.change(&caller, hold(&oldest)).await.is_ok()
        };
        let [swept, held] = interleave(&world, seed, vec![sweeping, holding.boxed()])[..] else { unreachable!() };
        assert!(!held || is_restorable(&world, &oldest), "seed {seed}: held, and gone");
        assert!(swept || is_restorable(&world, &oldest), "seed {seed}: nothing was deleted");
        assert_sound(&world);
        outcomes.insert((swept, held));
    }
    assert!(outcomes.contains(&(true, false)) && outcomes.contains(&(false, true)), "{outcomes:?}");
}

#[test]
fn old_changes_are_forgotten_but_for_the_last_of_them() {
    let world = sweep::aged(9);
    let retention_of = |change: ConfigChange| change.config.spec.retention.days();
    change(&world, "one", retention(8)).unwrap();
    change(&world, "two", retention(9)).unwrap();
    world.clock.advance(401 * DAY);
    change(&world, "three", retention(10)).unwrap();
    change(&world, "four", retention(7)).unwrap();
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    world.take().unwrap();
    world.archive(|| u64::MAX);
    let long_ago = world.now().saturating_sub(400 * DAY + Duration::from_secs(1));
    world.finish(Sweeper::new(&world.server).run(&sweep::plan(&world))).unwrap();
    assert_eq!(history(&world).into_iter().map(retention_of).collect::<Vec<_>>(), [9, 10, 7]);
    assert_eq!(world.finish(world.server.config_at(long_ago)).unwrap().map(retention_of), Some(9));
    assert_sound(&world);
}

#[test]
fn old_restores_are_forgotten_unless_they_are_not_over() {
    let world = sweep::aged(9);
    let restore = |name: &str| Change::Restore(Box::new(RestoreSpec::new(name.parse().unwrap(), Target::Latest)));
    let going = change(&world, "going", restore("prod-2")).unwrap();
    let layout = ServerLayout::new(world.server.name());
    let long_ago = world.now().saturating_sub(401 * DAY);
    let records = [(going.at, "going"), (long_ago, "old"), (world.now(), "new")];
    let records = records.map(|(at, request)| layout.restore(at, &request.parse().unwrap()));
    world.clock.advance(401 * DAY);
    let recent = layout.restore(world.now(), &"recent".parse().unwrap());
    for record in records.iter().chain([&recent]) {
        world.finish(world.storage.put(record, Bytes::new(), PutMode::Create)).unwrap();
    }
    world.source.write(1_000);
    world.archive(|| u64::MAX);
    world.take().unwrap();
    world.archive(|| u64::MAX);
    world.finish(Sweeper::new(&world.server).run(&sweep::plan(&world))).unwrap();
    let restores = world.finish(world.server.restores()).unwrap();
    assert_eq!(restores.runs, [RestoreRun::new(going.config.restores[0].clone())], "it is to be begun");
    let left: Vec<_> = restores.unreadable.into_iter().map(|(object, _)| object).collect();
    assert_eq!(left, [records[0].clone(), recent]);
}

#[test]
fn a_damaged_record_of_a_change_is_named_and_harms_nothing_else() {
    let world = World::protected(7);
    change(&world, "one", Change::Pause).unwrap();
    change(&world, "two", Change::Resume).unwrap();
    let directory = ServerLayout::new(world.server.name()).changes();
    let records = world.finish(world.storage.list_all(Some(&directory))).unwrap();
    let damaged = records[1].key.clone();
    crate::stand::inflict(&world, &damaged, &crate::stand::Damage::Flipped { at: 100 });
    let changes = world.finish(world.server.changes()).unwrap();
    assert_eq!(changes.changes.iter().map(|change| change.revision).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(changes.unreadable.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), std::slice::from_ref(&damaged));
    let report = world.finish(pitr::engine::Verifier::new(&world.repository, world.server.name()).run()).unwrap();
    assert_eq!(report.faults.iter().map(|fault| &fault.object).collect::<Vec<_>>(), [&damaged]);
    change(&world, "three", Change::Pause).unwrap();
    let error = change(&world, "one", Change::Pause).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "whether it was the same is not known: {}", explain(&error));
}

#[test]
fn a_hold_on_what_is_being_deleted_says_so() {
    let world = sweep::aged(9);
    let plan = sweep::plan(&world);
    let oldest = plan.expired_snapshots[0].snapshot.id.clone();
    let note = ServerLayout::new(world.server.name()).data_part(&oldest, DataPart::Expired);
    let sweeper = Sweeper::new(&world.server);
    let mut polls = 0;
    while !world.finish(world.storage.exists(&note)).unwrap() {
        assert!(matches!(run(&world.executor, sweeper.run(&plan), polls), Outcome::Killed));
        polls += 1;
    }
    let error = change(&world, "one", hold(&oldest)).unwrap_err();
    println!("{}", explain(&error));
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let _: Hold = config(&world).holds.pop().expect("it is placed all the same");
    assert_eq!(world.finish(sweeper.run(&plan)).unwrap_err().kind(), ErrorKind::Conflict);
    assert!(!world.finish(world.storage.exists(&note)).unwrap() && is_restorable(&world, &oldest));
}
