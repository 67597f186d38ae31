//! A restore that makes a new server, from its order to its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::work::Workplace;
use crate::engine::{Context, Error, ErrorKind, Observer, Progress, Restore, RestoreSettings, Result};
use crate::model::{
    Caller, Change, FollowUp, NewServer, OrderPhase, Parameters, PostRestoreTask, RestoreOrder, RestoreOutcome,
    RestoreRun, ServerConfig, ServerSpec, Target, Timestamp,
};
use crate::plan::post_restore::{PostRestoreOptions, post_restore_tasks};
use crate::plan::{RestorePlan, RestoreRequest};
use crate::port::{Claim, Provisioned, Provisioner, PutMode, explain};
use crate::service::Happening;

/// How often a restore is tried that fails in passing.
const ATTEMPTS_MAX: u32 = 5;
/// How long to wait at first before it is gone on with, and at most.
const RETRY: Duration = Duration::from_secs(30);
const RETRY_MAX: Duration = Duration::from_secs(60 * 60);
/// Progress is told when so much of the whole was done since: one in a hundred.
const STEPS: u64 = 100;

/// Carries one restore out, or undoes it.
pub(super) struct Job {
    place: Workplace,
    order: RestoreOrder,
    claim: Claim,
    provisioner: Arc<dyn Provisioner>,
}

/// What is noted of it, and how to replace that.
struct Noted {
    run: RestoreRun,
    mode: PutMode,
}

impl Job {
    pub(super) fn new(place: Workplace, order: RestoreOrder, provisioner: Arc<dyn Provisioner>) -> Self {
        let claim = Claim::new(order.id.clone(), order.spec.name.clone());
        Self { place, order, claim, provisioner }
    }

    /// Until it is over: the new server is protected, or nothing of it is left. Or until it turns out that it was cancelled, and is to be begun anew.
    pub(super) async fn run(self) {
        let mut pause = RETRY;
        while let Err(error) = self.go_on().await {
            self.tell(Happening::Unreachable(Arc::new(error)));
            self.place.service.clock().sleep(pause).await;
            pause = pause.saturating_mul(2).min(RETRY_MAX);
        }
    }

    /// Goes on from wherever it is.
    async fn go_on(&self) -> Result<()> {
        let (run, mode) = self.place.server.restore_run(&self.order).await?;
        let mut noted = Noted { run, mode };
        match self.order.phase {
            OrderPhase::Cancelled { .. } => noted.run.outcome = Some(RestoreOutcome::Cancelled),
            // It was noted, and that is lost: what is there is not made again, or removed.
            OrderPhase::Made if noted.run.outcome.is_none() => noted.run.outcome = Some(lost()),
            OrderPhase::Made | OrderPhase::Ordered => {}
        }
        if noted.run.outcome.is_none() {
            let outcome = self.try_to_make(&mut noted).await?;
            noted.run.outcome = Some(outcome);
            self.note(&mut noted).await?;
        }
        if let Some(RestoreOutcome::Made(_)) = noted.run.outcome {
            if self.is_cancelled().await? {
                return Ok(());
            }
            self.protect(&mut noted).await?;
        }
        self.end(noted).await
    }

    /// Makes the server; what it comes to, unless it is to be tried again.
    async fn try_to_make(&self, noted: &mut Noted) -> Result<RestoreOutcome> {
        let error = match self.make(noted).await {
            Ok(server) => return Ok(RestoreOutcome::Made(server)),
            Err(error) => error,
        };
        noted.run.failures += 1;
        noted.run.failure = Some(explain(&error));
        match error.kind() {
            ErrorKind::Fenced => Err(error),
            ErrorKind::Unavailable | ErrorKind::Denied | ErrorKind::NoSpace if noted.run.failures < ATTEMPTS_MAX => {
                self.note(noted).await?;
                Err(error)
            }
            _ => Ok(RestoreOutcome::Failed(explain(&error))),
        }
    }

