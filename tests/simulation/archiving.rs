//! The archiver loses nothing, whatever fails and whenever it is killed.

use std::sync::Arc;

use pitr::engine::ErrorKind;
use pitr::port::{Operation, WalSource};
use pitr::testing::{Fault, Habits, SeededEntropy};

use crate::sources::{Counting, Hasty};
use crate::truth::check;
use crate::world::{Outcome, World, explain};

const SEEDS: u64 = 200;
const NEVER: u64 = u64::MAX;

/// Numbers that follow from a seed.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    use pitr::port::Entropy;
    let entropy = SeededEntropy::new(!seed);
    move |limit| {
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes).unwrap();
        u64::from_le_bytes(bytes) % limit
    }
}

/// A life in which everything can happen.
fn live(seed: u64) -> World {
    let mut number = numbers(seed);
    let mut habits = Habits::eventful(40 + u32::try_from(number(80)).unwrap());
    habits.loses_log_one_in = if seed.is_multiple_of(3) { 30 } else { 0 };
    let mut world = World::eventful(seed, habits, seed.is_multiple_of(2).then_some(40));
    world.bytes_max = 4096 << number(8);
    world.archive(|| 5 + number(400));
    world
}

#[test]
fn nothing_that_was_acknowledged_is_ever_missing() {
    for seed in 0..SEEDS {
        check(&live(seed)).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
}

/// Messages are not kept: each may keep a buffer alive that is much larger.
#[test]
fn no_message_is_held_once_it_was_received() {
    const MESSAGE_BYTES_MAX: u64 = 48 << 10;
    let mut most = 0;
    for seed in 0..20 {
        let mut habits = Habits::default();
        habits.deeds = 200;
        let world = World::eventful(seed, habits, None);
        let counting = Counting::new(world.source.clone());
        let held = counting.held();
        world.archive_from(&(Arc::new(counting) as Arc<dyn WalSource>), &mut || NEVER);
        let now_and_most = *held.lock().unwrap();
        assert_eq!(now_and_most.0, 0, "some log is held for ever");
        most = most.max(now_and_most.1);
    }
    assert!((1..=MESSAGE_BYTES_MAX).contains(&most), "{most} bytes were held");
}

/// Put the number of a seed that failed here.
#[test]
fn one_seed() {
    check(&live(0)).unwrap();
}

/// A fixed run that archives three timelines, small enough to be interrupted everywhere.
fn fixed() -> World {
    let mut habits = Habits::default();
    habits.deeds = 20;
    let mut world = World::eventful(7, habits, None);
    world.bytes_max = 16 << 10;
    world.source.write(30_000);
    world
}

/// Lives on after what `interrupt` did, twice promoted.
fn interrupted(interrupt: impl FnOnce(&World)) -> World {
    let world = fixed();
    interrupt(&world);
    world.source.promote(20_000);
    world.source.write(20_000);
    world.archive(|| NEVER);
    world
}

fn source(world: &World) -> Arc<dyn WalSource> {
    Arc::new(world.source.clone())
}

#[test]
fn an_archiver_may_be_killed_at_every_await() {
    for polls in 1.. {
        let mut killed = false;
        let world = interrupted(|world| {
            killed = matches!(world.archive_once(source(world), polls), Outcome::Killed);
        });
        check(&world).unwrap_or_else(|wrong| panic!("killed at poll {polls}: {wrong}"));
        if !killed {
            assert!(polls > 50, "the run was interrupted {polls} times only");
            return;
        }
    }
}

#[test]
fn a_storage_may_crash_at_every_operation() {
    let operations = |world: &World| world.storage.operations();
    let whole = interrupted(|world| drop(world.archive_once(source(world), NEVER)));
    let last = operations(&whole);
    assert!(last > 15, "there were {last} operations only");
    for crash in 0..last {
        let world = interrupted(|world| {
            world.storage.crash_after(crash);
            drop(world.archive_once(source(world), NEVER));
            world.storage.heal();
        });
        check(&world).unwrap_or_else(|wrong| panic!("crashed after {crash} operations: {wrong}"));
    }
}

#[test]
fn every_operation_may_fail_after_its_effect() {
    for operation in [Operation::Put, Operation::Get, Operation::List] {
        for nth in 1..30 {
            let world = interrupted(|world| {
                world.storage.fail_nth(nth.try_into().unwrap(), operation, Fault::After);
                drop(world.archive_once(source(world), NEVER));
                world.storage.heal();
            });
            check(&world).unwrap_or_else(|wrong| panic!("{operation:?} {nth} failed after its effect: {wrong}"));
        }
    }
}

/// Two standbys of one server were promoted, neither knowing of the other.
#[test]
fn a_second_timeline_of_the_same_number_is_refused() {
    let world = World::new(3);
    let twin = World::new(3);
    for (source, bytes) in [(&world.source, 5_000), (&twin.source, 90_000)] {
        source.write(bytes);
        source.promote(0);
    }
    world.archive(|| NEVER);
    world.archive(|| NEVER);
    let refused = world.archive_once(source(&twin), NEVER);
    let Outcome::Finished(Err(error)) = refused else { panic!("log of another timeline 2 was archived") };
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", explain(&error));
    check(&world).unwrap();
}

/// A checker that cannot fail proves nothing: this archiver's server is told to forget log as soon as it is sent.
#[test]
fn an_archiver_that_acknowledges_before_it_stores_is_found_out() {
    let found = (0..20).any(|seed| {
        let mut number = numbers(seed);
        let mut habits = Habits::default();
        habits.deeds = 150;
        let world = World::eventful(seed, habits, None);
        let hasty: Arc<dyn WalSource> = Arc::new(Hasty(world.source.clone()));
        world.archive_from(&hasty, &mut || 5 + number(200));
        check(&world).is_err()
    });
    assert!(found, "the checker must find lost log");
}
