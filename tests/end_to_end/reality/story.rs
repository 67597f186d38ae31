//! A history in which much happens: two promotions, a branch that is abandoned, a hole in the log, log that is archived twice.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pitr::adapter::postgres::{Config, InitOptions, PostgresServer, StopMode};
use pitr::engine::{ArchiveSettings, Archiver};
use pitr::format::history;
use pitr::model::{
    Branch, Catalog, LogBackup, LogRef, Lsn, SegmentNumber, SegmentSize, ServerRole, Snapshot, TimelineHistory,
    TimelineId, WalRange,
};
use pitr::port::SourceIdentity;
use tokio::time::sleep;
use tokio_postgres::Client;

use super::truth::{self, Past, Record};
use crate::ledger::{self, Load};
use crate::stand::{Stand, configured, identity, source_of, succeed};

/// So many log backups there are after the first snapshot, before the second one: one in the middle is lost.
const LOGS_MIN: usize = 4;

/// The transactions that were committed, with their values.
type Ledger = BTreeMap<u32, i64>;

/// What happened, and what was archived of it.
pub(super) struct Story {
    pub(super) stand: Stand,
    pub(super) catalog: Catalog,
    /// On the way to the current timeline, and on the branch that was abandoned: there, numbers of transactions were given twice.
    pub(super) kept: Ledger,
    pub(super) lost: Ledger,
    pub(super) histories: BTreeMap<TimelineId, TimelineHistory>,
    pasts: BTreeMap<TimelineId, Arc<Past>>,
    pub(super) hole: WalRange,
    /// The first one, the one behind the hole, one of a standby, the last one.
    pub(super) snapshots: [Snapshot; 4],
    /// A subtransaction that was committed with the transaction that it is of.
    pub(super) subtransaction: u32,
}

pub(super) fn timeline(number: u32) -> TimelineId {
    TimelineId::new(number).unwrap()
}

impl Story {
    /// What came before the end of `timeline`.
    pub(super) fn past(&self, timeline: TimelineId) -> Arc<Past> {
        Arc::clone(&self.pasts[&timeline])
    }

    /// The rows that were ever committed on the way to `timeline`.
    pub(super) fn ledger(&self, timeline: TimelineId) -> &Ledger {
        if timeline == TimelineId::FIRST { &self.lost } else { &self.kept }
    }

    /// The directory of the log of the server that wrote `timeline`.
    pub(super) fn pg_wal(&self, timeline: TimelineId) -> PathBuf {
        pg_wal(&self.stand, timeline)
    }
}

fn pg_wal(stand: &Stand, timeline: TimelineId) -> PathBuf {
    let server = if timeline == TimelineId::FIRST { "source" } else { "twin" };
    stand.scratch.path().join(server).join("pg_wal")
}

/// Plays it on PostgreSQL `major`.
pub(super) async fn play(major: u32) -> Story {
    let mut options = InitOptions::default();
    options.segment_size = SegmentSize::MIN;
    let mut stand = Stand::new(major, &options).await;
    // The setting of the source is on its command line, where a copy does not find it.
    let settings = "ALTER SYSTEM SET max_prepared_transactions = 4";
    for sql in [ledger::TABLES, settings] {
        stand.client().await.batch_execute(sql).await.unwrap();
    }
    let (begin, _) = ledger::position(&stand).await;
    stand.archive();
    let mut kept = Ledger::new();
    let first = snapshot_under_load(&stand, &mut kept).await;
    chapter(&stand, "first", &mut kept).await;
    while logs_after(&stand, &first).await.len() < LOGS_MIN {
        let load = Load::start(&stand, 2).await;
        sleep(Duration::from_millis(300)).await;
        kept.extend(load.stop().await);
    }
    // What will be missing must not reach into the segment in which the next snapshot begins.
    stand.client().await.batch_execute("SELECT pg_switch_wal()").await.unwrap();
    sleep(Duration::from_millis(700)).await;
    let behind = snapshot_under_load(&stand, &mut kept).await;
    chapter(&stand, "second", &mut kept).await;
    stand.wait_all_archived().await;
    stand.stop_archiving().await;

    let lost = branch_off(&mut stand, &kept).await;
    let standby = snapshot(&stand).await;
    assert_eq!((standby.role, standby.wal.timeline), (ServerRole::Standby, TimelineId::FIRST));
    promote(&stand).await;
    stand.archive();
    chapter(&stand, "third", &mut kept).await;
    stand.wait_all_archived().await;
    stand.stop_archiving().await;
    stand.source.take().unwrap().stop(StopMode::Fast).await.unwrap();
    start_standby(&mut stand).await;
    stand.archive();
    promote(&stand).await;
    stand.wait_all_archived().await;
    archive_twice(&stand, &mut kept).await;
    let last = snapshot_under_load(&stand, &mut kept).await;
    let subtransaction = chapter(&stand, "fourth", &mut kept).await;
    sleep(Duration::from_millis(400)).await;
    stand.wait_all_archived().await;
    stand.stop_archiving().await;

    let snapshots = [first, behind, standby, last];
    let hole = lose(&stand, &snapshots).await;
    let (histories, pasts) = tell(&stand, begin).await;
    let catalog = stand.catalog().await;
    Story { stand, catalog, kept, lost, histories, pasts, hole, snapshots, subtransaction }
}

