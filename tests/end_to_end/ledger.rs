//! A ledger of every commit, and what PostgreSQL's own rule makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pitr::format::wal::{WalDecoder, WalIdentity, WalRecordDetail};
use pitr::format::wal_name::WalFileName;
use pitr::model::{Lsn, SegmentNumber, TimelineHistory, Timestamp};
use pitr::port::SourceIdentity;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::stand::{Stand, connect, now};

/// The end of a transaction, as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) end_lsn: Lsn,
    pub(crate) xid: u32,
    pub(crate) time: Timestamp,
    pub(crate) committed: bool,
}

/// Clients that write rows, and remember what was committed.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<BTreeMap<u32, i64>>>,
}

pub(crate) const TABLES: &str = "CREATE TABLE ledger (xid bigint NOT NULL, client int NOT NULL, value bigint NOT NULL)";

impl Load {
    /// Starts `clients` clients on the table `ledger`.
    pub(crate) async fn start(stand: &Stand, clients: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let url = stand.url();
        let start = async |number| tokio::spawn(write(connect(&url).await, number, Arc::clone(&stop)));
        let mut tasks = Vec::new();
        for number in 0..clients {
            tasks.push(start(number).await);
        }
        Self { stop, clients: tasks }
    }

    /// Ends the load: every transaction that was committed, with its value.
    pub(crate) async fn stop(self) -> BTreeMap<u32, i64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut ledger = BTreeMap::new();
        for client in self.clients {
            ledger.extend(client.await.unwrap());
        }
        ledger
    }
}

/// One client: short transactions, one in eight rolled back, one in five with a subtransaction.
async fn write(client: Client, number: u32, stop: Arc<AtomicBool>) -> BTreeMap<u32, i64> {
    let number = i32::try_from(number).unwrap();
    let insert = "INSERT INTO ledger VALUES (pg_current_xact_id()::text::bigint, $1, $2) RETURNING xid";
    let insert = client.prepare(insert).await.unwrap();
    let mut ledger = BTreeMap::new();
    for round in 0_i64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        client.batch_execute("BEGIN").await.unwrap();
        let value = i64::from(number) * 1_000_000 + round;
        let xid: i64 = client.query_one(&insert, &[&number, &value]).await.unwrap().get(0);
        if round % 5 == 0 {
            let sub = format!("SAVEPOINT s; UPDATE ledger SET value = value WHERE xid = {xid}; RELEASE s");
            client.batch_execute(&sub).await.unwrap();
        }
        if round % 8 == 7 {
            client.batch_execute("ROLLBACK").await.unwrap();
        } else {
            client.batch_execute("COMMIT").await.unwrap();
            ledger.insert(u32::try_from(xid).unwrap(), value);
        }
    }
    ledger
}

/// All ends of transactions in the source's own log files, in log order along `history`.
pub(crate) fn ends(pg_wal: &Path, identity: SourceIdentity, history: &TimelineHistory, from: Lsn, to: Lsn) -> Vec<End> {
    let size = identity.segment_size;
    let whose = WalIdentity::new(identity.incarnation, size, history.clone());
    let first = SegmentNumber::containing(from, size);
    let mut decoder = WalDecoder::new(whose, first.start(size));
    let mut ends = Vec::new();
    let numbers = std::iter::successors(Some(first), |number| Some(number.next()));
    for number in numbers.take_while(|number| number.start(size) < to) {
        let mut log = segment(pg_wal, history, number, identity);
        log.truncate(usize::try_from(to.bytes_since(number.start(size))).unwrap());
        let fed = decoder.feed(&log, |record| {
            let (xid, time, committed) = match record.detail {
                WalRecordDetail::Commit { xid, time } => (xid, time, true),
                WalRecordDetail::Abort { xid, time } => (xid, time, false),
                _ => return,
            };
            ends.push(End { end_lsn: record.end_lsn, xid, time, committed });
        });
        fed.unwrap();
    }
    ends
}

/// A segment as the newest timeline of `history` that has it.
fn segment(pg_wal: &Path, history: &TimelineHistory, number: SegmentNumber, identity: SourceIdentity) -> Vec<u8> {
    let timelines: Vec<_> = history.stretches().map(|(timeline, ..)| timeline).collect();
    let files = timelines.iter().rev().map(|&timeline| {
        let name = WalFileName::Segment { timeline, segment: number }.display(identity.segment_size).to_string();
        fs::read(pg_wal.join(name))
    });
    files.flatten().next().expect("the source keeps its log")
}

/// What a restore to `at` must hold: everything that was committed before the first end after `at` in log order.
pub(crate) fn by_time(ends: &[End], at: Timestamp) -> BTreeSet<u32> {
    committed(ends.iter().take_while(|end| end.time <= at))
}

/// What a restore to `lsn` must hold.
pub(crate) fn by_lsn(ends: &[End], lsn: Lsn) -> BTreeSet<u32> {
    committed(ends.iter().take_while(|end| end.end_lsn <= lsn))
}

fn committed<'a>(ends: impl Iterator<Item = &'a End>) -> BTreeSet<u32> {
    ends.filter(|end| end.committed).map(|end| end.xid).collect()
}

/// The transactions whose rows a server holds, with their values.
pub(crate) async fn rows(client: &Client) -> BTreeMap<u32, i64> {
    let rows = client.query("SELECT xid, value FROM ledger", &[]).await.unwrap();
    rows.iter().map(|row| (u32::try_from(row.get::<_, i64>(0)).unwrap(), row.get(1))).collect()
}

/// The entries of `ledger` whose transactions are in `committed`.
pub(crate) fn expected(ledger: &BTreeMap<u32, i64>, committed: &BTreeSet<u32>) -> BTreeMap<u32, i64> {
    ledger.iter().filter(|(xid, _)| committed.contains(xid)).map(|(xid, value)| (*xid, *value)).collect()
}

/// The ledger agrees with what the server itself knows of its commits: same transactions, same times.
pub(crate) async fn check_against_server(client: &Client, ledger: &BTreeMap<u32, i64>, ends: &[End]) {
    let known: BTreeMap<u32, Timestamp> = ends.iter().filter(|e| e.committed).map(|e| (e.xid, e.time)).collect();
    let sql = "SELECT xid, to_json(pg_xact_commit_timestamp(xid::text::xid))#>>'{}' FROM ledger";
    for row in client.query(sql, &[]).await.unwrap() {
        let xid = u32::try_from(row.get::<_, i64>(0)).unwrap();
        let at: Timestamp = row.get::<_, &str>(1).parse().unwrap();
        assert_eq!(known.get(&xid), Some(&at), "transaction {xid}");
        assert!(ledger.contains_key(&xid), "transaction {xid}");
    }
    assert!(ledger.keys().all(|xid| known.contains_key(xid)), "a commit that was confirmed is not in the log");
}

/// Where the log ends now.
pub(crate) async fn position(stand: &Stand) -> (Lsn, Timestamp) {
    now(&stand.client().await).await
}
