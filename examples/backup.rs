//! A backup in two commands, without a service: for comparing with other programs. For all else, there is `pitrctl`.
//!
//! ```text
//! backup archive REPOSITORY KEY CONNECTION           archives the log that there is
//! backup follow  REPOSITORY KEY CONNECTION           archives the log as it comes, until it is interrupted
//! backup take    REPOSITORY KEY CONNECTION [DATA [SECONDS]]
//!                                                    takes a snapshot, and archives the log that it needs
//! backup restore REPOSITORY KEY DIRECTORY            restores the newest snapshot
//! backup delta   REPOSITORY KEY DIRECTORY            the same, over what is left of the server in the directory
//! backup recover REPOSITORY KEY DIRECTORY            restores the end of the log, and lets PostgreSQL recover until it accepts writes
//! ```
//!
//! REPOSITORY is a directory, or the address of a storage (`s3://BUCKET/DIRECTORY`); KEY is a file. Directory and file are made if they are not there. CONNECTION is libpq's: a URL, or `host=… port=…`; its user
//! needs `REPLICATION`. DATA is the server's data directory, if it is on this machine: then it is read there. What has
//! not changed for SECONDS, 300 unless given, is not read again next time.
#![allow(clippy::print_stdout, reason = "a command speaks")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pitr::adapter::postgres::{
    Config, DataDirectory, DataDirectorySource, LocalServer, PgInstall, PostgresServer, StopMode,
};
use pitr::adapter::{KeyFile, LocalStorage, open_storage, system};
use pitr::engine::{ArchiveSettings, Archiver, ErrorKind, Repository, Restore, ServerRepository, Snapshotter};
use pitr::model::{Catalog, ServerName, ServerSpec};
use pitr::plan::{RestoreRequest, Target, plan_restore};
use pitr::port::{SnapshotSource, Storage};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

const USAGE: &str = "usage: backup archive|follow REPOSITORY KEY CONNECTION\n       \
    backup take REPOSITORY KEY CONNECTION [DATA [SECONDS]]\n       backup restore|delta|recover REPOSITORY KEY DIRECTORY";

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["archive", repository, key, connection] => archive(&open(repository, key).await?, connection).await,
        ["follow", repository, key, connection] => follow(&open(repository, key).await?, connection).await,
        ["take", repository, key, connection] => take(&open(repository, key).await?, connection, None).await,
        ["take", repository, key, connection, data] => {
            let source = DataDirectorySource::new(connection.parse()?, data);
            take(&open(repository, key).await?, connection, Some(source)).await
        }
        ["take", repository, key, connection, data, seconds] => {
            let settle_time = Duration::from_secs(seconds.parse()?);
            let source = DataDirectorySource::new(connection.parse()?, data).with_settle_time(settle_time);
            take(&open(repository, key).await?, connection, Some(source)).await
        }
        ["restore", repository, key, directory] => {
            restore(&open(repository, key).await?, DataDirectory::new(directory)).await
        }
        ["delta", repository, key, directory] => {
            restore(&open(repository, key).await?, DataDirectory::new(directory).delta()).await
        }
        ["recover", repository, key, directory] => recover(&open(repository, key).await?, directory).await,
        _ => Err(USAGE.into()),
    }
}

async fn open(repository: &str, key: &str) -> Result<Repository> {
    let storage: Arc<dyn Storage> = match repository.contains("://") {
        true => open_storage(repository, &system()).await?,
        false => Arc::new(LocalStorage::open(repository, system().executor).await?),
    };
    let keys = if Path::new(key).exists() {
        KeyFile::open(key, system().entropy)?
    } else {
        KeyFile::create(key, system().entropy)?
    };
    Ok(Repository::new(storage, Arc::new(keys), system()))
}

/// Archives log while `work` is done.
async fn archiving<T>(
    server: &ServerRepository,
    source: PostgresServer,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let settings = ArchiveSettings::default().cadence(Duration::from_millis(100));
    let archiver = Archiver::new(server, Arc::new(source)).settings(settings);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let archiving = tokio::spawn(async move { archiver.run(async { drop(stopped.await) }).await });
    let done = work.await?;
    drop(stop);
    archiving.await??;
    Ok(done)
}

