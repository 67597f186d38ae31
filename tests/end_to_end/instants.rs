//! Restores to random instants, to the ends of the window, to positions, and to a moment after the last commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pitr::adapter::postgres::InitOptions;
use pitr::adapter::{RetryPolicy, RetryStorage, system};
use pitr::engine::{CompactSettings, Compactor};
use pitr::model::{Branch, Lsn, TimelineHistory, TimelineId, Timestamp};
use pitr::plan::compaction::CompactionPolicy;
use pitr::plan::retention::Protections;
use pitr::plan::{Answer, RestoreRequest, Target, recovery_window};
use tokio_postgres::Client;

use super::ledger::{self, End, Load};
use super::random::Random;
use super::stand::{Stand, directory_for_servers, identity, scratch, succeed};
use super::stores::{Kind, Store};

const INSTANTS: usize = 20;
const CLIENTS: u32 = 4;

/// A server with everything that a restore must bring back, or must not.
async fn furnish(stand: &Stand) -> Client {
    let client = stand.client().await;
    client.batch_execute(ledger::TABLES).await.unwrap();
    for name in ["fast", "slow"] {
        let place = directory_for_servers(&stand.scratch.path().join(name));
        client.batch_execute(&format!("CREATE TABLESPACE {name} LOCATION '{place}'")).await.unwrap();
        let table = format!("CREATE TABLE in_{name} TABLESPACE {name} AS SELECT generate_series(1, 20000) AS id");
        client.batch_execute(&table).await.unwrap();
    }
    let rest = "CREATE UNLOGGED TABLE scratchpad AS SELECT generate_series(1, 1000) AS id;
        CREATE TABLE filler AS SELECT id, repeat('x', 500) AS pad FROM generate_series(1, 20000) id;
        CREATE INDEX ON filler (id); CREATE EXTENSION amcheck";
    if client.batch_execute(rest).await.is_err() {
        // Only distributions bring the extension.
        client.batch_execute(rest.rsplit_once(';').unwrap().0).await.unwrap();
    }
    client
}

/// What is not in the ledger came back too: tablespaces whole, the unlogged table empty.
async fn check_furniture(client: &Client) {
    let count = async |table: &str| -> i64 {
        client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
    };
    assert_eq!(count("in_fast").await, 20_000);
    assert_eq!(count("in_slow").await, 20_000);
    assert_eq!(count("filler").await, 20_000);
    assert_eq!(count("scratchpad").await, 0, "an unlogged table comes back empty");
}

struct Scene {
    stand: Stand,
    ledger: BTreeMap<u32, i64>,
    ends: Vec<End>,
    idle_since: Timestamp,
}

/// Load, a snapshot, more load, a second snapshot, more load, and then nothing for a while.
async fn play(mut stand: Stand) -> Scene {
    let client = furnish(&stand).await;
    let (begin, _) = ledger::position(&stand).await;
    stand.archive();
    let load = Load::start(&stand, CLIENTS).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stand.snapshot().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    stand.snapshot_of_directory().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ledger = load.stop().await;
    let (end, idle_since) = ledger::position(&stand).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    stand.wait_all_archived().await;
    let history = TimelineHistory::root(TimelineId::FIRST);
    let pg_wal = stand.scratch.path().join("source/pg_wal");
    let ends = ledger::ends(&pg_wal, identity(&stand).await, &history, begin, end);
    ledger::check_against_server(&client, &ledger, &ends).await;
    assert!(ledger.len() > 500, "only {} commits: too little load", ledger.len());
    Scene { stand, ledger, ends, idle_since }
}

impl Scene {
    /// Restores to `target`, which must hold exactly what `committed` says.
    async fn check(&mut self, target: Target, expected: &BTreeMap<u32, i64>) -> Answer {
        let restored = self.stand.restore(&RestoreRequest::new(target)).await;
        let client = restored.client().await;
        let found = ledger::rows(&client).await;
        let (plan, recovered) = (&restored.plan, &restored.recovered);
        let differ = |a: &BTreeMap<u32, i64>, b: &BTreeMap<u32, i64>| {
            a.iter().filter(|(xid, value)| b.get(xid) != Some(value)).map(|(xid, _)| *xid).collect::<Vec<_>>()
        };
        let (missing, surplus) = (differ(expected, &found), differ(&found, expected));
        assert!(missing.is_empty() && surplus.is_empty(), "-{missing:?} +{surplus:?}\n{plan}\n{recovered:?}");
        check_furniture(&client).await;
        let answer = plan.answer();
        restored.discard().await;
        answer
    }

    fn by_time(&self, at: Timestamp) -> BTreeMap<u32, i64> {
        ledger::expected(&self.ledger, &ledger::by_time(&self.ends, at))
    }

    fn by_lsn(&self, lsn: Lsn) -> BTreeMap<u32, i64> {
        ledger::expected(&self.ledger, &ledger::by_lsn(&self.ends, lsn))
    }
}

