//! A server on this machine: made, started, reached, stopped, and never left behind.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use pitr::adapter::postgres::{InitOptions, LocalServer, LocalServerError, PgInstall, StopMode};
use tempfile::TempDir;
use tokio_postgres::NoTls;

fn install() -> PgInstall {
    match std::env::var_os("PITR_PG_BIN") {
        Some(bin) => PgInstall::at(bin).expect("PITR_PG_BIN names the directory of PostgreSQL's programs"),
        None => PgInstall::discover(None).expect("scripts/setup-postgres gets a PostgreSQL"),
    }
}

fn room() -> TempDir {
    let room = tempfile::Builder::new().prefix("pitr-test-").tempdir().unwrap();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).unwrap();
    room
}

async fn made(data: PathBuf) -> LocalServer {
    let server = LocalServer::new(install(), data).setting("fsync", "off");
    server.init(&InitOptions::default()).await.unwrap();
    server
}

fn runs(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn it_listens_where_it_says_and_ends_when_it_is_dropped() {
    let room = room();
    let server = made(room.path().join("data")).await.on_loopback(free_port());
    let running = server.start().await.unwrap();
    let pid = running.pid();
    let (client, connection) = tokio_postgres::connect(&running.connection_string(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let port: String = client.query_one("SHOW port", &[]).await.unwrap().get(0);
    assert_eq!(port, running.port().to_string());
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", running.port())).await.is_ok());
    assert_eq!(running.recovered().unwrap(), None, "a new server has not recovered");
    assert!(runs(pid));
    drop(running);
    assert!(!runs(pid), "nothing is left behind");

    let again = server.start().await.expect("it recovers from that as from a crash");
    let pid = again.pid();
    again.stop(StopMode::Fast).await.unwrap();
    assert!(!runs(pid));
}

#[tokio::test]
async fn a_long_path_is_no_obstacle() {
    let room = room();
    let server = made(room.path().join("d".repeat(100))).await;
    let running = server.start().await.unwrap();
    let sockets = running.socket_directory().to_owned();
    assert!(tokio_postgres::connect(&running.connection_string(), NoTls).await.is_ok());
    drop(running);
    assert!(!sockets.exists(), "the directory of the socket went with it");
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let room = room();
    let server = made(room.path().join("data")).await.setting("shared_buffers", "many");
    match server.start().await {
        Err(error @ LocalServerError::Ended { .. }) => assert!(error.to_string().contains("shared_buffers"), "{error}"),
        other => panic!("it started: {other:?}"),
    }
    let precious = room.path().join("precious");
    fs::create_dir_all(precious.join("file")).unwrap();
    let owner = fs::metadata(&precious).unwrap().uid();
    LocalServer::new(install(), &precious).init(&InitOptions::default()).await.unwrap_err();
    assert_eq!(fs::metadata(&precious).unwrap().uid(), owner, "what is somebody else's stays theirs");
    let taken = server.init(&InitOptions::default()).await.unwrap_err();
    assert!(taken.to_string().contains("exists but is not empty"), "{taken}");
}
