//! Threads for blocking work.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::port::{Executor, Job};

/// A queue of jobs and the threads that do them, each begun when there is more to do than there are idle threads.
///
/// A job that panics ends, and nothing else does. Dropping the pool does not wait: what is queued is still done, then the
/// threads end. Where the system grants no thread at all, jobs are done by whoever brings them.
pub struct ThreadPool {
    threads_max: NonZeroUsize,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl ThreadPool {
    /// A pool of at most `threads_max` threads.
    #[must_use]
    pub fn new(threads_max: NonZeroUsize) -> Self {
        Self { threads_max, shared: Arc::default() }
    }

    /// Begins one more thread if there is work for it.
    fn grow(&self, state: &mut State) {
        if state.idle >= state.queue.len() || state.threads >= self.threads_max.get() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        if thread::Builder::new().name("pitr".to_owned()).spawn(move || shared.work()).is_ok() {
            state.threads += 1;
        }
    }
}

impl Default for ThreadPool {
    /// A pool of as many threads as this process may use processors.
    fn default() -> Self {
        Self::new(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }
}

impl Executor for ThreadPool {
    fn parallelism(&self) -> NonZeroUsize {
        self.threads_max
    }

    fn execute(&self, job: Job) {
        let mut state = self.shared.lock();
        state.queue.push_back(job);
        self.grow(&mut state);
        let orphan = if state.threads == 0 { state.queue.pop_front() } else { None };
        drop(state);
        self.shared.changed.notify_one();
        orphan.into_iter().for_each(run);
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            run(job);
        }
    }

    /// Waits for a job; `None` once the pool is dropped and nothing is left to do.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The panic hook has reported a panic already; whoever waits for the job learns it from its dropped channel.
fn run(job: Job) {
    let _ = catch_unwind(AssertUnwindSafe(job));
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool").field("threads_max", &self.threads_max).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::mpsc;

    use super::*;
    use crate::port::{ExecutorExt, PortErrorKind};

    fn pool(threads_max: usize) -> ThreadPool {
        ThreadPool::new(NonZeroUsize::new(threads_max).unwrap())
    }

    #[tokio::test]
    async fn gives_results_back() {
        let pool = pool(2);
        let results = futures::future::join_all((0..100).map(|n| pool.run(move || n * n))).await;
        assert_eq!(results.into_iter().map(Result::unwrap).sum::<u64>(), 328_350);
    }

    #[tokio::test]
    async fn works_at_as_many_jobs_as_it_has_threads() {
        let (pool, barrier) = (pool(3), Arc::new(Barrier::new(3)));
        let meet = |barrier: Arc<Barrier>| pool.run(move || barrier.wait().is_leader());
        let met = futures::future::join_all((0..3).map(|_| meet(Arc::clone(&barrier)))).await;
        assert_eq!(met.into_iter().filter_map(Result::ok).filter(|leader| *leader).count(), 1);
        assert_eq!(pool.shared.lock().threads, 3);
    }

    #[tokio::test]
    async fn outlives_jobs_that_panic() {
        let pool = pool(1);
        for _ in 0..3 {
            let failed: Result<(), _> = pool.run(|| panic!("this job is meant to panic")).await;
            assert_eq!(failed.unwrap_err().kind(), PortErrorKind::Unavailable);
        }
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    }

    #[test]
    fn finishes_its_queue_after_it_is_dropped() {
        let (pool, gate, (sender, receiver)) = (pool(1), Arc::new(Barrier::new(2)), mpsc::channel());
        let closed = Arc::clone(&gate);
        pool.execute(Box::new(move || _ = closed.wait()));
        for n in 0..10 {
            let sender = sender.clone();
            pool.execute(Box::new(move || sender.send(n).unwrap()));
        }
        let shared = Arc::downgrade(&pool.shared);
        drop((pool, sender));
        gate.wait();
        assert_eq!(receiver.iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        while shared.strong_count() > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn may_be_dropped_by_one_of_its_own_threads() {
        let (pool, (sender, receiver)) = (Arc::new(pool(1)), mpsc::channel());
        let held = Arc::clone(&pool);
        let job = move || {
            drop(held);
            sender.send(()).unwrap();
        };
        pool.execute(Box::new(job));
        drop(pool);
        receiver.recv().unwrap();
    }
}
