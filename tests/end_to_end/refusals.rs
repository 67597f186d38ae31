//! Bad input: each time a clear error, and nothing is harmed.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pitr::adapter::postgres::{DataDirectory, InitOptions, LocalServer};
use pitr::adapter::{MemoryKey, system};
use pitr::engine::{Archiver, Error, ErrorKind, Repository, Restore, Snapshotter};
use pitr::format::seal::WrappingKey;
use pitr::model::{LogBackup, LogRef, ObjectKey, Timestamp};
use pitr::plan::{PlanError, RestorePlan, RestoreRequest, Target, plan_restore};

use super::ledger::{self, Load};
use super::stand::{Stand, chain, owned, source_of};

/// A server with one snapshot and some log.
async fn stand() -> Stand {
    let mut stand = Stand::new(15, &InitOptions::default()).await;
    stand.client().await.batch_execute(ledger::TABLES).await.unwrap();
    stand.archive();
    stand.snapshot().await;
    let load = Load::start(&stand, 2).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    load.stop().await;
    stand.wait_all_archived().await;
    stand.stop_archiving().await;
    stand
}

async fn latest(stand: &Stand) -> RestorePlan {
    plan_restore(&stand.catalog().await, &RestoreRequest::new(Target::Latest)).unwrap()
}

/// The error of a restore of `plan`, whose target then holds nothing that could start.
async fn refused(stand: &mut Stand, plan: RestorePlan) -> Error {
    let place = stand.place();
    let target = Arc::new(owned(DataDirectory::new(&place)));
    let run = Restore::new(&stand.server, plan, target).run().await;
    let error = match run {
        Err(error) => error,
        Ok(feed) => feed.run().await.expect_err("the restore must fail"),
    };
    if !place.join("global/pg_control").exists() {
        let started = LocalServer::new(stand.install.clone(), &place).start().await;
        assert!(started.is_err(), "an aborted restore started");
    }
    error
}

fn stored_file(stand: &Stand, key: &ObjectKey) -> PathBuf {
    stand.scratch.path().join("repository").join(key.as_str())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_objects_are_named() {
    let mut stand = stand().await;
    let plan = latest(&stand).await;
    let manifest = plan.snapshot().manifest.key.clone();
    let pack: ObjectKey = manifest.as_str().replace("manifest", "pack-00000000").parse().unwrap();
    let log = plan.logs().last().unwrap().backup.key();
    for key in [&manifest, &pack, &log] {
        let file = stored_file(&stand, key);
        let whole = fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        // What ends a pack, behind its blocks, no restore needs.
        let cut = &whole[..if *key == pack { whole.len() / 2 } else { whole.len() - 1 }];
        for (what, damaged) in [("flipped", Some(&flipped[..])), ("truncated", Some(cut)), ("missing", None)] {
            fs::remove_file(&file).unwrap();
            if let Some(bytes) = damaged {
                fs::write(&file, bytes).unwrap();
            }
            let error = refused(&mut stand, plan.clone()).await;
            let kind = if damaged.is_some() { ErrorKind::Corrupt } else { ErrorKind::NotFound };
            assert_eq!(error.kind(), kind, "{what}: {}", chain(&error));
            assert!(chain(&error).contains(key.as_str()), "{what}: {}", chain(&error));
            fs::write(&file, &whole).unwrap();
        }
    }
    let data = stand.place();
    stand.execute(plan, data).await.discard().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_foreign_servers_and_occupied_places_are_refused() {
    let mut stand = stand().await;
    let other = MemoryKey::new(WrappingKey::new([8; 32]), system().entropy);
    let repository = Repository::new(Arc::clone(&stand.storage), Arc::new(other), system());
    let error = repository.server(stand.server.name()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", chain(&error));

    let foreign = LocalServer::new(stand.install.clone(), stand.scratch.path().join("foreign"));
    foreign.init(&InitOptions::default()).await.unwrap();
    let foreign = foreign.start().await.unwrap();
    let source = Arc::new(source_of(&foreign));
    let before = stand.catalog().await.snapshots().count();
    let error = Snapshotter::new(&stand.server, source.clone()).take().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", chain(&error));
    let error = Archiver::new(&stand.server, source).run(std::future::pending()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", chain(&error));
    assert!(chain(&error).contains("another server"), "{}", chain(&error));
    assert_eq!(stand.catalog().await.snapshots().count(), before);

    let (plan, place) = (latest(&stand).await, stand.place());
    fs::create_dir(&place).unwrap();
    fs::write(place.join("precious"), "do not touch").unwrap();
    let target = Arc::new(owned(DataDirectory::new(&place)));
    let error = Restore::new(&stand.server, plan, target).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{}", chain(&error));
    assert_eq!(fs::read_dir(&place).unwrap().count(), 1, "something was written");
    assert_eq!(fs::read_to_string(place.join("precious")).unwrap(), "do not touch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instants_that_cannot_be_reached_are_refused_with_those_that_can() {
    let stand = stand().await;
    let catalog = stand.catalog().await;
    let plan = |at| plan_restore(&catalog, &RestoreRequest::new(Target::time(at)));
    let late = plan(Timestamp::MAX).unwrap_err();
    assert!(matches!(late, PlanError::TooLate { .. }), "{late}");
    let early = plan(Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(matches!(early, PlanError::TooEarly { .. }), "{early}");
    let error = "2026-11-23 10:00".parse::<Timestamp>().unwrap_err();
    assert!(error.to_string().contains("offset"), "{error}");

    let logs: Vec<_> = catalog.logs(catalog.current().unwrap()).map(LogRef::to_backup).collect();
    let consistent = catalog.snapshots().next().unwrap().wal.end;
    let after = |log: &&LogBackup| log.wal.start >= consistent && log.max_commit_time.is_some();
    let (lost, later) = (logs.iter().find(after).unwrap(), logs.iter().rfind(after).unwrap());
    assert!(lost.wal.end <= later.wal.start, "too little log");
    fs::remove_file(stored_file(&stand, &lost.key())).unwrap();
    let catalog = stand.catalog().await;
    let request = RestoreRequest::new(Target::time(later.max_commit_time.unwrap()));
    let gap = plan_restore(&catalog, &request).unwrap_err();
    assert!(matches!(&gap, PlanError::InGap { missing, .. } if *missing == lost.wal), "{gap}");
}
