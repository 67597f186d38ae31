//! A test stand: a real server, a repository in a directory, and an archiver between them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pitr::adapter::postgres::{
    Config, DataDirectory, DataDirectorySource, InitOptions, LocalServer, OsUser, PgInstall, PostgresServer, Recovered,
    RunningServer, StopMode, StreamSettings,
};
use pitr::adapter::{KeyFile, LocalStorage, system};
use pitr::engine::{
    ArchiveSettings, Archiver, Repository, Restore, ServerRepository, Snapshotter, Verifier, VerifyDepth,
    VerifySettings,
};
use pitr::model::{Catalog, Lsn, ObjectKey, PostgresMajor, ServerSpec, Snapshot, SnapshotId, Timestamp};
use pitr::plan::{RestorePlan, RestoreRequest, plan_restore};
use pitr::port::{Environment, SnapshotSource, Storage};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

/// What the source is started with beside the defaults.
const SETTINGS: [(&str, &str); 5] = [
    ("track_commit_timestamp", "on"),
    ("max_prepared_transactions", "4"),
    // The ledger is checked against the server's own log: none of it may be removed.
    ("wal_keep_size", "20GB"),
    ("autovacuum", "off"),
    ("fsync", "off"),
];

/// A server, its repository, and who moves log from the one to the other.
pub(crate) struct Stand {
    pub(crate) source: Option<RunningServer>,
    pub(crate) local: LocalServer,
    pub(crate) install: PgInstall,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) repository: Repository,
    pub(crate) server: ServerRepository,
    pub(crate) postgres: Arc<PostgresServer>,
    archiving: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    restores: usize,
    of_directory: Mutex<BTreeSet<SnapshotId>>,
    // Dropped last: everything above lives in it.
    pub(crate) scratch: TempDir,
}

/// A server that was restored and has recovered.
pub(crate) struct Restored {
    pub(crate) plan: RestorePlan,
    pub(crate) server: RunningServer,
    pub(crate) recovered: Recovered,
    pub(crate) data: PathBuf,
}

/// The installation of PostgreSQL `major`; without it a test fails.
pub(crate) fn install(major: u32) -> PgInstall {
    let wanted = PostgresMajor::new(major).unwrap();
    let given = std::env::var(format!("PITR_PG{major}_BIN")).or_else(|_| std::env::var("PITR_PG_BIN"));
    let given = given.ok().and_then(|bin| PgInstall::at(bin).ok()).filter(|install| install.major() == wanted);
    given.or_else(|| PgInstall::discover(Some(wanted)).ok()).unwrap_or_else(|| {
        panic!("PostgreSQL {major} is not there: run scripts/setup-postgres, or set PITR_PG{major}_BIN")
    })
}

/// A directory that servers can reach, whoever runs them.
pub(crate) fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("pitr-").permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}

