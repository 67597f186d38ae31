//! A server is protected, damaged, and restored to the instant before the damage.
//!
//! Starts a throwaway PostgreSQL, or takes the one that `DATABASE_URL` names; its user needs `REPLICATION`.
#![allow(clippy::print_stdout, reason = "a demonstration speaks")]

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use pitr::adapter::postgres::{Config, DataDirectory, InitOptions, LocalServer, OsUser, PgInstall, PostgresServer};
use pitr::adapter::{KeyFile, LocalStorage, system};
use pitr::engine::{
    ArchiveSettings, Archiver, Observer, Progress, Repository, Restore, RestoreSettings, ServerRepository,
    SnapshotSettings, Snapshotter, Verifier,
};
use pitr::model::{Catalog, ServerName, ServerSpec, Timestamp};
use pitr::plan::{RestoreRequest, Target, plan_restore, recovery_window};
use pitr::port::SnapshotSource;
use tokio_postgres::{Client, NoTls};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    // Everything lives in one directory, which PostgreSQL's own user can reach and which is removed in the end.
    let scratch = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir()?;
    let place = |name: &str| scratch.path().join(name);
    let mut throwaway = None;
    let url = match std::env::var("DATABASE_URL") {
        Ok(url) => url,
        Err(_) => {
            println!("── Starting a throwaway PostgreSQL");
            let server = LocalServer::new(PgInstall::discover(None)?, place("source"));
            server.init(&InitOptions::default()).await?;
            throwaway.insert(server.start().await?).connection_string()
        }
    };

    println!("── Protecting it");
    let source = Arc::new(PostgresServer::new(url.parse::<Config>()?, "pitr_quickstart".parse()?));
    let storage = Arc::new(LocalStorage::open(place("repository"), system().executor).await?);
    let keys = Arc::new(KeyFile::create(place("key"), system().entropy)?);
    let major = source.identify().await?.incarnation.major;
    let repository = Repository::new(storage, keys, system());
    let server = repository.create_server(ServerSpec::new("bank".parse()?, major)).await?;

    let settings = ArchiveSettings::default().cadence(Duration::from_secs(1));
    let archiver = Archiver::new(&server, source.clone()).settings(settings);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let archiving = tokio::spawn(async move { archiver.run(async { drop(stopped.await) }).await });

    let client = connect(&url).await?;
    client.batch_execute(BANK).await?;
    let transfers = tokio::spawn(keep_transferring(connect(&url).await?));
    let (bar, observer) = progress_bar("snapshot");
    let settings = SnapshotSettings::default().observer(observer);
    let snapshot = Snapshotter::new(&server, source.clone()).settings(settings).take().await?.snapshot;
    bar.finish();
    println!("   snapshot of {} bytes, stored in {}", snapshot.logical_bytes, snapshot.stored_bytes);
    tokio::time::sleep(Duration::from_secs(3)).await;

    let row = client.query_one("SELECT to_json(clock_timestamp())#>>'{}'", &[]).await?;
    let before: Timestamp = row.get::<_, &str>(0).parse()?;
    println!("── Dropping the table of all accounts, just after {before}");
    client.batch_execute("DROP TABLE bank_accounts").await?;
    transfers.abort();

    println!("── Asking what can be restored");
    let catalog = wait_until_restorable(&server, before).await?;
    for interval in recovery_window(&catalog, catalog.current().ok_or("nothing is archived")?).intervals {
        println!("   every instant from {} to {}", interval.from, interval.until);
    }
    let plan = plan_restore(&catalog, &RestoreRequest::new(Target::time(before)))?;
    println!("{plan}");

    println!("── Restoring into a new server");
    let begun = Instant::now();
    let mut directory = DataDirectory::new(place("restored"));
    if let Some(user) = OsUser::for_servers()? {
        directory = directory.owner(user);
    }
    let (bar, observer) = progress_bar("restore");
    let settings = RestoreSettings::default().observer(observer);
    let log = Restore::new(&server, plan, Arc::new(directory)).settings(settings).run().await?;
    let restored = LocalServer::new(PgInstall::discover(Some(major))?, place("restored"));
    let restored = log.run_beside(async { Result::<_>::Ok(restored.start().await?) }).await?;
    bar.finish();
    println!("   recovered and ready after {:.1?}", begun.elapsed());
    let reached = restored.recovered()?.and_then(|recovered| recovered.last_commit).ok_or("nothing was replayed")?;
    println!("   the last commit that it holds was at {reached}");

    let row = connect(&restored.connection_string()).await?.query_one(BOOKS, &[]).await?;
    let [accounts, total] = [0, 1].map(|column| row.get::<_, i64>(column));
    println!("   the table is back: {accounts} accounts, {total} in all");
    assert_eq!([accounts, total], [1000, 1_000_000], "the books balance");

    drop(stop);
    archiving.await??;
    verify(&repository, server.name()).await?;
    source.release().await?;
    Ok(())
}

const BANK: &str = "CREATE TABLE bank_accounts AS SELECT id, 1000 AS balance FROM generate_series(1, 1000) id";
const BOOKS: &str = "SELECT count(*), sum(balance)::bigint FROM bank_accounts";

async fn verify(repository: &Repository, server: &ServerName) -> Result<()> {
    println!("── Verifying every byte of them");
    let report = Verifier::new(repository, server).run().await?;
    for fault in &report.faults {
        println!("   {fault}: costs {:?}", report.costs(fault));
    }
    assert!(report.is_sound(), "the backups are damaged");
    println!("   {} objects of {} bytes are sound", report.objects, report.bytes);
    Ok(())
}

/// Moves money between accounts until there are none.
async fn keep_transferring(client: Client) -> Result<()> {
    for (from, to) in (1..=500).zip(501..=1000).cycle() {
        let transfer = format!(
            "UPDATE bank_accounts SET balance = balance - 10 WHERE id = {from};
             UPDATE bank_accounts SET balance = balance + 10 WHERE id = {to}"
        );
        client.batch_execute(&transfer).await?;
    }
    Ok(())
}

/// Waits for the log backup that makes `at` restorable.
async fn wait_until_restorable(server: &ServerRepository, at: Timestamp) -> Result<Catalog> {
    loop {
        let catalog = server.inventory().await?.catalog;
        if catalog.current().is_some_and(|branch| recovery_window(&catalog, branch).contains(at)) {
            return Ok(catalog);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn progress_bar(what: &'static str) -> (ProgressBar, Observer<Progress>) {
    let style =
        ProgressStyle::with_template("   {msg} {wide_bar} {bytes} of {total_bytes}").expect("it is well-formed");
    let bar = ProgressBar::new(0).with_style(style).with_message(what);
    let shown = bar.clone();
    let observer = Observer::new(move |progress: &Progress| {
        shown.set_length(progress.bytes_total.max(progress.bytes));
        shown.set_position(progress.bytes);
    });
    (bar, observer)
}
