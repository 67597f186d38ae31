//! An executor that works when it is told to.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use crate::port::{Executor, Job};

/// An executor without threads: jobs wait until [`run_one`](Self::run_one) is called. Clones share the jobs.
///
/// So a test decides when work is done, and the same test always does it in the same order.
#[derive(Clone, Default)]
pub struct ManualExecutor(Arc<Mutex<VecDeque<Job>>>);

impl ManualExecutor {
    /// An executor that has nothing to do.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does the job that waits longest; `false` if there is none.
    #[must_use]
    pub fn run_one(&self) -> bool {
        let job = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let found = job.is_some();
        job.into_iter().for_each(|job| job());
        found
    }
}

impl Executor for ManualExecutor {
    fn parallelism(&self) -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    fn execute(&self, job: Job) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(job);
    }
}

impl fmt::Debug for ManualExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualExecutor").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::port::ExecutorExt;

    #[test]
    fn works_when_told_to() {
        let executor = ManualExecutor::new();
        let mut sum = executor.run(|| 1 + 1).boxed();
        assert!((&mut sum).now_or_never().is_none());
        assert!(executor.run_one());
        assert_eq!(sum.now_or_never().unwrap().unwrap(), 2);
        assert!(!executor.run_one());
    }
}