/// The log backups with something that can be restored by `snapshot` of the first timeline: where the machine is slow, a snapshot
/// knows of its consistency long after it was reached.
async fn logs_after(stand: &Stand, snapshot: &Snapshot) -> Vec<LogBackup> {
    let catalog = stand.catalog().await;
    let logs = catalog.logs(Branch::new(snapshot.incarnation, TimelineId::FIRST)).map(LogRef::to_backup);
    let is_after = |log: &LogBackup| {
        log.wal.start >= snapshot.wal.end && log.max_commit_time.is_some_and(|at| at > snapshot.consistent_at)
    };
    logs.filter(is_after).collect()
}

/// Of PostgreSQL 15 the server sends it, of later ones its files are read.
async fn snapshot(stand: &Stand) -> Snapshot {
    if stand.install.major().as_u32() == 15 { stand.snapshot().await } else { stand.snapshot_of_directory().await }
}

async fn snapshot_under_load(stand: &Stand, ledger: &mut Ledger) -> Snapshot {
    let load = Load::start(stand, 2).await;
    sleep(Duration::from_millis(100)).await;
    let snapshot = snapshot(stand).await;
    sleep(Duration::from_millis(100)).await;
    ledger.extend(load.stop().await);
    assert_eq!(snapshot.role, ServerRole::Primary);
    snapshot
}

/// Short transactions, and among them a long one, prepared ones, subtransactions, restore points; then nothing for a while.
/// Gives a subtransaction that was committed.
async fn chapter(stand: &Stand, name: &str, ledger: &mut Ledger) -> u32 {
    let load = Load::start(stand, 2).await;
    let (long, client) = (stand.client().await, stand.client().await);
    long.batch_execute("BEGIN").await.unwrap();
    let slow = write(&long, 1).await;
    let mut prepared = Vec::new();
    for id in ["good", "bad"] {
        client.batch_execute("BEGIN").await.unwrap();
        prepared.push(write(&client, 2).await);
        client.batch_execute(&format!("PREPARE TRANSACTION '{id}'")).await.unwrap();
    }
    point(&client, &format!("in the {name}")).await;
    sleep(Duration::from_millis(250)).await;
    point(&client, "twice").await;
    client.batch_execute("BEGIN").await.unwrap();
    let with_subtransactions = write(&client, 3).await;
    let undone = "SAVEPOINT s; UPDATE ledger SET value = -1 WHERE value = 3; ROLLBACK TO s; SAVEPOINT t";
    client.batch_execute(undone).await.unwrap();
    let sub = "UPDATE ledger SET value = 4 WHERE value = 3 AND xid = $1 RETURNING xmin::text";
    let sub = client.query_one(sub, &[&i64::from(with_subtransactions)]).await.unwrap();
    client.batch_execute("RELEASE t; COMMIT").await.unwrap();
    sleep(Duration::from_millis(250)).await;
    client.batch_execute("COMMIT PREPARED 'good'").await.unwrap();
    client.batch_execute("ROLLBACK PREPARED 'bad'").await.unwrap();
    sleep(Duration::from_millis(150)).await;
    long.batch_execute("COMMIT").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    ledger.extend(load.stop().await);
    ledger.extend([(slow, 1), (prepared[0], 2), (with_subtransactions, 4)]);
    sleep(Duration::from_millis(300)).await;
    sub.get::<_, &str>(0).parse().unwrap()
}

async fn write(client: &Client, value: i64) -> u32 {
    let sql = "INSERT INTO ledger VALUES (pg_current_xact_id()::text::bigint, 9, $1) RETURNING xid";
    let xid: i64 = client.query_one(sql, &[&value]).await.unwrap().get(0);
    u32::try_from(xid).unwrap()
}

async fn point(client: &Client, name: &str) {
    client.query_one("SELECT pg_create_restore_point($1)", &[&name]).await.unwrap();
}

