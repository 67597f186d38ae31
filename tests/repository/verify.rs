//! Verification names what is damaged, and nothing else, and says what that costs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use pitr::engine::{Cost, ErrorKind, Fault, FaultKind, Observer, Verifier, VerifyDepth, VerifyReport, VerifySettings};
use pitr::format::layout::ServerLayout;
use pitr::model::{Catalog, ObjectKey, SegmentNumber, Timestamp};
use pitr::plan::{Target, plan_restore};
use pitr::port::Storage;

use crate::stand::{Damage, Kind, Stand};
use crate::world::{Outcome, World, run};

fn verify(world: &World, settings: VerifySettings) -> VerifyReport {
    let verifier = Verifier::new(&world.repository, world.server.name()).settings(settings);
    world.finish(verifier.run()).unwrap()
}

fn at_depth(world: &World, depth: VerifyDepth) -> VerifyReport {
    verify(world, VerifySettings::default().depth(depth))
}

fn objects(report: &VerifyReport) -> Vec<&ObjectKey> {
    report.faults.iter().map(|fault| &fault.object).collect()
}

const DEPTHS: [VerifyDepth; 2] = [VerifyDepth::Quick, VerifyDepth::Full];

#[test]
fn a_sound_repository_is_sound() {
    let stand = Stand::new();
    let verified = |key: &&ObjectKey| matches!(Kind::of(key), Kind::Log | Kind::Manifest | Kind::Pack);
    let objects = stand.objects(stand.world.server.name());
    let expected: Vec<_> = objects.iter().filter(verified).collect();
    let bytes: usize = expected.iter().map(|key| stand.read(key).len()).sum();
    for depth in DEPTHS {
        let report = at_depth(&stand.world, depth);
        assert!(report.is_sound() && report.unreferenced.is_empty(), "{report:?}");
        assert_eq!((report.objects, report.bytes), (expected.len() as u64, bytes as u64));
        assert_eq!(report.costs_in_all(), Cost::Instants(Vec::new()));
    }
}

/// Whether a reader of the header and the last frame can see it.
fn shows_at_the_ends(key: &ObjectKey, damage: &Damage, length: usize) -> bool {
    let read_whole = matches!(Kind::of(key), Kind::Key | Kind::Server | Kind::SnapshotRecord | Kind::History);
    let Damage::Flipped { at } = damage else { return true };
    let header = 94 + key.as_str().len();
    let last_frame = header + (length - header).div_ceil(FRAME).saturating_sub(1) * FRAME;
    read_whole || *at < header || *at >= last_frame
}

/// The sealed length of a frame.
const FRAME: usize = (64 << 10) + 24;

#[test]
fn every_damage_to_every_kind_of_object_is_told_exactly() {
    let stand = Stand::new();
    for key in stand.needed() {
        let intact = stand.read(&key);
        for damage in stand.damages(&key) {
            stand.inflict(&key, &damage);
            for depth in DEPTHS {
                let report = at_depth(&stand.world, depth);
                assert_tells(&stand, &report, &key, &damage, intact.len());
            }
            stand.write(&key, intact.clone());
        }
    }
    assert!(at_depth(&stand.world, VerifyDepth::Full).is_sound());
}

fn assert_tells(stand: &Stand, report: &VerifyReport, key: &ObjectKey, damage: &Damage, length: usize) {
    let case = format!("{damage:?} of {key}, {:?}: {:?}", report.depth, report.faults);
    let newest = &stand.plan.logs()[stand.plan.logs().len() - 1].backup;
    let is_told = match damage {
        Damage::Deleted => *key != newest.key(),
        _ => report.depth == VerifyDepth::Full || shows_at_the_ends(key, damage, length),
    };
    let [fault] = &report.faults[..] else {
        return assert!(!is_told && report.faults.is_empty(), "{case}");
    };
    assert_eq!(fault.object, *key, "{case}");
    let expected = match damage {
        Damage::Deleted => vec![FaultKind::Missing],
        // A header says which version wrote it; that is not authentic yet.
        Damage::Flipped { at: ..64 } => vec![FaultKind::Damaged, FaultKind::Foreign],
        _ => vec![FaultKind::Damaged],
    };
    assert!(expected.contains(&fault.kind), "{case}");
    assert!(fault.to_string().contains(key.as_str()) || Kind::of(key) == Kind::Key, "{fault}");
    assert_costs(report, fault, key);
}

