//! A PostgreSQL server that exists only in memory.

mod files;
mod habits;
mod log;
mod stream;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use self::log::ServerLog;
use super::ManualClock;
use super::entropy::SplitMix64;
use crate::model::{
    Incarnation, Lsn, Parameters, PostgresMajor, SegmentNumber, SegmentSize, SystemId, TimelineHistory,
};
use crate::model::{TimelineId, Timestamp};
use crate::port::{Clock, PortError, PortErrorKind, SourceIdentity};

pub use files::ServerFiles;
pub use habits::Habits;
pub use log::LoggedRecord;

/// A PostgreSQL server that exists only in memory: writes valid log, and gives it and its files as a
/// [`WalSource`](crate::port::WalSource) and a [`SnapshotSource`](crate::port::SnapshotSource).
///
/// Everything that it does follows from its seed and from the calls that it gets. It lives while it is asked for log: then it
/// does what its [`Habits`] are, and lets time pass on the clock that it was given. It remembers all that it ever wrote, so
/// that what was archived can be held against it. Clones are the same server.
#[derive(Clone, Debug)]
pub struct SimulatedServer(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    random: SplitMix64,
    incarnation: Incarnation,
    time: ManualClock,
    /// How far the server's clock is ahead, in microseconds.
    ahead: i64,
    log: ServerLog,
    files: ServerFiles,
    /// The bytes of files that were read where they lie.
    read: Arc<AtomicU64>,
    habits: Habits,
    deeds_left: u32,
    /// Whether whoever waits for its log sleeps, and time does not pass by that.
    is_patient: bool,
    parameters: Option<Parameters>,
    /// Who waits for more log.
    waiters: Vec<Waker>,
    /// Everything before this was thrown away.
    kept: Lsn,
    /// What the replication slot keeps; `None` if there is no slot.
    slot: Option<Lsn>,
    acknowledged: Vec<(TimelineId, Lsn)>,
    lost: Vec<Range<Lsn>>,
    /// How far the log of which timeline was sent on the last connection.
    sent: Option<(TimelineId, Lsn)>,
}

/// Log is cut into the smallest segments there are, so that a little of it fills some.
const SEGMENT_SIZE: SegmentSize = SegmentSize::MIN;
/// How much of a record may stand before the first one that an archiver sees whole.
const TAIL_BYTES_MAX: u64 = 64 << 10;

impl SimulatedServer {
    /// The server of `seed`, with no habits. It tells and passes time by `clock`.
    #[must_use]
    pub fn new(seed: u64, clock: &ManualClock) -> Self {
        let mut random = SplitMix64::new(seed);
        let incarnation = Incarnation::new(SystemId::new(random.next()), PostgresMajor::MIN);
        let log = ServerLog::new(incarnation, SEGMENT_SIZE, random.next() % TAIL_BYTES_MAX);
        let files = ServerFiles::random(&mut random);
        let kept = log.flush_lsn();
        let state = State {
            random,
            incarnation,
            time: clock.clone(),
            ahead: 0,
            log,
            files,
            read: Arc::default(),
            habits: Habits::default(),
            deeds_left: 0,
            is_patient: false,
            parameters: None,
            waiters: Vec::new(),
            kept,
            slot: None,
            acknowledged: Vec::new(),
            lost: Vec::new(),
            sent: None,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Lets it live by `habits` from now on.
    pub fn live_by(&self, habits: Habits) {
        let mut state = self.state();
        (state.habits, state.deeds_left) = (habits, habits.deeds);
    }

    /// From now on, whoever waits for its log sleeps until there is some, or for as long as is waited for, and lets nobody's time pass by that: whoever has the clock does.
    pub fn be_patient(&self) {
        self.state().is_patient = true;
    }

    /// From now on, it runs with these parameters.
    pub fn run_with(&self, parameters: Parameters) {
        self.state().parameters = Some(parameters);
    }

    /// Writes `bytes` of log and more, in transactions that commit.
    pub fn write(&self, bytes: u64) {
        self.state().write(bytes);
    }

    /// Commits a transaction at `time`, whatever the clock shows; returns the end of its record.
    pub fn commit_at(&self, time: Timestamp) -> Lsn {
        let mut state = self.state();
        state.wake();
        state.log.commit(time)
    }

    /// Makes a restore point of this name, of at most 63 bytes; returns the end of its record.
    pub fn restore_point(&self, name: &str) -> Lsn {
        let mut state = self.state();
        let now = state.now();
        state.wake();
        state.log.restore_point(name, now)
    }

    /// Gives it `count` files of `bytes` bytes each in place of those that it has.
    pub fn hold_files(&self, count: u64, bytes: u64) {
        let mut state = self.state();
        state.files = ServerFiles::alike(&mut state.random.clone(), count, bytes);
    }

    /// Gives it a database in `directory`, whose parent it has: `base/16400`, or one in a tablespace.
    pub fn add_database(&self, directory: &str) {
        let State { files, random, .. } = &mut *self.state();
        files.add_database(random, directory);
    }

    /// Changes about one file in `one_in`: pages are written, files grow, are truncated, come and go.
    pub fn change_files(&self, one_in: u64) {
        let State { files, random, .. } = &mut *self.state();
        files.change(random, one_in.max(1));
    }

    /// Changes these pages of the file `path`, counted from 0, if it has them.
    pub fn change_pages(&self, path: &str, pages: &[usize]) {
        self.state().files.change_pages(path, pages);
    }

    /// From now on, snapshots read its files where they lie, and files have stamps, which change with their content.
    pub fn stamp_files(&self) {
        self.state().files.stamp();
    }

    /// Changes the content of the file `path`, but not its stamp.
    pub fn change_secretly(&self, path: &str) {
        self.state().files.change_secretly(path);
    }

    /// From now on, block `block` of the file `path` has a wrong checksum, for whoever reads it where it lies.
    pub fn damage_page(&self, path: &str, block: u32) {
        self.state().files.damage(path, block);
    }

    /// The bytes of files that were read where they lie.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.state().read.load(Ordering::Relaxed)
    }

    /// Lets time pass.
    pub fn pass(&self, duration: Duration) {
        self.state().pass(duration);
    }

    /// Promotes a standby that is up to `lag` bytes of log behind: the server goes on from there on a new timeline.
    pub fn promote(&self, lag: u64) {
        self.state().promote(lag);
    }

    /// Loses the slot, and all log that is not in the last segment.
    pub fn lose_log(&self) {
        self.state().lose_log();
    }

    /// Flips a bit of the log of the current timeline at `lsn`.
    pub fn damage(&self, lsn: Lsn) {
        self.state().log.damage(lsn);
    }

    /// Who it is and where it stands.
    #[must_use]
    pub fn identity(&self) -> SourceIdentity {
        self.state().identity()
    }

    /// Its files as they are now.
    #[must_use]
    pub fn files(&self) -> ServerFiles {
        self.state().files.clone()
    }

    /// Whether it will do nothing more, and all of its log was sent.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let state = self.state();
        let end = (state.log.current(), state.log.flush_lsn());
        state.deeds_left == 0 && state.sent == Some(end)
    }

