//! New servers on this machine.

mod place;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use self::place::Place;
use super::config::Config;
use super::data_directory::DataDirectory;
use super::disk::blocking;
use super::local_server::{LocalServer, LocalServerError, PgInstall, RunningServer, StopMode};
use super::os_user::OsUser;
use super::server::{PostgresServer, SlotName, parameters};
use crate::model::{NewServer, PostRestoreTask, PostgresMajor, ServerConfig, ServerName, ServerSpec};
use crate::port::{Claim, PortError, PortErrorKind, Provisioned, Provisioner, RestoreTarget, SourceProvider, Sources};

/// The replication slot that keeps a server's log until it is archived.
const SLOT: &str = "pitr";

/// A directory of this machine in which servers are made and run, each in a directory of its own below it that has its name. Clones are the same.
///
/// - A server runs with the settings that came with its data, below those that are [given](Self::setting); as the user `postgres` if this process runs
///   as root. What ties it to its source is cut, as [`DataDirectory`] does.
/// - It listens on a Unix socket in its data directory, and on a port of 127.0.0.1 that was free at its first start and that it keeps as long as nobody else takes it, where nobody may connect: like firewall rules, those of the source's `pg_hba.conf` are not
///   copied. They lie in `data/pg_hba.conf`; in force are those in `pg_hba.conf` beside `data`, which admit whoever reaches the socket.
/// - It ends, as in a crash, when all clones are dropped, or it is [stopped](Self::stop); [`start`](Self::start) starts it again, also in another process. One that outlived its process, is ended then.
///
/// It is also the way to the servers that it runs: a [`SourceProvider`], by the replication slot `pitr`.
#[derive(Clone, Debug)]
pub struct LocalProvisioner {
    root: PathBuf,
    installs: BTreeMap<PostgresMajor, PgInstall>,
    user: Option<OsUser>,
    role: String,
    settings: Vec<(String, String)>,
    running: Arc<Mutex<BTreeMap<ServerName, RunningServer>>>,
}

impl LocalProvisioner {
    /// Servers below the directory `root`, which is there, and open to the user who runs them. Installations of PostgreSQL are
    /// [discovered](PgInstall::discover).
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let (installs, settings) = (BTreeMap::new(), Vec::new());
        Self { root: root.into(), installs, user: None, role: "postgres".to_owned(), settings, running: Arc::default() }
    }

    /// Runs servers of its version with `install`.
    #[must_use]
    pub fn postgres(mut self, install: PgInstall) -> Self {
        self.installs.insert(install.major(), install);
        self
    }

    /// Runs servers as `user`, to whom everything belongs. Only root can.
    #[must_use]
    pub fn user(self, user: OsUser) -> Self {
        Self { user: Some(user), ..self }
    }

    /// Connects to servers as `role`, a superuser; `postgres` by default.
    #[must_use]
    pub fn role(self, role: impl Into<String>) -> Self {
        Self { role: role.into(), ..self }
    }

    /// Sets a configuration parameter of all servers, above what came with their data: what of that does not fit this machine.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// How the server `name` is reached, if it runs: a libpq connection string without a password.
    #[must_use]
    pub fn endpoint(&self, name: &ServerName) -> Option<String> {
        self.running().get(name).map(|server| self.endpoint_of(server))
    }

    /// Starts a server that was made here, and waits until it accepts writes. One that runs already, goes on.
    ///
    /// # Errors
    /// [`NotFound`](PortErrorKind::NotFound) if none was made; [`Unavailable`](PortErrorKind::Unavailable) if a restore is making it;
    /// [`Invalid`](PortErrorKind::Invalid) if it does not come up.
    pub async fn start(&self, spec: &ServerSpec) -> Result<(), PortError> {
        if self.running().contains_key(&spec.name) {
            return Ok(());
        }
        let place = self.place(&spec.name);
        let server = self.server(spec.postgres, &place)?;
        let (_lock, port) = blocking(move || Ok((place.enter()?, place.port()?))).await?;
        let running = server.on_loopback(port).start().await.map_err(LocalServerError::into_port)?;
        self.running().insert(spec.name.clone(), running);
        Ok(())
    }

    /// Stops a server, if it runs here.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub async fn stop(&self, name: &ServerName, mode: StopMode) -> Result<(), PortError> {
        let running = self.running().remove(name);
        match running {
            Some(server) => server.stop(mode).await.map_err(LocalServerError::into_port),
            None => Ok(()),
        }
    }

    /// Removes a server that was made here, with all of its data.
    ///
    /// # Errors
    /// If something is left.
    pub async fn remove(&self, name: &ServerName) -> Result<(), PortError> {
        self.stop(name, StopMode::Immediate).await?;
        let place = self.place(name);
        blocking(move || place.clear()).await
    }

    fn place(&self, name: &ServerName) -> Place {
        Place::new(self.root.join(name.as_str()))
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<ServerName, RunningServer>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server(&self, major: PostgresMajor, place: &Place) -> Result<LocalServer, PortError> {
        let install = match self.installs.get(&major) {
            Some(install) => install.clone(),
            None => PgInstall::discover(Some(major)).map_err(|error| {
                PortError::new(PortErrorKind::Denied, "the server cannot be started").caused_by(error)
            })?,
        };
        let server = LocalServer::new(install, place.data()).log(place.log());
        let server = match OsUser::to_run_as(self.user)? {
            Some(user) => server.user(user),
            None => server,
        };
        let server = server.setting("hba_file", place.hba().display().to_string());
        Ok(self.settings.iter().fold(server, |server, (name, value)| server.setting(name, value)))
    }

    fn endpoint_of(&self, server: &RunningServer) -> String {
        server.connection_string_as(&self.role)
    }
}

