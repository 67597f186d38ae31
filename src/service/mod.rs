//! The managed server: what a control plane embeds.
//!
//! A [`BackupService`] protects a fleet of servers. Its calls create, configure, lock, hold and delete them, each once for each request, and say
//! what can be restored. [`BackupService::tend`] does the work: it archives the log of each server all the time, and takes snapshots, deletes what expired,
//! compacts and verifies as the server's [schedule](crate::plan::schedule) says. Several processes that tend share the servers.

mod event;
mod explain;
mod gate;
mod manage;
mod metrics;
mod server;
mod tend;
#[cfg_attr(feature = "tracing", path = "trace/enabled.rs")]
#[cfg_attr(not(feature = "tracing"), path = "trace/disabled.rs")]
mod trace;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::{self, UnboundedReceiver, UnboundedSender};

use self::event::Announcer;
pub use self::event::{Events, Happening, Outcome, ServiceEvent, Survey};
use self::gate::Gate;
pub use self::view::{RestorePoints, ServerStatus, ServerUsage};
use crate::engine::{Repository, VerifyDepth};
use crate::format::block::Compression;
use crate::model::{ServerName, Task, Timestamp};
use crate::port::{Provisioner, Scratch};

/// Whose work goes first: what comes first in the order of tasks, and then what was due first. So under load nothing is verified
/// while a snapshot is due anywhere.
type Urgency = (Task, Timestamp);

/// How a service works.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    lease: Duration,
    look_every: Duration,
    work_at_once: usize,
    log_bytes_max: u64,
    verify_depth: VerifyDepth,
    compression: Option<Compression>,
    provisioner: Option<Arc<dyn Provisioner>>,
    restores_at_once: usize,
    scratch: Option<Arc<dyn Scratch>>,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            look_every: Duration::from_secs(60),
            work_at_once: 2,
            log_bytes_max: 16 << 20,
            verify_depth: VerifyDepth::default(),
            compression: None,
            provisioner: None,
            restores_at_once: 1,
            scratch: None,
        }
    }
}

impl ServiceSettings {
    /// Within which time other processes take over from this one when it is dead: [`WorkerSettings::lease`](crate::engine::WorkerSettings::lease).
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// How often each server's configuration is looked at, for what other processes changed. A minute by default; a second at least. What this
    /// service is asked to change, it obeys at once.
    #[must_use]
    pub fn look_every(self, look_every: Duration) -> Self {
        Self { look_every: look_every.max(Duration::from_secs(1)), ..self }
    }

    /// For how many servers at once more is done than to archive: snapshots, retention, compaction and verification. 2 by default. What waits goes by
    /// urgency: all snapshots before all retention, and so on; of the same kind, what was due first.
    #[must_use]
    pub fn work_at_once(self, work_at_once: usize) -> Self {
        Self { work_at_once: work_at_once.max(1), ..self }
    }

    /// How many bytes of log are gathered for each server at most, whatever its schedule says; 16 MiB by default. While a server writes, up to three
    /// times as much memory is used for it.
    #[must_use]
    pub fn log_bytes_max(self, log_bytes_max: u64) -> Self {
        Self { log_bytes_max: log_bytes_max.max(1), ..self }
    }

    /// How thoroughly servers are verified; fully by default.
    #[must_use]
    pub fn verify_depth(self, verify_depth: VerifyDepth) -> Self {
        Self { verify_depth, ..self }
    }

    /// Where new servers come from. Unless it is set, restores that make some wait for a process that knows. Processes that share the servers share
    /// what this makes, too: one may have to go on with, or to remove, what another one began.
    #[must_use]
    pub fn provisioner(self, provisioner: Arc<dyn Provisioner>) -> Self {
        Self { provisioner: Some(provisioner), ..self }
    }

