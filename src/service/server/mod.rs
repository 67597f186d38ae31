//! One server, as long as this process has the lease on it.

mod facts;
mod restore;
mod restores;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
use futures::channel::oneshot;
use futures::future::{self, BoxFuture, Fuse, FusedFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, select_biased};

pub(super) use self::facts::facts_of;
use self::facts::{Lane, archived, configure, survey_of};
use self::restores::Restores;
use self::work::Workplace;
use super::{BackupService, Happening, Outcome, Survey};
use crate::engine::{ArchiveEvent, Error, ErrorKind, Result, ServerLease, ServerRepository, VerifyReport};
use crate::format::layout::{ObjectKind, kind_of};
use crate::format::record::RunLog;
use crate::model::{RestoreProof, ServerConfig, Snapshot, SnapshotTrigger, Task, TaskFacts, TaskRun, Timestamp};
use crate::plan::retention::RetentionPolicy;
use crate::plan::schedule::{DueReason, DueTask, Schedule, ScheduleFacts};
use crate::port::SourceProvider;

/// How many packs are remembered that are damaged.
const DAMAGED_MAX: usize = 1000;
/// How long to wait before a server is opened again that could not be.
const RETRY: Duration = Duration::from_secs(30);

/// Tends the server of `lease` until that ends, or the server is gone.
pub(super) async fn tend(service: &BackupService, lease: ServerLease, provider: Arc<dyn SourceProvider>) {
    let (name, mut ended) = (lease.server().name().clone(), lease.ended().boxed().fuse());
    service.0.announcer.tell(&name, Happening::Taken(lease.token()));
    while !ended.is_terminated() {
        let tended = match Tender::open(service, lease.server(), Arc::clone(&provider)).await {
            Ok(mut tender) => {
                let tended = tender.run(&mut ended).await;
                tender.finish().await;
                tended
            }
            Err(error) => Err(error),
        };
        let Err(error) = tended else { break };
        let (is_gone, is_rotated) = (service.is_gone(&name).await, error.kind() == ErrorKind::Conflict);
        service.0.announcer.tell(&name, Happening::Unreachable(Arc::new(error)));
        // Of one that was just being deleted, something may be left, and nobody else can take it. With another key, it takes another lease.
        let is_over = if is_gone { service.bury(&name).await } else { is_rotated };
        if is_over {
            break;
        }
        future::select(&mut ended, service.clock().sleep(RETRY)).await;
    }
    service.unhang(&name);
    service.0.announcer.tell(&name, Happening::Left);
}

/// A run of a task that has ended.
struct Ended {
    task: Task,
    started: Timestamp,
    /// When that snapshot was asked for that this one is, if it was.
    asked: Option<Timestamp>,
    result: Result<Outcome>,
}

/// Whoever tends one server.
struct Tender {
    place: Workplace,
    created_at: Timestamp,
    schedule: Schedule,
    runs: RunLog,
    facts: ScheduleFacts,
    /// The last one that can be restored, or will be.
    snapshot: Option<Snapshot>,
    survey: Survey,
    /// Ends the archiver when it is dropped.
    stop: Option<oneshot::Sender<()>>,
    archiver: Fuse<BoxFuture<'static, Result<()>>>,
    /// What is done beside.
    working: FuturesUnordered<BoxFuture<'static, Ended>>,
    busy: BTreeSet<Lane>,
    restores: Restores,
    events: (UnboundedSender<ArchiveEvent>, UnboundedReceiver<ArchiveEvent>),
    bell: UnboundedReceiver<()>,
    /// When to look whether the server was changed.
    look_at: Duration,
    /// Whether the catalog has changed since it was read.
    is_stale: bool,
}

impl Tender {
    async fn open(
        service: &BackupService,
        server: &ServerRepository,
        provider: Arc<dyn SourceProvider>,
    ) -> Result<Self> {
        // Before it is read: so no change is missed.
        let bell = service.bell(server.name());
        let record = server.versioned_record().await?.0;
        let (created_at, config) = (record.created_at, Arc::new(record.latest.config));
        let runs = server.run_log().await?;
        let damaged = runs.damaged.clone().into();
        let (service, server) = (service.clone(), server.clone());
        let (deletions, trial) = Default::default();
        let place = Workplace { service, server, provider, config, damaged, deletions, trial };
        let mut tender = Self {
            created_at,
            schedule: schedule_of(&place.config)?,
            runs,
            facts: ScheduleFacts::new(created_at),
            snapshot: None,
            survey: Survey::default(),
            stop: None,
            archiver: Fuse::terminated(),
            working: FuturesUnordered::new(),
            busy: BTreeSet::new(),
            restores: Restores::default(),
            events: mpsc::unbounded(),
            bell,
            look_at: Duration::ZERO,
            is_stale: false,
            place,
        };
        tender.survey().await?;
        Ok(tender)
    }

