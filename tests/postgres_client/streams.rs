//! The log, streamed.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pitr::adapter::postgres::{PostgresServer, StreamSettings};
use pitr::model::{Lsn, SegmentNumber, SegmentSize};
use pitr::port::{PortErrorKind, WalEvent, WalSource, WalStream};
use tokio::time::sleep;

use crate::support::{Cluster, command, follow, next, oldest, read_until, run, timeline, version, versions};

#[tokio::test]
async fn a_server_says_who_it_is() {
    for bin in versions() {
        let cluster = Cluster::start(&bin, &[]);
        let identity = WalSource::identify(&cluster.source()).await.unwrap();
        let asked = cluster.sql("select system_identifier from pg_control_system()");
        assert_eq!(identity.incarnation.system_id.to_string(), asked);
        let asked = cluster.sql("select current_setting('server_version_num')::int / 10000");
        assert_eq!(identity.incarnation.major.to_string(), asked);
        assert_eq!(identity.segment_size, SegmentSize::DEFAULT);
        assert_eq!(identity.timeline, timeline(1));
        assert!(identity.flush_lsn <= cluster.lsn("pg_current_wal_flush_lsn()"));
        let error = cluster.source().timeline_history(timeline(7)).await.unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::NotFound);
    }
}

#[tokio::test]
async fn a_slot_is_made_once_and_used_again() {
    for bin in versions() {
        let cluster = Cluster::start(&bin, &[]);
        let source = cluster.source();
        let first = source.reserve().await.unwrap();
        let restart = cluster.lsn("restart_lsn from pg_replication_slots");
        assert_eq!(first, SegmentNumber::containing(restart, SegmentSize::DEFAULT).start(SegmentSize::DEFAULT));
        cluster.sql("select pg_switch_wal(); checkpoint");
        assert_eq!(source.reserve().await.unwrap(), first);
        source.release().await.unwrap();
        source.release().await.unwrap();
        assert_eq!(cluster.sql("select count(*) from pg_replication_slots"), "0");
        cluster.sql("select pg_create_physical_replication_slot('pitr')");
        assert!(source.reserve().await.unwrap() >= first, "a slot that keeps nothing is made anew");
    }
}