    /// How many restores that make new servers go on at once, of all servers; 1 by default. What was ordered first, goes first.
    #[must_use]
    pub fn restores_at_once(self, restores_at_once: usize) -> Self {
        Self { restores_at_once: restores_at_once.max(1), ..self }
    }

    /// Where servers are restored on trial, one at a time, as their [schedules](crate::model::ScheduleSettings::test_restore_every) say. Unless it is set, that is left to a
    /// process that has a place.
    #[must_use]
    pub fn scratch(self, scratch: Arc<dyn Scratch>) -> Self {
        Self { scratch: Some(scratch), ..self }
    }

    /// How log and snapshots are compressed: by default each as suits it.
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        Self { compression: Some(compression), ..self }
    }
}

/// Protects a fleet of servers in one repository. Cheap to clone; clones are the same service.
///
/// Calls can be made whether or not this process [tends](Self::tend), and by any number of processes: those that change a server come one after the other.
///
/// ```
/// use std::sync::Arc;
/// use pitr::engine::{Error, Repository};
/// use pitr::model::{Caller, Change, ServerSpec};
/// use pitr::plan::{RestoreRequest, Target};
/// use pitr::port::SourceProvider;
/// use pitr::service::{BackupService, ServiceSettings};
/// # use pitr::model::RequestId;
/// # fn draw() -> RequestId { unimplemented!() }
///
/// /// Protects a server, and does the work for it and all others, until `stop` is ready.
/// async fn serve(
///     repository: Repository,
///     provider: Arc<dyn SourceProvider>,
///     spec: ServerSpec,
///     stop: impl Future<Output = ()> + Send,
/// ) -> Result<(), Error> {
///     let service = BackupService::new(repository, ServiceSettings::default());
///     let server = spec.name.clone();
///     service.create(&Caller::new("ops", draw()), spec).await?;
///     service.tend(provider, stop).await?;
///     println!("{}", service.status(&server).await?.health);
///     match service.estimate(&server, &RestoreRequest::new(Target::Latest)).await? {
///         Ok(plan) => println!("{plan}"),
///         Err(refusal) => println!("{refusal}"),
///     }
///     service.change(&server, &Caller::new("ops", draw()), Change::Pause).await.map(drop)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct BackupService(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    repository: Repository,
    settings: ServiceSettings,
    announcer: Announcer,
    gate: Gate<Urgency>,
    restores: Gate<Timestamp>,
    trials: Gate<Timestamp>,
    /// Whom to tell that a server was changed, of those that are tended here.
    bells: Mutex<BTreeMap<ServerName, UnboundedSender<()>>>,
}

impl BackupService {
    /// A service for the servers of `repository`.
    #[must_use]
    pub fn new(repository: Repository, settings: ServiceSettings) -> Self {
        let (gate, restores) = (Gate::new(settings.work_at_once), Gate::new(settings.restores_at_once));
        let (announcer, bells, trials) = (Announcer::default(), Mutex::default(), Gate::new(1));
        Self(Arc::new(Shared { repository, settings, announcer, gate, restores, trials, bells }))
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.0.repository
    }

    /// What happens from now on, in this process.
    #[must_use]
    pub fn subscribe(&self) -> Events {
        self.0.announcer.subscribe()
    }

    /// Tells whoever tends the server that it was changed.
    fn ring(&self, server: &ServerName) {
        let bells = self.0.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(server) {
            // Nobody listens any more: then it is tended no longer.
            drop(bell.unbounded_send(()));
        }
    }

    /// It is not tended here any more.
    fn unhang(&self, server: &ServerName) {
        self.0.bells.lock().unwrap_or_else(PoisonError::into_inner).remove(server);
    }

    /// Rings whenever the server was changed by this service.
    fn bell(&self, server: &ServerName) -> UnboundedReceiver<()> {
        let (bell, rings) = mpsc::unbounded();
        self.0.bells.lock().unwrap_or_else(PoisonError::into_inner).insert(server.clone(), bell);
        rings
    }
}
