//! Several processes that share a directory, that are killed, and whose disk is full.
//!
//! The processes are this test program again, told what to do by their environment.
#![allow(clippy::print_stderr, reason = "a process reports on its standard error how far it came")]

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use pitr::adapter::LocalStorage;
use pitr::model::ObjectKey;
use pitr::port::{PortErrorKind, PutMode, Storage, StorageExt};

use super::directory;

const ROLE: &str = "PITR_TEST_ROLE";
const ROOT: &str = "PITR_TEST_ROOT";
const PROCESSES: usize = 4;
const KEYS: usize = 50;
const INCREMENTS: usize = 40;

#[tokio::test]
#[ignore = "it is what the other tests here run as processes of their own"]
async fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    let storage = directory(env::var(ROOT).unwrap()).await;
    match role.as_str() {
        "race" => race(&storage).await,
        "upload" => upload(&storage).await,
        "write" => write(&storage).await,
        "full" => full(&storage).await,
        role => panic!("nobody plays {role}"),
    }
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

async fn read(storage: &LocalStorage, name: &str) -> String {
    let (bytes, _) = storage.find(&key(name), 1 << 20).await.unwrap().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// This program in the role `role`, run by `launcher` if there is one.
fn command(role: &str, root: &Path, launcher: &[&str]) -> Command {
    let program = env::current_exe().unwrap();
    let arguments = ["processes::child", "--exact", "--include-ignored", "--nocapture"];
    let mut words = launcher.iter().map(Into::into).chain([program.into_os_string()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(arguments).env(ROLE, role).env(ROOT, root).stdout(Stdio::null());
    command
}

fn assert_succeeds(mut child: Child) {
    let status = child.wait().unwrap();
    assert!(status.success(), "a process failed ({status}); what it printed stands above");
}

/// Creates the same objects as the others, and counts in the same object.
async fn race(storage: &LocalStorage) {
    let me = std::process::id().to_string();
    for n in 0..KEYS {
        let created = storage.put(&key(&format!("race/{n}/object")), me.clone().into(), PutMode::Create).await;
        match created {
            Ok(_) => drop(storage.put(&key(&format!("won/{n}-{me}")), "".into(), PutMode::Create).await.unwrap()),
            Err(error) => assert_eq!(error.kind(), PortErrorKind::Conflict, "{error:?}"),
        }
    }
    for _ in 0..INCREMENTS {
        while !increment(storage).await {}
    }
}

async fn increment(storage: &LocalStorage) -> bool {
    let (bytes, meta) = storage.find(&key("counter"), 100).await.unwrap().unwrap();
    let next = std::str::from_utf8(&bytes).unwrap().parse::<usize>().unwrap() + 1;
    let put = storage.put(&key("counter"), next.to_string().into(), PutMode::Update(meta.version.unwrap())).await;
    put.inspect_err(|error| assert_eq!(error.kind(), PortErrorKind::Conflict, "{error:?}")).is_ok()
}

#[tokio::test]
async fn conditions_hold_across_processes() {
    let root = tempfile::tempdir().unwrap();
    let storage = directory(root.path()).await;
    storage.put(&key("counter"), "0".into(), PutMode::Create).await.unwrap();
    let children: Vec<_> = (0..PROCESSES).map(|_| command("race", root.path(), &[]).spawn().unwrap()).collect();
    children.into_iter().for_each(assert_succeeds);
    assert_eq!(read(&storage, "counter").await, (PROCESSES * INCREMENTS).to_string());
    let won = storage.list_all(Some(&key("won"))).await.unwrap();
    assert_eq!(won.len(), KEYS, "each object has one creator");
    for meta in won {
        let (n, winner) = meta.key.name().split_once('-').unwrap();
        assert_eq!(read(&storage, &format!("race/{n}/object")).await, winner);
    }
}

/// Uploads until it is killed.
async fn upload(storage: &LocalStorage) {
    let mut upload = storage.upload(&key("a/object")).await.unwrap();
    for _ in 0..10_000 {
        upload.write(vec![7; 1 << 16].into()).await.unwrap();
        eprintln!("wrote");
    }
}

#[tokio::test]
async fn nothing_is_visible_of_an_upload_that_was_killed() {
    let root = tempfile::tempdir().unwrap();
    kill_after(20, command("upload", root.path(), &[]));
    let storage = directory(root.path()).await;
    assert_eq!(storage.list_all(None).await.unwrap(), []);
    assert_eq!(storage.head(&key("a/object")).await.unwrap_err().kind(), PortErrorKind::NotFound);
    let strays = || fs::read_dir(root.path().join(".pitr/tmp")).unwrap().map(|entry| entry.unwrap().path());
    let stray = strays().next().expect("a killed process cannot remove its file");
    File::open(stray).unwrap().set_modified(SystemTime::now() - Duration::from_secs(2 * 60 * 60)).unwrap();
    let storage = directory(root.path()).await;
    assert_eq!(strays().count(), 0);
    storage.put(&key("a/object"), "content".into(), PutMode::Create).await.unwrap();
}

/// Waits until the process has reported that often, and kills it; returns what it reported.
fn kill_after(reports: usize, mut command: Command) -> Vec<String> {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut reported: Vec<_> = lines.by_ref().take(reports).collect::<Result<_, _>>().unwrap();
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}: {reported:?}");
    reported.extend(lines.map_while(Result::ok));
    reported
}

/// What is stored under `name` in its `round`: as long as it says, so that a part would be noticed.
fn content(name: &str, round: usize) -> Bytes {
    format!("{name} {round} ").repeat(1000 + round % 7).into()
}

/// Writes, overwrites and deletes until it is killed, and reports what was stored.
async fn write(storage: &LocalStorage) {
    for round in 0..100_000 {
        let created = format!("created/{}/{round}", round % 3);
        storage.put(&key(&created), content(&created, round), PutMode::Create).await.unwrap();
        eprintln!("{created} {round}");
        storage.put(&key("again"), content("again", round), PutMode::Overwrite).await.unwrap();
        eprintln!("again {round}");
        storage.put(&key("passing/by"), "".into(), PutMode::Create).await.unwrap();
        storage.delete(&key("passing/by")).await.unwrap();
    }
}

#[tokio::test]
async fn a_kill_at_any_time_loses_nothing_that_was_acknowledged() {
    for reports in 0..12 {
        let root = tempfile::tempdir().unwrap();
        let reported = kill_after(1 + reports * 3, command("write", root.path(), &[]));
        let storage = directory(root.path()).await;
        for line in &reported {
            let (name, round) = line.split_once(' ').unwrap();
            let stored = read(&storage, name).await;
            let round = if name == "again" { stored.split(' ').nth(1).unwrap() } else { round };
            assert!(stored == content(name, round.parse().unwrap()), "{name} is not whole");
        }
        let again = reported.iter().rev().find_map(|line| line.strip_prefix("again "));
        if let Some(acknowledged) = again {
            let stored = read(&storage, "again").await.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
            assert!(stored >= acknowledged.parse().unwrap(), "{stored} is older than {acknowledged}");
        }
        for meta in storage.list_all(Some(&key("created"))).await.unwrap() {
            let name = meta.key.to_string();
            let round = meta.key.name().parse().unwrap();
            assert!(read(&storage, &name).await == content(&name, round), "{name} is not whole");
        }
        storage.delete(&key("passing/by")).await.unwrap();
        storage.put(&key("passing/by"), "".into(), PutMode::Create).await.expect("a dead process holds no lock");
    }
}

/// Writes more than the process may.
async fn full(storage: &LocalStorage) {
    let large = Bytes::from(vec![7; 1 << 20]);
    let put = storage.put(&key("a/put"), large.clone(), PutMode::Create).await;
    assert_eq!(put.unwrap_err().kind(), PortErrorKind::NoSpace);
    storage.put(&key("kept"), "small".into(), PutMode::Create).await.unwrap();
    let overwritten = storage.put(&key("kept"), large.clone(), PutMode::Overwrite).await;
    assert_eq!(overwritten.unwrap_err().kind(), PortErrorKind::NoSpace);
    let mut upload = storage.upload(&key("a/upload")).await.unwrap();
    upload.write(large).await.expect("the disk is asked later");
    assert_eq!(upload.write("more".into()).await.unwrap_err().kind(), PortErrorKind::NoSpace);
    assert!(upload.write("more".into()).await.is_err(), "an upload with a gap must not go on");
    assert!(upload.finish().await.is_err(), "nor be finished");
    let mut upload = storage.upload(&key("a/upload")).await.unwrap();
    upload.write(vec![7; 1 << 20].into()).await.unwrap();
    assert_eq!(upload.finish().await.unwrap_err().kind(), PortErrorKind::NoSpace);
}

#[tokio::test]
async fn nothing_is_visible_of_what_had_no_room() {
    let root = tempfile::tempdir().unwrap();
    let limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\""];
    assert_succeeds(command("full", root.path(), &limited).spawn().unwrap());
    let storage = directory(root.path()).await;
    let names: Vec<_> = storage.list_all(None).await.unwrap().iter().map(|meta| meta.key.to_string()).collect();
    assert_eq!(names, ["kept"]);
    assert_eq!(read(&storage, "kept").await, "small");
}