async fn archive(repository: &Repository, connection: &str) -> Result<()> {
    let source = source(connection)?;
    let server = server(repository, &source).await?;
    let end = SnapshotSource::identify(&source).await?.flush_lsn;
    let is_stored = |catalog: &Catalog| {
        let branch = catalog.current();
        branch.and_then(|branch| catalog.logs(branch).last()).is_some_and(|log| log.end() >= end)
    };
    archiving(&server, source, wait_until(&server, is_stored)).await
}

async fn follow(repository: &Repository, connection: &str) -> Result<()> {
    let source = source(connection)?;
    let server = server(repository, &source).await?;
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    Ok(Archiver::new(&server, Arc::new(source)).run(interrupted).await?)
}

async fn take(repository: &Repository, connection: &str, data: Option<DataDirectorySource>) -> Result<()> {
    let source = source(connection)?;
    let server = server(repository, &source).await?;
    let files: Arc<dyn SnapshotSource> = match data {
        Some(data) => Arc::new(data),
        None => Arc::new(source.clone()),
    };
    let snapshot = async {
        let begun = Instant::now();
        let snapshot = Snapshotter::new(&server, files).take().await?.snapshot;
        let request = RestoreRequest::new(Target::Snapshot(snapshot.id.clone()));
        let elapsed = begun.elapsed();
        wait_until(&server, |catalog| plan_restore(catalog, &request).is_ok()).await?;
        Ok((snapshot, elapsed))
    };
    let (snapshot, elapsed) = archiving(&server, source, snapshot).await?;
    println!(
        "{}: {elapsed:.2?}, {} bytes, stored in {}, {} of them new",
        snapshot.id,
        snapshot.logical_bytes,
        snapshot.stored_bytes,
        snapshot.added_bytes()
    );
    Ok(())
}

fn source(connection: &str) -> Result<PostgresServer> {
    Ok(PostgresServer::new(connection.parse::<Config>()?, "pitr_backup".parse()?))
}

/// The server that is protected, which is begun with if need be.
async fn server(repository: &Repository, source: &PostgresServer) -> Result<ServerRepository> {
    let name: ServerName = "server".parse()?;
    match repository.server(&name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let major = source.identify().await?.incarnation.major;
            Ok(repository.create_server(ServerSpec::new(name, major)).await?)
        }
        server => Ok(server?),
    }
}

async fn wait_until(server: &ServerRepository, is_true: impl Fn(&Catalog) -> bool + Send + Sync) -> Result<()> {
    while !is_true(&server.inventory().await?.catalog) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn restore(repository: &Repository, directory: DataDirectory) -> Result<()> {
    let server = repository.server(&"server".parse()?).await?;
    let catalog = server.inventory().await?.catalog;
    let snapshot = catalog.snapshots().max_by_key(|snapshot| snapshot.consistent_at).ok_or("there is no snapshot")?;
    let plan = plan_restore(&catalog, &RestoreRequest::new(Target::Snapshot(snapshot.id.clone())))?;
    let (begun, target) = (Instant::now(), Arc::new(directory));
    // The log feed is not run: nobody starts the server.
    drop(Restore::new(&server, plan, target).run().await?);
    println!("{}: {:.2?}", snapshot.id, begun.elapsed());
    Ok(())
}

async fn recover(repository: &Repository, directory: &str) -> Result<()> {
    let server = repository.server(&"server".parse()?).await?;
    let catalog = server.inventory().await?.catalog;
    let plan = plan_restore(&catalog, &RestoreRequest::new(Target::Latest))?;
    let local = LocalServer::new(PgInstall::discover(Some(server.spec().await?.postgres))?, directory);
    let target = Arc::new(DataDirectory::new(directory));
    let begun = Instant::now();
    let feed = Restore::new(&server, plan, target.clone()).run().await?;
    let files = begun.elapsed();
    let running = feed.run_beside(async { Result::<_>::Ok(local.start().await?) }).await?;
    println!("it accepts writes after {:.2?}, of which the files took {files:.2?}", begun.elapsed());
    target.finish_recovery().await?;
    Ok(running.stop(StopMode::Immediate).await?)
}
