//! Servers that are built differently: long segments, relations of more than one file.

use std::time::Duration;

use pitr::adapter::postgres::InitOptions;
use pitr::model::SegmentSize;
use pitr::plan::{RestoreRequest, Target};

use super::ledger::{self, Load};
use super::stand::Stand;

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
