//! Workers: processes that share the servers of a repository.
//!
//! Each worker has a **heartbeat** in the storage, which it replaces again and again, and which others may replace for good once they have not
//! seen it change for long enough. Each server has a **lease** for each [`Role`], which says whose it is; it is free as soon as that worker's
//! heartbeat has ended. So what a lease costs does not grow with the number of servers.

mod fence;
mod lease;
mod peers;
mod pulse;
mod survey;
mod tend;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::{TryStreamExt, stream};

use self::fence::Hold;
pub use self::lease::ServerLease;
use self::peers::{News, Peers};
use self::pulse::{Pulse, Times};
use super::error::{Context, Error, ErrorKind, Result};
use super::inventory::READS_IN_FLIGHT;
use super::names;
use super::progress::Observer;
use super::repository::Repository;
use crate::format::layout;
use crate::format::record::LeaseRecord;
use crate::model::{Role, ServerName, WorkerId};
use crate::port::{Clock, PortError, PutMode, Storage, StorageExt, Version};

const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE_MAX: Duration = Duration::from_secs(60 * 60);

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    lease: Duration,
    observer: Observer<WorkerEvent>,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self { lease: Duration::from_secs(60), observer: Observer::default() }
    }
}

impl WorkerSettings {
    /// Within which time others take over from this worker when it is dead. A minute by default; a second at least, an hour at most. A sixth of it
    /// is how often a worker writes its heartbeat and looks at those of the others.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease: lease.clamp(LEASE_MIN, LEASE_MAX), ..self }
    }

    /// Who is told of everything that happens.
    #[must_use]
    pub fn observer(self, observer: Observer<WorkerEvent>) -> Self {
        Self { observer, ..self }
    }
}

/// What a [`Worker`] tells of.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// It has the lease on this server, with this token.
    #[non_exhaustive]
    Took {
        /// The server.
        server: ServerName,
        /// The fencing token.
        token: u64,
    },
    /// It gave the lease on this server back.
    Released(ServerName),
    /// It could not have the lease on this server, though nobody else seems to have it, or not give it back. It tries again.
    #[non_exhaustive]
    Failed {
        /// The server.
        server: ServerName,
        /// Why.
        error: Error,
    },
    /// The storage could not be reached. It tries again.
    Unreachable(Error),
    /// This worker was silent for too long, and has ended: others may take over from it.
    TakenForDead(WorkerId),
}

/// One of several processes that do the same kind of work for the servers of a repository.
///
/// It is alive as long as [`keep`](Self::keep) or [`tend`](Self::tend) is polled. No clock is compared with that of another machine: a worker is
/// dead when others have not seen its heartbeat change for long enough, each by a clock of its own.
///
/// ```
/// use pitr::engine::{Archiver, Error, Repository, ServerLease, Worker, WorkerSettings};
/// # use pitr::{model::{Role, ServerName}, port::WalSource};
/// # use std::sync::Arc;
/// # fn source_of(server: &ServerName) -> Arc<dyn WalSource> { unimplemented!("{server}") }
///
/// /// Archives the log of as many servers as every other process that does this, until `stop` is ready.
/// async fn archive(repository: &Repository, stop: impl Future<Output = ()> + Send) -> Result<(), Error> {
///     let worker = Worker::join(repository, Role::Archiver, WorkerSettings::default()).await?;
///     let archive = async |lease: ServerLease| {
///         let archiver = Archiver::new(lease.server(), source_of(lease.server().name()));
///         if let Err(error) = archiver.run(lease.ended()).await {
///             eprintln!("{}: {error}; it is begun anew a little later", lease.server().name());
///         }
///     };
///     worker.tend(archive, stop).await
/// }
/// ```
#[derive(Debug)]
pub struct Worker {
    repository: Repository,
    role: Role,
    id: WorkerId,
    settings: WorkerSettings,
    times: Times,
    pulse: Arc<Pulse>,
    peers: Mutex<Peers>,
    held: Mutex<BTreeMap<ServerName, Weak<Hold>>>,
    /// What this worker may have leases on without knowing: nobody told whether it got them.
    doubtful: Mutex<BTreeSet<ServerName>>,
}