    async fn make(&self, noted: &mut Noted) -> Result<NewServer> {
        let service = &self.place.service;
        service.repository().ensure_new(&self.claim.name).await?;
        let _permit = service.0.restores.enter(self.order.at).await;
        let plan = self.plan(noted).await?;
        let config = self.config_of(&plan, noted).await?;
        let source = self.source_at(&plan).await?;
        self.tasks(&source, &plan, &config.spec, None)?;
        let provisioned = self.provisioner.provision(&self.claim, &config.spec).await;
        let provisioned = provisioned.context(|| format!("finding a place for server {}", self.claim.name))?;
        let mut server = self.fill(plan.clone(), &*provisioned).await?;
        let tasks = self.tasks(&source, &plan, &config.spec, server.parameters.as_ref())?;
        server.tasks = perform(&*provisioned, tasks).await?;
        Ok(server)
    }

    /// Plans, and sees to it that what the plan needs stays. Nothing is deleted meanwhile.
    async fn plan(&self, noted: &mut Noted) -> Result<RestorePlan> {
        let server = &self.place.server;
        let _undisturbed = self.place.deletions.lock().await;
        let mut catalog = server.inventory().await?.catalog;
        let request = server.calibrated(RestoreRequest::from(&self.order.spec)).await?;
        let planned = server.plan(&mut catalog, &request).await?;
        let plan = planned.map_err(|refusal| {
            Error::new(ErrorKind::InvalidInput, format!("{} cannot be restored", self.order.spec.target))
                .caused_by(refusal)
        })?;
        let holder = format!("restore {} as {}", self.order.id, self.claim.name);
        noted.run.lease = Some(plan.lease(holder, Timestamp::MAX));
        noted.run.route = Some(plan.route());
        self.note(noted).await?;
        if server.is_expiring(&plan.snapshot().id).await? {
            let context = format!("snapshot {} was just about to be deleted", plan.snapshot().id);
            return Err(Error::new(ErrorKind::Unavailable, context));
        }
        Ok(plan)
    }

    /// What the new server is: what the source was when its restore began, with the PostgreSQL that the data are of.
    async fn config_of(&self, plan: &RestorePlan, noted: &mut Noted) -> Result<ServerConfig> {
        let mut config = self.noted_config(&noted.run).await?;
        config.spec.postgres = plan.incarnation().major;
        noted.run.server = Some(config.clone());
        self.note(noted).await?;
        Ok(config)
    }

    /// As it was noted, or else as the source is now.
    async fn noted_config(&self, run: &RestoreRun) -> Result<ServerConfig> {
        match &run.server {
            Some(config) => Ok(config.clone()),
            None => Ok(self.place.server.config().await?.restored_as(self.claim.name.clone())),
        }
    }

    /// What the source was at the instant that is restored; what it is, if that is forgotten.
    async fn source_at(&self, plan: &RestorePlan) -> Result<ServerConfig> {
        let at = instant_of(plan).unwrap_or_else(|| self.place.service.now());
        match self.place.server.config_at(at).await? {
            Some(change) => Ok(change.config),
            None => self.place.server.config().await,
        }
    }

    /// What there is to do, compared with what the source was. Of a new server that runs with `parameters`, only those are to be set that it does not have.
    fn tasks(
        &self,
        source: &ServerConfig,
        plan: &RestorePlan,
        restored: &ServerSpec,
        parameters: Option<&Parameters>,
    ) -> Result<Vec<PostRestoreTask>> {
        let mut options = PostRestoreOptions::new().with_data_bytes(plan.snapshot().logical_bytes);
        options.replaces_original = self.order.spec.replaces_original;
        let others = parameters.cloned().unwrap_or_default();
        options.server_parameters = source.parameters.as_ref().map(|parameters| parameters.not_in(&others));
        let source = ServerSpec { postgres: restored.postgres, ..source.spec.clone() };
        post_restore_tasks(&source, restored, &options).map_err(|unfit| {
            Error::new(ErrorKind::InvalidInput, format!("{} cannot be made", self.claim.name)).caused_by(unfit)
        })
    }

    /// Restores, and starts the server while its log is fed.
    async fn fill(&self, plan: RestorePlan, provisioned: &dyn Provisioned) -> Result<NewServer> {
        let settings = RestoreSettings::default().observer(self.observer());
        let restore = Restore::new(&self.place.server, plan, provisioned.target()).settings(settings);
        let starting = || format!("starting server {}", self.claim.name);
        restore.run().await?.run_beside(async { provisioned.start().await.context(starting) }).await
    }

