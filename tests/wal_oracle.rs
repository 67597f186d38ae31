//! The decoder against real servers: what PostgreSQL says of its own log is the truth.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared with other tests")]
mod support;

use std::collections::BTreeMap;

use pitr::format::block::{self, Compression};
use pitr::format::history;
use pitr::format::log::LOG_BLOCK_BYTES;
use pitr::format::wal::{WalDecoder, WalError, WalErrorKind, WalIdentity, WalRecord, WalRecordDetail};
use pitr::format::wal_name::WalFileName;
use pitr::model::{
    Incarnation, Lsn, PostgresMajor, SegmentNumber, SegmentSize, SystemId, TimelineHistory, TimelineId, Timestamp,
};
use support::{PgInstall, PgServer, path};

const SETTINGS: [&str; 10] = [
    "max_prepared_transactions = 10",
    "track_commit_timestamp = on",
    "wal_level = logical",
    "wal_keep_size = '4GB'",
    "max_wal_size = '4GB'",
    "fsync = off",
    "full_page_writes = on",
    "shared_buffers = '32MB'",
    "max_connections = 30",
    "timezone = 'UTC'",
];

/// Transactions with subtransactions that succeed, fail, or do both.
const SCRIPT: &str = r"
\set aid random(1, 200000)
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SAVEPOINT a;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = 1 + :aid % 20;
ROLLBACK TO a;
SAVEPOINT b;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :aid, :delta, now());
RELEASE b;
\if :aid % 3 = 0
ROLLBACK;
\else
COMMIT;
\endif
";

/// Prepared transactions with all that their records can carry; `pg_stat` entries, subtransactions, relations, messages.
const PREPARED: &str = r"
CREATE TABLE doomed (a int PRIMARY KEY, b text);
BEGIN;
DROP TABLE doomed;
SAVEPOINT a; CREATE TABLE kept (a serial, b text); SAVEPOINT b; INSERT INTO kept (b) VALUES ('x'); RELEASE b;
PREPARE TRANSACTION 'commit me';
BEGIN;
CREATE TABLE never (a int); SAVEPOINT a; INSERT INTO never VALUES (1);
PREPARE TRANSACTION 'abort me';
ROLLBACK PREPARED 'abort me';
COMMIT PREPARED 'commit me';
BEGIN; INSERT INTO kept (b) VALUES ('y'); PREPARE TRANSACTION 'plain'; COMMIT PREPARED 'plain';
CREATE FUNCTION pg_temp.many(n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN FOR i IN 1..n LOOP BEGIN INSERT INTO kept (b) VALUES ('z'); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$;
BEGIN; SELECT pg_temp.many(3000); COMMIT;
";

const BIG_RECORDS: &str = r"
SELECT pg_logical_emit_message(false, 'pitr', repeat('0123456789', 350000));
SELECT pg_logical_emit_message(true, 'pitr', repeat('x', 9000));
SELECT pg_logical_emit_message(false, 'pitr', repeat('x', n)) FROM generate_series(7900, 8400) n;
SELECT pg_create_restore_point('before the accident');
SELECT pg_backup_start('oracle', true);
SELECT pg_backup_stop(false);
CHECKPOINT;
UPDATE pgbench_accounts SET abalance = 0 WHERE aid % 50 = 0;
";

/// What PostgreSQL says of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reference {
    lsn: Lsn,
    rmgr: String,
    xid: u32,
    total_len: u32,
    description: String,
}

/// Log from `start` on, and whose it is.
struct Log {
    identity: WalIdentity,
    start: Lsn,
    bytes: Vec<u8>,
}

