//! PostgreSQL servers for tests: made in temporary directories, stopped by their own `pg_ctl`.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use pitr::adapter::postgres::{Config, DataDirectorySource, PostgresServer};
use pitr::model::{Lsn, TimelineId};
use pitr::port::{WalEvent, WalSource, WalStream};
use tempfile::TempDir;

/// A PostgreSQL server of a test.
pub(crate) struct Cluster {
    dir: TempDir,
    bin: PathBuf,
    pub(crate) port: u16,
}

/// The directories of the PostgreSQL versions to test with: 15 always, 18 where it was unpacked.
pub(crate) fn versions() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let newest = std::env::var_os("PITR_PG18_BIN").map(PathBuf::from).or_else(|| Some(root.join(".pg/18/bin")));
    [Some(oldest()), newest.filter(|bin| bin.join("postgres").exists())].into_iter().flatten().collect()
}

pub(crate) fn oldest() -> PathBuf {
    std::env::var_os("PITR_PG15_BIN").map_or_else(|| "/usr/lib/postgresql/15/bin".into(), PathBuf::from)
}

/// The major version of the programs in `bin`.
pub(crate) fn version(bin: &Path) -> u32 {
    let text = run(Command::new(bin.join("postgres")).arg("--version"));
    text.split_whitespace().find_map(|word| word.split('.').next()?.parse().ok()).unwrap()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

/// A command that runs as somebody whom PostgreSQL does not refuse.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    if !is_root() {
        return Command::new(program.as_ref());
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program.as_ref());
    command
}

pub(crate) fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.current_dir("/").output().unwrap();
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap().trim_end().to_owned()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Cluster {
    /// A running server with these settings.
    pub(crate) fn start(bin: &Path, settings: &[&str]) -> Self {
        let cluster = Self::init(bin, settings);
        cluster.up();
        cluster
    }

    /// A server in recovery, which no primary need be there for.
    pub(crate) fn standby(bin: &Path) -> Self {
        let cluster = Self::start(bin, &[]);
        cluster.sql("create table t as select generate_series(1, 1000)");
        cluster.down("fast");
        run(command("touch").arg(cluster.data().join("standby.signal")));
        cluster.up();
        cluster
    }

    /// A server that does not run yet.
    pub(crate) fn init(bin: &Path, settings: &[&str]) -> Self {
        let cluster = Self::empty(bin);
        let data = cluster.data();
        run(command(cluster.program("initdb")).args(["-U", "postgres", "-A", "trust", "-N", "-k", "-D"]).arg(&data));
        cluster.configure(&["fsync = off", "wal_level = replica", "max_wal_senders = 10"]);
        cluster.configure(settings);
        cluster
    }

    /// A directory for a server.
    pub(crate) fn empty(bin: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("pitr-client-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(dir.path()));
        }
        Self { dir, bin: bin.to_owned(), port: free_port() }
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// A client program, which only the system's PostgreSQL brings.
    fn client(name: &str) -> PathBuf {
        oldest().join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub(crate) fn configure(&self, settings: &[&str]) {
        let path = self.data().join("postgresql.conf");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{text}\n{}\n", settings.join("\n"))).unwrap();
    }

    /// Replaces the rules of who may connect how; local connections as `postgres` always may.
    pub(crate) fn allow(&self, rules: &[&str]) {
        let rules = [&["local all postgres trust", "local replication postgres trust"], rules].concat().join("\n");
        fs::write(self.data().join("pg_hba.conf"), rules + "\n").unwrap();
    }

    pub(crate) fn up(&self) {
        let options = format!("-k {} -p {} -c listen_addresses=127.0.0.1", self.path().display(), self.port);
        let log = self.path().join("log");
        run(self.pg_ctl().args(["-w", "-o", &options, "-l"]).arg(log).arg("start"));
    }

    pub(crate) fn down(&self, mode: &str) {
        run(self.pg_ctl().args(["-w", "-m", mode, "stop"]));
    }

    pub(crate) fn promote(&self) {
        run(self.pg_ctl().args(["-w", "promote"]));
    }

    fn pg_ctl(&self) -> Command {
        let mut command = command(self.program("pg_ctl"));
        command.args(["-s", "-D"]).arg(self.data());
        command
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> String {
        let pidfile = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        pidfile.lines().next().unwrap().to_owned()
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        run(self.psql().args(["-c", sql]))
    }

    pub(crate) fn psql(&self) -> Command {
        let mut command = command(Self::client("psql"));
        let port = self.port.to_string();
        command.args(["-XAtq", "-U", "postgres", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-h"]);
        command.arg(self.path()).args(["-p", &port]);
        command
    }

    /// `pg_basebackup` of the system's PostgreSQL.
    pub(crate) fn pg_basebackup(&self, into: &Path, arguments: &[&str]) {
        let mut command = command(Self::client("pg_basebackup"));
        command.arg("-h").arg(self.path()).args(["-p", &self.port.to_string(), "-U", "postgres", "-c", "fast", "-D"]);
        run(command.arg(into).args(arguments));
    }

    pub(crate) fn lsn(&self, function: &str) -> Lsn {
        self.sql(&format!("select {function}")).parse().unwrap()
    }

    /// A connection string for the Unix socket, as `user`.
    pub(crate) fn local(&self, user: &str) -> String {
        format!("host={} port={} user={user}", self.path().display(), self.port)
    }

    /// A connection string for TCP, as `user`.
    pub(crate) fn tcp(&self, user: &str) -> String {
        format!("host=localhost hostaddr=127.0.0.1 port={} user={user}", self.port)
    }

    /// The server as one whose files are at hand, and settle soon.
    pub(crate) fn directory_source(&self) -> DataDirectorySource {
        let source = DataDirectorySource::new(self.local("postgres").parse().unwrap(), self.data());
        source.with_settle_time(Duration::ZERO)
    }

    pub(crate) fn source(&self) -> PostgresServer {
        server(&self.local("postgres"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may be down already.
        let _ = self.pg_ctl().args(["-m", "immediate", "stop"]).current_dir("/").output();
    }
}

pub(crate) fn server(conninfo: &str) -> PostgresServer {
    let config: Config = conninfo.parse().unwrap_or_else(|error| panic!("{conninfo}: {error}"));
    PostgresServer::new(config, "pitr".parse().unwrap())
}

pub(crate) fn timeline(number: u32) -> TimelineId {
    TimelineId::new(number).unwrap()
}

/// Opens the stream of a fresh slot, from where it keeps the log.
pub(crate) async fn follow(source: &PostgresServer) -> (Box<dyn WalStream>, Lsn) {
    let start = source.reserve().await.unwrap();
    let identity = WalSource::identify(source).await.unwrap();
    (source.stream(identity.timeline, start).await.unwrap(), start)
}

/// What a stream brings in a time, without knowing what it will be.
pub(crate) async fn next(stream: &mut Box<dyn WalStream>) -> WalEvent {
    let event = stream.next(Duration::from_secs(30)).await.unwrap();
    assert_ne!(event, WalEvent::Idle, "nothing came for 30 s");
    event
}

/// Reads the log up to `end` at least.
pub(crate) async fn read_until(stream: &mut Box<dyn WalStream>, start: Lsn, end: Lsn) -> Vec<u8> {
    let mut log = Vec::new();
    while start.saturating_add(log.len() as u64) < end {
        if let WalEvent::Data { start: at, bytes, .. } = next(stream).await {
            assert_eq!(at, start.saturating_add(log.len() as u64), "data are contiguous");
            log.extend_from_slice(&bytes);
        }
    }
    log
}
