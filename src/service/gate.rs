//! How much heavy work is done at once, and whose goes first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;

/// Lets so much work go on at once, the least by its urgency first. Clones are the same gate.
#[derive(Debug)]
pub(super) struct Gate<U: Ord>(Arc<Mutex<State<U>>>);

#[derive(Debug)]
struct State<U: Ord> {
    free: usize,
    /// Those who wait, by urgency, then by when they came.
    waiting: BTreeMap<(U, u64), oneshot::Sender<Permit<U>>>,
    tickets: u64,
}

/// The right to work, until it is dropped. Without a gate, it is none.
#[derive(Debug)]
pub(super) struct Permit<U: Ord>(Option<Gate<U>>);

impl<U: Ord> Clone for Gate<U> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<U: Ord> Gate<U> {
    pub(super) fn new(permits: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: permits, waiting: BTreeMap::new(), tickets: 0 })))
    }

    /// Waits for its turn.
    pub(super) async fn enter(&self, urgency: U) -> Permit<U>
    where
        U: Clone,
    {
        loop {
            let admitted = self.queue(urgency.clone());
            self.admit();
            // Nobody else ends the waiting than who admits.
            if let Ok(permit) = admitted.await {
                return permit;
            }
        }
    }

    fn queue(&self, urgency: U) -> oneshot::Receiver<Permit<U>> {
        let (admit, admitted) = oneshot::channel();
        let mut state = self.state();
        state.tickets += 1;
        let place = (urgency, state.tickets);
        state.waiting.insert(place, admit);
        admitted
    }

    /// Admits whoever waits, as long as there is room.
    fn admit(&self) {
        loop {
            let mut state = self.state();
            if state.free == 0 {
                return;
            }
            let Some((_, admit)) = state.waiting.pop_first() else { return };
            state.free -= 1;
            drop(state);
            // Some gave up waiting.
            if let Err(mut permit) = admit.send(Permit(Some(self.clone()))) {
                permit.0 = None;
                self.state().free += 1;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State<U>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<U: Ord> Drop for Permit<U> {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.state().free += 1;
            gate.admit();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::model::{Task, Timestamp};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_micros(second * 1_000_000).unwrap()
    }

    #[test]
    fn the_most_urgent_goes_first() {
        let gate = Gate::new(1);
        let first = gate.enter((Task::Verification, at(0))).now_or_never().unwrap();
        let mut waiting =
            [(Task::Verification, at(1)), (Task::Snapshot, at(9)), (Task::Retention, at(2)), (Task::Snapshot, at(8))]
                .map(|urgency| gate.enter(urgency).boxed());
        for waiting in &mut waiting {
            assert!(waiting.now_or_never().is_none());
        }
        let mut permit = Some(first);
        for next in [3, 1, 2, 0] {
            drop(permit.take());
            permit = (&mut waiting[next]).now_or_never();
            assert!(permit.is_some(), "{next}");
        }
    }

    #[test]
    fn who_gives_up_leaves_the_place_to_the_next() {
        let gate = Gate::new(2);
        let [one, two] = [1, 2].map(|second| gate.enter((Task::Snapshot, at(second))).now_or_never().unwrap());
        let (mut impatient, mut patient) =
            (gate.enter((Task::Snapshot, at(3))).boxed(), gate.enter((Task::Snapshot, at(4))).boxed());
        assert!((&mut impatient).now_or_never().is_none() && (&mut patient).now_or_never().is_none());
        drop(one);
        drop(impatient);
        let three = (&mut patient).now_or_never().expect("the permit of the one who gave up");
        assert!(gate.enter((Task::Snapshot, at(5))).now_or_never().is_none());
        drop((two, three));
        assert_eq!(gate.state().free, 2);
    }
}