/// Restores are then from log backups that were made of others.
async fn compact(stand: &Stand) {
    let before = stand.catalog().await;
    let mut policy = CompactionPolicy::default();
    (policy.count_min, policy.settled_for) = (2, Duration::ZERO);
    let settings = CompactSettings::default().policy(policy).grace(Duration::ZERO);
    for deletes in [false, true] {
        let report = Compactor::new(&stand.server).settings(settings.clone()).run(&Protections::none()).await.unwrap();
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        assert!(if deletes { report.deleted } else { report.made } > 0, "{report:?}");
        // The server must have been seen after the merged ones were stored.
        stand.wait_all_archived().await;
    }
    assert_eq!(stand.faults().await, []);
    let current = before.current().unwrap();
    let [before, after] = [before, stand.catalog().await].map(|catalog| recovery_window(&catalog, current));
    assert_eq!((before.intervals.len(), before.earliest()), (after.intervals.len(), after.earliest()));
    assert!(before.latest() <= after.latest());
}

async fn every_target(stand: Stand, instants: usize) {
    let mut scene = play(stand).await;
    compact(&scene.stand).await;
    let catalog = scene.stand.catalog().await;
    let window = recovery_window(&catalog, catalog.current().unwrap());
    let (earliest, latest) = (window.earliest().unwrap(), window.latest().unwrap());
    let last_commit = scene.ends.iter().map(|end| end.time).max().unwrap();
    assert!(latest > scene.idle_since, "an idle server stays restorable to now");

    let mut random = Random::new(u64::from(scene.stand.install.major().as_u32()));
    for number in 0..instants {
        let at = random.instant(earliest, last_commit);
        // Every fourth falls on the very microsecond of a commit.
        let exact = scene.ends.iter().map(|end| end.time).filter(|time| *time >= at).min();
        let at = exact.filter(|_| number % 4 == 0).unwrap_or(at);
        let expected = scene.by_time(at);
        scene.check(Target::time(at), &expected).await;
    }

    let idle = scene.idle_since.saturating_add(Duration::from_millis(500));
    let everything = scene.ledger.clone();
    let answer = scene.check(Target::time(idle), &everything).await;
    assert!(matches!(answer, Answer::IdleTail { .. }), "{answer:?}");
    scene.check(Target::Latest, &everything).await;

    let first = catalog.snapshots().min_by_key(|snapshot| snapshot.wal.end).unwrap();
    let at_first = scene.by_lsn(first.wal.end);
    scene.check(Target::Earliest, &at_first).await;
    scene.check(Target::Snapshot(first.id.clone()), &at_first).await;

    for _ in 0..3 {
        let later: Vec<Lsn> = scene.ends.iter().map(|end| end.end_lsn).filter(|lsn| *lsn > first.wal.end).collect();
        let lsn = later[random.index(later.len())];
        let expected = scene.by_lsn(lsn);
        scene.check(Target::Lsn(lsn), &expected).await;
    }
    check_with_postgres(&mut scene, last_commit).await;
    assert_eq!(scene.stand.faults().await, []);
}

/// PostgreSQL's own tools accept a recovered server.
async fn check_with_postgres(scene: &mut Scene, at: Timestamp) {
    let restored = scene.stand.restore(&RestoreRequest::new(Target::time(at))).await;
    let branch = |timeline: TimelineId| Branch::new(restored.plan.incarnation(), timeline);
    assert_ne!(
        branch(restored.recovered.timeline),
        branch(restored.plan.timeline()),
        "it writes a timeline of its own"
    );
    if scene.stand.install.bin().join("pg_amcheck").exists() {
        let url = restored.server.connection_string();
        succeed(
            scene
                .stand
                .program("pg_amcheck")
                .args(["--all", "--heapallindexed", "--maintenance-db", &url])
                .env("PGHOST", restored.server.socket_directory()),
        );
        let data = restored.data.clone();
        restored.server.stop(pitr::adapter::postgres::StopMode::Fast).await.unwrap();
        succeed(scene.stand.program("pg_checksums").arg("--check").arg("-D").arg(data));
    } else {
        assert_ne!(scene.stand.install.major().as_u32(), 15, "pg_amcheck is missing");
        restored.discard().await;
    }
}

async fn in_a_directory(major: u32) {
    every_target(Stand::new(major, &InitOptions::default()).await, INSTANTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_15_is_restored_to_every_kind_of_target() {
    in_a_directory(15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_18_is_restored_to_every_kind_of_target() {
    in_a_directory(18).await;
}

/// The same from the cloud, where requests are many times as slow.
async fn in_the_cloud(kind: Kind, major: u32) {
    let store = Store::start(kind);
    let storage = RetryStorage::new(Arc::new(store.storage("/repository")), RetryPolicy::default(), system());
    let stand = Stand::over(Arc::new(storage), scratch(), major, &InitOptions::default()).await;
    every_target(stand, INSTANTS / 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_15_is_restored_from_s3() {
    in_the_cloud(Kind::S3, 15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_18_is_restored_from_azure() {
    in_the_cloud(Kind::Azure, 18).await;
}
