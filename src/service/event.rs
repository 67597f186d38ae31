//! What happens to servers, for whoever wants to know.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::channel::mpsc::{self, Receiver, Sender};
use futures::{Stream, StreamExt};

use super::metrics::Recorder;
use super::trace;
use crate::engine::{CompactReport, DestroyReport, Error, Progress, SnapshotReport, SweepReport, VerifyReport};
use crate::model::{
    ConfigChange, LogBackup, RequestId, RestoreProof, RestoreRun, ServerName, Task, Timestamp, WalRange,
};
use crate::plan::schedule::DueReason;
use crate::plan::usage::Usage;

/// Something that happened to a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceEvent {
    /// The server.
    pub server: ServerName,
    /// What happened.
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Happening {
    /// This process tends it from now on, under a lease with this token.
    Taken(u64),
    /// This process tends it no longer.
    Left,
    /// It was changed by this process.
    Changed(Arc<ConfigChange>),
    /// What there is of it: when it was taken, and after each task.
    Surveyed(Arc<Survey>),
    /// Log was stored.
    Archived(Arc<LogBackup>),
    /// The server no longer has this log, and it is not archived: nothing in it can be restored.
    Gap(WalRange),
    /// A task has begun, since it was due.
    Began(Task, DueReason),
    /// A task is done.
    Done(Arc<Outcome>),
    /// A task failed, and is tried again later.
    Failed(Task, Arc<Error>),
    /// It cannot be worked for, and that is tried again later.
    Unreachable(Arc<Error>),
    /// A restore of it that makes a new server goes on: first with its files, then with its log. Told at each hundredth.
    Restoring(RequestId, Progress),
    /// Such a restore is over.
    Restored(Arc<RestoreRun>),
    /// It was deleted, and is destroyed.
    Destroyed(Arc<DestroyReport>),
}

/// What there is of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survey {
    /// The first instant that can be restored.
    pub earliest: Option<Timestamp>,
    /// The last one.
    pub latest: Option<Timestamp>,
    /// When the last snapshot was consistent that can be restored, or will be with its log.
    pub last_snapshot: Option<Timestamp>,
    /// When the last run of each task had ended that succeeded.
    pub last_success: BTreeMap<Task, Timestamp>,
    /// How many faults the last verification found.
    pub faults: u64,
    /// What its backups take.
    pub usage: Usage,
}

impl Survey {
    /// The same after `log` was stored.
    pub(super) fn archived(&mut self, log: &LogBackup) {
        self.usage.logs = self.usage.logs.saturating_add(log.stored_bytes);
        // Without a snapshot, log restores nothing.
        self.latest = self.latest.max(log.complete_through.filter(|_| self.latest.is_some()));
    }
}

/// What a task has brought.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// A snapshot was taken.
    Snapshot(SnapshotReport),
    /// What expired was deleted.
    Retention(SweepReport),
    /// Log backups were merged.
    Compaction(CompactReport),
    /// What is stored was read.
    Verification(VerifyReport),
    /// An instant was restored on trial; whether it could be, is what this says.
    TestRestore(RestoreProof),
}

impl Outcome {
    /// Of which task.
    #[must_use]
    pub const fn task(&self) -> Task {
        match self {
            Self::Snapshot(_) => Task::Snapshot,
            Self::Retention(_) => Task::Retention,
            Self::Compaction(_) => Task::Compaction,
            Self::Verification(_) => Task::Verification,
            Self::TestRestore(_) => Task::TestRestore,
        }
    }
}

/// The events since it was asked for, in order. One who does not keep up is told how many were missed.
#[derive(Debug)]
pub struct Events {
    receiver: Receiver<ServiceEvent>,
    missed: Arc<Mutex<u64>>,
}

impl Events {
    /// How many events were missed since this was asked last, as nobody took them.
    #[must_use]
    pub fn missed(&self) -> u64 {
        std::mem::take(&mut *self.missed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Stream for Events {
    type Item = ServiceEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ServiceEvent>> {
        self.receiver.poll_next_unpin(context)
    }
}

/// How many events wait for a subscriber at most.
const WAITING_MAX: usize = 1024;

/// Tells whoever subscribed, and counts.
#[derive(Default)]
pub(super) struct Announcer {
    subscribers: Mutex<Vec<Subscriber>>,
    recorder: Recorder,
}

/// Where events go, and how many could not.
type Subscriber = (Sender<ServiceEvent>, Arc<Mutex<u64>>);

impl Announcer {
    pub(super) fn subscribe(&self) -> Events {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let missed = Arc::default();
        self.subscribers().push((sender, Arc::clone(&missed)));
        Events { receiver, missed }
    }

    pub(super) fn tell(&self, server: &ServerName, what: Happening) {
        self.recorder.note(server, &what);
        trace::tell(server, &what);
        let event = ServiceEvent { server: server.clone(), what };
        self.subscribers().retain_mut(|(sender, missed)| match sender.try_send(event.clone()) {
            Err(error) if error.is_disconnected() => false,
            Err(_) => {
                *missed.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                true
            }
            Ok(()) => true,
        });
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer").finish_non_exhaustive()
    }
}