#[tokio::test]
async fn a_slot_is_given_back_as_soon_as_nobody_uses_it() {
    for bin in versions() {
        let cluster = Cluster::start(&bin, &[]);
        let source = cluster.source();
        let (stream, _) = follow(&source).await;
        let error = source.release().await.unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::Conflict);
        let (released, ()) = tokio::join!(source.release(), async {
            sleep(Duration::from_secs(1)).await;
            drop(stream);
        });
        released.unwrap();
        assert_eq!(cluster.sql("select count(*) from pg_replication_slots"), "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_that_of_the_server_byte_for_byte() {
    for bin in versions() {
        let cluster = Cluster::start(&bin, &["wal_keep_size = 1GB"]);
        let source = cluster.source();
        let (mut stream, start) = follow(&source).await;
        let mut load = load(
            &cluster,
            "create table t as select i, repeat('x', 100) from generate_series(1, 700000) i;
            select pg_switch_wal(); update t set i = i + 1; select pg_switch_wal(); select pg_switch_wal();",
        );
        assert!(load.wait().unwrap().success());
        let end = cluster.lsn("pg_current_wal_flush_lsn()");
        let log = read_until(&mut stream, start, end).await;
        assert!(log.len() > 128 << 20, "{} bytes", log.len());
        let size = SegmentSize::DEFAULT;
        for (number, streamed) in (SegmentNumber::containing(start, size).as_u64()..).zip(log.chunks(16 << 20)) {
            let name = format!("{:08X}{:08X}{:08X}", 1, number / 256, number % 256);
            let segment = fs::read(cluster.data().join("pg_wal").join(&name)).unwrap();
            assert!(segment[..streamed.len()] == *streamed, "segment {name} differs");
        }

        stream.acknowledge(end).await.unwrap();
        let shown = "confirmed.replay_lsn = confirmed.flush_lsn and flush_lsn = '";
        let acknowledged = format!("select count(*) from pg_stat_replication confirmed where {shown}{end}'");
        eventually(&cluster, &acknowledged, "1").await;
        eventually(&cluster, "select restart_lsn from pg_replication_slots", &end.to_string()).await;
        stream.acknowledge(start).await.unwrap();
        stream.acknowledge(end).await.unwrap();
        assert_eq!(cluster.sql("select restart_lsn from pg_replication_slots"), end.to_string(), "never goes back");

        drop(stream);
        let mut again = source.stream(timeline(1), start.saturating_add(12_345)).await.unwrap();
        let tail = read_until(&mut again, start.saturating_add(12_345), end).await;
        assert!(tail[..1 << 20] == log[12_345..12_345 + (1 << 20)]);
    }
}

fn load(cluster: &Cluster, sql: &str) -> std::process::Child {
    cluster.psql().args(["-c", sql]).current_dir("/").stdout(Stdio::null()).spawn().unwrap()
}

/// Waits until a query says what is expected.
async fn eventually(cluster: &Cluster, sql: &str, expected: &str) {
    let given_up = Instant::now() + Duration::from_secs(10);
    while cluster.sql(sql) != expected {
        assert!(Instant::now() < given_up, "{sql} says {}, not {expected}", cluster.sql(sql));
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeping_consumer_does_not_lose_its_server() {
    for bin in versions() {
        let cluster = Cluster::start(&bin, &["wal_sender_timeout = 2s"]);
        let mut settings = StreamSettings::default();
        settings.buffer_bytes_max = 1 << 20;
        let source = cluster.source().with_stream_settings(settings);
        let (mut stream, start) = follow(&source).await;
        // More than the buffers of the stream and the sockets hold, so that the stream stops to read.
        cluster.sql("create table t as select i, repeat('x', 100) from generate_series(1, 300000) i");
        sleep(Duration::from_secs(6)).await;
        assert_eq!(cluster.sql("select count(*) from pg_stat_replication where state <> 'startup'"), "1");
        let end = cluster.lsn("pg_current_wal_flush_lsn()");
        assert!(read_until(&mut stream, start, end).await.len() > 32 << 20);
        let log = fs::read_to_string(cluster.path().join("log")).unwrap();
        assert!(!log.contains("terminating walsender"), "{log}");
    }
}

#[tokio::test]
async fn log_that_was_removed_is_a_gap() {
    for bin in versions() {
        let cluster = Cluster::start(&bin, &["max_wal_size = 32MB", "min_wal_size = 32MB"]);
        let source = cluster.source();
        let (stream, start) = follow(&source).await;
        drop(stream);
        cluster.sql("create table t (i int)");
        for _ in 0..3 {
            cluster.sql("insert into t values (1); select pg_switch_wal(); checkpoint");
        }
        let restart = cluster.lsn("pg_current_wal_flush_lsn()");
        let mut stream = source.stream(timeline(1), restart).await.unwrap();
        stream.acknowledge(restart).await.unwrap();
        eventually(&cluster, "select restart_lsn from pg_replication_slots", &restart.to_string()).await;
        drop(stream);
        cluster.sql("insert into t values (1); select pg_switch_wal(); checkpoint");
        let error = source.stream(timeline(1), start).await.unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::NotFound, "{error:?}");
        let error = source.stream(timeline(1), Lsn::MAX).await.unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::Invalid, "{error:?}");
    }
}

#[tokio::test]
async fn a_slot_that_was_idle_for_too_long_is_made_anew() {
    // Older versions have no such limit.
    for bin in versions().into_iter().filter(|bin| version(bin) >= 18) {
        let cluster = Cluster::start(&bin, &["idle_replication_slot_timeout = 1s", "wal_keep_size = 1GB"]);
        let source = cluster.source();
        let (stream, start) = follow(&source).await;
        drop(stream);
        eventually(&cluster, "select count(*) from pg_replication_slots where active", "0").await;
        sleep(Duration::from_secs(2)).await;
        cluster.sql("create table t (i int); checkpoint");
        eventually(&cluster, "select invalidation_reason from pg_replication_slots", "idle_timeout").await;
        source.reserve().await.unwrap();
        let mut stream = source.stream(timeline(1), start).await.unwrap();
        read_until(&mut stream, start, cluster.lsn("pg_current_wal_flush_lsn()")).await;
        assert_eq!(cluster.sql("select active, invalidation_reason from pg_replication_slots"), "t|");
    }
}

#[tokio::test]
async fn a_killed_server_is_unavailable() {
    let cluster = Cluster::start(&oldest(), &[]);
    let (mut stream, start) = follow(&cluster.source()).await;
    read_until(&mut stream, start, cluster.lsn("pg_current_wal_flush_lsn()")).await;
    run(Command::new("kill").args(["-9", &cluster.pid()]));
    let error = end_of(&mut stream).await;
    assert_eq!(error, PortErrorKind::Unavailable);
    assert_eq!(end_of(&mut stream).await, PortErrorKind::Unavailable, "and stays dead");
    let error = stream.acknowledge(start).await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Unavailable);
}