    /// The bytes that were ever written to this stretch of `timeline`, from the start of the segment where it began on.
    #[must_use]
    pub fn wal(&self, timeline: TimelineId, range: Range<Lsn>) -> Vec<u8> {
        self.state().log.bytes(timeline, range).to_vec()
    }

    /// All records of `timeline` that bear a time, also those that are thrown away by now.
    #[must_use]
    pub fn records(&self, timeline: TimelineId) -> Vec<LoggedRecord> {
        self.state().log.records(timeline).to_vec()
    }

    /// How `timeline` came to be.
    #[must_use]
    pub fn history(&self, timeline: TimelineId) -> Option<TimelineHistory> {
        self.state().log.history(timeline).cloned()
    }

    /// The latest that its clock showed while its log did not go beyond `lsn` of `timeline`.
    #[must_use]
    pub fn clock_while_at(&self, timeline: TimelineId, lsn: Lsn) -> Option<Timestamp> {
        self.state().log.latest_clock(timeline, lsn)
    }

    /// Every position that was acknowledged to it, in order.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<(TimelineId, Lsn)> {
        self.state().acknowledged.clone()
    }

    /// What it threw away without an acknowledgement.
    #[must_use]
    pub fn lost(&self) -> Vec<Range<Lsn>> {
        self.state().lost.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn identity(&self) -> SourceIdentity {
        SourceIdentity::new(self.incarnation, SEGMENT_SIZE, self.log.current(), self.log.flush_lsn())
    }

    fn now(&self) -> Timestamp {
        let micros = self.time.now().as_unix_micros().saturating_add(self.ahead);
        Timestamp::from_unix_micros(micros).expect("simulations do not run for millennia")
    }

    /// There is more log.
    fn wake(&mut self) {
        self.waiters.drain(..).for_each(Waker::wake);
    }

    fn pass(&mut self, duration: Duration) {
        self.time.advance(duration);
        self.observe_clock();
    }

    /// Remembers what the clock shows with the log as it is.
    fn observe_clock(&mut self) {
        let now = self.now();
        self.log.observe_clock(now);
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.next() % limit.max(1)
    }

    fn one_in(&mut self, many: u64) -> bool {
        many > 0 && self.below(many) == 0
    }

    /// The start of the oldest segment that is still there.
    fn oldest(&self) -> Lsn {
        SegmentNumber::containing(self.kept, SEGMENT_SIZE).start(SEGMENT_SIZE)
    }

    /// A connection breaks now and then.
    fn connection(&mut self) -> Result<(), PortError> {
        let broken = PortError::new(PortErrorKind::Unavailable, "the connection to the simulated server broke");
        if self.one_in(self.habits.breaks_one_in) { Err(broken) } else { Ok(()) }
    }
}

/// Lets others go first, once.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(move |context| {
        if std::mem::replace(&mut paused, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
