//! Polling by hand: what waits for work or for each other gets on, and time does not pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use pitr::testing::ManualExecutor;

use super::world::Woken;

/// Polls until nobody gets on any more.
pub(crate) fn settle(executor: &ManualExecutor, mut poll: impl FnMut(&mut Context<'_>)) {
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    loop {
        woken.0.store(false, Ordering::Relaxed);
        poll(&mut Context::from_waker(&waker));
        let worked = executor.run_one();
        if !worked && !woken.0.load(Ordering::Relaxed) {
            return;
        }
    }
}
