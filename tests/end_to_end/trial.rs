//! Test restores: real servers, restored on trial.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pitr::adapter::postgres::{DataDirectorySource, InitOptions, ScratchDirectory, StopMode};
use pitr::engine::{ErrorKind, Snapshotter, TestRestore, TestRestoreSettings};
use pitr::model::{Proven, RestoreProof};
use tokio_postgres::Client;

use crate::stand::{Stand, chain, directory_for_servers, now};

/// A server that is archived, with a table in a tablespace, one in another database that has a setting of its own that would stand in the way, and a transaction that is prepared.
async fn protected(major: u32) -> (Stand, Client) {
    let mut stand = Stand::new(major, &InitOptions::default()).await;
    // A standby would have to allow as many, and nobody can start with what comes in postgresql.auto.conf.
    stand.source.take().unwrap().stop(StopMode::Fast).await.unwrap();
    stand.local = stand.local.clone().setting("max_connections", "300").setting("max_locks_per_transaction", "200");
    stand.source = Some(stand.local.start().await.unwrap());
    let client = stand.client().await;
    let space = directory_for_servers(&stand.scratch.path().join("space"));
    for sql in [
        &format!("CREATE TABLESPACE space LOCATION '{space}'"),
        "CREATE TABLE far TABLESPACE space AS SELECT n, repeat(md5(n::text), 200) AS long FROM generate_series(1, 500) n",
        "CREATE INDEX ON far (n)",
        "ALTER SYSTEM SET shared_preload_libraries = 'not_there'",
        "ALTER SYSTEM SET ssl = on",
        "CREATE DATABASE other",
        "ALTER DATABASE other SET session_preload_libraries = 'not_there'",
        "ALTER DATABASE other SET default_transaction_read_only = on",
        "CREATE DATABASE closed ALLOW_CONNECTIONS false",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    stand.archive();
    (stand, client)
}

async fn writes(stand: &Stand, client: &Client) {
    for round in 0..5 {
        let sql = format!("CREATE TABLE written_{round} AS SELECT n, md5(n::text) FROM generate_series(1, 2000) n");
        client.batch_execute(&sql).await.unwrap();
    }
    let (lsn, at) = now(client).await;
    stand.wait_archived(lsn, at).await;
}

fn place(stand: &Stand) -> PathBuf {
    stand.scratch.path().join("trial")
}

/// What is in the directory of the test restore that was made last. One that was given up at once has made none.
fn left(stand: &Stand, name: &str) -> PathBuf {
    let rooms = fs::read_dir(place(stand))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir());
    rooms.max().unwrap_or_else(|| place(stand)).join(name)
}

fn scratch(stand: &Stand) -> ScratchDirectory {
    ScratchDirectory::new(place(stand)).postgres(stand.install.clone())
}

