//! Several workers over one repository, each with a clock of its own, and none of them right.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use pitr::adapter::{MemoryKey, MemoryStorage};
use pitr::engine::{Error, Observer, Repository, Worker, WorkerEvent, WorkerSettings};
use pitr::format::seal::WrappingKey;
use pitr::model::{PostgresMajor, Role, ServerName, ServerSpec, Timestamp};
use pitr::port::{Clock, Environment};
use pitr::testing::{FaultyStorage, ManualClock, ManualExecutor, SeededEntropy};

use super::stage;
use super::world::finish;

/// A clock whose time of day is off, and which does not run on while its machine is suspended.
#[derive(Clone, Debug)]
pub(crate) struct OwnClock {
    clock: ManualClock,
    ahead: Duration,
    behind: Duration,
}

impl Clock for OwnClock {
    fn now(&self) -> Timestamp {
        self.clock.now().saturating_add(self.ahead).saturating_sub(self.behind)
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(duration)
    }
}

/// Who tends what, as the work itself sees it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    tended: BTreeMap<ServerName, (usize, u64)>,
    /// Those who are dead: what they had is nobody's.
    dead: BTreeSet<usize>,
    tokens: BTreeMap<ServerName, u64>,
    pub(crate) failures: Vec<Error>,
}

impl Ledger {
    fn begin(&mut self, server: &ServerName, member: usize, token: u64) {
        if let Some((other, _)) = self.tended.insert(server.clone(), (member, token)) {
            assert!(self.dead.contains(&other), "{other} and {member} tend {server} at the same time");
        }
        let before = self.tokens.insert(server.clone(), token).unwrap_or(0);
        assert!(token > before, "{server} had the token {before} before {token}");
    }

    fn end(&mut self, server: &ServerName, member: usize, token: u64) {
        // One who is over may come to its end long after another one has begun.
        if self.tended.get(server) == Some(&(member, token)) {
            self.tended.remove(server);
        }
    }

    /// How many servers each member tends.
    fn counts(&self) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        for (member, _) in self.tended.values().filter(|(member, _)| !self.dead.contains(member)) {
            *counts.entry(*member).or_default() += 1;
        }
        counts
    }
}

pub(crate) struct Fleet {
    pub(crate) clock: ManualClock,
    pub(crate) executor: ManualExecutor,
    pub(crate) storage: FaultyStorage,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    keys: MemoryKey,
    entropy: SeededEntropy,
    members: Vec<Member>,
}

type Life = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

struct Member {
    /// `None` when it is over.
    life: Option<Life>,
    stop: Option<oneshot::Sender<()>>,
    is_paused: bool,
    outcome: Rc<RefCell<Option<Result<(), Error>>>>,
}

impl Fleet {
    pub(crate) fn new(servers: usize) -> Self {
        let clock = ManualClock::new("2026-11-23T21:09:08Z".parse().unwrap());
        let (executor, entropy) = (ManualExecutor::new(), SeededEntropy::new(7));
        let storage = FaultyStorage::new(Arc::new(MemoryStorage::new(Arc::new(clock.clone()))));
        let keys = MemoryKey::new(WrappingKey::new([7; 32]), Arc::new(entropy.clone()));
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let fleet = Self { clock, executor, storage, ledger, keys, entropy, members: Vec::new() };
        let repository = fleet.repository(Duration::ZERO, Duration::ZERO);
        for number in 0..servers {
            let spec = ServerSpec::new(format!("server-{number}").parse().unwrap(), PostgresMajor::MIN);
            finish(&fleet.executor, repository.create_server(spec)).unwrap();
        }
        fleet
    }

    /// The repository, as a machine sees it whose time of day is so far off.
    pub(crate) fn repository(&self, ahead: Duration, behind: Duration) -> Repository {
        let clock = OwnClock { clock: self.clock.clone(), ahead, behind };
        let environment =
            Environment::new(Arc::new(clock), Arc::new(self.entropy.clone()), Arc::new(self.executor.clone()));
        Repository::new(Arc::new(self.storage.clone()), Arc::new(self.keys.clone()), environment)
    }