impl Worker {
    /// Joins those who work as `role` for the servers of `repository`.
    ///
    /// # Errors
    /// If the storage cannot be written.
    pub async fn join(repository: &Repository, role: Role, settings: WorkerSettings) -> Result<Self> {
        let (environment, storage) = (&repository.environment, Arc::clone(&repository.storage));
        let name = names::draw(&*environment.entropy, environment.clock.now())?;
        let id: WorkerId = name.parse().expect("digits and letters joined by a dash are a worker ID");
        let (key, clock) = (layout::heartbeat(role, &id), Arc::clone(&environment.clock));
        let pulse = Pulse::begin(storage, clock, key.clone(), settings.lease).await;
        let pulse = Arc::new(pulse.context(|| format!("storing {key}"))?);
        let times = Times::of(settings.lease);
        let (repository, peers, held, doubtful) =
            (repository.clone(), Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { repository, role, id, settings, times, pulse, peers, held, doubtful })
    }

    /// Its name, which no other worker has or ever had.
    #[must_use]
    pub const fn id(&self) -> &WorkerId {
        &self.id
    }

    /// What it does.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Keeps the worker alive, and looks at the others, until it is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] if others have taken it for dead: then it is, and another one may join. While the storage cannot be reached, it
    /// tries.
    pub async fn keep(&self) -> Result<Infallible> {
        loop {
            if let Err(error) = self.round().await {
                let error =
                    Error::new(error.kind().into(), format!("keeping worker {} alive", self.id)).caused_by(error);
                if error.kind() == ErrorKind::Fenced {
                    self.tell(WorkerEvent::TakenForDead(self.id.clone()));
                    return Err(error);
                }
                self.tell(WorkerEvent::Unreachable(error));
            }
            self.clock().sleep(self.times.beat).await;
        }
    }

    /// One heartbeat, and one look at those of the others.
    async fn round(&self) -> Result<(), PortError> {
        self.pulse.beat().await?;
        self.look().await
    }

    /// Looks who lives, and ends those who have been silent for too long.
    async fn look(&self) -> Result<(), PortError> {
        let begun = self.clock().elapsed();
        let listed = self.listed().await?;
        let ended = self.clock().elapsed();
        let news = self.peers().look(listed, begun, ended, self.times.beat);
        let news = stream::iter(news.into_iter().map(Ok));
        news.try_for_each_concurrent(READS_IN_FLIGHT, |news| self.learn(news)).await
    }

    async fn learn(&self, news: News) -> Result<(), PortError> {
        match news {
            News::Unknown(id) => self.meet(id).await,
            News::Silent(id, version) => self.end(id, version).await,
        }
    }

    /// The heartbeats of the others, and their versions.
    async fn listed(&self) -> Result<BTreeMap<WorkerId, Version>, PortError> {
        let (directory, mut others) = (layout::workers(self.role), BTreeMap::new());
        let mut listing = self.storage().list(Some(&directory), None);
        while let Some(object) = listing.try_next().await? {
            let Some(id) = object.key.name().parse().ok().filter(|id| *id != self.id) else { continue };
            let version = match object.version {
                None => self.storage().head(&object.key).await?.version,
                version => version,
            };
            others.extend(version.map(|version| (id, version)));
        }
        Ok(others)
    }

    async fn meet(&self, id: WorkerId) -> Result<(), PortError> {
        let key = layout::heartbeat(self.role, &id);
        match pulse::read(self.storage(), &key).await? {
            None => {}
            // Whoever ended it did not get to that.
            Some((Some(heartbeat), _)) if heartbeat.ended => self.storage().delete(&key).await?,
            Some((heartbeat, version)) => {
                let lease = heartbeat.map(|heartbeat| Duration::from_millis(heartbeat.lease_millis));
                let lease = lease.unwrap_or(self.settings.lease).clamp(LEASE_MIN, LEASE_MAX);
                let at = self.clock().elapsed();
                self.peers().meet(id, version, at, lease);
            }
        }
        Ok(())
    }

