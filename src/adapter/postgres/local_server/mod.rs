//! A PostgreSQL server on this machine, started and stopped.

mod error;
mod install;
mod process;
mod recovered;

pub use error::LocalServerError;
pub use install::PgInstall;
pub(super) use process::signal;
pub use process::{RunningServer, StopMode};
pub use recovered::{Recovered, RecoveryStop};

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use self::process::{Launch, tail_of};
use super::OsUser;
use crate::model::SegmentSize;

/// The longest path of a Unix socket on Linux, and what PostgreSQL appends to its directory (`UNIXSOCK_PATH`).
const SOCKET_PATH_BYTES_MAX: usize = 107;
const SOCKET_NAME: &str = "/.s.PGSQL.65535";

/// A server that can be started: a data directory, and the installation to run it with.
///
/// It listens on a Unix socket: in its data directory, or in a directory below `/tmp` where that path would be too long.
/// A process that runs as root runs it as the user `postgres`, or as the one given, without any supplementary group.
#[derive(Clone, Debug)]
pub struct LocalServer {
    install: PgInstall,
    data: PathBuf,
    user: Option<OsUser>,
    log: PathBuf,
    /// Of 127.0.0.1, if it listens there.
    port: Option<u16>,
    settings: Vec<(String, String)>,
}

/// How a new database cluster is made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InitOptions {
    /// The size of its WAL segments.
    pub segment_size: SegmentSize,
    /// Whether its pages have checksums.
    pub checksums: bool,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self { segment_size: SegmentSize::DEFAULT, checksums: true }
    }
}

impl LocalServer {
    /// The server in the data directory `data`, run by `install`. Its log is `<data>.log`.
    #[must_use]
    pub fn new(install: PgInstall, data: impl Into<PathBuf>) -> Self {
        let data = data.into();
        let mut log = data.clone().into_os_string();
        log.push(".log");
        Self { install, data, user: None, log: log.into(), port: None, settings: Vec::new() }
    }

    /// Runs it as `user`. Only root can.
    #[must_use]
    pub fn user(self, user: OsUser) -> Self {
        Self { user: Some(user), ..self }
    }

    /// Appends what it prints to the file `log`, whose directory exists.
    #[must_use]
    pub fn log(self, log: impl Into<PathBuf>) -> Self {
        Self { log: log.into(), ..self }
    }

