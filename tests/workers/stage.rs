//! Polling by hand: what waits for work or for each other gets on, and time does not pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use pitr::testing::ManualExecutor;

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

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

/// What `future` gives, which waits for no time to pass.
pub(crate) fn finish<T>(executor: &ManualExecutor, future: impl Future<Output = T>) -> T {
    let (mut future, mut output) = (std::pin::pin!(future), None);
    settle(executor, |context| {
        if output.is_none()
            && let Poll::Ready(ready) = future.as_mut().poll(context)
        {
            output = Some(ready);
        }
    });
    output.expect("it waits for the time to pass")
}
