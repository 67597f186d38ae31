//! A service, the servers that it protects, and the time that passes: all of it in memory, on one thread.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::channel::oneshot;
use futures::{FutureExt, StreamExt};
use pitr::adapter::{MemoryKey, MemoryStorage};
use pitr::engine::{Error, Repository, Restore, Verifier};
use pitr::format::block::Compression;
use pitr::format::layout::{ObjectKind, ServerLayout, kind_of};
use pitr::format::seal::WrappingKey;
use pitr::model::{
    Caller, Catalog, Change, ConfigChange, ObjectKey, PostgresMajor, ServerConfig, ServerName, ServerSpec, Timestamp,
};
use pitr::plan::{PlanError, RestorePlan, Target};
use pitr::port::{Clock, Environment, PortError, PortErrorKind, PutMode, SourceProvider, Sources, Storage, StorageExt};
use pitr::service::{
    BackupService, Events, Happening, RestorePoints, ServerStatus, ServerUsage, ServiceEvent, ServiceSettings,
};
use pitr::testing::{FaultyStorage, ManualClock, ManualExecutor, MemoryTarget, SeededEntropy, SimulatedServer};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Reaches simulated servers by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Servers(Arc<Mutex<BTreeMap<ServerName, SimulatedServer>>>);

#[async_trait]
impl SourceProvider for Servers {
    async fn sources(&self, server: &ServerConfig) -> Result<Sources, PortError> {
        let found = self.0.lock().unwrap().get(&server.spec.name).cloned();
        let gone = || PortError::new(PortErrorKind::Unavailable, format!("nobody knows where {} is", server.spec.name));
        let source = Arc::new(found.ok_or_else(gone)?);
        Ok(Sources::new(source.clone(), source))
    }
}

type Life = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

/// A process that tends its share of the servers.
struct Process {
    life: Life,
    stop: Option<oneshot::Sender<()>>,
}

pub(crate) struct Stand {
    pub(crate) clock: ManualClock,
    pub(crate) storage: FaultyStorage,
    pub(crate) service: BackupService,
    pub(crate) servers: Servers,
    executor: ManualExecutor,
    environment: Environment,
    keys: MemoryKey,
    processes: Vec<Process>,
    /// Of all services.
    events: Vec<Events>,
    seen: Vec<(Timestamp, ServiceEvent)>,
    requests: u32,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Rare looks and beats, so that days pass in a second.
pub(crate) fn settings() -> ServiceSettings {
    ServiceSettings::default().compression(Compression::none()).lease(HOUR).look_every(HOUR)
}

pub(crate) fn name(text: &str) -> ServerName {
    text.parse().unwrap()
}

pub(crate) fn spec(name: &str) -> ServerSpec {
    ServerSpec::new(name.parse().unwrap(), PostgresMajor::MIN)
}

impl Stand {
    /// Nobody works yet, and there are no servers.
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: ServiceSettings) -> Self {
        let clock = ManualClock::new("2026-03-02T09:00:00Z".parse().unwrap());
        let (executor, entropy) = (ManualExecutor::new(), SeededEntropy::new(7));
        let storage = FaultyStorage::new(Arc::new(MemoryStorage::new(Arc::new(clock.clone()))));
        let keys = MemoryKey::new(WrappingKey::new([7; 32]), Arc::new(entropy.clone()));
        let environment = Environment::new(Arc::new(clock.clone()), Arc::new(entropy), Arc::new(executor.clone()));
        let repository = Repository::new(Arc::new(storage.clone()), Arc::new(keys.clone()), environment.clone());
        let service = BackupService::new(repository, settings);
        let (events, servers) = (vec![service.subscribe()], Servers::default());
        let (processes, seen) = (Vec::new(), Vec::new());
        Self { clock, storage, service, servers, executor, environment, keys, processes, events, seen, requests: 0 }
    }

    /// One server `prod`, which is tended.
    pub(crate) fn protected() -> Self {
        let mut stand = Self::new();
        stand.create("prod");
        stand.begin();
        stand
    }

    /// Another process that tends, by `service`.
    pub(crate) fn begin(&mut self) {
        let service = self.service.clone();
        self.tend(service);
    }

    pub(crate) fn begin_by(&mut self, service: BackupService) {
        self.events.push(service.subscribe());
        self.tend(service);
    }