async fn test_restore(stand: &Stand, settings: TestRestoreSettings) -> RestoreProof {
    let restore = TestRestore::new(&stand.server, Arc::new(scratch(stand))).settings(settings);
    restore.run().await.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

async fn every_proof(major: u32) {
    let (mut stand, client) = protected(major).await;
    client.batch_execute("CREATE TABLE waits (n int)").await.unwrap();
    client.batch_execute("BEGIN; INSERT INTO waits VALUES (1); PREPARE TRANSACTION 'one'").await.unwrap();
    let snapshots = [stand.snapshot().await, stand.snapshot_of_directory().await];
    writes(&stand, &client).await;
    for _ in 0..3 {
        let proof = test_restore(&stand, TestRestoreSettings::default()).await;
        assert_eq!(proof.proven(), Proven::Server, "{proof}");
        let route = proof.route.as_ref().unwrap();
        assert!(snapshots.iter().any(|snapshot| snapshot.id == route.snapshot));
        let trial = proof.trial.as_ref().unwrap();
        // template1, postgres and other; in each there are more than a hundred catalogs and their indexes.
        assert!(trial.postgres.starts_with(&major.to_string()) && trial.databases == 3, "{proof}");
        assert!(trial.amcheck || major != 15, "Debian's PostgreSQL brings amcheck");
        assert!(trial.relations > 3 * 80 && trial.recovery_millis > 0, "{trial:?}");
        assert!(trial.last_commit.is_none_or(|commit| commit <= proof.instant), "{trial:?}");
        assert!(trial.reached >= snapshots[0].wal.end && trial.timeline > route.timeline);
        assert_eq!(fs::read_dir(place(&stand)).unwrap().count(), 1, "nothing is left but the marker");
    }
    assert_eq!(stand.server.proofs().await.unwrap().proofs.len(), 3);
    stand.stop_archiving().await;
    assert_eq!(stand.faults().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_15_is_proved_to_be_restorable() {
    every_proof(15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_18_is_proved_to_be_restorable() {
    every_proof(18).await;
}

/// Takes a snapshot of a server in which the second page of `table` is damaged on the disk.
async fn damaged_before(stand: &Stand, client: &Client, table: &str) {
    client.batch_execute("CHECKPOINT").await.unwrap();
    let sql = format!("SELECT pg_relation_filepath('{table}'), current_setting('data_directory')");
    let row = client.query_one(&sql, &[]).await.unwrap();
    let data = PathBuf::from(row.get::<_, String>(1));
    let file = File::options().write(true).open(data.join(row.get::<_, String>(0))).unwrap();
    file.write_all_at(&[0x5A; 64], 8192 + 2000).unwrap();
    let source = DataDirectorySource::new(stand.url().parse().unwrap(), data);
    let report = Snapshotter::new(&stand.server, Arc::new(source)).take().await.unwrap();
    assert_eq!(report.damaged_pages.len(), 1, "the snapshot is taken all the same");
}

async fn every_damage(major: u32) {
    let (mut stand, client) = protected(major).await;
    client
        .batch_execute("CREATE TABLE rotten AS SELECT n, md5(n::text) FROM generate_series(1, 5000) n")
        .await
        .unwrap();
    damaged_before(&stand, &client, "rotten").await;
    writes(&stand, &client).await;
    let proof = test_restore(&stand, TestRestoreSettings::default().keep_failed()).await;
    assert_eq!(proof.proven(), Proven::Nothing);
    let failure = proof.failure.clone().unwrap();
    assert!(failure.contains("database \"postgres\"") && failure.contains("rotten"), "{failure}");
    assert_eq!(proof.trial.as_ref().unwrap().faults.len(), 1, "{proof:?}");
    assert!(left(&stand, "data/PG_VERSION").exists(), "it is kept, as was asked for");
    assert_eq!(stand.server.proofs().await.unwrap().proofs, [proof]);
    // What was kept is given up for the next one, also by the same value, and by one that is dropped in the middle.
    let same = Arc::new(scratch(&stand));
    for _ in 0..2 {
        let settings = TestRestoreSettings::default().keep_failed();
        let restore = TestRestore::new(&stand.server, same.clone()).settings(settings);
        let run = tokio::time::timeout(Duration::from_millis(20), restore.run()).await;
        assert!(run.is_err(), "{}", run.unwrap().map_or_else(|error| chain(&error), |proof| proof.to_string()));
    }
    let again = TestRestore::new(&stand.server, same).run().await.unwrap();
    assert!(again.failure.is_some() && !left(&stand, "data").exists());
    stand.stop_archiving().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_15_with_a_damaged_page_is_told() {
    every_damage(15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_18_with_a_damaged_page_is_told() {
    every_damage(18).await;
}

/// Waits until no server runs of which something is left in the scratch place: one may just have been about to be started.
async fn wait_until_none_runs(stand: &Stand) {
    let is_running = || {
        let pid = fs::read_to_string(left(stand, "data/postmaster.pid")).unwrap_or_default();
        pid.lines().next().is_some_and(|pid| PathBuf::from("/proc").join(pid).exists())
    };
    let given_up = Instant::now() + Duration::from_secs(10);
    while is_running() {
        assert!(Instant::now() < given_up, "the server goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_leaves_no_server_behind() {
    let (mut stand, client) = protected(15).await;
    stand.snapshot().await;
    writes(&stand, &client).await;
    let mut ran = 0;
    for millis in (50..).step_by(150) {
        let restore = TestRestore::new(&stand.server, Arc::new(scratch(&stand)));
        let run = tokio::time::timeout(Duration::from_millis(millis), restore.run());
        if run.await.is_ok_and(|proof| proof.unwrap_or_else(|error| panic!("{}", chain(&error))).failure.is_none()) {
            break;
        }
        ran += u32::from(left(&stand, "server.log").metadata().is_ok_and(|log| log.len() > 0));
        wait_until_none_runs(&stand).await;
    }
    assert!(ran > 0, "some were given up while the server ran");
    let proofs = stand.server.proofs().await.unwrap().proofs;
    // Also one that was given up while its place was cleared.
    assert!(
        !proofs.is_empty() && proofs.iter().all(|proof| proof.failure.is_none()),
        "only what was done is recorded: {proofs:?}"
    );

    fs::create_dir(stand.scratch.path().join("precious")).unwrap();
    fs::write(stand.scratch.path().join("precious/file"), "precious").unwrap();
    let elsewhere = ScratchDirectory::new(stand.scratch.path().join("precious")).postgres(stand.install.clone());
    let error = TestRestore::new(&stand.server, Arc::new(elsewhere)).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    stand.stop_archiving().await;
}
