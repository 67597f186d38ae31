//! Snapshots of a server that changes little add little, and each restores what was there.

use pitr::adapter::postgres::InitOptions;
use pitr::model::Snapshot;
use pitr::plan::Target;
use tokio_postgres::Client;

use crate::stand::Stand;

/// Who reads the files.
#[derive(Clone, Copy)]
enum By {
    Server,
    Directory,
}

const ROWS: i32 = 400_000;
const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_postgresql_15_share_what_did_not_change() {
    share(15, By::Server).await;
    share(15, By::Directory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_postgresql_18_share_what_did_not_change() {
    share(18, By::Directory).await;
}

async fn share(major: u32, by: By) {
    let mut stand = Stand::new(major, &InitOptions::default()).await;
    stand.archive();
    let client = stand.client().await;
    let fill = format!(
        "CREATE TABLE big AS SELECT n, md5(n::text) AS word, repeat(md5(n::text), 2) AS words \
         FROM generate_series(1, {ROWS}) n; CREATE INDEX ON big (n)"
    );
    client.batch_execute(&fill).await.unwrap();
    // Whoever reads a row first notes in its page that it is committed.
    client.batch_execute("VACUUM FREEZE").await.unwrap();
    client.batch_execute("CHECKPOINT").await.unwrap();
    let mut states = vec![(snapshot(&stand, by).await, state(&client).await)];
    for change in [
        "SELECT 1",
        "UPDATE big SET word = 'new' WHERE n BETWEEN 1000 AND 5000",
        "DELETE FROM big WHERE n > 300000; VACUUM big",
        "CREATE DATABASE another STRATEGY file_copy",
    ] {
        for statement in change.split(';') {
            client.batch_execute(statement).await.unwrap();
        }
        client.batch_execute("CHECKPOINT").await.unwrap();
        states.push((snapshot(&stand, by).await, state(&client).await));
    }
    assert_adds_little(&states.iter().map(|(snapshot, _)| snapshot).collect::<Vec<_>>());
    stand.wait_all_archived().await;
    assert_eq!(stand.faults().await, []);
    for (snapshot, state_then) in states {
        let restored = stand.restore(&Target::Snapshot(snapshot.id.clone()).into()).await;
        assert_eq!(state(&restored.client().await).await, state_then, "{}", snapshot.id);
        restored.discard().await;
    }
    stand.stop_archiving().await;
}

async fn snapshot(stand: &Stand, by: By) -> Snapshot {
    match by {
        By::Server => stand.snapshot().await,
        By::Directory => stand.snapshot_of_directory().await,
    }
}

fn assert_adds_little(snapshots: &[&Snapshot]) {
    let [first, same, updated, ..] = snapshots else { panic!("{snapshots:?}") };
    assert!(first.shares.is_empty() && first.added_bytes() > 10 * MIB, "{first:?}");
    assert!(same.added_bytes() < MIB / 4, "nothing changed but {} bytes were added", same.added_bytes());
    assert!(updated.added_bytes() < first.added_bytes() / 5, "{} bytes were added", updated.added_bytes());
    for snapshot in &snapshots[1..] {
        assert!(snapshot.added_bytes() < snapshot.stored_bytes / 2, "{snapshot:?}");
    }
}

/// What is in the table.
async fn state(client: &Client) -> (i64, String) {
    let sql = "SELECT count(*), md5(string_agg(n || word || words, ',' ORDER BY n)) FROM big";
    let row = client.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}
