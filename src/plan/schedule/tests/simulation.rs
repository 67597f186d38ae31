//! A loop that obeys the agenda for two months, while runs fail, the worker sleeps, the server is paused and clocks step.

use proptest::prelude::*;
use proptest::test_runner::TestRng;

use super::*;

/// What may happen beside the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct World {
    runs_fail: bool,
    worker_sleeps: bool,
    server_pauses: bool,
    clock_steps: bool,
}

const CALM: World = World { runs_fail: false, worker_sleeps: false, server_pauses: false, clock_steps: false };

/// A run that has begun and not ended.
#[derive(Clone, Copy, Debug)]
struct Running {
    task: Task,
    started: Timestamp,
    ends: Duration,
    succeeds: bool,
    /// By how much the clock was set back before it.
    set_back: Duration,
}

/// A run that has ended, with the true time since the simulation's beginning.
#[derive(Clone, Copy, Debug)]
struct Past {
    task: Task,
    reason: DueReason,
    began: Duration,
    /// By the worker's clock.
    started: Timestamp,
    /// The true time for which the worker was able to begin it and did not, since the last try or what prevented it.
    waited: Duration,
}

/// One worker, one server.
struct Simulation {
    schedule: Schedule,
    facts: ScheduleFacts,
    world: World,
    rng: TestRng,
    /// The true time since the beginning.
    elapsed: Duration,
    /// What the clock shows at the beginning of a simulation that began now.
    clock: Timestamp,
    running: Vec<Running>,
    history: Vec<Past>,
    steps: usize,
    /// Since when nothing but the schedule has kept the log from being archived.
    able_since: Duration,
    /// By how much the clock was set back so far.
    set_back: Duration,
    /// The same when the last log backup that succeeded began.
    known_set_back: Duration,
    last_failed: bool,
}