    /// Until `ended` is ready, or the server is gone; an error if it has to be opened anew.
    async fn run(&mut self, ended: &mut (impl FusedFuture<Output = ()> + Send + Unpin)) -> Result<()> {
        loop {
            if self.place.config.deletion.is_some() && self.bury().await? {
                return Ok(());
            }
            self.begin_archiver();
            self.begin_due();
            self.restores.heed(&self.place);
            let mut pause = self.place.service.clock().sleep(self.pause()).fuse();
            let mut looked = false;
            select_biased! {
                () = &mut *ended => return Ok(()),
                end = self.working.select_next_some() => self.note(end).await?,
                archived = &mut self.archiver => self.note_archiver(archived),
                event = self.events.1.select_next_some() => self.note_log(event),
                restore = self.restores.going.select_next_some() => {
                    self.restores.note(&restore);
                    looked = true;
                }
                () = self.bell.select_next_some() => looked = true,
                () = pause => looked = self.place.service.clock().elapsed() >= self.look_at,
            }
            if looked {
                let seen = self.look().await;
                self.pardon(seen)?;
            }
            if self.is_stale && looked {
                let surveyed = self.survey().await;
                self.pardon(surveyed)?;
            }
        }
    }

    async fn finish(mut self) {
        if let Some(ended) = self.halt().await {
            self.note_archiver(ended);
        }
    }

    /// Ends the archiver in good order, which stores what it has, and says how that ended; all else is dropped.
    async fn halt(&mut self) -> Option<Result<()>> {
        self.working.clear();
        self.restores.leave();
        self.stop = None;
        if self.archiver.is_terminated() { None } else { Some((&mut self.archiver).await) }
    }

    /// Archives, if that is wanted and not done.
    fn begin_archiver(&mut self) {
        if self.facts.paused {
            self.stop = None;
            return;
        }
        if self.archiver.is_terminated() {
            let (stop, stopped) = oneshot::channel::<()>();
            let failures = self.facts.log_backup.failures;
            let pause = match failures {
                0 => Duration::ZERO,
                _ => self.schedule.retry_delay(self.place.server.name(), Task::LogBackup, failures),
            };
            let archiving = self.place.clone().archive(pause, self.events.0.clone(), stopped.map(drop));
            (self.stop, self.archiver) = (Some(stop), archiving.boxed().fuse());
        }
    }

    /// Begins what is due and can be.
    fn begin_due(&mut self) {
        let agenda = self.schedule.agenda(self.place.server.name(), &self.facts, self.place.service.now());
        for due in agenda.due {
            // A snapshot lets others expire: what is due with it comes after it.
            let waits = due.task == Task::Retention && self.busy.contains(&Lane::Snapshot);
            // Somebody else may have a place for it.
            let is_elsewhere = due.task == Task::TestRestore && self.place.service.0.settings.scratch.is_none();
            if let Some(lane) = Lane::of(due.task).filter(|_| !waits && !is_elsewhere)
                && self.busy.insert(lane)
            {
                self.begin(due);
            }
        }
    }

    fn begin(&mut self, DueTask { task, reason, since, .. }: DueTask) {
        let started = self.place.service.now();
        *self.facts.task_mut(task) = self.facts.task(task).begun(started);
        self.tell(Happening::Began(task, reason));
        let trigger = match reason {
            DueReason::OnDemand => SnapshotTrigger::OnDemand,
            _ => SnapshotTrigger::Scheduled,
        };
        let asked = self.facts.snapshot_requested.filter(|_| task == Task::Snapshot);
        let work = self.place.clone().work(task, (task, since), trigger);
        self.working.push(work.map(move |result| Ended { task, started, asked, result }).boxed());
    }

    /// How long nothing is to be done, if nothing happens.
    fn pause(&self) -> Duration {
        let (clock, now) = (self.place.service.clock(), self.place.service.now());
        let agenda = self.schedule.agenda(self.place.server.name(), &self.facts, now);
        let until_look = self.look_at.saturating_sub(clock.elapsed());
        agenda.next.map_or(until_look, |next| next.duration_since(now).min(until_look))
    }

    /// Notes what became of a task.
    async fn note(&mut self, Ended { task, started, asked, result }: Ended) -> Result<()> {
        let now = self.place.service.now();
        if let Some(lane) = Lane::of(task) {
            self.busy.remove(&lane);
        }
        let known = *self.facts.task(task);
        let known = match &result {
            Ok(_) => known.succeeded(TaskRun::new(started, now)),
            Err(_) => known.failed(now),
        };
        *self.facts.task_mut(task) = known;
        self.runs.tasks.insert(task, known);
        match &result {
            Ok(Outcome::Verification(report)) => self.note_faults(report),
            Ok(Outcome::Snapshot(_)) => self.runs.answered = asked.or(self.runs.answered),
            Ok(Outcome::TestRestore(proof)) => self.note_rates(proof),
            _ => {}
        }
        // What cannot be noted now is noted with the next one.
        let noted = self.place.server.note_runs(&self.runs).await;
        self.is_stale |= result.is_ok() && !matches!(task, Task::Verification | Task::TestRestore);
        self.tell(match result {
            Ok(outcome) => Happening::Done(Arc::new(outcome)),
            Err(error) => Happening::Failed(task, Arc::new(error)),
        });
        self.pardon(noted)?;
        if !self.is_stale {
            self.tell_survey();
            return Ok(());
        }
        let surveyed = self.survey().await;
        self.pardon(surveyed)
    }