impl Log {
    /// All the log in `pg_wal` that `history` leads through; a segment on two timelines is read from the later one.
    fn read(server: &PgServer, major: u32, size: SegmentSize, history: TimelineHistory) -> Self {
        let mut segments = BTreeMap::new();
        for (timeline, segment) in segments_of(server, size) {
            let latest = segments.entry(segment).or_insert(timeline);
            *latest = timeline.max(*latest);
        }
        let (first, _) = segments.first_key_value().unwrap();
        let read = |(segment, timeline): (&SegmentNumber, &TimelineId)| {
            let file = WalFileName::Segment { timeline: *timeline, segment: *segment };
            std::fs::read(server.wal().join(file.display(size).to_string())).unwrap()
        };
        let incarnation = Incarnation::new(system_id(server), PostgresMajor::new(major).unwrap());
        let identity = WalIdentity::new(incarnation, size, history);
        let log = Self { identity, start: first.start(size), bytes: segments.iter().flat_map(read).collect() };
        let (smaller, small) = (log.stored(Compression::log()), log.stored(Compression::zstd(3)));
        assert!(smaller * 4 < small * 3, "differences of records took {smaller} bytes, the log itself {small}");
        log
    }

    /// How many bytes it takes as a repository stores it, from some place on; it is all there again.
    fn stored(&self, compression: Compression) -> usize {
        let stored = self.bytes[20_001..].chunks(LOG_BLOCK_BYTES).map(|plain| {
            let block = block::encode(plain.to_vec().into(), compression).unwrap();
            let decoded = block::decode(block.codec, block.plain_bytes.into(), block.stored.clone()).unwrap();
            assert!(decoded == plain);
            block.stored.len()
        });
        stored.sum()
    }

    fn from(&self, lsn: Lsn) -> &[u8] {
        &self.bytes[usize::try_from(lsn.bytes_since(self.start)).unwrap()..]
    }

    fn decode(&self, start: Lsn, random: &mut Random) -> (WalDecoder, Vec<WalRecord>) {
        let (decoder, records, error) = feed(WalDecoder::new(self.identity.clone(), start), self.from(start), random);
        assert_eq!(error, None, "from {start}");
        (decoder, records)
    }
}

fn segments_of(server: &PgServer, size: SegmentSize) -> Vec<(TimelineId, SegmentNumber)> {
    let names = std::fs::read_dir(server.wal()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let segment = |name: String| match WalFileName::parse(&name, size) {
        Ok(WalFileName::Segment { timeline, segment }) => Some((timeline, segment)),
        _ => None,
    };
    names.filter_map(segment).collect()
}

/// The system identifier as `pg_control` begins with it (`src/include/catalog/pg_control.h`).
fn system_id(server: &PgServer) -> SystemId {
    let control = std::fs::read(server.data().join("global/pg_control")).unwrap();
    SystemId::new(u64::from_le_bytes(control[..8].try_into().unwrap()))
}

fn feed(
    mut decoder: WalDecoder,
    mut bytes: &[u8],
    random: &mut Random,
) -> (WalDecoder, Vec<WalRecord>, Option<WalError>) {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let longest = [10, 100, 9_000, 300_000][random.below(4)];
        let (chunk, rest) = bytes.split_at((1 + random.below(longest)).min(bytes.len()));
        if let Err(error) = decoder.feed(chunk, |record| records.push(record)) {
            return (decoder, records, Some(error));
        }
        bytes = rest;
    }
    (decoder, records, None)
}

/// Numbers that are the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

fn workload(server: &PgServer) {
    server.pgbench(&["-i", "-q", "-s", "2"], None);
    server.pgbench(&["-c", "4", "-t", "500"], Some(SCRIPT));
    server.sql(PREPARED);
    server.sql("SELECT pg_switch_wal();");
    server.sql(BIG_RECORDS);
    server.pgbench(&["-c", "4", "-t", "200", "-N"], None);
    server.sql("SELECT pg_switch_wal();");
    server.pgbench(&["-c", "4", "-t", "50", "-N"], None);
}

/// What `pg_waldump` says of all records up to the end of the log.
fn waldump(install: &PgInstall, server: &PgServer, log: &Log) -> Vec<Reference> {
    let (wal, start) = (server.wal(), log.start.to_string());
    let timeline = log.identity.history.timeline().to_string();
    // It ends with an error where the log does.
    let output = install.run("pg_waldump", &["-p", path(&wal), "-s", &start, "-t", &timeline]);
    let records: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(parse_waldump).collect();
    assert!(records.len() > 1000, "{}", String::from_utf8_lossy(&output.stderr));
    records
}

