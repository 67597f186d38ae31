//! Tending one's share of the servers.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use futures::channel::oneshot;
use futures::future::{self, BoxFuture, Either, FutureExt};
use futures::select_biased;
use futures::stream::{self, FuturesUnordered, StreamExt};

use super::survey::Survey;
use super::{ServerLease, Worker, WorkerEvent};
use crate::engine::error::{Context, Error, ErrorKind, Result};
use crate::engine::inventory::READS_IN_FLIGHT;
use crate::model::ServerName;

/// How many leases are taken before work begins for them.
const BATCH: usize = 64;

/// What was found to do.
struct Gathered {
    /// Which servers to tend.
    survey: Survey,
    /// Some of which were not tended, and can be now.
    leases: Vec<ServerLease>,
    /// Whether there may be more at once.
    is_partial: bool,
}

/// The servers that are tended.
struct Tending<'a, W> {
    worker: &'a Worker,
    work: W,
    /// Dropped, each tells its work to end.
    wanted: BTreeMap<ServerName, Option<oneshot::Sender<()>>>,
    working: FuturesUnordered<BoxFuture<'a, ServerLease>>,
    releasing: FuturesUnordered<BoxFuture<'a, ServerName>>,
}

impl Worker {
    /// Tends this worker's share of the servers of the repository until `stop` is ready; then waits until all work has ended, and leaves. Keeps
    /// the worker alive meanwhile.
    ///
    /// For each server, `work` is called with the lease, and what it gives is polled until it ends: it should, soon after the lease
    /// [has](ServerLease::ended). Work that ends earlier is begun anew a little later. When workers come or go, shares change: work is ended for what
    /// another one shall have, and begun for what nobody has any more.
    ///
    /// All of it is polled by one task: work that needs more than one processor should be spawned.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] if others took this worker for dead: all work was dropped. If the storage cannot be reached at the beginning; later
    /// on it [tries](WorkerEvent::Unreachable).
    pub async fn tend<W, F>(&self, work: W, stop: impl Future<Output = ()> + Send) -> Result<()>
    where
        W: Fn(ServerLease) -> F + Send,
        F: Future<Output = ()> + Send,
    {
        self.round().await.context(|| format!("looking for other workers than {}", self.id))?;
        let (working, releasing) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut tending = Tending { worker: self, work, wanted: BTreeMap::new(), working, releasing };
        let lost = {
            let keep = pin!(self.clock().sleep(self.times.beat).then(|()| self.keep()));
            match future::select(pin!(tending.run(stop)), keep).await {
                Either::Left(((), _)) => None,
                Either::Right((lost, _)) => Some(lost),
            }
        };
        // By now no beat is under way, which would keep this worker from leaving.
        match lost {
            None => self.leave().await,
            Some(lost) => lost.map(|never| match never {}),
        }
    }

    /// Finds out what to tend, and takes leases on what is not among `tended`.
    async fn gather(&self, known: Survey, tended: BTreeSet<ServerName>) -> Gathered {
        let survey = known.renew(self).await;
        self.disclaim_all(survey.share()).await;
        let missing: Vec<_> = survey.share().difference(&tended).cloned().collect();
        let taken = stream::iter(missing).map(|server| self.try_acquire(server)).buffer_unordered(READS_IN_FLIGHT);
        let leases: Vec<_> = taken.filter_map(future::ready).take(BATCH).collect().await;
        Gathered { survey, is_partial: leases.len() == BATCH, leases }
    }

    /// Makes sure that this worker has no lease without knowing on what is not in its `share`: nobody else could have it.
    async fn disclaim_all(&self, share: &BTreeSet<ServerName>) {
        let doubtful: Vec<_> = self.doubtful().difference(share).cloned().collect();
        let disclaimed = stream::iter(doubtful).for_each_concurrent(READS_IN_FLIGHT, |server| async move {
            match self.disclaim(&server).await {
                Err(error) if error.kind() == ErrorKind::NotFound => drop(self.doubtful().remove(&server)),
                Err(error) => self.fail(server, error),
                Ok(()) => {}
            }
        });
        disclaimed.await;
    }

    async fn try_acquire(&self, server: ServerName) -> Option<ServerLease> {
        match self.acquire(&server).await {
            Ok(lease) => lease,
            // It is being created, or was deleted.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                self.fail(server, error);
                None
            }
        }
    }

    /// Gives a lease back, however often that fails: nobody else can have it before, for as long as this worker lives.
    async fn release(&self, lease: ServerLease) -> ServerName {
        let server = lease.server().name();
        while let Err(error) = lease.release().await {
            self.fail(server.clone(), error);
            self.clock().sleep(self.times.beat).await;
        }
        self.tell(WorkerEvent::Released(server.clone()));
        server.clone()
    }

    fn fail(&self, server: ServerName, error: Error) {
        self.tell(WorkerEvent::Failed { server, error });
    }
}

impl<'a, W, F> Tending<'a, W>
where
    W: Fn(ServerLease) -> F + Send,
    F: Future<Output = ()> + Send + 'a,
{
    /// Until `stop` is ready, and all work has ended.
    async fn run(&mut self, stop: impl Future<Output = ()> + Send) {
        let mut stop = pin!(stop.fuse());
        let mut gathering = self.worker.gather(Survey::default(), BTreeSet::new()).boxed().fuse();
        loop {
            select_biased! {
                () = stop => break,
                lease = self.working.select_next_some() => self.releasing.push(self.worker.release(lease).boxed()),
                server = self.releasing.select_next_some() => drop(self.wanted.remove(&server)),
                gathered = gathering => gathering = self.apply(gathered).fuse(),
            }
        }
        drop(gathering);
        self.wanted.clear();
        // All leases are over when the worker leaves.
        while self.working.next().await.is_some() {}
    }

    /// Ends what another worker shall tend, and begins what can be; gives the next look at what there is to do.
    fn apply(&mut self, Gathered { survey, leases, is_partial }: Gathered) -> BoxFuture<'a, Gathered> {
        let gone = self.wanted.iter_mut().filter(|(server, _)| !survey.share().contains(*server));
        gone.for_each(|(_, wanted)| *wanted = None);
        for lease in leases {
            self.begin(lease);
        }
        let (worker, tended) = (self.worker, self.wanted.keys().cloned().collect());
        let pause = if is_partial { future::ready(()).boxed() } else { worker.clock().sleep(worker.times.beat) };
        async move {
            pause.await;
            worker.gather(survey, tended).await
        }
        .boxed()
    }

    fn begin(&mut self, lease: ServerLease) {
        let (server, token) = (lease.server().name().clone(), lease.token());
        let (wanted, unwanted) = oneshot::channel();
        let lease = lease.until(unwanted);
        self.worker.tell(WorkerEvent::Took { server: server.clone(), token });
        self.wanted.insert(server, Some(wanted));
        let work = (self.work)(lease.clone());
        self.working.push(work.map(|()| lease).boxed());
    }
}