    fn note_faults(&mut self, report: &VerifyReport) {
        let packs =
            report.faults.iter().map(|fault| &fault.object).filter(|object| kind_of(object) == ObjectKind::Pack);
        self.runs.damaged = packs.take(DAMAGED_MAX).cloned().collect();
        self.runs.faults = report.faults.len() as u64;
        self.place.damaged = self.runs.damaged.clone().into();
    }

    fn note_rates(&mut self, proof: &RestoreProof) {
        self.runs.rates = self.runs.rates.after(proof);
        configure(&mut self.facts, &self.place.config, &self.runs);
    }

    /// Goes on in spite of what may be over by the next look.
    fn pardon(&self, done: Result<()>) -> Result<()> {
        match done {
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Denied | ErrorKind::NoSpace) => {
                self.tell(Happening::Unreachable(Arc::new(error)));
                Ok(())
            }
            done => done,
        }
    }

    fn note_archiver(&mut self, ended: Result<()>) {
        self.archiver = Fuse::terminated();
        if let Err(error) = ended {
            self.facts.log_backup = self.facts.log_backup.failed(self.place.service.now());
            self.tell(Happening::Failed(Task::LogBackup, Arc::new(error)));
        }
    }

    fn note_log(&mut self, event: ArchiveEvent) {
        match event {
            ArchiveEvent::Stored(log) => {
                archived(&mut self.facts, &log, self.snapshot.as_ref(), self.place.service.now());
                self.survey.archived(&log);
                self.tell(Happening::Archived(Arc::new(log)));
            }
            ArchiveEvent::Gap(gap) => self.tell(Happening::Gap(gap)),
            ArchiveEvent::Following { .. } => {}
        }
    }

    /// Reads what there is of the server.
    async fn survey(&mut self) -> Result<()> {
        let (catalog, now) = (self.place.server.inventory().await?.catalog, self.place.service.now());
        let running = Task::ALL.map(|task| (task, self.facts.task(task).running_since));
        let log_backup = self.facts.log_backup;
        self.facts = facts_of(&self.place.config, self.created_at, &self.runs, &catalog, now);
        for (task, since) in running {
            self.facts.task_mut(task).running_since = since;
        }
        if log_backup.last_success.is_some() || log_backup.failures > 0 {
            self.facts.log_backup = log_backup;
        }
        self.snapshot = catalog.last_snapshot().cloned();
        self.is_stale = false;
        self.survey = survey_of(&catalog, now);
        self.tell_survey();
        Ok(())
    }

    fn tell_survey(&mut self) {
        let ended = |(task, known): (&Task, &TaskFacts)| known.last_success.map(|run| (*task, run.ended));
        self.survey.last_success = self.runs.tasks.iter().filter_map(ended).collect();
        self.survey.faults = self.runs.faults;
        self.tell(Happening::Surveyed(Arc::new(self.survey.clone())));
    }

    /// Looks whether the server was changed.
    async fn look(&mut self) -> Result<()> {
        self.look_at = self.place.service.clock().elapsed().saturating_add(self.place.service.0.settings.look_every);
        let config = self.place.server.config().await?;
        // Of a deleted server, the key is another one.
        if config.deletion.is_none() && self.place.server.is_rotated().await? {
            return Err(Error::new(ErrorKind::Conflict, "the server's key was rotated: it is opened anew"));
        }
        if config == *self.place.config {
            return Ok(());
        }
        let archives_otherwise = settings_of_log(&config) != settings_of_log(&self.place.config);
        self.schedule = schedule_of(&config)?;
        let keeps_otherwise = RetentionPolicy::of(&config) != RetentionPolicy::of(&self.place.config);
        configure(&mut self.facts, &config, &self.runs);
        self.place.config = Arc::new(config);
        self.is_stale |= keeps_otherwise;
        if archives_otherwise {
            // It is begun anew once it has ended.
            self.stop = None;
        }
        Ok(())
    }

    /// Destroys the server, if it is deleted for good by now; whether it was.
    async fn bury(&mut self) -> Result<bool> {
        let undo_until = self.place.config.deletion.as_ref().and_then(|deletion| deletion.undo_until);
        if undo_until.is_some_and(|until| self.place.service.now() < until) {
            return Ok(false);
        }
        // What the archiver still stores goes with the rest.
        drop(self.halt().await);
        let report = self.place.service.repository().destroy_server(self.place.server.name()).await?;
        self.tell(Happening::Destroyed(Arc::new(report)));
        Ok(true)
    }

    fn tell(&self, what: Happening) {
        self.place.service.0.announcer.tell(self.place.server.name(), what);
    }
}

fn schedule_of(config: &ServerConfig) -> Result<Schedule> {
    Schedule::new(config.schedule.clone()).map_err(Error::unscheduled)
}

/// What an archiver is begun with.
fn settings_of_log(config: &ServerConfig) -> (Duration, u64) {
    (config.schedule.log_backup_every, config.schedule.log_backup_bytes)
}