/// `rmgr: Heap  len (rec/tot):  54/  54, tx:  730, lsn: 0/01499D68, prev 0/01499D28, desc: INSERT off 1`
fn parse_waldump(line: &str) -> Reference {
    let between = |from: &str, to: &str| line.split_once(from).unwrap().1.split_once(to).unwrap().0.trim();
    Reference {
        lsn: between("lsn: ", ",").parse().unwrap(),
        rmgr: between("rmgr: ", " ").to_owned(),
        xid: between("tx:", ",").parse().unwrap(),
        total_len: between("tot):", ", tx").split_once('/').unwrap().1.trim().parse().unwrap(),
        description: line.split_once("desc: ").unwrap().1.to_owned(),
    }
}

/// What `pg_walinspect` says of the records from the start of the log to the last that is flushed.
fn walinspect(server: &PgServer, start: Lsn) -> Vec<Reference> {
    let rows = server.sql(&format!(
        "CREATE EXTENSION IF NOT EXISTS pg_walinspect;
         SELECT start_lsn, resource_manager, xid, record_length, concat(record_type, ' ', description)
         FROM pg_get_wal_records_info('{start}', pg_current_wal_flush_lsn());"
    ));
    let parse = |row: &str| {
        let mut columns = row.splitn(5, '\t');
        let mut next = || columns.next().unwrap();
        let (lsn, rmgr, xid, total_len) = (next().parse().unwrap(), next().to_owned(), next(), next());
        let (xid, total_len) = (xid.parse().unwrap(), total_len.parse().unwrap());
        Reference { lsn, rmgr, xid, total_len, description: next().to_owned() }
    };
    rows.lines().map(parse).collect()
}

/// The transaction and time of `COMMIT 2026-11-23 21:44:11.5 UTC; …` or `COMMIT_PREPARED 735: 2026-11-23 …`.
fn outcome(reference: &Reference) -> (u32, Timestamp) {
    let (_, what) = reference.description.split_once(' ').unwrap();
    let (what, _) = what.split_once(';').unwrap_or((what, ""));
    let (xid, time) = what.split_once(": ").unwrap_or(("", what));
    let xid = if xid.is_empty() { reference.xid } else { xid.parse().unwrap() };
    let time = time.trim().trim_end_matches(" UTC").trim_end_matches("+00").replacen(' ', "T", 1);
    (xid, format!("{time}Z").parse().unwrap())
}

fn assert_same(record: &WalRecord, reference: &Reference) {
    let (lsn, rmgr, xid, total_len) = (record.lsn, record.rmid.to_string(), record.xid, record.total_len);
    let description = reference.description.clone();
    let found = Reference { lsn, rmgr, xid, total_len, description };
    assert_eq!(&found, reference);
    let is = |kind: &str| reference.description.starts_with(kind);
    let transaction = reference.rmgr == "Transaction";
    match &record.detail {
        WalRecordDetail::Commit { xid, time } => {
            assert!(transaction && is("COMMIT"), "{reference:?}");
            assert_eq!((*xid, *time), outcome(reference));
        }
        WalRecordDetail::Abort { xid, time } => {
            assert!(transaction && is("ABORT"), "{reference:?}");
            assert_eq!((*xid, *time), outcome(reference));
        }
        WalRecordDetail::RestorePoint { name, .. } => {
            assert_eq!(reference.description, format!("RESTORE_POINT {name}"));
        }
        WalRecordDetail::Checkpoint { redo, shutdown, timeline, previous_timeline, .. } => {
            let kind = if *shutdown { "SHUTDOWN" } else { "ONLINE" };
            let text = format!("CHECKPOINT_{kind} redo {redo}; tli {timeline}; prev tli {previous_timeline};");
            assert!(is(&text), "{text} {reference:?}");
        }
        WalRecordDetail::BackupEnd { redo } => assert_eq!(reference.description, format!("BACKUP_END {redo}")),
        WalRecordDetail::Switch => assert!(is("SWITCH"), "{reference:?}"),
        WalRecordDetail::EndOfRecovery { .. } => assert!(is("END_OF_RECOVERY"), "{reference:?}"),
        WalRecordDetail::Overwrite { .. } => assert!(is("OVERWRITE_CONTRECORD"), "{reference:?}"),
        _ => {
            let of_interest = [
                "COMMIT",
                "ABORT",
                "RESTORE_POINT",
                "CHECKPOINT_ONLINE",
                "CHECKPOINT_SHUTDOWN",
                "BACKUP_END",
                "SWITCH",
            ];
            let missed = (transaction || reference.rmgr == "XLOG") && of_interest.iter().any(|kind| is(kind));
            assert!(!missed, "{reference:?}");
        }
    }
}