fn assert_costs(report: &VerifyReport, fault: &Fault, key: &ObjectKey) {
    let costs = report.costs(fault);
    match Kind::of(key) {
        Kind::Key => assert_eq!(costs, Cost::Everything),
        Kind::Server => assert_eq!(costs, Cost::Instants(Vec::new())),
        Kind::SnapshotRecord | Kind::History => assert_eq!(costs, Cost::Unknown),
        // The snapshot is not the only one; the log after it is what the window is made of.
        Kind::Log => assert!(matches!(&costs, Cost::Instants(losses) if !losses.is_empty()), "{costs:?}"),
        Kind::Manifest | Kind::Pack => assert!(matches!(costs, Cost::Instants(_)), "{costs:?}"),
    }
}

#[test]
fn every_object_is_looked_at() {
    let stand = Stand::new();
    for key in stand.objects(stand.world.server.name()) {
        let intact = stand.read(&key);
        stand.inflict(&key, &Damage::Flipped { at: intact.len() / 2 });
        assert_eq!(objects(&at_depth(&stand.world, VerifyDepth::Full)), [&key]);
        stand.write(&key, intact);
    }
}

/// Of several faults each is told, and none hides another.
#[test]
fn many_faults_are_all_told() {
    let stand = Stand::new();
    let all = stand.objects(stand.world.server.name());
    let damaged: BTreeSet<_> = all.into_iter().filter(|key| !matches!(Kind::of(key), Kind::Key)).step_by(2).collect();
    for key in &damaged {
        stand.inflict(key, &Damage::Flipped { at: stand.read(key).len() - 1 });
    }
    for depth in DEPTHS {
        let report = at_depth(&stand.world, depth);
        // What belongs to a snapshot of which the record cannot be read is not known to belong to anything.
        let known = |key: &&ObjectKey| !matches!(Kind::of(key), Kind::Manifest | Kind::Pack);
        let told: BTreeSet<_> = objects(&report).into_iter().filter(known).collect();
        assert_eq!(told, damaged.iter().filter(known).collect());
    }
}

fn can_restore(catalog: &Catalog, at: Timestamp) -> bool {
    plan_restore(catalog, &Target::time(at).into()).is_ok()
}

/// What a lost log backup costs, by asking for one instant after another.
#[test]
fn what_is_lost_can_be_restored_with_it_and_not_without() {
    let stand = Stand::new();
    let whole = stand.world.catalog();
    let logs: Vec<_> =
        stand.objects(stand.world.server.name()).into_iter().filter(|key| Kind::of(key) == Kind::Log).collect();
    for key in &logs[..logs.len() - 1] {
        let intact = stand.read(key);
        stand.inflict(key, &Damage::Deleted);
        let (report, left) = (at_depth(&stand.world, VerifyDepth::Quick), stand.world.catalog());
        let [fault] = &report.faults[..] else { panic!("{:?}", report.faults) };
        assert_eq!((&fault.object, fault.kind), (key, FaultKind::Missing));
        let Cost::Instants(losses) = report.costs(fault) else { panic!("{:?}", report.costs(fault)) };
        assert!(!losses.is_empty(), "what costs nothing has expired");
        let current = losses.iter().filter(|loss| Some(loss.branch) == whole.current());
        let lost: Vec<_> = current.flat_map(|loss| loss.intervals.iter().copied()).collect();
        let unsure = unsure_without(&whole, key);
        for at in instants(&whole) {
            let is_lost = can_restore(&whole, at) && !can_restore(&left, at);
            let is_told = lost.iter().any(|lost| lost.from <= at && at <= lost.until);
            let is_unsure = unsure.is_some_and(|(from, until)| from < at && at < until);
            assert!(is_told == is_lost || is_unsure && is_lost, "{at} without {key}: {lost:?}");
        }
        stand.write(key, intact);
    }
}

/// Log that no restore needs expires; then it is not missed.
#[test]
fn what_expired_is_not_missed() {
    let world = World::new(5);
    world.source.write(2_500_000);
    world.archive(|| u64::MAX);
    let snapshot = world.take().unwrap().snapshot;
    world.source.write(200_000);
    world.archive(|| u64::MAX);
    let first = SegmentNumber::containing(snapshot.wal.start, snapshot.segment_size).start(snapshot.segment_size);
    let catalog = world.catalog();
    let logs: Vec<_> = catalog.logs(catalog.current().unwrap()).map(|log| log.to_backup()).collect();
    let (expired, needed): (Vec<_>, Vec<_>) = logs.into_iter().partition(|log| log.wal.end <= first);
    assert!(expired.len() > 10 && needed.len() > 2, "{} and {}", expired.len(), needed.len());
    for log in &expired {
        world.finish(world.storage.delete(&log.key())).unwrap();
        for depth in DEPTHS {
            let report = at_depth(&world, depth);
            assert!(report.is_sound(), "{:?}", report.faults);
        }
    }
    world.finish(world.storage.delete(&needed[0].key())).unwrap();
    assert_eq!(objects(&at_depth(&world, VerifyDepth::Quick)), [&needed[0].key()]);
}

