//! Where servers are restored on trial, on this machine.

mod look;
mod place;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use self::place::Place;
use super::data_directory::DataDirectory;
use super::disk::{blocking, failed};
use super::local_server::{LocalServer, LocalServerError, PgInstall, Recovered, RunningServer, StopMode};
use super::os_user::OsUser;
use crate::format::history;
use crate::format::wal_name::WalFileName;
use crate::model::{Lsn, SegmentSize, TimelineId, Trial};
use crate::port::{PortError, PortErrorKind, RestoreTarget, Scratch, ScratchPlace};

/// A directory of this machine for test restores, and a PostgreSQL to start what was restored.
///
/// The server listens on a Unix socket only, archives nothing, connects to nobody, and starts with settings of its own: those of the source
/// may not fit this machine, and are not tried out; [`setting`](Self::setting) sets what it needs, such as `shared_preload_libraries`. Anyone who may reach the socket may
/// connect. It runs as the user `postgres` if this process runs as root.
///
/// # What is looked at
/// In every database that allows connections, as the superuser `postgres`: every table, materialized view and TOAST table is read, and by `amcheck`, where that extension is
/// at hand, checked together with its B-tree indexes (`verify_heapam`, `bt_index_check`). Pages with wrong checksums are noticed where they are read. Not looked at
/// are other kinds of indexes and of table access methods.
#[derive(Clone, Debug)]
pub struct ScratchDirectory {
    path: PathBuf,
    install: Option<PgInstall>,
    user: Option<OsUser>,
    role: String,
    settings: Vec<(String, String)>,
}

/// A directory that was taken.
#[derive(Debug)]
struct Taken {
    directory: ScratchDirectory,
    user: Option<OsUser>,
    target: Arc<DataDirectory>,
    place: Place,
}

impl ScratchDirectory {
    /// The directory `path`, which must be empty, absent, or have been one before: whatever is in it is removed then. Its parent must be there, and open to the
    /// user who runs the server. Without [`postgres`](Self::postgres), nothing is started in it.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let (role, settings) = ("postgres".to_owned(), Vec::new());
        Self { path: path.into(), install: None, user: None, role, settings }
    }

    /// Starts servers with `install`, which must be of their major version.
    #[must_use]
    pub fn postgres(self, install: PgInstall) -> Self {
        Self { install: Some(install), ..self }
    }

    /// Runs servers as `user`, to whom everything belongs. Only root can.
    #[must_use]
    pub fn user(self, user: OsUser) -> Self {
        Self { user: Some(user), ..self }
    }

    /// Looks through servers as the superuser `role`.
    #[must_use]
    pub fn role(self, role: impl Into<String>) -> Self {
        Self { role: role.into(), ..self }
    }

    /// Sets a configuration parameter of the servers.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }
}

/// What the source set by `ALTER SYSTEM` comes with its data. So all is set here that could keep a server from coming up on another machine, or that costs more than it needs.
const SETTINGS: [(&str, &str); 12] = [
    ("autovacuum", "off"),
    ("fsync", "off"),
    // Else no fewer connections, workers and locks would do than the source has.
    ("hot_standby", "off"),
    ("huge_pages", "off"),
    ("jit", "off"),
    ("max_connections", "100"),
    // Recovery fails where more are prepared.
    ("max_prepared_transactions", "1000"),
    ("max_wal_senders", "10"),
    ("shared_buffers", "128MB"),
    ("shared_preload_libraries", ""),
    ("ssl", "off"),
    ("superuser_reserved_connections", "3"),
];

#[async_trait]
impl Scratch for ScratchDirectory {
    async fn prepare(&self) -> Result<Box<dyn ScratchPlace>, PortError> {
        let (path, user) = (self.path.clone(), OsUser::to_run_as(self.user)?);
        let place = blocking(move || Place::take(&path, user)).await?;
        let target = DataDirectory::new(place.at(place::DATA));
        let target = Arc::new(match user {
            Some(user) => target.owner(user),
            None => target,
        });
        Ok(Box::new(Taken { directory: self.clone(), user, target, place }))
    }
}

impl Taken {
    fn server(&self, install: &PgInstall) -> LocalServer {
        let place = &self.place;
        let mut server = LocalServer::new(install.clone(), place.at(place::DATA)).log(place.at(place::SERVER_LOG));
        if let Some(user) = self.user {
            server = server.user(user);
        }
        let [config, hba] = [place::CONFIG, place::HBA].map(|name| place.at(name).display().to_string());
        let files = [("config_file", config.as_str()), ("hba_file", &hba)];
        let given = self.directory.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        files.into_iter().chain(SETTINGS).chain(given).fold(server, |server, (name, value)| server.setting(name, value))
    }
}

#[async_trait]
impl ScratchPlace for Taken {
    fn target(&self) -> Arc<dyn RestoreTarget> {
        Arc::clone(&self.target) as Arc<dyn RestoreTarget>
    }

    fn has_postgres(&self) -> bool {
        self.directory.install.is_some()
    }

    async fn try_out(&self) -> Result<Trial, PortError> {
        let none = || PortError::new(PortErrorKind::Invalid, "no PostgreSQL was given to start the server with");
        let server = self.server(self.directory.install.as_ref().ok_or_else(none)?);
        let begun = Instant::now();
        let running = server.start().await.map_err(LocalServerError::into_port)?;
        let took = begun.elapsed();
        let unrecovered = || PortError::new(PortErrorKind::Invalid, "the server came up without having recovered");
        let Recovered { last_commit, timeline, .. } =
            running.recovered().map_err(LocalServerError::into_port)?.ok_or_else(unrecovered)?;
        let reached = reached(&running, timeline).await?;
        let mut trial = look::through(&running, &self.directory.role, Trial::new("", timeline, reached)).await?;
        trial.recovery_millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        trial.last_commit = last_commit;
        running.stop(StopMode::Immediate).await.map_err(LocalServerError::into_port)?;
        Ok(trial)
    }

    async fn clear(self: Box<Self>) -> Result<(), PortError> {
        blocking(move || self.place.clear()).await
    }
}

/// Where the timeline begins that the server chose when recovery ended: at the end of the last record that was replayed.
async fn reached(server: &RunningServer, timeline: TimelineId) -> Result<Lsn, PortError> {
    // Its name does not depend on the size of segments.
    let name = WalFileName::History { timeline }.display(SegmentSize::DEFAULT).to_string();
    let path = server.data_directory().join("pg_wal").join(name);
    let read = blocking(move || std::fs::read(&path).map_err(failed("read", &path)));
    let unfit = |error| PortError::new(PortErrorKind::Invalid, "the new timeline has no history").caused_by(error);
    Ok(history::parse(timeline, &read.await?).map_err(unfit)?.begin())
}