async fn end_of(stream: &mut Box<dyn WalStream>) -> PortErrorKind {
    loop {
        if let Err(error) = stream.next(Duration::from_secs(30)).await {
            return error.kind();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_can_shut_down_without_being_acknowledged() {
    for bin in versions() {
        let cluster = Cluster::start(&bin, &[]);
        let mut settings = StreamSettings::default();
        settings.shutdown_grace = Duration::from_secs(2);
        let source = cluster.source().with_stream_settings(settings);
        let (mut stream, _) = follow(&source).await;
        let began = Instant::now();
        tokio::task::block_in_place(|| cluster.down("fast"));
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert!(began.elapsed() >= Duration::from_secs(2), "it gave the consumer {:?} only", began.elapsed());
        assert_eq!(end_of(&mut stream).await, PortErrorKind::Unavailable);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_ends_where_the_next_begins() {
    for bin in versions() {
        let cluster = Cluster::start(&bin, &["wal_keep_size = 1GB"]);
        let source = cluster.source();
        let (stream, start) = follow(&source).await;
        drop(stream);
        cluster.sql("create table t as select generate_series(1, 1000)");
        cluster.down("fast");
        // Recovery up to the end of the log ends in a new timeline.
        run(command("touch").arg(cluster.data().join("recovery.signal")));
        cluster.configure(&["restore_command = 'false'"]);
        cluster.up();
        eventually(&cluster, "select pg_is_in_recovery()", "f").await;
        cluster.sql("create table u as select generate_series(1, 1000)");

        let mut stream = source.stream(timeline(1), start).await.unwrap();
        let mut end = start;
        let (following, switch) = loop {
            match next(&mut stream).await {
                WalEvent::Data { bytes, .. } => end = end.saturating_add(bytes.len() as u64),
                WalEvent::TimelineEnd { next, switch, .. } => break (next, switch),
                event => panic!("{event:?} on a timeline of the past"),
            }
        };
        assert_eq!((following, switch), (timeline(2), end));
        // The task that owned the connection may take a while to end.
        sleep(Duration::from_millis(200)).await;
        stream.acknowledge(switch).await.expect("what was received is stored after the end");
        assert_eq!(end_of(&mut stream).await, PortErrorKind::Unavailable, "nothing follows the end");
        let history = source.timeline_history(timeline(2)).await.unwrap();
        let file = fs::read(cluster.data().join("pg_wal/00000002.history")).unwrap();
        assert_eq!(history, file);
        assert!(String::from_utf8(file).unwrap().starts_with(&format!("1\t{switch}\t")));

        let mut stream = source.stream(timeline(2), switch).await.unwrap();
        read_until(&mut stream, switch, cluster.lsn("pg_current_wal_flush_lsn()")).await;
        drop(stream);
        let mut ended = source.stream(timeline(1), switch).await.unwrap();
        ended.acknowledge(switch).await.unwrap();
        assert_eq!(next(&mut ended).await, WalEvent::timeline_end(timeline(2), switch));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_streams_until_it_is_promoted_and_proves_nothing() {
    let primary = Cluster::start(&oldest(), &[]);
    let standby = Cluster::empty(&oldest());
    primary.pg_basebackup(&standby.data(), &["-R", "-X", "stream"]);
    standby.up();
    let (mut stream, start) = follow(&standby.source()).await;
    primary.sql("create table t as select generate_series(1, 1000)");
    read_until(&mut stream, start, primary.lsn("pg_current_wal_flush_lsn()")).await;
    for _ in 0..20 {
        let event = stream.next(Duration::from_millis(200)).await.unwrap();
        assert!(matches!(event, WalEvent::Idle | WalEvent::Data { .. }), "{event:?}");
    }
    standby.promote();
    loop {
        match next(&mut stream).await {
            WalEvent::Data { .. } => {}
            event => break assert!(matches!(event, WalEvent::TimelineEnd { .. }), "{event:?}"),
        }
    }
}

/// Whoever asks for the timeline of a standby may be told one that has ended when the stream begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_while_streams_are_opened_is_no_error() {
    for bin in versions() {
        let standby = Cluster::standby(&bin);
        let start = WalSource::identify(&standby.source()).await.unwrap().flush_lsn;
        let stop = Arc::new(AtomicBool::new(false));
        let opened = (0..4).map(|number| {
            let slot = format!("slot_{number}").parse().unwrap();
            let source = PostgresServer::new(standby.local("postgres").parse().unwrap(), slot);
            tokio::spawn(open_again_and_again(source, start, stop.clone()))
        });
        let opened: Vec<_> = opened.collect();
        sleep(Duration::from_millis(200)).await;
        standby.promote();
        stop.store(true, Ordering::Relaxed);
        for opened in opened {
            assert!(opened.await.unwrap() > 0);
        }
    }
}

async fn open_again_and_again(source: PostgresServer, start: Lsn, stop: Arc<AtomicBool>) -> u32 {
    source.reserve().await.unwrap();
    let mut opened = 0;
    while !stop.load(Ordering::Relaxed) {
        drop(source.stream(timeline(1), start).await.unwrap());
        opened += 1;
    }
    opened
}
