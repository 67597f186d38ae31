//! A server that runs: its process, its log, its end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{LocalServerError, Recovered};
use crate::adapter::postgres::OsUser;

const POLL: Duration = Duration::from_millis(20);
/// How long a server that is dropped has to end its processes before it is killed.
const DROP_PATIENCE: Duration = Duration::from_secs(5);
/// How much of a log an error repeats, and how much of it is read for the outcome of a recovery.
const TAIL_BYTES_MAX: usize = 4096;
const LOG_BYTES_MAX: u64 = 64 << 20;

/// A server that was started. Dropping it ends it at once, as a crash would, and waits up to five seconds for that.
#[derive(Debug)]
pub struct RunningServer {
    child: Child,
    data: PathBuf,
    log: PathBuf,
    log_start: u64,
    sockets: PathBuf,
    sockets_are_own: bool,
    port: u16,
}

/// How a server is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopMode {
    /// When all clients have left.
    Smart,
    /// After a checkpoint; clients are sent away.
    Fast,
    /// At once; it recovers at the next start.
    Immediate,
}

impl StopMode {
    fn signal(self) -> &'static str {
        match self {
            Self::Smart => "TERM",
            Self::Fast => "INT",
            Self::Immediate => "QUIT",
        }
    }
}

impl RunningServer {
    /// Waits until it accepts connections; if it has to recover, until it has recovered. There is no limit of time.
    ///
    /// # Errors
    /// [`Ended`](LocalServerError::Ended) with the end of its log, if it ends instead.
    pub async fn ready(&mut self) -> Result<(), LocalServerError> {
        while !self.is_ready() {
            if let Some(status) = self.status()? {
                return Err(self.ended(status));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Where its recovery ended, as its log says; `None` if it did not recover from an archive since it was started.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn recovered(&self) -> Result<Option<Recovered>, LocalServerError> {
        self.log_since_start().map(|log| Recovered::from_log(&log))
    }

    /// Stops it and waits until it has ended.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub async fn stop(mut self, mode: StopMode) -> Result<(), LocalServerError> {
        self.signal(mode.signal())?;
        while self.status()?.is_none() {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// The process ID of its postmaster.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data directory.
    #[must_use]
    pub fn data_directory(&self) -> &Path {
        &self.data
    }

    /// The directory of its Unix socket.
    #[must_use]
    pub fn socket_directory(&self) -> &Path {
        &self.sockets
    }

    /// Its port, which the name of its Unix socket has too.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// A libpq connection string for its superuser, over the Unix socket.
    #[must_use]
    pub fn connection_string(&self) -> String {
        self.connection_string_as("postgres")
    }

    /// The same for another superuser.
    #[must_use]
    pub fn connection_string_as(&self, role: &str) -> String {
        let (sockets, role) = (quoted(&self.sockets.display().to_string()), quoted(role));
        format!("host={sockets} port={} user={role} dbname=postgres", self.port)
    }

    /// What it has printed since it was started, up to 64 MiB.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn log_since_start(&self) -> Result<String, LocalServerError> {
        let mut bytes = Vec::new();
        let mut read = || {
            let mut log = File::open(&self.log)?;
            log.seek(SeekFrom::Start(self.log_start))?;
            log.take(LOG_BYTES_MAX).read_to_end(&mut bytes)
        };
        read().map_err(LocalServerError::io(format!("read {}", self.log.display())))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The postmaster writes its process ID in the first line of `postmaster.pid`, and "ready" in the eighth when it
    /// accepts connections and does not recover (`src/include/utils/pidfile.h`).
    fn is_ready(&self) -> bool {
        let Ok(file) = fs::read_to_string(self.data.join("postmaster.pid")) else { return false };
        let mut lines = file.lines();
        let own = lines.next() == Some(&self.pid().to_string());
        own && lines.nth(6).is_some_and(|status| status.trim() == "ready")
    }

    fn status(&mut self) -> Result<Option<ExitStatus>, LocalServerError> {
        self.child.try_wait().map_err(LocalServerError::io("ask whether the server runs"))
    }

    fn ended(&self, status: ExitStatus) -> LocalServerError {
        let tail = self.log_since_start().map(|log| tail_of(log.as_bytes())).unwrap_or_default();
        LocalServerError::Ended { status: status.to_string(), log: self.log.clone(), tail }
    }

    /// The child was not waited for yet, so its number is still its own.
    fn signal(&mut self, name: &str) -> Result<(), LocalServerError> {
        if self.status()?.is_some() {
            return Ok(());
        }
        signal(self.pid(), name).map_err(LocalServerError::io("signal the server"))
    }

    fn end_at_once(&mut self) -> io::Result<ExitStatus> {
        let patience = Instant::now() + DROP_PATIENCE;
        while Instant::now() < patience {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(POLL);
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // Nobody can be told of a failure here.
        let _ = self.signal(StopMode::Immediate.signal());
        let _ = self.end_at_once();
        if self.sockets_are_own {
            let _ = fs::remove_dir_all(&self.sockets);
        }
    }
}

/// The shell's own `kill`: the standard library has none but for SIGKILL to its children, and other programs may be missing.
pub(in crate::adapter::postgres) fn signal(pid: u32, name: &str) -> io::Result<()> {
    let mut kill = Command::new("/bin/sh");
    kill.args(["-c", "kill -s \"$0\" \"$1\"", name]).arg(pid.to_string());
    kill.stderr(Stdio::null()).status().map(drop)
}

/// A value of a libpq connection string.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A server that is about to be started.
pub(super) struct Launch {
    pub(super) command: Command,
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
    pub(super) sockets: PathBuf,
    pub(super) sockets_are_own: bool,
    pub(super) port: u16,
    pub(super) user: Option<OsUser>,
}

impl Launch {
    pub(super) fn spawn(self) -> Result<RunningServer, LocalServerError> {
        let Self { mut command, data, log, sockets, sockets_are_own, port, user } = self;
        let mut opened = || {
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&log)?;
            let start = file.metadata()?.len();
            command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
            io::Result::Ok(start)
        };
        let log_start = opened().map_err(LocalServerError::io(format!("open {}", log.display())))?;
        super::give(&log, user)?;
        let child = command.spawn().map_err(LocalServerError::io("run postgres"))?;
        Ok(RunningServer { child, data, log, log_start, sockets, sockets_are_own, port })
    }
}

/// The last lines of what a program printed.
pub(super) fn tail_of(printed: &[u8]) -> String {
    let tail = printed.get(printed.len().saturating_sub(TAIL_BYTES_MAX)..).unwrap_or_default();
    String::from_utf8_lossy(tail).trim().to_owned()
}