#[async_trait]
impl Provisioner for LocalProvisioner {
    async fn provision(&self, claim: &Claim, spec: &ServerSpec) -> Result<Box<dyn Provisioned>, PortError> {
        let (place, user) = (self.place(&claim.name), OsUser::to_run_as(self.user)?);
        let (server, data) = (self.server(spec.postgres, &place)?, DataDirectory::new(place.data()).delta());
        let restore = claim.restore.clone();
        let (lock, port) = blocking(move || Ok((place.take(&restore, user)?, place.port()?))).await?;
        let server = server.on_loopback(port);
        // It has ended.
        drop(self.running().remove(&claim.name));
        let data = Arc::new(match user {
            Some(user) => data.owner(user),
            None => data,
        });
        Ok(Box::new(Room { provisioner: self.clone(), name: claim.name.clone(), server, data, _lock: lock }))
    }

    async fn discard(&self, claim: &Claim) -> Result<(), PortError> {
        let (place, restore) = (self.place(&claim.name), claim.restore.clone());
        if blocking(move || place.is_claimed_by(&restore)).await? { self.remove(&claim.name).await } else { Ok(()) }
    }
}

#[async_trait]
impl SourceProvider for LocalProvisioner {
    async fn sources(&self, server: &ServerConfig) -> Result<Sources, PortError> {
        let name = &server.spec.name;
        let stopped = || PortError::new(PortErrorKind::Unavailable, format!("server {name} does not run here"));
        let endpoint = self.endpoint(name).ok_or_else(stopped)?;
        let slot: SlotName = SLOT.parse().expect("the constant is the name of a slot");
        let source = Arc::new(PostgresServer::new(config(&endpoint)?, slot));
        Ok(Sources::new(source.clone(), source))
    }
}

fn config(endpoint: &str) -> Result<Config, PortError> {
    endpoint
        .parse()
        .map_err(|error| PortError::new(PortErrorKind::Invalid, "a server cannot be reached").caused_by(error))
}

/// The place of a server that was taken.
#[derive(Debug)]
struct Room {
    provisioner: LocalProvisioner,
    name: ServerName,
    server: LocalServer,
    data: Arc<DataDirectory>,
    _lock: File,
}

#[async_trait]
impl Provisioned for Room {
    fn target(&self) -> Arc<dyn RestoreTarget> {
        Arc::clone(&self.data) as Arc<dyn RestoreTarget>
    }

    async fn start(&self) -> Result<NewServer, PortError> {
        let running = self.server.start().await.map_err(LocalServerError::into_port)?;
        self.data.finish_recovery().await?;
        let recovered = running.recovered().map_err(LocalServerError::into_port)?;
        let endpoint = self.provisioner.endpoint_of(&running);
        let mut server = NewServer::new(&*endpoint);
        server.parameters = Some(parameters(&config(&endpoint)?).await?);
        server.last_commit = recovered.and_then(|recovered| recovered.last_commit);
        self.provisioner.running().insert(self.name.clone(), running);
        Ok(server)
    }

    /// None: what there is to do, concerns others than the server, or is for its owner to judge.
    async fn perform(&self, _: &PostRestoreTask) -> Result<bool, PortError> {
        Ok(false)
    }
}
