//! Where work that keeps a processor or a disk busy is done.

use std::fmt::Debug;
use std::num::NonZeroUsize;

use futures::channel::oneshot;

use super::{PortError, PortErrorKind};

/// A piece of work that blocks.
pub type Job = Box<dyn FnOnce() + Send + 'static>;

/// Runs blocking work (compression, ciphers, file I/O) off the caller's thread.
///
/// The engine is not tied to a runtime: it awaits, and gives whatever would block to this port.
pub trait Executor: Debug + Send + Sync + 'static {
    /// How many jobs can make progress at a time. The engine keeps about twice as many in flight.
    fn parallelism(&self) -> NonZeroUsize;

    /// Runs `job` soon, in any order relative to others. It must not be dropped unrun while the executor lives.
    fn execute(&self, job: Job);
}

/// Comfort for users of an [`Executor`].
pub trait ExecutorExt: Executor {
    /// Runs `work` on the executor, from now on and not only when the future is first polled, and waits for its result. If
    /// the future is dropped, the work is still done.
    ///
    /// # Errors
    /// [`PortErrorKind::Unavailable`] if the executor gave the work up: it was shut down, or the work panicked.
    fn run<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, PortError>> + Send + use<Self, T, W> {
        let (sender, receiver) = oneshot::channel();
        self.execute(Box::new(move || {
            // Nobody waits for the result of a dropped future.
            let _ = sender.send(work());
        }));
        async move {
            let given_up = |_| PortError::new(PortErrorKind::Unavailable, "the executor gave up a piece of work");
            receiver.await.map_err(given_up)
        }
    }
}

impl<E: Executor + ?Sized> ExecutorExt for E {}
