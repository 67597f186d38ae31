//! The data directory as a restore target, driven by hand and recovered by real PostgreSQL.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod source;

use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use pitr::adapter::postgres::{
    DataDirectory, LocalServer, LocalServerError, Recovered, RecoveryStop, RunningServer, StopMode,
};
use pitr::model::{FileEntry, Tablespace};
use pitr::plan::RecoveryTarget;
use pitr::port::{PortErrorKind, RestoreOutline, RestoreTarget};

use source::{Room, STEPS, Source, any_server, connect, data_directory, installs, stage, write_files};

const CHILD: &str = "PITR_TEST_FEEDER";

#[tokio::test]
async fn every_target_is_reached_and_nothing_beyond() {
    for install in installs() {
        let room = Room::new();
        let source = Source::make(&install, &room).await;
        let middle = source.moments[6];
        let at = middle.at;
        for (name, target, steps) in
            [("time", RecoveryTarget::time(at, true), 6), ("end", RecoveryTarget::EndOfWal, STEPS)]
        {
            let target_directory = data_directory(room.path(name));
            let recovered = recover(&source, &target_directory, target, &room.path(name), steps).await;
            match (target, recovered.stop) {
                (RecoveryTarget::Time { .. }, RecoveryStop::BeforeTransaction { at: stop, .. }) => assert!(stop > at),
                (RecoveryTarget::EndOfWal, RecoveryStop::EndOfWal) => {}
                (target, stop) => panic!("asked for {target:?}, stopped {stop:?}"),
            }
            assert_eq!(recovered.timeline.as_u32(), 2);
        }
        let (cut, path) = (source.cut(middle.lsn), room.path("cut"));
        let recovered = recover(&cut, &data_directory(path.clone()), RecoveryTarget::EndOfWal, &path, 6).await;
        assert_eq!(recovered.stop, RecoveryStop::EndOfWal);
        assert!(recovered.last_record < Some(middle.lsn));
        assert!(recovered.last_commit < Some(at));
    }
}

/// Restores and recovers, checks the server that comes out of it, and ends it.
async fn recover(
    source: &Source,
    target: &DataDirectory,
    recovery: RecoveryTarget,
    path: &Path,
    steps: i64,
) -> Recovered {
    write_files(&source.copy, &source.tablespaces, target).await;
    let foreign = "hba_file = '/nowhere/hba'\nident_file = '/nowhere/ident'\nexternal_pid_file = '/nowhere/pid'\n";
    let mut conf = fs::OpenOptions::new().append(true).open(path.join("postgresql.conf")).unwrap();
    conf.write_all(foreign.as_bytes()).unwrap();
    target.commit(&source.settings(recovery)).await.unwrap();
    let server = LocalServer::new(source.install.clone(), path).setting("fsync", "off");
    let (running, ()) = tokio::join!(server.start(), source.feed(target, 0, Duration::ZERO));
    let running = running.unwrap();
    assert_eq!(steps_of(&running).await, steps);
    check_detached(&running, source, path).await;
    let recovered = running.recovered().unwrap().expect("it recovered");

    target.finish_recovery().await.unwrap();
    assert!(!path.join("pitr_wal").exists());
    let auto_conf = fs::read_to_string(path.join("postgresql.auto.conf")).unwrap();
    assert!(auto_conf.contains("archive_mode = 'off'") && !auto_conf.contains("restore_command"), "{auto_conf}");
    running.stop(StopMode::Fast).await.unwrap();
    let again = server.start().await.unwrap();
    assert_eq!(again.recovered().unwrap(), None, "a finished recovery is not repeated");
    assert_eq!(steps_of(&again).await, steps);
    again.stop(StopMode::Fast).await.unwrap();
    recovered
}

async fn check_detached(running: &RunningServer, source: &Source, path: &Path) {
    let client = connect(running).await;
    let archive_mode: String = client.query_one("SHOW archive_mode", &[]).await.unwrap().get(0);
    assert_eq!(archive_mode, "off");
    for (name, file) in [("hba_file", "pg_hba.conf"), ("ident_file", "pg_ident.conf")] {
        let used: String = client.query_one(&format!("SHOW {name}"), &[]).await.unwrap().get(0);
        assert_eq!(Path::new(&used), path.join(file));
    }
    let log = running.log_since_start().unwrap();
    assert!(!log.contains("external PID file"), "{log}");
    assert!(path.join("postmaster.pid.external").exists());
    let space = "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'";
    let space: String = client.query_one(space, &[]).await.unwrap().get(0);
    assert_eq!(space, format!("{}-tablespaces/{}", path.display(), source.tablespaces[0].oid));
}