/// The server is copied. It goes on, and is archived, but its copy will take its place. Gives what only it knows.
async fn branch_off(stand: &mut Stand, kept: &Ledger) -> Ledger {
    stand.source.take().unwrap().stop(StopMode::Fast).await.unwrap();
    let (source, twin) = (stand.scratch.path().join("source"), stand.scratch.path().join("twin"));
    succeed(Command::new("cp").arg("-a").args([&source, &twin]));
    start(stand).await;
    stand.archive();
    let mut lost = kept.clone();
    chapter(stand, "abandoned", &mut lost).await;
    stand.wait_all_archived().await;
    stand.stop_archiving().await;
    stand.source.take().unwrap().stop(StopMode::Fast).await.unwrap();
    stand.local = configured(&stand.install, &twin);
    start_standby(stand).await;
    lost
}

async fn start(stand: &mut Stand) {
    stand.source = Some(stand.local.start().await.unwrap());
    stand.postgres = source_of(stand.source.as_ref().unwrap()).into();
}

async fn start_standby(stand: &mut Stand) {
    fs::write(stand.scratch.path().join("twin/standby.signal"), "").unwrap();
    start(stand).await;
}

async fn promote(stand: &Stand) {
    let promoted: bool = stand.client().await.query_one("SELECT pg_promote()", &[]).await.unwrap().get(0);
    assert!(promoted);
}

/// With two archivers at once, which cut the log in different places.
async fn archive_twice(stand: &Stand, ledger: &mut Ledger) {
    let config: Config = stand.url().parse().unwrap();
    let second = PostgresServer::new(config, "second".parse().unwrap());
    let settings = ArchiveSettings::default().cadence(Duration::from_millis(370));
    let archiver = Archiver::new(&stand.server, Arc::new(second.clone())).settings(settings);
    let load = Load::start(stand, 2).await;
    archiver.run(sleep(Duration::from_millis(1200))).await.unwrap();
    ledger.extend(load.stop().await);
    second.release().await.unwrap();
}

/// Removes a log backup from between the first two snapshots.
async fn lose(stand: &Stand, snapshots: &[Snapshot]) -> WalRange {
    let [first, behind, ..] = snapshots else { panic!("there are four") };
    let size = behind.segment_size;
    let before = SegmentNumber::containing(behind.wal.start, size).start(size);
    let mut logs = logs_after(stand, first).await;
    logs.retain(|log| log.wal.end <= before);
    assert!(logs.len() >= LOGS_MIN, "{logs:?}");
    let lost = &logs[(logs.len() - 1) / 2];
    assert_eq!(stand.faults().await, []);
    fs::remove_file(stand.scratch.path().join("repository").join(lost.key().as_str())).unwrap();
    assert_eq!(stand.faults().await, [lost.key()]);
    lost.wal
}

type Told = (BTreeMap<TimelineId, TimelineHistory>, BTreeMap<TimelineId, Arc<Past>>);

/// What the servers' own files say.
async fn tell(stand: &Stand, begin: Lsn) -> Told {
    let identity: SourceIdentity = identity(stand).await;
    assert_eq!(identity.timeline, timeline(3));
    let (mut histories, mut records) = (BTreeMap::new(), BTreeMap::new());
    for timeline in [1, 2, 3].map(timeline) {
        let pg_wal = pg_wal(stand, timeline);
        let history = history_of(&pg_wal, timeline);
        let start = begin.max(history.begin());
        records.insert(timeline, truth::read(stand, &pg_wal, identity, &history, start));
        histories.insert(timeline, history);
    }
    let past = |(timeline, history): (&TimelineId, &TimelineHistory)| (*timeline, Arc::new(past(history, &records)));
    let pasts = histories.iter().map(past).collect();
    (histories, pasts)
}

fn past(history: &TimelineHistory, records: &BTreeMap<TimelineId, Vec<Record>>) -> Past {
    let on = |(timeline, begin, end): (TimelineId, Lsn, Option<Lsn>)| {
        let written = records[&timeline].iter();
        written.filter(move |record| begin <= record.lsn && end.is_none_or(|end| record.end_lsn <= end)).cloned()
    };
    Past(history.stretches().flat_map(on).collect())
}

/// The history file of a timeline, as a server has it.
pub(super) fn history_of(pg_wal: &Path, timeline: TimelineId) -> TimelineHistory {
    if timeline == TimelineId::FIRST {
        return TimelineHistory::root(timeline);
    }
    let name = format!("{:08X}.history", timeline.as_u32());
    history::parse(timeline, &fs::read(pg_wal.join(name)).unwrap()).unwrap()
}