    async fn end(&self, id: WorkerId, version: Version) -> Result<(), PortError> {
        let key = layout::heartbeat(self.role, &id);
        if pulse::end(self.storage(), &key, version).await? {
            self.peers().forget(&id);
            self.storage().delete(&key).await?;
        }
        Ok(())
    }

    /// This worker, and those others of whom it does not know that they are dead.
    fn living(&self) -> BTreeSet<WorkerId> {
        self.peers().ids().chain([&self.id]).cloned().collect()
    }

    /// Takes the lease on the server `name`; `None` if somebody else has it who lives, or this worker has it already.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] if this worker has ended; those of [`Repository::server`]; or if the storage fails. Then this worker may have the
    /// lease all the same, and can take it again.
    pub async fn acquire(&self, name: &ServerName) -> Result<Option<ServerLease>> {
        self.pulse.ensure().await.context(|| format!("taking the lease on server {name}"))?;
        let Some(hold) = self.begin_hold(name) else { return Ok(None) };
        let server = self.repository.server(name).await?;
        let key = server.layout.lease(self.role);
        let found = server.find_record::<LeaseRecord>(&key).await?;
        let (token, mode) = match found {
            None => (1, PutMode::Create),
            Some((LeaseRecord { worker: Some(holder), .. }, _)) if self.lives(&holder).await? => return Ok(None),
            Some((LeaseRecord { token, .. }, mode)) => (token.saturating_add(1), mode),
        };
        self.doubtful().insert(name.clone());
        let lease = LeaseRecord::new(token, Some(self.id.clone()));
        match server.write_record(&key, &lease, mode).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(error) => Err(error),
            Ok(version) => {
                self.doubtful().remove(name);
                Ok(Some(ServerLease::new(server, hold, key, token, version)))
            }
        }
    }

    /// Gives back the lease on the server `name`, if this worker has it without knowing.
    async fn disclaim(&self, name: &ServerName) -> Result<()> {
        let server = self.repository.server(name).await?;
        let key = server.layout.lease(self.role);
        match server.find_record::<LeaseRecord>(&key).await? {
            Some((LeaseRecord { token, worker: Some(holder) }, mode))
                if holder == self.id && !is_held(&self.held(), name) =>
            {
                server.write_record(&key, &LeaseRecord::new(token, None), mode).await?;
            }
            _ => {}
        }
        self.doubtful().remove(name);
        Ok(())
    }

    /// Leaves: all leases of this worker are over, and others can have them at once.
    ///
    /// # Errors
    /// If the storage fails: then the others have to wait until they take it for dead.
    pub async fn leave(&self) -> Result<()> {
        self.pulse.leave().await.context(|| format!("ending worker {}", self.id))
    }

    /// What is to become a lease on the server `name`; `None` if this worker has one, or is about to.
    fn begin_hold(&self, name: &ServerName) -> Option<Arc<Hold>> {
        let mut held = self.held();
        if is_held(&held, name) {
            return None;
        }
        let hold = Arc::new(Hold::new(Arc::clone(&self.pulse)));
        held.insert(name.clone(), Arc::downgrade(&hold));
        Some(hold)
    }

    /// Whether `holder` may be at work: one who was not seen yet, or is this worker itself, counts as dead if it has no heartbeat.
    async fn lives(&self, holder: &WorkerId) -> Result<bool> {
        if *holder == self.id {
            return Ok(false);
        }
        let heartbeat = layout::heartbeat(self.role, holder);
        let is_known = self.peers().knows(holder);
        Ok(is_known || self.storage().exists(&heartbeat).await.context(|| format!("looking for {heartbeat}"))?)
    }

    fn storage(&self) -> &dyn Storage {
        &*self.repository.storage
    }

    fn clock(&self) -> &dyn Clock {
        &*self.repository.environment.clock
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<ServerName, Weak<Hold>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doubtful(&self) -> MutexGuard<'_, BTreeSet<ServerName>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: WorkerEvent) {
        self.settings.observer.tell(&event);
    }
}

fn is_held(held: &BTreeMap<ServerName, Weak<Hold>>, name: &ServerName) -> bool {
    held.get(name).and_then(Weak::upgrade).is_some_and(|hold| !hold.is_released())
}