    fn tend(&mut self, service: BackupService) {
        let (stop, stopped) = oneshot::channel::<()>();
        let servers = Arc::new(self.servers.clone());
        let life = async move { service.tend(servers, stopped.map(drop)).await };
        self.processes.push(Process { life: Box::pin(life), stop: Some(stop) });
    }

    /// A service of another process, with the same repository.
    pub(crate) fn another(&self, settings: ServiceSettings) -> BackupService {
        let repository =
            Repository::new(Arc::new(self.storage.clone()), Arc::new(self.keys.clone()), self.environment.clone());
        BackupService::new(repository, settings)
    }

    /// Kills the process that began first.
    pub(crate) fn kill(&mut self) {
        drop(self.processes.remove(0));
    }

    /// Ends all processes in good order.
    pub(crate) fn end(&mut self) {
        for process in &mut self.processes {
            process.stop = None;
        }
        for Process { life, .. } in std::mem::take(&mut self.processes) {
            self.finish(life).unwrap();
        }
    }

    /// A server that begins to be protected.
    pub(crate) fn create(&mut self, name: &str) -> SimulatedServer {
        self.create_as(spec(name))
    }

    pub(crate) fn create_as(&mut self, spec: ServerSpec) -> SimulatedServer {
        let source = self.run(spec.name.as_str());
        let caller = self.caller();
        self.finish(self.service.create(&caller, spec)).unwrap();
        source
    }

    /// A server that runs, and is not protected yet.
    pub(crate) fn run(&self, name: &str) -> SimulatedServer {
        let source = SimulatedServer::new(name.len() as u64, &self.clock);
        source.be_patient();
        source.hold_files(20, 5_000);
        source.write(20_000);
        self.find(name, source.clone());
        source
    }

    pub(crate) fn source(&self, server: &str) -> SimulatedServer {
        self.servers.0.lock().unwrap()[&name(server)].clone()
    }

    /// Nobody can reach the server any more.
    pub(crate) fn lose(&self, server: &str) {
        self.servers.0.lock().unwrap().remove(&name(server));
    }

    /// It can be reached again.
    pub(crate) fn find(&self, server: &str, source: SimulatedServer) {
        self.servers.0.lock().unwrap().insert(name(server), source);
    }

    pub(crate) fn caller(&mut self) -> Caller {
        self.requests += 1;
        Caller::new("ops", format!("request-{}", self.requests).parse().unwrap())
    }