    /// Lets it listen on this port of 127.0.0.1 too, which also names its socket.
    #[must_use]
    pub fn on_loopback(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// Sets a configuration parameter, above all files.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Makes a new database cluster in the data directory, which must be empty or absent: superuser `postgres`, locale C,
    /// UTF-8, nobody asked for a password on the Unix socket, everybody on the network.
    ///
    /// # Errors
    /// If `initdb` refuses.
    pub async fn init(&self, options: &InitOptions) -> Result<(), LocalServerError> {
        let (server, options) = (self.clone(), options.clone());
        blocking(move || server.initdb(&options)).await
    }

    /// Starts it, without waiting until it accepts connections: for a recovery that is fed meanwhile.
    ///
    /// # Errors
    /// If it cannot be run.
    pub async fn launch(&self) -> Result<RunningServer, LocalServerError> {
        let server = self.clone();
        blocking(move || server.spawn()).await
    }

    /// Starts it and waits until it accepts connections; if it has to recover, until it has.
    ///
    /// # Errors
    /// [`Ended`](LocalServerError::Ended) with the end of its log, if it does not come up.
    pub async fn start(&self) -> Result<RunningServer, LocalServerError> {
        let mut server = self.launch().await?;
        server.ready().await?;
        Ok(server)
    }

    fn initdb(&self, options: &InitOptions) -> Result<(), LocalServerError> {
        let user = self.runs_as()?;
        give_empty(&self.data, user)?;
        let megabytes = options.segment_size.bytes() >> 20;
        let mut command = self.program("initdb", user);
        command.arg("--pgdata").arg(&self.data).arg(format!("--wal-segsize={megabytes}"));
        command.args(["--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        command.args(["--auth-local=trust", "--auth-host=scram-sha-256"]);
        match (options.checksums, self.install.major().as_u32()) {
            (true, _) => command.arg("--data-checksums"),
            (false, 18..) => command.arg("--no-data-checksums"),
            (false, _) => &mut command,
        };
        let Output { status, stdout, stderr } = command.output().map_err(LocalServerError::io("run initdb"))?;
        let printed = [stdout, stderr].concat();
        let failed = || LocalServerError::Failed { program: "initdb", output: tail_of(&printed) };
        if status.success() { Ok(()) } else { Err(failed()) }
    }

    fn spawn(&self) -> Result<RunningServer, LocalServerError> {
        let user = self.runs_as()?;
        let data = std::path::absolute(&self.data).map_err(LocalServerError::io("find the data directory"))?;
        let port = self.port.unwrap_or(5432);
        let (sockets, sockets_are_own) = socket_directory(&data, user)?;
        let mut command = self.program("postgres", user);
        command.arg("-D").arg(&data).arg("-p").arg(port.to_string()).arg("-k").arg(&sockets);
        for (name, value) in self.all_settings(&data) {
            let mut setting = OsString::from(name);
            setting.push("=");
            setting.push(value);
            command.arg("-c").arg(setting);
        }
        Launch { command, data, log: self.log.clone(), sockets, sockets_are_own, port, user }.spawn()
    }

    /// Ours come first. A configuration file that was restored with the data may name the directory that it comes from;
    /// and messages are read, so they must be in English and in the log.
    fn all_settings(&self, data: &Path) -> Vec<(&str, OsString)> {
        let listen = self.port.map_or("", |_| "127.0.0.1");
        let ours = [
            ("data_directory", data.into()),
            ("listen_addresses", listen.into()),
            ("lc_messages", "C".into()),
            ("log_destination", "stderr".into()),
            ("logging_collector", "off".into()),
            ("log_min_messages", "warning".into()),
        ];
        let given = self.settings.iter().map(|(name, value)| (name.as_str(), value.into()));
        ours.into_iter().chain(given).collect()
    }

    fn runs_as(&self) -> Result<Option<OsUser>, LocalServerError> {
        match self.user {
            Some(user) => Ok(Some(user)),
            None => OsUser::for_servers().map_err(LocalServerError::io("find the user postgres to run the server as")),
        }
    }

    fn program(&self, name: &str, user: Option<OsUser>) -> Command {
        let mut command = Command::new(self.install.bin().join(name));
        // The directory that this process is in may be closed to the user.
        command.current_dir("/").env_remove("PGDATA");
        if let Some(user) = user {
            // As root, this drops all supplementary groups too.
            command.uid(user.uid()).gid(user.gid());
        }
        command
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocalServerError> + Send + 'static,
) -> Result<T, LocalServerError> {
    let job = tokio::task::spawn_blocking(work);
    job.await
        .map_err(|error| LocalServerError::Io { context: "finish a piece of work".into(), source: error.into() })?
}

/// Makes a directory that belongs to `user` alone, or gives them one that is empty; parents are there. What is in another is
/// left to its owner.
fn give_empty(path: &Path, user: Option<OsUser>) -> Result<(), LocalServerError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(LocalServerError::io(format!("make directory {}", path.display()))(error))
        }
        Err(_) if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) => Ok(()),
        _ => give(path, user),
    }
}

fn give(path: &Path, user: Option<OsUser>) -> Result<(), LocalServerError> {
    let Some(user) = user else { return Ok(()) };
    let context = format!("set owner of {}", path.display());
    chown(path, Some(user.uid()), Some(user.gid())).map_err(LocalServerError::io(context))
}

/// The directory of the socket, and whether it was made for this server alone. PostgreSQL takes a list of directories, so
/// the path must have no comma or quote either.
fn socket_directory(data: &Path, user: Option<OsUser>) -> Result<(PathBuf, bool), LocalServerError> {
    let path = data.as_os_str().as_encoded_bytes();
    let fits = path.len() + SOCKET_NAME.len() <= SOCKET_PATH_BYTES_MAX;
    if fits && !path.iter().any(|byte| matches!(byte, b',' | b'"')) {
        return Ok((data.to_owned(), false));
    }
    let path = new_directory_in_tmp().map_err(LocalServerError::io("make a directory for the socket in /tmp"))?;
    give(&path, user)?;
    Ok((path, true))
}

fn new_directory_in_tmp() -> io::Result<PathBuf> {
    let mut number = 0_u64;
    loop {
        let path = PathBuf::from(format!("/tmp/pitr-{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            made => return made.map(|()| path),
        }
    }
}
