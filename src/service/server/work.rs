//! The work for one server.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use futures::lock::Mutex;

use crate::engine::{
    ArchiveEvent, ArchiveSettings, Archiver, Compactor, Context, Error, ErrorKind, Observer, Result, ServerRepository,
    SnapshotSettings, Snapshotter, Sweeper, TestRestore, TestRestoreSettings, Verifier, VerifySettings,
};
use crate::model::{Change, Lease, ObjectKey, ServerConfig, SnapshotTrigger, Task, Timestamp};
use crate::plan::RestorePlan;
use crate::plan::retention::{Protections, RetentionPolicy, plan_retention};
use crate::port::{SnapshotSource, SourceProvider, Sources};
use crate::service::{BackupService, Happening, Outcome, Urgency};

/// What work takes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Workplace {
    pub(super) service: BackupService,
    /// The server, as it is under the lease.
    pub(super) server: ServerRepository,
    pub(super) provider: Arc<dyn SourceProvider>,
    pub(super) config: Arc<ServerConfig>,
    /// The packs that the last verification found damaged.
    pub(super) damaged: Arc<[ObjectKey]>,
    /// Held by whoever deletes, and by whoever decides what he needs.
    pub(super) deletions: Arc<Mutex<()>>,
    /// What a test restore reads.
    pub(super) trial: Arc<std::sync::Mutex<Option<Lease>>>,
}

impl Workplace {
    /// Does `task`, when its turn comes.
    pub(super) async fn work(self, task: Task, urgency: Urgency, trigger: SnapshotTrigger) -> Result<Outcome> {
        if task == Task::TestRestore {
            return self.test_restore(urgency.1).await;
        }
        let _permit = self.service.0.gate.enter(urgency).await;
        match task {
            Task::Snapshot => self.snapshot(trigger).await,
            Task::Retention => self.retention().await,
            Task::Compaction => self.compaction().await,
            Task::Verification => {
                let settings = VerifySettings::default().depth(self.service.0.settings.verify_depth);
                let verifier = Verifier::new(self.service.repository(), self.server.name());
                verifier.settings(settings).run().await.map(Outcome::Verification)
            }
            Task::LogBackup | Task::TestRestore => {
                Err(Error::new(ErrorKind::InvalidInput, format!("a {task} is not done here")))
            }
        }
    }

    async fn snapshot(&self, trigger: SnapshotTrigger) -> Result<Outcome> {
        let mut settings = SnapshotSettings::default().trigger(trigger).mistrust(self.damaged.iter().cloned());
        if let Some(compression) = self.service.0.settings.compression {
            settings = settings.compression(compression);
        }
        let files = self.sources().await?.files;
        let taken = Snapshotter::new(&self.server, Arc::clone(&files)).settings(settings).take().await?;
        // The snapshot is as good without them.
        if let Err(error) = self.note_parameters(&*files).await {
            self.service.0.announcer.tell(self.server.name(), Happening::Unreachable(Arc::new(error)));
        }
        Ok(Outcome::Snapshot(taken))
    }

    /// Records what the server runs with, if that is not what it ran with before.
    async fn note_parameters(&self, source: &dyn SnapshotSource) -> Result<()> {
        let parameters = source.parameters().await.context(|| "asking for the server's parameters")?;
        match parameters {
            Some(parameters) if self.server.config().await?.parameters.as_ref() != Some(&parameters) => {
                let house = self.service.repository().house()?;
                self.server.change(&house, Change::NoteParameters(parameters)).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    async fn retention(&self) -> Result<Outcome> {
        let _alone = self.deletions.lock().await;
        let (catalog, protections) = (self.server.inventory().await?.catalog, self.protections().await?);
        let plan = plan_retention(&catalog, &RetentionPolicy::of(&self.config), &protections, self.service.now());
        Sweeper::new(&self.server).run(&plan).await.map(Outcome::Retention)
    }

    async fn compaction(&self) -> Result<Outcome> {
        let _alone = self.deletions.lock().await;
        let protections = self.protections().await?;
        Compactor::new(&self.server).run(&protections).await.map(Outcome::Compaction)
    }

    async fn protections(&self) -> Result<Protections> {
        let mut protections = self.server.protections().await?;
        protections.leases.extend(self.trial_lease().clone());
        Ok(protections)
    }

    /// Restores an instant on trial, when the place is free that is `due` since. What it reads stays until it is over.
    async fn test_restore(&self, due: Timestamp) -> Result<Outcome> {
        let _permit = self.service.0.trials.enter(due).await;
        let missing = || Error::new(ErrorKind::InvalidInput, "there is no scratch place");
        let scratch = self.service.0.settings.scratch.clone().ok_or_else(missing)?;
        // Nothing is deleted until it is known what is read.
        let undisturbed = std::sync::Mutex::new(Some(Arc::clone(&self.deletions).lock_owned().await));
        let place = self.clone();
        let planned = Observer::new(move |plan: &RestorePlan| {
            *place.trial_lease() = Some(plan.lease("a test restore", Timestamp::MAX));
            drop(undisturbed.lock().unwrap_or_else(PoisonError::into_inner).take());
        });
        let settings = TestRestoreSettings::default().planned(planned);
        let proof = TestRestore::new(&self.server, scratch).settings(settings).run().await;
        *self.trial_lease() = None;
        proof.map(Outcome::TestRestore)
    }

    fn trial_lease(&self) -> MutexGuard<'_, Option<Lease>> {
        self.trial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Archives the server's log after `pause`, until `stop` is ready.
    pub(super) async fn archive(
        self,
        pause: Duration,
        events: UnboundedSender<ArchiveEvent>,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<()> {
        let mut stop = std::pin::pin!(stop);
        let pausing = self.service.clock().sleep(pause);
        if let futures::future::Either::Left(_) = futures::future::select(stop.as_mut(), pausing).await {
            return Ok(());
        }
        // Nobody listens any more: then it is ended soon.
        let observer = Observer::new(move |event: &ArchiveEvent| drop(events.unbounded_send(event.clone())));
        let settings = ArchiveSettings::default().cadence(self.config.schedule.log_backup_every).observer(observer);
        let bytes_max = self.config.schedule.log_backup_bytes.min(self.service.0.settings.log_bytes_max);
        let mut settings = settings.bytes_max(bytes_max);
        if let Some(compression) = self.service.0.settings.compression {
            settings = settings.compression(compression);
        }
        Archiver::new(&self.server, self.sources().await?.log).settings(settings).run(stop).await
    }

    async fn sources(&self) -> Result<Sources> {
        let sources = self.provider.sources(&self.config).await;
        sources.map_err(|error| {
            Error::new(error.kind().into(), format!("finding server {}", self.server.name())).caused_by(error)
        })
    }
}
