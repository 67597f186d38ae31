//! Many servers, several processes, and what goes wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::time::Instant;

use pitr::model::{Change, ServerName, Task};
use pitr::plan::health::Status;
use pitr::port::StorageExt;
use pitr::service::{Happening, ServiceSettings};

use crate::stand::{HOUR, MINUTE, Stand, name, settings};

/// Servers that are created one by one, and tended by so many processes.
fn fleet(servers: usize, processes: usize, settings: &ServiceSettings) -> Stand {
    let mut stand = Stand::with(settings.clone());
    for number in 0..servers {
        stand.create(&format!("server-{number}"));
    }
    for _ in 0..processes {
        let service = stand.another(settings.clone());
        stand.begin_by(service);
    }
    stand
}

fn short_lease() -> ServiceSettings {
    settings().lease(MINUTE)
}

/// By the health of each: what is not green.
fn unwell(stand: &Stand) -> BTreeMap<ServerName, String> {
    let servers = stand.finish(stand.service.servers()).unwrap();
    let healths = servers.into_iter().map(|server| (server.clone(), stand.status(server.as_str()).health));
    healths
        .filter(|(_, health)| health.status != Status::Green)
        .map(|(server, health)| (server, health.to_string()))
        .collect()
}

#[test]
fn processes_share_servers_and_take_over_from_one_that_dies() {
    let mut stand = fleet(6, 3, &short_lease());
    stand.days(1);
    assert_eq!(unwell(&stand), BTreeMap::new());
    stand.kill();
    stand.days(1);
    assert_eq!(unwell(&stand), BTreeMap::new());
    for number in 0..6 {
        let server = format!("server-{number}");
        let snapshots = stand.restore_points(&server).snapshots;
        assert!((2..=4).contains(&snapshots.len()), "{server}: {}", snapshots.len());
        stand.assert_sound(&server);
    }
    stand.end();
}

/// Whoever goes on does not do again what was done, nor forgets what failed.
#[test]
fn whoever_goes_on_knows_what_was_done() {
    let mut stand = Stand::protected();
    stand.days(8);
    let began = |stand: &mut Stand, task| {
        let seen = stand.seen();
        seen.iter().filter(|(.., what)| matches!(what, Happening::Began(begun, _) if *begun == task)).count()
    };
    assert_eq!(began(&mut stand, Task::Verification), 1);
    for task in [Task::Verification, Task::Snapshot, Task::Compaction] {
        for _ in 0..2 {
            stand.kill();
            stand.begin();
            stand.live(HOUR);
        }
        assert_eq!(began(&mut stand, task), 0, "{task}: it was done lately");
    }
}

#[test]
fn a_change_by_another_process_is_obeyed_within_a_look() {
    let mut stand = Stand::protected();
    stand.live(HOUR);
    let (service, caller) = (stand.another(settings()), stand.caller());
    stand.finish(service.change(&name("prod"), &caller, Change::RequestSnapshot)).unwrap();
    stand.live(HOUR + MINUTE);
    assert_eq!(stand.restore_points("prod").snapshots.len(), 2);
}

#[test]
fn a_new_key_is_taken_up_within_a_look() {
    let mut stand = Stand::protected();
    stand.live(HOUR);
    stand.finish(stand.service.repository().rotate_key(&name("prod"))).unwrap();
    stand.live(2 * HOUR);
    let before = stand.objects("prod");
    stand.days(2);
    assert_eq!(unwell(&stand), BTreeMap::new());
    let after = stand.objects("prod");
    let keys: BTreeSet<Vec<u8>> = after
        .iter()
        .filter(|object| !before.contains(object))
        .map(|object| stand.content(object)[12..28].to_vec())
        .collect();
    assert_eq!(keys.len(), 1, "all that came since is sealed by the new key");
    stand.assert_sound("prod");
}

/// A storage of which one request in so many fails, a server that goes away, and a process that is killed now and then: nothing is lost.
#[test]
fn what_fails_is_made_up_for() {
    for seed in 0..3 {
        let mut stand = fleet(2, 1, &short_lease());
        stand.live(HOUR);
        stand.storage.fail_at_random(seed, NonZeroU64::new(60).unwrap());
        for day in 0..4 {
            for part in 0..8 {
                stand.source("server-0").write(2_000);
                stand.source("server-1").write(2_000);
                stand.live_or_die(3 * HOUR);
                if (day + part + seed) % 11 == 0 {
                    stand.kill();
                    let service = stand.another(short_lease());
                    stand.begin_by(service);
                }
            }
        }
        stand.storage.heal();
        stand.live_or_die(90 * MINUTE);
        assert_eq!(unwell(&stand), BTreeMap::new(), "seed {seed}");
        for server in ["server-0", "server-1"] {
            let points = stand.restore_points(server);
            assert_eq!(points.windows[0].intervals.len(), 1, "seed {seed}: {:?}", points.windows[0]);
            let days: BTreeSet<_> =
                points.snapshots.iter().map(|snapshot| snapshot.consistent_at.to_string()[..10].to_owned()).collect();
            assert_eq!(days.len(), 5, "seed {seed}: a snapshot every day: {days:?}");
            stand.assert_sound(server);
        }
    }
}

/// With room for one snapshot at a time, those that were due first go first, and nothing is verified while any is due.
#[test]
fn under_load_what_matters_goes_first() {
    let mut stand = fleet(12, 1, &settings().work_at_once(1));
    stand.live(10 * MINUTE);
    let seen = stand.seen();
    let done: Vec<Task> = seen
        .iter()
        .filter_map(|(.., what)| match what {
            Happening::Done(outcome) => Some(outcome.task()),
            _ => None,
        })
        .collect();
    let first_retention = done.iter().position(|task| *task == Task::Retention).unwrap();
    assert!(first_retention >= 11, "the first snapshots come before any retention: {done:?}");
}

/// What a process takes that tends a thousand servers: run with `--ignored --nocapture`.
#[test]
#[ignore = "it measures"]
fn a_thousand_servers() {
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let mut stand = fleet(1000, 1, &ServiceSettings::default());
    let stored = |stand: &Stand| {
        let objects = stand.finish(stand.storage.list_all(None)).unwrap();
        objects.iter().map(|object| object.bytes).sum::<u64>() >> 20
    };
    let (before, begun) = (memory(), Instant::now());
    stand.live(10 * MINUTE);
    let (took, more) = (begun.elapsed(), memory() - before);
    println!("the first ten minutes: {took:?}, {more} MiB more, of which the storage holds {} MiB", stored(&stand));
    let begun = Instant::now();
    stand.live(HOUR);
    let (took, more) = (begun.elapsed(), memory() - before);
    println!("an idle hour: {took:?}, {more} MiB more, of which the storage holds {} MiB", stored(&stand));
    assert_eq!(unwell(&stand), BTreeMap::new());
}
