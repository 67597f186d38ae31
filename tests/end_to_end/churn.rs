//! Snapshots of a data directory that is written to while it is read, of a primary and of a standby.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pitr::adapter::postgres::InitOptions;
use pitr::model::{ServerRole, Snapshot};
use pitr::plan::Target;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::stand::{Stand, connect};
use crate::timelines::become_standby;

const TABLES: usize = 4;
/// How long one table is written to while the others settle.
const TURN: Duration = Duration::from_millis(800);

/// Moves amounts between the rows of one table after another, and notes each move in the same transaction; lets pages reach the disk.
fn churn(url: &str, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    let url = url.to_owned();
    tokio::spawn(async move {
        let client = connect(&url).await;
        for table in (0..TABLES).cycle() {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let turn = tokio::time::Instant::now();
            while turn.elapsed() < TURN {
                client.batch_execute(&format!("CALL move_amounts({table})")).await.unwrap();
                client.batch_execute("CHECKPOINT").await.unwrap();
            }
        }
    })
}

async fn populate(client: &Client) {
    let moves = "CREATE PROCEDURE move_amounts(of integer) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..20 LOOP \
        EXECUTE format('WITH one AS (UPDATE amounts_%s SET amount = amount + 1, note = md5(note) WHERE n = (SELECT 1 + floor(random() * 20000)::integer) RETURNING n) \
                        INSERT INTO moves_%s SELECT n FROM one', of, of); COMMIT; END LOOP; END $$";
    client.batch_execute(moves).await.unwrap();
    for table in 0..TABLES {
        let sql = format!(
            "CREATE TABLE amounts_{table} AS SELECT n, 0 AS amount, md5(n::text) AS note FROM generate_series(1, 20000) n; \
             CREATE INDEX ON amounts_{table} (n); CREATE TABLE moves_{table} (n integer)"
        );
        client.batch_execute(&sql).await.unwrap();
    }
}

/// That in each table there is what the notes say, by the table and by its index; how many moves there are.
async fn check(client: &Client) -> i64 {
    let mut moves = 0;
    for table in 0..TABLES {
        for scan in ["enable_indexscan", "enable_seqscan"] {
            client.batch_execute(&format!("SET {scan} = off")).await.unwrap();
            let wrong = format!(
                "SELECT count(*) FROM generate_series(1, 20000) n LEFT JOIN amounts_{table} a USING (n) \
                 LEFT JOIN (SELECT n, count(*) AS moves FROM moves_{table} GROUP BY n) m USING (n) \
                 WHERE a.amount IS DISTINCT FROM coalesce(m.moves, 0)"
            );
            let wrong: i64 = client.query_one(&wrong, &[]).await.unwrap().get(0);
            assert_eq!(wrong, 0, "rows of table {table}");
            client.batch_execute("RESET ALL").await.unwrap();
        }
        moves += client.query_one(&format!("SELECT count(*) FROM moves_{table}"), &[]).await.unwrap().get::<_, i64>(0);
    }
    moves
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_to_while_it_is_read_is_restored() {
    let mut stand = Stand::new(15, &InitOptions::default()).await;
    populate(&stand.client().await).await;
    stand.archive();
    let stop = Arc::new(AtomicBool::new(false));
    let writes = churn(&stand.url(), Arc::clone(&stop));
    let mut snapshots = Vec::new();
    for _ in 0..4 {
        tokio::time::sleep(TURN * 2).await;
        snapshots.push(stand.snapshot_of_directory().await);
    }
    stop.store(true, Ordering::Relaxed);
    writes.await.unwrap();
    let last = check(&stand.client().await).await;
    stand.wait_all_archived().await;
    become_standby(&mut stand).await;
    snapshots.push(stand.snapshot_of_directory().await);
    assert_eq!(snapshots.iter().filter(|snapshot| snapshot.role == ServerRole::Standby).count(), 1);
    stand.stop_archiving().await;

    let mut moves = Vec::new();
    for Snapshot { id, .. } in &snapshots {
        let restored = stand.restore(&Target::Snapshot(id.clone()).into()).await;
        moves.push(check(&restored.client().await).await);
        restored.discard().await;
    }
    assert!(moves.is_sorted() && moves[0] > 0 && moves[3] > moves[0] && moves[4] == last, "{moves:?} of {last}");
}
