//! Archivers in processes of their own, of which one has the lease: it is stopped, killed, and takes over.

use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use pitr::adapter::postgres::{Config, InitOptions, PostgresServer};
use pitr::adapter::system;
use pitr::engine::{ArchiveSettings, Archiver, ErrorKind, ServerLease, Worker, WorkerSettings};
use pitr::model::Role;
use pitr::plan::{RestoreRequest, Target};

use super::ledger::{self, Load};
use super::stand::{Stand, repository_in, succeed};

const LEASE: Duration = Duration::from_secs(2);
/// Tells the child process where to work: set, `worker_process` is one.
const WORK: &str = "PITR_TEST_WORKER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archivers_take_over_from_each_other_postgresql_15() {
    archivers_take_over_from_each_other(15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archivers_take_over_from_each_other_postgresql_18() {
    archivers_take_over_from_each_other(18).await;
}

async fn archivers_take_over_from_each_other(major: u32) {
    let mut stand = Stand::new(major, &InitOptions::default()).await;
    stand.client().await.batch_execute(ledger::TABLES).await.unwrap();
    let mut first = spawn(&stand);
    stand.wait_all_archived().await;
    stand.snapshot().await;
    let load = Load::start(&stand, 4).await;
    let mut second = spawn(&stand);
    stand.wait_all_archived().await;

    // It does not know that it stands still, and its server does not either.
    signal(&first, "STOP");
    stand.wait_all_archived().await;
    signal(&first, "CONT");
    let ended = tokio::task::spawn_blocking(move || first.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "it finds that it was taken for dead, and nothing else");

    let mut third = spawn(&stand);
    stand.wait_all_archived().await;
    second.kill().unwrap();
    second.wait().unwrap();
    stand.wait_all_archived().await;
    let ledger = load.stop().await;
    stand.wait_all_archived().await;
    third.kill().unwrap();
    third.wait().unwrap();

    let restored = stand.restore(&RestoreRequest::new(Target::Latest)).await;
    assert_eq!(ledger::rows(&restored.client().await).await, ledger);
    assert_eq!(stand.faults().await, []);
}

fn signal(child: &Child, signal: &str) {
    succeed(Command::new("kill").args([format!("-{signal}"), child.id().to_string()]));
}

fn spawn(stand: &Stand) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "workers::worker_process", "--ignored", "--nocapture"]);
    command.env(WORK, stand.scratch.path()).env("PITR_TEST_URL", stand.url());
    command.stdout(std::process::Stdio::null()).spawn().unwrap()
}

/// Works until it is taken for dead.
#[tokio::test]
#[ignore = "the child process of the tests above, which run it"]
async fn worker_process() {
    let scratch = std::env::var(WORK).expect("only a child process runs this");
    let repository = repository_in(Path::new(&scratch), system()).await;
    let worker = Worker::join(&repository, Role::Archiver, WorkerSettings::default().lease(LEASE)).await.unwrap();
    let error = worker.tend(archive, std::future::pending()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
}

async fn archive(lease: ServerLease) {
    let config: Config = std::env::var("PITR_TEST_URL").unwrap().parse().unwrap();
    let source = Arc::new(PostgresServer::new(config, "pitr".parse().unwrap()));
    let settings = ArchiveSettings::default().cadence(Duration::from_millis(100)).bytes_max(256 << 10);
    let archiver = Archiver::new(lease.server(), source).settings(settings);
    // Whatever fails, it is begun anew a little later.
    drop(archiver.run(lease.ended()).await);
}