async fn steps_of(server: &RunningServer) -> i64 {
    let question = "SELECT max(step) FROM t HAVING count(*) = max(step)";
    connect(server).await.query_one(question, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn recovery_waits_for_a_slow_feeder_and_a_fast_one_for_recovery() {
    let (room, install) = (Room::new(), installs().remove(0));
    let source = Source::make(&install, &room).await;
    let ahead = NonZeroUsize::new(2).unwrap();
    let target = data_directory(room.path("new")).segments_ahead(ahead);
    write_files(&source.copy, &source.tablespaces, &target).await;
    target.commit(&source.settings(RecoveryTarget::EndOfWal)).await.unwrap();
    for (name, bytes) in &source.segments[..2] {
        assert!(stage(&target, name, bytes).await);
    }
    let third = target.segment(&source.segments[2].0);
    let waited = tokio::time::timeout(Duration::from_millis(200), third).await;
    assert!(waited.is_err(), "a third segment has no place before recovery has taken one");

    let server = LocalServer::new(install, room.path("new"));
    let (running, ()) = tokio::join!(server.start(), source.feed(&target, 2, Duration::from_millis(150)));
    assert_eq!(steps_of(&running.unwrap()).await, STEPS);
    let late = target.segment(&source.segments[0].0).await.unwrap();
    assert!(late.is_none(), "recovery has ended and wants no more");
}

#[tokio::test]
async fn a_feeder_that_gives_up_stops_recovery() {
    for install in installs() {
        let room = Room::new();
        let source = Source::make(&install, &room).await;
        let target = data_directory(room.path("new"));
        write_files(&source.copy, &source.tablespaces, &target).await;
        target.commit(&source.settings(RecoveryTarget::EndOfWal)).await.unwrap();
        let server = LocalServer::new(install, room.path("new"));
        let mut running = server.launch().await.unwrap();
        feed_until_taken(&source, &target, &room.path("new")).await;
        target.abandon();
        assert_stopped(running.ready().await, "whoever stages the log is gone");
        assert_stopped(server.start().await.map(drop), "whoever stages the log is gone");
        assert_not_promoted(&room.path("new"));
    }
}

#[tokio::test]
async fn a_server_that_gives_up_stops_its_feeder() {
    let (room, install) = (Room::new(), installs().remove(0));
    let source = Source::make(&install, &room).await;
    let target = data_directory(room.path("new")).segments_ahead(NonZeroUsize::new(1).unwrap());
    write_files(&source.copy, &source.tablespaces, &target).await;
    target.commit(&source.settings(RecoveryTarget::EndOfWal)).await.unwrap();
    let running = LocalServer::new(install, room.path("new")).launch().await.unwrap();
    for (name, bytes) in &source.segments[..2] {
        assert!(stage(&target, name, bytes).await);
    }
    // It has taken the first: so it was seen while the second waited for a place.
    running.stop(StopMode::Immediate).await.unwrap();
    let (third, bytes) = &source.segments[2];
    let segment = target.segment(third);
    let waited = tokio::time::timeout(Duration::from_secs(30), segment).await.expect("it does not wait for ever");
    let error = match waited {
        Ok(writer) => {
            // The second was taken, too.
            let mut writer = writer.unwrap();
            writer.write(bytes.clone()).await.unwrap();
            writer.finish().await.unwrap();
            target.segment(&source.segments[3].0).await.unwrap_err()
        }
        Err(error) => error,
    };
    assert_eq!(error.kind(), PortErrorKind::Unavailable, "{error}");
    assert_not_promoted(&room.path("new"));
}

#[tokio::test]
async fn a_feeder_that_is_killed_stops_recovery() {
    if let Some(room) = std::env::var_os(CHILD) {
        return feed_until_killed(Path::new(&room)).await;
    }
    let (room, install) = (Room::new(), installs().remove(0));
    let source = Source::make(&install, &room).await;
    for (name, bytes) in &source.segments {
        fs::write(room.path(name), bytes).unwrap();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "a_feeder_that_is_killed_stops_recovery"]).env(CHILD, room.path("")).stdout(Stdio::null());
    let mut child = child.spawn().unwrap();
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    while !room.path("new/pitr_wal/ready").join(&source.segments[0].0).exists() {
        assert!(child.try_wait().unwrap().is_none(), "the feeding process ended");
        assert!(tokio::time::Instant::now() < end, "the feeding process stages nothing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut running = LocalServer::new(install, room.path("new")).launch().await.unwrap();
    until_taken(&room.path("new")).await;
    assert!(tokio::time::timeout(Duration::from_millis(300), running.ready()).await.is_err(), "recovery waits");
    child.kill().unwrap();
    assert_stopped(running.ready().await, "whoever stages the log is gone");
    assert_not_promoted(&room.path("new"));
    child.wait().unwrap();
}

/// What the child process does: it restores, stages the first segment and no other.
async fn feed_until_killed(room: &Path) {
    let names = fs::read_dir(room).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.len() == 24).collect();
    names.sort_unstable();
    let first: Bytes = fs::read(room.join(&names[0])).unwrap().into();
    let oid = fs::read_dir(room.join("copy/pg_tblspc")).unwrap().next().unwrap().unwrap().file_name();
    let tablespace = Tablespace::new(oid.to_str().unwrap().parse().unwrap(), "/old");
    let target = data_directory(room.join("new"));
    write_files(&room.join("copy"), &[tablespace], &target).await;
    target.commit(&source::settings(RecoveryTarget::EndOfWal, names.clone())).await.unwrap();
    assert!(stage(&target, &names[0], &first).await);
    std::future::pending().await
}

#[tokio::test]
async fn an_interrupted_recovery_goes_on_where_it_can_and_fails_where_it_cannot() {
    for install in installs() {
        let room = Room::new();
        let source = Source::make(&install, &room).await;
        let (target, path) = (data_directory(room.path("new")), room.path("new"));
        write_files(&source.copy, &source.tablespaces, &target).await;
        target.commit(&source.settings(RecoveryTarget::EndOfWal)).await.unwrap();
        let server = LocalServer::new(install, &path);
        let running = server.launch().await.unwrap();
        feed_until_taken(&source, &target, &path).await;
        // What is kept of the first one is given up when another one is begun.
        drop(target.segment(&source.segments[2].0).await.unwrap());
        running.stop(StopMode::Immediate).await.unwrap();

        let taken = path.join("pg_wal").join(&source.segments[0].0);
        fs::rename(&taken, room.path("hidden")).unwrap();
        assert_stopped(server.start().await.map(drop), "was handed to a recovery that was interrupted");
        assert_not_promoted(&path);
        fs::rename(room.path("hidden"), &taken).unwrap();

        // The last one that was handed over may not have got its name yet when the server was stopped.
        drop(fs::remove_file(path.join("pg_wal").join(&source.segments[1].0)));

        let (running, ()) = tokio::join!(server.start(), source.feed(&target, 2, Duration::ZERO));
        assert_eq!(steps_of(&running.unwrap()).await, STEPS);
    }
}

#[tokio::test]
async fn what_is_not_committed_does_not_start() {
    let (room, install) = (Room::new(), installs().remove(0));
    let source = Source::make(&install, &room).await;
    let target = data_directory(room.path("new"));
    write_files(&source.copy, &source.tablespaces, &target).await;
    assert_stopped(LocalServer::new(install, room.path("new")).start().await.map(drop), "global/pg_control");
    let early = target.segment(&source.segments[0].0).await.unwrap_err();
    assert_eq!(early.kind(), PortErrorKind::Invalid);
}

#[tokio::test]
async fn a_place_that_is_taken_is_refused_and_untouched() {
    let room = Room::new();
    for taken in ["data", "space"] {
        fs::create_dir(room.path(taken)).unwrap();
        fs::write(room.path(taken).join("precious"), "x").unwrap();
        let other = if taken == "data" { "space" } else { "data" };
        let target = DataDirectory::new(room.path("data")).tablespace(7, room.path("space"));
        let error = target.prepare(&RestoreOutline::new(any_server(), [Tablespace::new(7, "/old")])).await.unwrap_err();
        assert_eq!(error.kind(), PortErrorKind::Conflict, "{error}");
        assert_eq!(fs::read_dir(room.path(taken)).unwrap().count(), 1);
        assert!(!room.path(other).exists(), "nothing was made");
        fs::remove_dir_all(room.path(taken)).unwrap();
    }
    fs::write(room.path("data"), "a file").unwrap();
    let error =
        DataDirectory::new(room.path("data")).prepare(&RestoreOutline::new(any_server(), [])).await.unwrap_err();
    assert_eq!(error.kind(), PortErrorKind::Conflict, "{error}");
}

#[tokio::test]
async fn tablespaces_go_where_they_are_told() {
    let room = Room::new();
    let target = DataDirectory::new(room.path("data")).tablespace(7, room.path("space"));
    target
        .prepare(&RestoreOutline::new(any_server(), [Tablespace::new(7, "/old"), Tablespace::new(8, "/old8")]))
        .await
        .unwrap();
    for (oid, place) in [(7, room.path("space")), (8, room.path("data-tablespaces/8"))] {
        target.directory(&entry(&format!("pg_tblspc/{oid}/PG_15"), 0)).await.unwrap();
        target.file(&entry(&format!("pg_tblspc/{oid}/PG_15/1"), 0)).await.unwrap().finish().await.unwrap();
        assert!(place.join("PG_15/1").is_file());
        assert_eq!(fs::read_link(room.path("data/pg_tblspc").join(oid.to_string())).unwrap(), place);
    }
}

#[tokio::test]
async fn bytes_and_paths_are_checked() {
    let room = Room::new();
    let target = DataDirectory::new(room.path("data"));
    assert_eq!(target.directory(&entry("base", 0)).await.unwrap_err().kind(), PortErrorKind::Invalid, "not prepared");
    target.prepare(&RestoreOutline::new(any_server(), [])).await.unwrap();
    for path in ["/etc/cron.d/x", "../x", "base/../../x", ""] {
        assert_eq!(target.directory(&entry(path, 0)).await.unwrap_err().kind(), PortErrorKind::Invalid, "{path}");
        assert_eq!(target.file(&entry(path, 1)).await.unwrap_err().kind(), PortErrorKind::Invalid, "{path}");
    }
    let mut long = target.file(&entry("long", 3)).await.unwrap();
    assert_eq!(long.write(Bytes::from_static(b"four")).await.unwrap_err().kind(), PortErrorKind::Invalid);
    let mut short = target.file(&entry("short", 3)).await.unwrap();
    short.write(Bytes::from_static(b"2")).await.unwrap();
    assert_eq!(short.finish().await.unwrap_err().kind(), PortErrorKind::Invalid);
    let mut dropped = target.file(&entry("postmaster.pid", 1)).await.unwrap();
    dropped.write(Bytes::from_static(b"1")).await.unwrap();
    dropped.finish().await.unwrap();
    assert!(!room.path("data/postmaster.pid").exists());
}

fn entry(path: &str, bytes: u64) -> FileEntry {
    FileEntry::new(path, bytes, 0o600, 0)
}

/// Stages two segments and waits until recovery has taken both.
async fn feed_until_taken(source: &Source, target: &DataDirectory, path: &Path) {
    for (name, bytes) in &source.segments[..2] {
        assert!(stage(target, name, bytes).await);
    }
    until_taken(path).await;
}

async fn until_taken(path: &Path) {
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    while fs::read_dir(path.join("pitr_wal/ready")).unwrap().count() > 0 {
        assert!(tokio::time::Instant::now() < end, "recovery takes nothing");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn assert_stopped(outcome: Result<(), LocalServerError>, reason: &str) {
    match outcome {
        Err(LocalServerError::Ended { tail, .. }) => assert!(tail.contains(reason), "{tail}"),
        other => panic!("the server did not end: {other:?}"),
    }
}

fn assert_not_promoted(path: &Path) {
    assert!(path.join("recovery.signal").exists(), "recovery has not ended");
    assert!(!path.join("pg_wal/00000002.history").exists(), "there is no new timeline");
}