/// Of a snapshot that ends inside the log backup `key`, the first instants: which of them can be restored, only the log backup itself tells.
fn unsure_without(whole: &Catalog, key: &ObjectKey) -> Option<(Timestamp, Timestamp)> {
    let mut logs = whole.branches().flat_map(|branch| whole.logs(branch));
    let lost = logs.find(|log| log.key() == *key)?;
    let mut inside =
        whole.snapshots().filter(|snapshot| lost.start() < snapshot.wal.end && snapshot.wal.end < lost.end());
    Some((inside.next()?.consistent_at, lost.max_commit_time()?))
}

/// Every time that anything in the catalog tells of, and those next to it.
fn instants(catalog: &Catalog) -> BTreeSet<Timestamp> {
    let logs = catalog.branches().flat_map(|branch| catalog.logs(branch));
    let told = logs.flat_map(|log| [log.max_commit_time(), log.complete_through()]).flatten();
    let micros = told.chain(catalog.snapshots().map(|snapshot| snapshot.consistent_at)).map(Timestamp::as_unix_micros);
    micros.flat_map(|at| [at - 1, at, at + 1]).filter_map(Timestamp::from_unix_micros).collect()
}

#[test]
fn an_interrupted_verification_goes_on_where_it_was() {
    let stand = Stand::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let observing = |settings: VerifySettings| {
        told.lock().unwrap().clear();
        let all = Arc::clone(&told);
        let observer = Observer::new(move |progress: &pitr::engine::VerifyProgress| {
            all.lock().unwrap().push(progress.object.clone());
        });
        let report = verify(&stand.world, settings.observer(observer));
        (report, told.lock().unwrap().clone())
    };
    for depth in DEPTHS {
        let settings = || VerifySettings::default().depth(depth);
        let (_, all) = observing(settings());
        assert!(all.len() > 20, "{all:?}");
        for (number, object) in all.iter().enumerate() {
            let (report, rest) = observing(settings().from(object.clone()));
            assert!(report.is_sound());
            assert_eq!(rest, all[number..]);
        }
    }
    let record = ServerLayout::new(stand.world.server.name()).record();
    let settings = VerifySettings::default().from(record);
    let verifier = Verifier::new(&stand.world.repository, stand.world.server.name()).settings(settings);
    assert_eq!(stand.world.finish(verifier.run()).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_snapshot_that_was_killed_is_no_fault() {
    let mut left = 0;
    for polls in (1..).step_by(7) {
        let world = World::protected(3);
        let killed = matches!(run(&world.executor, world.snapshotter().take(), polls), Outcome::Killed);
        for depth in DEPTHS {
            let report = at_depth(&world, depth);
            assert!(report.is_sound(), "killed at poll {polls}: {:?}", report.faults);
            left += report.unreferenced.len();
        }
        if !killed {
            break;
        }
    }
    assert!(left > 0, "no pack was left behind");
}

#[test]
fn foreign_objects_are_told_and_cost_nothing() {
    let stand = Stand::new();
    let root = ServerLayout::new(stand.world.server.name()).root().clone();
    for foreign in ["notes", "data/x/y", "data/x/manifest/z", "catalog/readme", "catalog/1-15/logs/x"] {
        let key: ObjectKey = format!("{root}/{foreign}").parse().unwrap();
        stand.write(&key, bytes::Bytes::from_static(b"who knows"));
        for depth in DEPTHS {
            let report = at_depth(&stand.world, depth);
            let [fault] = &report.faults[..] else { panic!("{:?}", report.faults) };
            assert_eq!((&fault.object, fault.kind), (&key, FaultKind::Foreign));
            assert_eq!(report.costs(fault), Cost::Instants(Vec::new()));
        }
        stand.world.finish(stand.world.storage.delete(&key)).unwrap();
    }
}

#[test]
fn nobody_is_not_verified() {
    let world = World::new(1);
    let error = world.finish(Verifier::new(&world.repository, &"nobody".parse().unwrap()).run()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