    pub(crate) fn change(&mut self, server: &str, change: Change) -> Result<ConfigChange, Error> {
        let caller = self.caller();
        self.finish(self.service.change(&name(server), &caller, change))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn catalog(&self, server: &str) -> Catalog {
        let inventory = async { self.service.repository().server(&name(server)).await?.inventory().await };
        let inventory = self.finish(inventory).unwrap();
        assert!(inventory.unreadable.is_empty(), "{:?}", inventory.unreadable);
        inventory.catalog
    }

    /// Lets so much time pass, while all processes work.
    pub(crate) fn live(&mut self, duration: Duration) {
        self.pass(duration, u32::MAX, |over| panic!("a process ended: {over:?}"));
    }

    /// Lets all processes do so much of their work; time passes only if there is none.
    pub(crate) fn work(&mut self, steps: u32) {
        self.pass(DAY, steps, |over| panic!("a process ended: {over:?}"));
    }

    /// The same, where a process that ends, as it could not keep itself alive, is begun anew.
    pub(crate) fn live_or_die(&mut self, duration: Duration) {
        self.pass(duration, u32::MAX, drop);
    }

    fn pass(&mut self, duration: Duration, steps: u32, over: impl Fn(Result<(), Error>)) {
        let mut alarm = self.clock.sleep(duration);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        for _ in 0..steps {
            if woken.0.swap(false, Ordering::Relaxed) {
                let mut ended = 0;
                self.processes.retain_mut(|Process { life, .. }| {
                    let Poll::Ready(end) = life.poll_unpin(&mut Context::from_waker(&waker)) else { return true };
                    over(end);
                    ended += 1;
                    false
                });
                for _ in 0..ended {
                    self.begin();
                    woken.0.store(true, Ordering::Relaxed);
                }
            }
            for events in &mut self.events {
                while let Some(Some(event)) = events.next().now_or_never() {
                    self.seen.push((self.clock.now(), event));
                }
            }
            if self.executor.run_one() || woken.0.load(Ordering::Relaxed) {
                continue;
            }
            if (&mut alarm).now_or_never().is_some() {
                return;
            }
            assert!(self.clock.advance_to_next(), "nobody waits for the time to pass");
        }
    }

    /// Lets so many days pass, in which all servers that can be reached write now and then.
    pub(crate) fn days(&mut self, days: u32) {
        for _ in 0..days * 8 {
            let sources: Vec<_> = self.servers.0.lock().unwrap().values().cloned().collect();
            for source in sources {
                source.write(1_000);
                source.change_files(20);
            }
            self.live(3 * HOUR);
        }
    }

    pub(crate) fn status(&self, server: &str) -> ServerStatus {
        self.finish(self.service.status(&name(server))).unwrap()
    }

    pub(crate) fn usage(&self, server: &str) -> ServerUsage {
        self.finish(self.service.usage(&name(server), 400 * DAY)).unwrap()
    }

    pub(crate) fn restore_points(&self, server: &str) -> RestorePoints {
        self.finish(self.service.restore_points(&name(server))).unwrap()
    }

    pub(crate) fn estimate(&self, server: &str, target: Target) -> Result<RestorePlan, PlanError> {
        self.finish(self.service.estimate(&name(server), &target.into())).unwrap()
    }

    /// Restores into memory, where every byte is held against what was stored.
    pub(crate) fn restore(&self, server: &str, target: Target) {
        let plan = self.estimate(server, target).unwrap();
        let restored = async {
            let server = self.service.repository().server(&name(server)).await?;
            Restore::new(&server, plan, Arc::new(MemoryTarget::new())).run().await?.run().await
        };
        self.finish(restored).unwrap_or_else(|error| panic!("{}", explain(&error)));
    }

    pub(crate) fn assert_sound(&self, server: &str) {
        let report = self.finish(Verifier::new(self.service.repository(), &name(server)).run()).unwrap();
        assert!(report.is_sound(), "{:?}", report.faults);
    }

    pub(crate) fn can_restore(&self, server: &str, target: Target) -> bool {
        let plan = self.estimate(server, target).unwrap();
        let restored = async {
            let server = self.service.repository().server(&name(server)).await?;
            Restore::new(&server, plan, Arc::new(MemoryTarget::new())).run().await
        };
        self.finish(restored).is_ok()
    }

    pub(crate) fn objects(&self, server: &str) -> BTreeSet<ObjectKey> {
        let root = ServerLayout::new(&name(server)).root().clone();
        self.finish(self.storage.list_all(Some(&root))).unwrap().into_iter().map(|object| object.key).collect()
    }

    pub(crate) fn content(&self, object: &ObjectKey) -> Bytes {
        self.finish(self.storage.find(object, usize::MAX)).unwrap().unwrap().0
    }

    /// Flips bits all over a pack of the first snapshot, of which later ones use a part.
    pub(crate) fn damage_a_pack(&self, server: &str) -> ObjectKey {
        let pack = self.objects(server).into_iter().find(|object| kind_of(object) == ObjectKind::Pack).unwrap();
        let mut bytes = self.content(&pack).to_vec();
        let (from, to) = (bytes.len() / 8, bytes.len() * 7 / 8);
        bytes[from..to].iter_mut().step_by(64).for_each(|byte| *byte ^= 1);
        self.finish(self.storage.put(&pack, bytes.into(), PutMode::Overwrite)).unwrap();
        pack
    }

    /// What `future` gives, while nobody else works and no time passes.
    pub(crate) fn finish<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        loop {
            woken.0.store(false, Ordering::Relaxed);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            assert!(self.executor.run_one() || woken.0.load(Ordering::Relaxed), "nobody will ever wake the future");
        }
    }

    /// What has happened since it was asked last, and when.
    pub(crate) fn seen(&mut self) -> Vec<(Timestamp, ServerName, Happening)> {
        assert!(self.events.iter().all(|events| events.missed() == 0));
        std::mem::take(&mut self.seen).into_iter().map(|(at, event)| (at, event.server, event.what)).collect()
    }
}

/// An error with all of its causes.
pub(crate) fn explain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