    /// From here on it cannot be cancelled; unless it was.
    async fn is_cancelled(&self) -> Result<bool> {
        let confirmed = self.change(Change::ConfirmRestore { restore: self.order.id.clone() }).await;
        match confirmed {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(true),
            confirmed => confirmed.map(|()| false),
        }
    }

    /// Protects the new server: its first snapshot is due at once. If that cannot be, it is not kept.
    async fn protect(&self, noted: &mut Noted) -> Result<()> {
        if self.is_protected().await? {
            return Ok(());
        }
        let caller = Caller::new(self.order.by.clone(), self.order.id.clone());
        let config = self.noted_config(&noted.run).await?;
        match self.place.service.create(&caller, config).await {
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::InvalidInput) => {
                noted.run.outcome = Some(RestoreOutcome::Failed(explain(&error)));
                self.note(noted).await
            }
            created => created.map(drop),
        }
    }

    /// Whether the new server is, by this very restore.
    async fn is_protected(&self) -> Result<bool> {
        match self.place.service.repository().server(&self.claim.name).await {
            Ok(server) => Ok(server.change_of(&self.order.id).await?.is_some()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn end(&self, mut noted: Noted) -> Result<()> {
        let is_made = matches!(noted.run.outcome, Some(RestoreOutcome::Made(_)));
        if !is_made && self.is_protected().await? {
            // Whatever was noted: what is protected is never removed.
            noted.run.outcome = Some(lost());
        } else if !is_made {
            let discarded = self.provisioner.discard(&self.claim).await;
            discarded.context(|| format!("removing what there is of server {}", self.claim.name))?;
        }
        noted.run.lease = None;
        noted.run.ended_at = Some(self.place.service.now());
        self.note(&mut noted).await?;
        match self.change(Change::EndRestore { restore: self.order.id.clone() }).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            ended => ended?,
        }
        self.tell(Happening::Restored(Arc::new(noted.run)));
        Ok(())
    }

    /// What whoever was given up had still under way, may come first: then this is gone on with from there.
    async fn note(&self, noted: &mut Noted) -> Result<()> {
        let replaced = self.place.server.note_restore(&noted.run, noted.mode.clone()).await;
        noted.mode = replaced.map_err(|error| match error.kind() {
            ErrorKind::Conflict => Error::new(ErrorKind::Unavailable, "something else was noted").caused_by(error),
            _ => error,
        })?;
        Ok(())
    }

    async fn change(&self, change: Change) -> Result<()> {
        let house = self.place.service.repository().house()?;
        self.place.server.change(&house, change).await.map(drop)
    }

    fn observer(&self) -> Observer<Progress> {
        let (service, server) = (self.place.service.clone(), self.place.server.name().clone());
        let (restore, last) = (self.order.id.clone(), Mutex::new((0, 0)));
        Observer::new(move |progress: &Progress| {
            let step = (progress.bytes_total, progress.bytes.saturating_mul(STEPS) / progress.bytes_total.max(1));
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if *last != step {
                *last = step;
                service.0.announcer.tell(&server, Happening::Restoring(restore.clone(), *progress));
            }
        })
    }

    fn tell(&self, what: Happening) {
        self.place.service.0.announcer.tell(self.place.server.name(), what);
    }
}

/// All that is known of a server of which the record is damaged.
fn lost() -> RestoreOutcome {
    RestoreOutcome::Made(NewServer::new("not known, as its record was damaged"))
}

/// The instant that a plan restores, if it is known before.
fn instant_of(plan: &RestorePlan) -> Option<Timestamp> {
    match plan.target() {
        Target::Time { at, .. } => Some(*at),
        Target::Earliest | Target::Snapshot(_) => Some(plan.snapshot().consistent_at),
        Target::Latest | Target::Lsn(_) | Target::Xid { .. } | Target::RestorePoint(_) => None,
    }
}

/// Does what can be done. The first snapshot is due as soon as the server is protected.
async fn perform(provisioned: &dyn Provisioned, tasks: Vec<PostRestoreTask>) -> Result<Vec<FollowUp>> {
    let mut performed = Vec::new();
    for task in tasks {
        let done = task == PostRestoreTask::TakeFirstSnapshot
            || provisioned.perform(&task).await.context(|| format!("after the restore: {task}"))?;
        performed.push(FollowUp::new(task, done));
    }
    Ok(performed)
}