impl Simulation {
    fn new(schedule: Schedule, world: World, rng: TestRng) -> Self {
        let clock = at("03-01T09:17");
        Self {
            schedule,
            facts: ScheduleFacts::new(clock),
            world,
            rng,
            elapsed: Duration::ZERO,
            clock,
            running: Vec::new(),
            history: Vec::new(),
            steps: 0,
            able_since: Duration::ZERO,
            set_back: Duration::ZERO,
            known_set_back: Duration::ZERO,
            last_failed: false,
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.saturating_add(self.elapsed)
    }

    fn random(&mut self, below: u64) -> u64 {
        self.rng.next_u64() % below
    }

    fn run(mut self, length: Duration) -> Vec<Past> {
        while self.elapsed < length {
            self.end_runs();
            let agenda = self.schedule.agenda(&server(), &self.facts, self.now());
            agenda.due.into_iter().for_each(|due| self.begin(due));
            self.sleep();
        }
        self.check_number_of_snapshots(length);
        self.history
    }

    fn begin(&mut self, due: DueTask) {
        let runs = self.running.iter().any(|running| running.task == due.task);
        assert_eq!(runs, due.abandoned.is_some(), "{due}");
        assert!(!runs || self.world.clock_steps, "no run takes so long, unless the clock steps forward: {due}");
        self.running.retain(|running| running.task != due.task);
        let now = self.now();
        let took = match due.task {
            Task::LogBackup => seconds(1 + self.random(20)),
            _ => seconds(1 + self.random(5 * 3600)),
        };
        let succeeds = !self.world.runs_fail || self.random(3) > 0;
        let task = due.task;
        self.running.push(Running { task, started: now, ends: self.elapsed + took, succeeds, set_back: self.set_back });
        let waited = if task == Task::LogBackup { self.check_log_backup() } else { Duration::ZERO };
        self.history.push(Past { task, reason: due.reason, began: self.elapsed, started: now, waited });
        *self.facts.task_mut(task) = self.facts.task(task).begun(now);
    }

    /// The log is never left alone for longer than the cadence, but for the time by which the clock was set back.
    fn check_log_backup(&mut self) -> Duration {
        let waited = self.elapsed - self.able_since;
        let settings = self.schedule.settings();
        let (cadence, retry) = (settings.log_backup_every, settings.log_backup_retry_max);
        let set_back = self.set_back - self.known_set_back;
        let most = match self.last_failed {
            false => cadence + set_back.min(cadence),
            true if set_back.is_zero() => retry,
            true => cadence + 2 * retry,
        };
        assert!(waited <= most, "a log backup after {waited:?}, not {most:?}; the clock set back by {set_back:?}");
        self.able_since = self.elapsed;
        waited
    }

    fn end_runs(&mut self) {
        let (ended, running) = self.running.iter().partition(|running| running.ends <= self.elapsed);
        self.running = running;
        let ended: Vec<Running> = ended;
        ended.into_iter().for_each(|run| self.end(run));
    }

    fn end(&mut self, Running { task, started, succeeds, set_back, .. }: Running) {
        let now = self.now();
        let known = self.facts.task_mut(task);
        *known = if succeeds { known.succeeded(TaskRun::new(started, now)) } else { known.failed(now) };
        match task {
            Task::LogBackup => {
                self.last_failed = !succeeds;
                match succeeds {
                    true => self.known_set_back = set_back,
                    false => self.able_since = self.elapsed,
                }
                self.facts.small_log_backups += u64::from(succeeds);
            }
            Task::Compaction if succeeds => self.facts.small_log_backups = 0,
            _ => {}
        }
    }

    /// Until something is due or a run ends, unless something happens before.
    fn sleep(&mut self) {
        let agenda = self.schedule.agenda(&server(), &self.facts, self.now());
        assert_eq!(agenda.due, [], "all has begun");
        let until_next = agenda.next.map(|next| next.duration_since(self.now()));
        let until_end = self.running.iter().map(|running| running.ends.saturating_sub(self.elapsed)).min();
        let sleep = until_next.into_iter().chain(until_end).min().expect("the server is not paused");
        assert!(sleep > Duration::ZERO, "a loop never spins");
        match self.random(600) {
            0 if self.world.worker_sleeps => self.oversleep(),
            1 if self.world.server_pauses => self.pause(),
            2 if self.world.clock_steps => self.step(sleep),
            _ => self.elapsed += sleep,
        }
    }

    /// The worker does nothing for up to ten days; runs end meanwhile.
    fn oversleep(&mut self) {
        let asleep = seconds(self.random(10 * 24 * 3600));
        self.elapsed += asleep;
        self.able_since = self.elapsed;
    }

    fn pause(&mut self) {
        self.facts.paused = true;
        let agenda = self.schedule.agenda(&server(), &self.facts, self.now());
        assert_eq!((agenda.due.len(), agenda.next), (0, None));
        let paused = seconds(self.random(3 * 24 * 3600));
        self.elapsed += paused;
        (self.facts.paused, self.facts.resumed_at) = (false, Some(self.now()));
        self.able_since = self.elapsed;
    }

    /// The clock steps by up to two days while the loop sleeps, which it does not notice before it wakes.
    fn step(&mut self, sleep: Duration) {
        let step = seconds(self.random(2 * 24 * 3600) >> self.random(16));
        self.steps += 1;
        if self.random(2) == 0 {
            self.clock = self.clock.saturating_add(step);
        } else {
            self.clock = self.clock.saturating_sub(step);
            self.set_back += step;
        }
        self.elapsed += sleep;
    }

    /// One a day, one for the first, and at most one for each step of the clock and each failure.
    fn check_number_of_snapshots(&self, length: Duration) {
        let snapshots = self.history.iter().filter(|past| past.task == Task::Snapshot).count();
        let days = usize::try_from(length.as_secs() / 86_400).unwrap();
        if !self.world.runs_fail {
            // A step forward of two days passes two slots, which one snapshot makes up for.
            assert!(snapshots <= days + 2 + 2 * self.steps, "{snapshots} snapshots, {} steps", self.steps);
        }
        if self.world == CALM {
            assert!(snapshots >= days, "{snapshots} snapshots");
        }
    }
}

fn simulate(world: World, cadence: u64, seed: [u8; 32]) -> Vec<Past> {
    let schedule =
        Schedule::new(ScheduleSettings { log_backup_every: seconds(cadence), ..Default::default() }).unwrap();
    let rng = TestRng::from_seed(prop::test_runner::RngAlgorithm::ChaCha, &seed);
    Simulation::new(schedule, world, rng).run(days(60))
}

fn snapshots(history: &[Past]) -> Vec<Past> {
    history.iter().filter(|past| past.task == Task::Snapshot).copied().collect()
}

fn any_world() -> impl Strategy<Value = World> {
    prop::array::uniform4(any::<bool>()).prop_map(|[runs_fail, worker_sleeps, server_pauses, clock_steps]| World {
        runs_fail,
        worker_sleeps,
        server_pauses,
        clock_steps,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The simulation itself asserts what holds at each moment.
    #[test]
    fn whatever_happens_the_log_is_archived(world in any_world(), cadence in 60_u64..900, seed in any::<[u8; 32]>()) {
        let history = simulate(world, cadence, seed);
        prop_assert!(history.iter().any(|past| past.task == Task::LogBackup));
    }

    #[test]
    fn slots_never_make_two_snapshots_due_within_half_a_day(
        worker_sleeps in any::<bool>(),
        server_pauses in any::<bool>(),
        seed in any::<[u8; 32]>(),
    ) {
        let world = World { worker_sleeps, server_pauses, ..CALM };
        let snapshots = snapshots(&simulate(world, 300, seed));
        let mut slots: Vec<Timestamp> = Vec::new();
        for pair in snapshots.windows(2) {
            let apart = pair[1].began - pair[0].began;
            prop_assert!(apart >= hours(12), "{:?}", pair);
            prop_assert!(world != CALM || apart <= hours(36), "{:?}", pair);
            slots.push(Schedule::default().next_slot(&server(), pair[1].started.saturating_sub(days(1) - Duration::from_micros(1))));
        }
        prop_assert!(slots.is_sorted_by(|a, b| a < b), "no two in one slot: {:?}", slots);
        let caught_up = |past: &&Past| matches!(past.reason, DueReason::MissedSlots { .. });
        prop_assert!(world != CALM || snapshots.iter().find(caught_up).is_none());
    }

    #[test]
    fn a_calm_world_is_archived_exactly_by_the_cadence(cadence in 60_u64..900, seed in any::<[u8; 32]>()) {
        let history = simulate(CALM, cadence, seed);
        let log_backups: Vec<&Past> = history.iter().filter(|past| past.task == Task::LogBackup).collect();
        prop_assert!(log_backups[1..].iter().all(|past| past.waited == seconds(cadence)));
        let retentions = history.iter().filter(|past| past.task == Task::Retention).count();
        prop_assert!(retentions >= snapshots(&history).len() - 1, "one after each snapshot");
        let verifications = history.iter().filter(|past| past.task == Task::Verification).count();
        prop_assert!((8..=9).contains(&verifications), "weekly: {}", verifications);
    }

    #[test]
    fn the_same_world_goes_the_same_way(world in any_world(), seed in any::<[u8; 32]>()) {
        let began = |history: Vec<Past>| history.into_iter().map(|past| (past.task, past.began)).collect::<Vec<_>>();
        prop_assert_eq!(began(simulate(world, 600, seed)), began(simulate(world, 600, seed)));
    }
}