fn assert_all_same(records: &[WalRecord], references: &[Reference]) {
    for (record, reference) in records.iter().zip(references) {
        assert_same(record, reference);
    }
    assert_eq!(records.len(), references.len());
    let kinds = |details: fn(&WalRecordDetail) -> bool| records.iter().filter(|r| details(&r.detail)).count();
    assert!(kinds(|detail| matches!(detail, WalRecordDetail::Commit { .. })) > 1000);
    assert_eq!(kinds(|detail| matches!(detail, WalRecordDetail::BackupEnd { .. })), 1);
    assert!(kinds(|detail| matches!(detail, WalRecordDetail::Abort { .. })) > 100);
    assert_eq!(kinds(|detail| matches!(detail, WalRecordDetail::RestorePoint { .. })), 1);
    assert!(kinds(|detail| matches!(detail, WalRecordDetail::Switch)) >= 2);
    assert!(kinds(|detail| matches!(detail, WalRecordDetail::Checkpoint { .. })) >= 2);
}

/// From anywhere, in any chunks, the same records come out.
fn assert_starts_anywhere(log: &Log, all: &[WalRecord], random: &mut Random) {
    let end = all.last().unwrap().end_lsn;
    for round in 0..30 {
        let offset = random.below(usize::try_from(end.bytes_since(log.start)).unwrap()) as u64;
        let start = match round % 3 {
            0 => Lsn::new((log.start.as_u64() + offset) / 8192 * 8192),
            1 => SegmentNumber::containing(log.start.saturating_add(offset), log.identity.segment_size)
                .start(log.identity.segment_size),
            _ => log.start.saturating_add(offset),
        };
        let (decoder, records) = log.decode(start, random);
        let page = Lsn::new(start.as_u64().next_multiple_of(8192));
        let expected: Vec<_> = all.iter().filter(|record| record.lsn >= page).collect();
        assert!(records.iter().eq(expected), "from {start}");
        assert_eq!(decoder.end_of_log(), Some(end), "from {start}");
    }
    for _ in 0..20 {
        let index = random.below(all.len());
        let start = all[index].lsn;
        let start = if start.as_u64() % 8192 < 48 { all[index - 1].end_lsn } else { start };
        let decoder = WalDecoder::at_record(log.identity.clone(), start).unwrap();
        let (decoder, records, error) = feed(decoder, log.from(start), random);
        assert_eq!((error, decoder.unverified_bytes()), (None, 0), "from the record at {start}");
        assert_eq!(records, all[index..]);
    }
}

fn check_workload(size: SegmentSize) -> (Log, Vec<WalRecord>) {
    let install = PgInstall::find(15);
    let megabytes = (size.bytes() >> 20).to_string();
    let server = PgServer::create(install.clone(), &["--wal-segsize", &megabytes], &SETTINGS);
    server.start();
    workload(&server);
    let checkpoint =
        server.sql("SELECT redo_lsn, extract(epoch FROM checkpoint_time)::bigint FROM pg_control_checkpoint();");
    server.stop("fast");
    let log = Log::read(&server, 15, size, TimelineHistory::root(TimelineId::FIRST));
    let mut random = Random(0x5EED);
    let (decoder, records) = log.decode(log.start, &mut random);
    assert_all_same(&records, &waldump(&install, &server, &log));
    assert!(decoder.unverified_bytes() < records[0].lsn.bytes_since(log.start));
    assert_eq!(decoder.end_of_log(), Some(records.last().unwrap().end_lsn));
    assert!(records.iter().any(|record| record.total_len > 3_000_000));
    assert_checkpoint_time(&records, &checkpoint);
    assert_starts_anywhere(&log, &records, &mut random);
    (log, records)
}

