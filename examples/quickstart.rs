//! A server is protected, damaged, and restored to the instant before the damage.
//!
//! Starts a throwaway PostgreSQL, or takes the one that `DATABASE_URL` names (its user needs `REPLICATION`).

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use pitr::adapter::postgres::{Config, DataDirectory, InitOptions, LocalServer, OsUser, PgInstall, PostgresServer};
use pitr::adapter::{KeyFile, LocalStorage, system};
use pitr::engine::{ArchiveSettings, Archiver, Observer, Progress, Repository, Restore, RestoreSettings};
use pitr::engine::{ServerRepository, SnapshotSettings, Snapshotter};
use pitr::model::{ServerSpec, Timestamp};
use pitr::plan::{RestoreRequest, Target, plan_restore, recovery_window};
use pitr::port::{SnapshotSource as _, StorageExt as _};
use tokio_postgres::{Client, NoTls};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let scratch =
        tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir()?;
    let install = PgInstall::discover(None)?;
    let throwaway = match std::env::var("DATABASE_URL") {
        Ok(_) => None,
        Err(_) => Some(throwaway_server(&install, scratch.path()).await?),
    };
    let url =
        throwaway.as_ref().map_or_else(|| std::env::var("DATABASE_URL").unwrap_or_default(), |s| s.connection_string());

    say("Protecting the server");
    let source = Arc::new(PostgresServer::new(url.parse::<Config>()?, "pitr_quickstart".parse()?));
    let storage = Arc::new(LocalStorage::open(scratch.path().join("repository"), system().executor).await?);
    let repository = Repository::new(
        storage.clone(),
        Arc::new(KeyFile::create(scratch.path().join("key"), system().entropy)?),
        system(),
    );
    let major = source.identify().await?.incarnation.major;
    let server = repository.create_server(ServerSpec::new("bank".parse()?, major)).await?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let archiver = Archiver::new(&server, source.clone()).settings(every_second());
    let archiving = tokio::spawn(async move { archiver.run(async { drop(stopped.await) }).await });

    let client = connect(&url).await?;
    client.batch_execute(BANK).await?;
    let workload = tokio::spawn(keep_transferring(connect(&url).await?));
    let (bar, observer) = progress_bar("snapshot");
    let settings = SnapshotSettings::default().observer(observer);
    let snapshot = Snapshotter::new(&server, source.clone()).settings(settings).take().await?.snapshot;
    bar.finish();
    println!("   snapshot {}: {} bytes, stored in {}", snapshot.id, snapshot.logical_bytes, snapshot.stored_bytes);
    tokio::time::sleep(Duration::from_secs(3)).await;

    say("Dropping the table of all accounts");
    let before: String = client.query_one("SELECT to_json(clock_timestamp())#>>'{}'", &[]).await?.get(0);
    let before: Timestamp = before.parse()?;
    client.batch_execute("DROP TABLE bank_accounts").await?;
    workload.abort();
    println!("   dropped just after {before}");

    say("Asking what can be restored");
    let catalog = wait_until_restorable(&server, before).await?;
    let window = recovery_window(&catalog, catalog.current().ok_or("nothing is archived")?);
    println!("   every instant from {:?} to {:?}", window.earliest(), window.latest());
    let plan = plan_restore(&catalog, &RestoreRequest::new(Target::time(before)))?;
    println!("{plan}");

    say("Restoring into a new server");
    let begun = Instant::now();
    let place = scratch.path().join("restored");
    let mut directory = DataDirectory::new(&place);
    let mut restored = LocalServer::new(install, &place);
    if let Some(user) = OsUser::for_servers()? {
        (directory, restored) = (directory.owner(user), restored.user(user));
    }
    let (bar, observer) = progress_bar("restore");
    let settings = RestoreSettings::default().observer(observer);
    let log = Restore::new(&server, plan, Arc::new(directory)).settings(settings).run().await?;
    let written = begun.elapsed();
    let recovering = async { restored.start().await.map_err(Into::into) };
    let ((), restored) =
        tokio::try_join!(async { log.run().await.map_err(Box::<dyn Error + Send + Sync>::from) }, recovering)?;
    bar.finish();
    let recovered = restored.recovered()?.ok_or("the server did not recover")?;
    println!("   files in {written:.1?}, ready after {:.1?}; last commit {:?}", begun.elapsed(), recovered.last_commit);

    let books = connect(&restored.connection_string()).await?;
    let row = books.query_one("SELECT count(*), sum(balance)::bigint FROM bank_accounts", &[]).await?;
    let (accounts, total): (i64, i64) = (row.get(0), row.get(1));
    println!("   the table is back: {accounts} accounts, {total} in all");
    assert_eq!((accounts, total), (1000, 1_000_000), "the books must balance");
    let stored: u64 = storage.list_all(None).await?.iter().map(|object| object.bytes).sum();
    println!("   the repository holds {stored} bytes");

    drop(stop);
    archiving.await??;
    source.release().await?;
    client.batch_execute("DROP TABLE IF EXISTS bank_accounts, bank_transfers").await?;
    Ok(())
}

const BANK: &str = "CREATE TABLE bank_accounts AS SELECT id, 1000 AS balance FROM generate_series(1, 1000) id;
    CREATE TABLE bank_transfers (at timestamptz DEFAULT clock_timestamp(), amount int)";

/// Moves money between accounts, a hundred times a second or so, until the table is gone.
async fn keep_transferring(client: Client) {
    for round in 0.. {
        let (from, to) = (1 + round % 500, 501 + round * 7 % 500);
        let transfer = format!(
            "UPDATE bank_accounts SET balance = balance - 10 WHERE id = {from};
             UPDATE bank_accounts SET balance = balance + 10 WHERE id = {to};
             INSERT INTO bank_transfers (amount) VALUES (10)"
        );
        if client.batch_execute(&transfer).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn throwaway_server(install: &PgInstall, scratch: &Path) -> Result<pitr::adapter::postgres::RunningServer> {
    say("Starting a throwaway PostgreSQL");
    let server = LocalServer::new(install.clone(), scratch.join("source"));
    server.init(&InitOptions::default()).await?;
    Ok(server.start().await?)
}

async fn wait_until_restorable(server: &ServerRepository, at: Timestamp) -> Result<pitr::model::Catalog> {
    loop {
        let catalog = server.inventory().await?.catalog;
        let window = catalog.current().map(|branch| recovery_window(&catalog, branch));
        if window.is_some_and(|window| window.contains(at)) {
            return Ok(catalog);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn every_second() -> ArchiveSettings {
    ArchiveSettings::default().cadence(Duration::from_secs(1))
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn progress_bar(what: &'static str) -> (ProgressBar, Observer<Progress>) {
    let style =
        ProgressStyle::with_template("   {msg} {wide_bar} {bytes}/{total_bytes}").expect("the template is well-formed");
    let bar = ProgressBar::new(0).with_style(style).with_message(what);
    let shown = bar.clone();
    let observer = Observer::new(move |progress: &Progress| {
        shown.set_length(progress.bytes_total.max(progress.bytes));
        shown.set_position(progress.bytes);
    });
    (bar, observer)
}

fn say(what: &str) {
    println!("── {what}");
}