    /// Lets another worker join, whose time of day is so far off, and tend its share.
    pub(crate) fn join(&mut self, lease: Duration, ahead: Duration, behind: Duration) -> usize {
        let (repository, member) = (self.repository(ahead, behind), self.members.len());
        let (ledger, failures) = (Arc::clone(&self.ledger), Arc::clone(&self.ledger));
        let observer = Observer::new(move |event: &WorkerEvent| {
            if let WorkerEvent::Failed { error, .. } = event {
                let context = std::io::Error::other(error.to_string());
                failures.lock().unwrap().failures.push(pitr::port::PortError::io("failed", context).into());
            }
        });
        let (stop, stopped) = oneshot::channel();
        let life = async move {
            let settings = WorkerSettings::default().lease(lease).observer(observer);
            let worker = Worker::join(&repository, Role::Archiver, settings).await?;
            let work = |lease: pitr::engine::ServerLease| {
                let ledger = Arc::clone(&ledger);
                async move {
                    let server = lease.server().name();
                    ledger.lock().unwrap().begin(server, member, lease.token());
                    lease.ended().await;
                    ledger.lock().unwrap().end(server, member, lease.token());
                }
            };
            worker.tend(work, stopped.map(drop)).await
        };
        let (life, stop) = (Some(life.boxed_local()), Some(stop));
        self.members.push(Member { life, stop, is_paused: false, outcome: Rc::default() });
        self.settle();
        member
    }

    /// Lets it leave in good order.
    pub(crate) fn stop(&mut self, member: usize) {
        drop(self.members[member].stop.take());
        self.settle();
    }

    /// Kills it: it does nothing more, and says nothing.
    pub(crate) fn kill(&mut self, member: usize) {
        self.members[member].life = None;
        self.ledger.lock().unwrap().dead.insert(member);
    }

    /// Lets it stand still; what it had counts as nobody's as soon as somebody else has it.
    pub(crate) fn pause(&mut self, member: usize) {
        self.members[member].is_paused = true;
        self.ledger.lock().unwrap().dead.insert(member);
    }

    pub(crate) fn resume(&mut self, member: usize) {
        self.members[member].is_paused = false;
        self.settle();
    }

    pub(crate) fn outcome(&self, member: usize) -> Option<Result<(), Error>> {
        self.members[member].outcome.borrow_mut().take()
    }

    pub(crate) fn counts(&self) -> BTreeMap<usize, usize> {
        self.ledger.lock().unwrap().counts()
    }

    /// Lets time pass, second by second.
    pub(crate) fn pass(&mut self, duration: Duration) {
        for _ in 0..duration.as_secs() {
            self.clock.advance(Duration::from_secs(1));
            self.settle();
        }
    }

    /// Lets time pass until each of these tends so many; gives how long that took.
    pub(crate) fn pass_until(&mut self, counts: &[(usize, usize)], within: Duration) -> Duration {
        let (counts, begun): (BTreeMap<_, _>, _) = (counts.iter().copied().collect(), self.clock.elapsed());
        while self.counts() != counts {
            let passed = self.clock.elapsed() - begun;
            assert!(passed < within, "after {passed:?}: {:?} instead of {counts:?}", self.counts());
            self.pass(Duration::from_secs(1));
        }
        self.clock.elapsed() - begun
    }

    /// Lets everybody get on until all wait for the time to pass.
    fn settle(&mut self) {
        stage::settle(&self.executor, |context| {
            for member in self.members.iter_mut().filter(|member| !member.is_paused) {
                poll(member, context);
            }
        });
    }
}

fn poll(member: &mut Member, context: &mut Context<'_>) {
    let Some(life) = &mut member.life else { return };
    if let Poll::Ready(outcome) = life.as_mut().poll(context) {
        *member.outcome.borrow_mut() = Some(outcome);
        member.life = None;
    }
}