fn assert_checkpoint_time(records: &[WalRecord], row: &str) {
    let (expected, seconds) = row.trim().split_once('\t').unwrap();
    let expected: Lsn = expected.parse().unwrap();
    let found = records.iter().find_map(|record| match record.detail {
        WalRecordDetail::Checkpoint { redo, time, .. } if redo == expected => Some(time.as_unix_micros() / 1_000_000),
        _ => None,
    });
    assert_eq!(found, seconds.parse().ok());
}

#[test]
fn records_are_those_of_pg_waldump() {
    check_workload(SegmentSize::DEFAULT);
}

#[test]
fn records_are_those_of_pg_waldump_in_small_segments_and_flipped_bytes_are_noticed() {
    let (mut log, records) = check_workload(SegmentSize::MIN);
    let mut random = Random(0xF11B);
    let offset_of = |record: Option<&WalRecord>| usize::try_from(record.unwrap().lsn.bytes_since(log.start)).unwrap();
    let (first, used) = (offset_of(records.first()), offset_of(records.last()) - 8192);
    for _ in 0..1000 {
        let (offset, flip) =
            (first + random.below(used - first), [1 << random.below(8), 1 + random.below(255)][random.below(2)]);
        let flip = u8::try_from(flip).unwrap();
        // XLP_BKP_REMOVABLE of a page's flags means nothing to anyone.
        if offset % 8192 == 2 && flip == 4 {
            continue;
        }
        let lsn = log.start.saturating_add(offset as u64);
        let before = records.iter().rev().find(|record| record.end_lsn <= lsn);
        let start = before.map_or(records[0].lsn, |record| record.end_lsn);
        log.bytes[offset] ^= flip;
        let decoder = WalDecoder::at_record(log.identity.clone(), start).unwrap();
        let (decoder, _, error) = feed(decoder, log.from(start), &mut random);
        // What follows a switch means nothing either, but it is counted.
        assert!(error.is_some() || decoder.unverified_bytes() == 1, "byte at {lsn} ^ {flip:#04X}");
        log.bytes[offset] ^= flip;
    }
}

#[test]
fn timelines_are_followed_through_promotions() {
    check_promotions(15);
}

#[test]
fn timelines_are_followed_through_promotions_of_postgresql_18() {
    check_promotions(18);
}

fn check_promotions(major: u32) {
    let size = SegmentSize::MIN;
    let server = PgServer::create(PgInstall::find(major), &["--wal-segsize", "1"], &SETTINGS);
    server.start();
    server.pgbench(&["-i", "-q"], None);
    for _ in 0..2 {
        server.stop("fast");
        std::fs::write(server.data().join("standby.signal"), "").unwrap();
        server.start();
        server.promote();
        server.pgbench(&["-c", "4", "-t", "500", "-N"], None);
    }
    server.stop("fast");
    let timeline = TimelineId::new(3).unwrap();
    let file = std::fs::read(server.wal().join(WalFileName::History { timeline }.display(size).to_string())).unwrap();
    let history = history::parse(timeline, &file).unwrap();
    assert_eq!(history.ancestors().len(), 2);
    assert_eq!(history::print(&history).as_bytes(), file);
    let log = Log::read(&server, major, size, history.clone());
    let (_, records) = log.decode(log.start, &mut Random(7));
    let begun = records.iter().filter_map(|record| match record.detail {
        WalRecordDetail::EndOfRecovery { timeline, previous_timeline, .. } => {
            Some((record.lsn, timeline, previous_timeline))
        }
        _ => None,
    });
    let expected = history.stretches().skip(1).map(|(timeline, begin, _)| (begin, timeline));
    let begun: Vec<_> = begun.collect();
    assert!(begun.iter().map(|(lsn, timeline, _)| (*lsn, *timeline)).eq(expected), "{begun:?} {history:?}");
    // Whoever does not know of the promotions is told.
    let mut ignorant = log.identity.clone();
    ignorant.history = TimelineHistory::root(TimelineId::FIRST);
    let (_, _, error) = feed(WalDecoder::new(ignorant, log.start), &log.bytes, &mut Random(7));
    assert!(matches!(error.unwrap().kind, WalErrorKind::WrongTimeline { found: 2, .. }));
}

