//! Servers that are built differently: long segments, relations of more than one file, files for a group.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pitr::adapter::postgres::{InitOptions, StopMode};
use pitr::model::SegmentSize;
use pitr::plan::{RestoreRequest, Target};

use super::ledger::{self, Load};
use super::stand::{Stand, succeed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_of_64_megabytes() {
    let mut options = InitOptions::default();
    options.segment_size = SegmentSize::new(64 << 20).unwrap();
    let mut stand = Stand::new(15, &options).await;
    stand.client().await.batch_execute(ledger::TABLES).await.unwrap();
    stand.archive();
    let load = Load::start(&stand, 4).await;
    stand.snapshot().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stand.client().await.batch_execute("SELECT pg_switch_wal()").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ledger = load.stop().await;
    stand.wait_all_archived().await;
    let restored = stand.restore(&RestoreRequest::new(Target::Latest)).await;
    let client = restored.client().await;
    let size: String = client.query_one("SHOW wal_segment_size", &[]).await.unwrap().get(0);
    assert_eq!(size, "64MB");
    assert_eq!(ledger::rows(&client).await, ledger);
    assert_eq!(stand.faults().await, []);
}

/// As after `initdb --allow-group-access`. What PostgreSQL makes itself has the mode of what was restored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_its_group_may_read() {
    let mut stand = Stand::new(15, &InitOptions::default()).await;
    stand.source.take().unwrap().stop(StopMode::Fast).await.unwrap();
    succeed(Command::new("chmod").args(["-R", "g+rX"]).arg(stand.scratch.path().join("source")));
    stand.source = Some(stand.local.start().await.unwrap());
    stand.archive();
    for from_directory in [false, true] {
        if from_directory {
            stand.snapshot_of_directory().await
        } else {
            stand.snapshot().await
        };
        stand.wait_all_archived().await;
        let restored = stand.restore(&RestoreRequest::new(Target::Latest)).await;
        let client = restored.client().await;
        let mode: String = client.query_one("SHOW data_directory_mode", &[]).await.unwrap().get(0);
        assert_eq!(mode, "0750");
        client.batch_execute("ALTER SYSTEM SET work_mem = '8MB'").await.unwrap();
        assert_eq!(not_for_the_group(&restored.data), [] as [String; 0]);
    }
}

/// Except the manifest of the base backup, which no server reads, and a file that PostgreSQL lets everybody read.
fn not_for_the_group(directory: &Path) -> Vec<String> {
    let mut find = Command::new("find");
    find.arg(directory).args(["!", "-name", "backup_manifest", "!", "-name", "postmaster.pid.external"]);
    find.args(["(", "-type", "d", "!", "-perm", "0750", "-o", "-type", "f", "!", "-perm", "0640", ")"]);
    succeed(&mut find).lines().map(str::to_owned).collect()
}

/// A relation is cut into files of 1 GiB (`RELSEG_SIZE`); its second file is a file like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relation_of_more_than_a_gigabyte() {
    let mut stand = Stand::new(15, &InitOptions::default()).await;
    let client = stand.client().await;
    // Rows of which four fill a page, stored as they are.
    let fill = "CREATE TABLE big (id int, pad text); ALTER TABLE big ALTER pad SET STORAGE PLAIN;
        INSERT INTO big SELECT id, repeat(md5(id::text), 62) FROM generate_series(1, 530000) id; CHECKPOINT";
    client.batch_execute(fill).await.unwrap();
    let sum = "SELECT count(*), sum(hashtext(id || pad)), pg_relation_size('big') FROM big";
    let source = client.query_one(sum, &[]).await.unwrap();
    assert!(source.get::<_, i64>(2) > 1 << 30, "the relation is too small");
    stand.archive();
    stand.snapshot_of_directory().await;
    stand.wait_all_archived().await;
    let restored = stand.restore(&RestoreRequest::new(Target::Latest)).await;
    let found = restored.client().await.query_one(sum, &[]).await.unwrap();
    let columns = |row: &tokio_postgres::Row| [0, 1, 2].map(|column| row.get::<_, i64>(column));
    assert_eq!(columns(&found), columns(&source));
    assert_eq!(stand.faults().await, []);
}