/// An empty directory that belongs to whoever runs the servers.
pub(crate) fn directory_for_servers(path: &Path) -> String {
    fs::create_dir(path).unwrap();
    if let Some(user) = OsUser::for_servers().unwrap() {
        std::os::unix::fs::chown(path, Some(user.uid()), Some(user.gid())).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

/// A source in the directory `data`.
pub(crate) fn configured(install: &PgInstall, data: &Path) -> LocalServer {
    let local = LocalServer::new(install.clone(), data);
    SETTINGS.iter().fold(local, |local, (name, value)| local.setting(*name, *value))
}

impl Stand {
    /// A new server of PostgreSQL `major`, protected in a directory, but not archived yet.
    pub(crate) async fn new(major: u32, options: &InitOptions) -> Self {
        let scratch = scratch();
        let storage = LocalStorage::open(scratch.path().join("repository"), system().executor).await.unwrap();
        Self::over(Arc::new(storage), scratch, major, options).await
    }

    /// A new server of PostgreSQL `major`, protected in `storage`, with all else in `scratch`.
    pub(crate) async fn over(storage: Arc<dyn Storage>, scratch: TempDir, major: u32, options: &InitOptions) -> Self {
        let install = install(major);
        let local = configured(&install, &scratch.path().join("source"));
        local.init(options).await.unwrap();
        let source = local.start().await.unwrap();
        let key = KeyFile::create(scratch.path().join("key"), system().entropy).unwrap();
        let repository = Repository::new(Arc::clone(&storage), Arc::new(key), system());
        let spec = ServerSpec::new("bank".parse().unwrap(), install.major());
        let server = repository.create_server(spec).await.unwrap();
        let postgres = Arc::new(source_of(&source));
        let (archiving, restores) = (None, 0);
        let (source, of_directory) = (Some(source), Mutex::default());
        Self {
            source,
            local,
            install,
            storage,
            repository,
            server,
            postgres,
            archiving,
            restores,
            of_directory,
            scratch,
        }
    }

    /// From now on, the same server's repository is read in `storage`.
    pub(crate) async fn look_at(&mut self, storage: Arc<dyn Storage>) {
        let key = KeyFile::open(self.scratch.path().join("key"), system().entropy).unwrap();
        self.repository = Repository::new(Arc::clone(&storage), Arc::new(key), system());
        self.server = self.repository.server(self.server.name()).await.unwrap();
        self.storage = storage;
    }

    pub(crate) fn url(&self) -> String {
        self.source.as_ref().expect("the source runs").connection_string()
    }

    pub(crate) async fn client(&self) -> Client {
        connect(&self.url()).await
    }

    /// What is wrong with the repository, as far as both depths of verification see.
    pub(crate) async fn faults(&self) -> Vec<ObjectKey> {
        let mut faults = BTreeSet::new();
        for depth in [VerifyDepth::Quick, VerifyDepth::Full] {
            let settings = VerifySettings::default().depth(depth);
            let report = Verifier::new(&self.repository, self.server.name()).settings(settings).run().await.unwrap();
            assert!(report.objects > 0);
            faults.extend(report.faults.into_iter().map(|fault| fault.object));
        }
        faults.into_iter().collect()
    }

    /// Archives from now on, in small log backups.
    pub(crate) fn archive(&mut self) {
        let settings = ArchiveSettings::default().cadence(Duration::from_millis(500)).bytes_max(2 << 20);
        let archiver = Archiver::new(&self.server, self.postgres.clone()).settings(settings);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stop = async { drop(stopped.await) };
            if let Err(error) = archiver.run(stop).await {
                panic!("{}", chain(&error));
            }
        });
        self.archiving = Some((stop, task));
    }

    pub(crate) async fn stop_archiving(&mut self) {
        let (stop, task) = self.archiving.take().expect("it archives");
        drop(stop);
        task.await.unwrap();
    }

    /// A snapshot that the server sends.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        self.snapshot_by(self.postgres.clone()).await
    }

    /// A snapshot of the files of the server.
    pub(crate) async fn snapshot_of_directory(&self) -> Snapshot {
        let directory = self.client().await.query_one("SHOW data_directory", &[]).await.unwrap();
        let source = DataDirectorySource::new(self.url().parse().unwrap(), directory.get::<_, String>(0));
        // A write takes no seconds here.
        let snapshot = self.snapshot_by(Arc::new(source.with_settle_time(Duration::ZERO))).await;
        self.of_directory.lock().unwrap().insert(snapshot.id.clone());
        snapshot
    }

    async fn snapshot_by(&self, source: Arc<dyn SnapshotSource>) -> Snapshot {
        let taken = Snapshotter::new(&self.server, source).take().await;
        let report = taken.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(report.snapshot.checksum_failures, 0);
        report.snapshot
    }

    pub(crate) async fn catalog(&self) -> Catalog {
        let inventory = self.server.inventory().await.unwrap();
        assert!(inventory.unreadable.is_empty(), "{:?}", inventory.unreadable);
        inventory.catalog
    }

    /// Waits until the server's log is archived up to `lsn`, and its clock is known to be past `at`.
    pub(crate) async fn wait_archived(&self, lsn: Lsn, at: Timestamp) -> Catalog {
        for _ in 0..600 {
            let catalog = self.catalog().await;
            if let Some(branch) = catalog.current()
                && let Some(last) = catalog.logs(branch).last()
                && last.end() >= lsn
                && last.complete_through() >= Some(at)
            {
                return catalog;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the log up to {lsn} is not archived");
    }

    /// Waits until everything that happened is archived.
    pub(crate) async fn wait_all_archived(&self) -> Catalog {
        let (lsn, at) = now(&self.client().await).await;
        self.wait_archived(lsn, at).await
    }

    /// A directory for a restore that nothing is in yet.
    pub(crate) fn place(&mut self) -> PathBuf {
        self.restores += 1;
        self.scratch.path().join(format!("restored-{}", self.restores))
    }

    /// Restores to `request` and waits until the new server has recovered.
    pub(crate) async fn restore(&mut self, request: &RestoreRequest) -> Restored {
        let catalog = self.catalog().await;
        let plan = plan_restore(&catalog, request).unwrap_or_else(|error| panic!("{request:?}: {error}"));
        let data = self.place();
        self.execute(plan, data).await
    }

    pub(crate) async fn execute(&self, plan: RestorePlan, data: PathBuf) -> Restored {
        let target = Arc::new(owned(DataDirectory::new(&data)));
        // It is PostgreSQL's own care when its files reach the disk, and no machine stops here.
        let local = LocalServer::new(self.install.clone(), &data).setting("fsync", "off");
        let feed = Restore::new(&self.server, plan.clone(), target.clone()).run().await;
        let feed = feed.unwrap_or_else(|error| panic!("{}\n{plan}", chain(&error)));
        // PostgreSQL makes its own manifest only of what it sends.
        if !self.of_directory.lock().unwrap().contains(&plan.snapshot().id) {
            self.verify_backup(&data);
        }
        let fed = async { feed.run().await.unwrap_or_else(|error| panic!("{}", chain(&error))) };
        let (server, ()) = tokio::join!(local.start(), fed);
        let server = server.unwrap_or_else(|error| panic!("{}\n{plan}", chain(&error)));
        target.finish_recovery().await.unwrap();
        let recovered = server.recovered().unwrap().expect("it recovered from an archive");
        Restored { plan, server, recovered, data }
    }

    /// `pg_verifybackup` accepts what was restored, but for what a restore adds, and the map that leads to the old tablespaces.
    fn verify_backup(&self, data: &Path) {
        let program = self.install.bin().join("pg_verifybackup");
        if !program.exists() {
            // Only distributions bring it; PostgreSQL 15 always is one.
            assert_ne!(self.install.major().as_u32(), 15, "pg_verifybackup is missing");
            return;
        }
        let added = ["recovery.signal", "postgresql.auto.conf", "pitr_wal", "tablespace_map", ".s.PGSQL.5432.lock"];
        let ignored = added.iter().flat_map(|name| ["-i", name]);
        succeed(Command::new(program).args(["-n", "-q"]).args(ignored).arg(data));
    }

    /// A program of PostgreSQL 15, which all its siblings' pages suit as far as it is used here.
    pub(crate) fn program(&self, name: &str) -> Command {
        Command::new(self.install.bin().join(name))
    }
}

impl Restored {
    pub(crate) async fn client(&self) -> Client {
        connect(&self.server.connection_string()).await
    }

    /// Ends the server and forgets its files.
    pub(crate) async fn discard(self) {
        self.server.stop(StopMode::Immediate).await.unwrap();
        fs::remove_dir_all(&self.data).unwrap();
    }
}

/// The server as a source that observes its clock often.
pub(crate) fn source_of(server: &RunningServer) -> PostgresServer {
    let config: Config = server.connection_string().parse().unwrap();
    let mut stream = StreamSettings::default();
    stream.observe_interval = Duration::from_millis(100);
    PostgresServer::new(config, "pitr".parse().unwrap()).with_stream_settings(stream)
}

/// As root, what is written belongs to the user who runs the servers.
pub(crate) fn owned(directory: DataDirectory) -> DataDirectory {
    match OsUser::for_servers().unwrap() {
        Some(user) => directory.owner(user),
        None => directory,
    }
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The server of the stand in `scratch`, as another process or with another environment has it.
pub(crate) async fn server_in(scratch: &Path, environment: Environment) -> ServerRepository {
    repository_in(scratch, environment).await.server(&"bank".parse().unwrap()).await.unwrap()
}

pub(crate) async fn repository_in(scratch: &Path, environment: Environment) -> Repository {
    let storage = LocalStorage::open(scratch.join("repository"), Arc::clone(&environment.executor)).await.unwrap();
    let key = KeyFile::open(scratch.join("key"), Arc::clone(&environment.entropy)).unwrap();
    Repository::new(Arc::new(storage), Arc::new(key), environment)
}

/// Where the server's log ends, and what its clock says then.
pub(crate) async fn now(client: &Client) -> (Lsn, Timestamp) {
    let sql = "SELECT pg_current_wal_insert_lsn()::text, to_json(clock_timestamp())#>>'{}'";
    let row = client.query_one(sql, &[]).await.unwrap();
    (end_of_records(row.get::<_, &str>(0).parse().unwrap()), row.get::<_, &str>(1).parse().unwrap())
}

/// PostgreSQL inserts behind the header of a page, which it writes with the first record there: after a switch, that may take long.
fn end_of_records(insert_lsn: Lsn) -> Lsn {
    let header = insert_lsn.as_u64() % 8192;
    if header == 24 || header == 40 { Lsn::new(insert_lsn.as_u64() - header) } else { insert_lsn }
}

/// Runs a program that must succeed.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// An error and all its sources.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Asserts that the source names who it is, as the repository has it.
pub(crate) async fn identity(stand: &Stand) -> pitr::port::SourceIdentity {
    stand.postgres.identify().await.unwrap()
}

impl Drop for Stand {
    /// The archiver must not see its server die.
    fn drop(&mut self) {
        if let Some((_, task)) = &self.archiving {
            task.abort();
        }
    }
}