#[test]
fn a_record_that_a_crash_cut_short_is_passed_over() {
    let (server, log, records) = crash_in_a_record(15);
    let references = waldump(&PgInstall::find(15), &server, &log);
    records.iter().zip(&references).for_each(|(record, reference)| assert_same(record, reference));
    assert_eq!(records.len(), references.len());
}

#[test]
fn a_record_that_a_crash_of_postgresql_18_cut_short_is_passed_over() {
    crash_in_a_record(18);
}

/// Loses the end of a long record and all behind it, as a crash can, and lets the server go on.
fn crash_in_a_record(major: u32) -> (PgServer, Log, Vec<WalRecord>) {
    let size = SegmentSize::MIN;
    let server = PgServer::create(PgInstall::find(major), &["--wal-segsize", "1"], &SETTINGS);
    server.start();
    server.pgbench(&["-i", "-q"], None);
    let before = server.sql(
        "CHECKPOINT; SELECT pg_current_wal_insert_lsn();
         SELECT pg_logical_emit_message(false, 'pitr', repeat('0123456789', 350000)) IS NULL;",
    );
    let lost: Lsn = before.lines().next().unwrap().parse().unwrap();
    server.pgbench(&["-c", "2", "-t", "500", "-N"], None);
    server.stop("immediate");
    let first_lost = SegmentNumber::containing(lost, size).next();
    for (timeline, segment) in segments_of(&server, size).into_iter().filter(|(_, segment)| *segment >= first_lost) {
        let file = WalFileName::Segment { timeline, segment };
        std::fs::remove_file(server.wal().join(file.display(size).to_string())).unwrap();
    }
    server.start();
    server.pgbench(&["-c", "2", "-t", "100", "-N"], None);
    server.stop("fast");
    let log = Log::read(&server, major, size, TimelineHistory::root(TimelineId::FIRST));
    let (decoder, records) = log.decode(log.start, &mut Random(9));
    let marks: Vec<_> = records.iter().filter(|r| matches!(r.detail, WalRecordDetail::Overwrite { .. })).collect();
    let [mark] = marks[..] else { panic!("{marks:?}") };
    assert_eq!(mark.lsn, first_lost.start(size).saturating_add(40));
    let WalRecordDetail::Overwrite { lost: named, .. } = mark.detail else { panic!("{mark:?}") };
    // The server may have written on its own before the message.
    assert!((lost..first_lost.start(size)).contains(&named), "{named} {lost}");
    assert!(decoder.unverified_bytes() > 0);
    (server, log, records)
}

#[test]
fn records_of_postgresql_18_are_those_of_pg_walinspect() {
    let server = PgServer::create(PgInstall::find(18), &["--wal-segsize", "1"], &SETTINGS);
    server.start();
    workload(&server);
    let size = SegmentSize::MIN;
    let start = segments_of(&server, size).into_iter().map(|(_, segment)| segment.start(size)).min().unwrap();
    let references = walinspect(&server, start);
    server.stop("fast");
    let log = Log::read(&server, 18, SegmentSize::MIN, TimelineHistory::root(TimelineId::FIRST));
    assert_eq!(log.start, start);
    let (_, mut records) = log.decode(log.start, &mut Random(18));
    // The shutdown wrote more than the server could tell.
    records.truncate(references.len());
    assert_all_same(&records, &references);
    assert_starts_anywhere(&log, &log.decode(log.start, &mut Random(18)).1, &mut Random(19));
}
