//! An archiver that is killed at any moment goes on without a gap and without a duplicate.

use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use pitr::adapter::postgres::{Config, InitOptions, PostgresServer, StopMode};
use pitr::adapter::system;
use pitr::engine::{ArchiveSettings, Archiver};
use pitr::model::Catalog;
use pitr::plan::{RestoreRequest, Target};

use super::ledger::{self, Load};
use super::random::Random;
use super::stand::{Stand, server_in};

const KILLS: usize = 10;
/// Tells the child process where to work: set, `archiver_process` is one.
const WORK: &str = "PITR_TEST_ARCHIVER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archiver_is_killed_again_and_again() {
    let mut stand = Stand::new(15, &InitOptions::default()).await;
    stand.client().await.batch_execute(ledger::TABLES).await.unwrap();
    let mut archiver = spawn(&stand);
    stand.snapshot().await;
    let load = Load::start(&stand, 4).await;
    let mut random = Random::new(10);
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(300 + random.next() % 900)).await;
        archiver.kill().unwrap();
        archiver.wait().unwrap();
        archiver = spawn(&stand);
    }
    let ledger = load.stop().await;
    stand.wait_all_archived().await;
    archiver.kill().unwrap();
    archiver.wait().unwrap();

    let catalog = stand.catalog().await;
    check_contiguous(&catalog);
    let restored = stand.restore(&RestoreRequest::new(Target::Latest)).await;
    assert_eq!(ledger::rows(&restored.client().await).await, ledger);
    assert_eq!(stand.faults().await, []);
}

/// What was received counts, however long the cadence: it may be all that is left of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_log_of_a_server_that_goes_away_is_stored() {
    let mut stand = Stand::new(15, &InitOptions::default()).await;
    let client = stand.client().await;
    client.batch_execute(ledger::TABLES).await.unwrap();
    let settings = ArchiveSettings::default().cadence(Duration::from_secs(3600));
    let archiver = Archiver::new(&stand.server, stand.postgres.clone()).settings(settings);
    let archiving = tokio::spawn(async move { archiver.run(std::future::pending()).await });
    let snapshot = stand.snapshot().await;
    client.batch_execute("INSERT INTO ledger VALUES (pg_current_xact_id()::text::bigint, 0, 42)").await.unwrap();
    let (end, _) = ledger::position(&stand).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stand.source.take().unwrap().stop(StopMode::Immediate).await.unwrap();
    archiving.await.unwrap().expect_err("its server is gone");
    let catalog = stand.catalog().await;
    let logs: Vec<_> = catalog.logs(catalog.current().unwrap()).collect();
    assert!(logs.last().unwrap().end() >= end, "{snapshot:?}, {logs:?}");
    let restored = stand.restore(&RestoreRequest::new(Target::Latest)).await;
    let rows = ledger::rows(&restored.client().await).await;
    assert_eq!(rows.into_values().collect::<Vec<_>>(), [42]);
}

fn check_contiguous(catalog: &Catalog) {
    let logs: Vec<_> = catalog.logs(catalog.current().unwrap()).collect();
    assert!(logs.len() > KILLS, "only {} log backups", logs.len());
    for pair in logs.windows(2) {
        assert_eq!(pair[0].end(), pair[1].start(), "{} and {}", pair[0].key(), pair[1].key());
    }
}

/// An archiver in a process of its own, so that it can be killed as the kernel kills.
fn spawn(stand: &Stand) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kills::archiver_process", "--ignored", "--nocapture"]);
    command.env(WORK, stand.scratch.path()).env("PITR_TEST_URL", stand.url());
    command.stdout(std::process::Stdio::null()).spawn().unwrap()
}

#[tokio::test]
#[ignore = "the child process of the test above, which runs it"]
async fn archiver_process() {
    let scratch = std::env::var(WORK).expect("only a child process runs this");
    let config: Config = std::env::var("PITR_TEST_URL").unwrap().parse().unwrap();
    let scratch = Path::new(&scratch);
    let server = server_in(scratch, system()).await;
    let source = Arc::new(PostgresServer::new(config, "pitr".parse().unwrap()));
    let settings = ArchiveSettings::default().cadence(Duration::from_millis(100)).bytes_max(256 << 10);
    let archiver = Archiver::new(&server, source).settings(settings);
    // The slot may still be held for the predecessor that was killed.
    while archiver.run(std::future::pending()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
