//! What a simulated server does by itself.

use std::time::Duration;

use super::{SEGMENT_SIZE, State};
use crate::model::Lsn;

/// What a [`SimulatedServer`](super::SimulatedServer) does by itself while it is asked for log. By default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Habits {
    /// How many things it does before it falls silent: transactions, restore points, segment switches, idling and what follows.
    pub deeds: u32,
    /// One message in so many breaks its connection; 0 for none.
    pub breaks_one_in: u64,
    /// One deed in so many steps its clock, in either direction; 0 for none.
    pub steps_clock_one_in: u64,
    /// One deed in so many promotes a standby, which may lag behind; 0 for none.
    pub promotes_one_in: u64,
    /// One deed in so many loses its slot and old log; 0 for none.
    pub loses_log_one_in: u64,
}

/// The longest record, so that some fill several pages.
const RECORD_BYTES_MAX: u64 = 40_000;
const IDLE_MICROS_MAX: u64 = 120_000_000;
const CLOCK_STEP_MICROS_MAX: u64 = 600_000_000;
/// Commit records bear the time of a moment before they were written: at most so long before.
const COMMIT_DELAY_MICROS_MAX: u64 = 300_000;
/// How long a transaction takes at most.
const TRANSACTION_MICROS_MAX: u64 = 2_000_000;
const LAG_MAX: u64 = 200_000;

impl Habits {
    /// So many deeds, and every kind of misfortune now and then.
    #[must_use]
    pub const fn eventful(deeds: u32) -> Self {
        Self { deeds, breaks_one_in: 60, steps_clock_one_in: 20, promotes_one_in: 25, loses_log_one_in: 0 }
    }
}

impl State {
    /// Does the next thing, sometimes.
    pub(super) fn live(&mut self) {
        if self.deeds_left > 0 && self.one_in(3) {
            self.deeds_left -= 1;
            self.deed();
        }
    }

    fn deed(&mut self) {
        let Habits { steps_clock_one_in, promotes_one_in, loses_log_one_in, .. } = self.habits;
        if self.one_in(loses_log_one_in) {
            return self.lose_log();
        }
        if self.one_in(promotes_one_in) {
            let lag = self.below(2) * self.below(LAG_MAX);
            return self.promote(lag);
        }
        if self.one_in(steps_clock_one_in) {
            return self.step_clock();
        }
        match self.below(24) {
            0 => self.restore_point(),
            1 => self.log.switch_segment(),
            2 | 3 => self.idle(),
            4 => self.write(150_000),
            _ => self.transaction(),
        }
    }

    /// Writes transactions until there are `bytes` bytes more of log.
    pub(super) fn write(&mut self, bytes: u64) {
        let end = self.log.flush_lsn().saturating_add(bytes);
        while self.log.flush_lsn() < end {
            self.transaction();
        }
        self.wake();
    }

    pub(super) fn promote(&mut self, lag: u64) {
        let now = self.now();
        self.log.promote(lag, now);
        let begin = self.log.history(self.log.current()).map_or(Lsn::ZERO, |history| history.begin());
        self.slot = self.slot.map(|slot| slot.min(begin));
        self.kept = self.kept.min(begin);
        self.observe_clock();
        self.wake();
    }

    pub(super) fn lose_log(&mut self) {
        // A slot that was made anew begins later than what was acknowledged to the one before.
        let acknowledged = self.acknowledged.last().map_or(self.kept, |(_, lsn)| *lsn);
        let first_unacknowledged = self.slot.take().unwrap_or(self.kept).min(acknowledged);
        let end = self.log.flush_lsn();
        self.kept = end.align_down(SEGMENT_SIZE.bytes()).max(self.kept);
        if first_unacknowledged < self.kept {
            self.lost.push(first_unacknowledged..self.kept);
        }
    }

    fn transaction(&mut self) {
        let pause = self.below(TRANSACTION_MICROS_MAX);
        self.pass(Duration::from_micros(pause));
        for _ in 0..self.below(4) {
            let long = self.one_in(6);
            let bytes = self.below(if long { RECORD_BYTES_MAX } else { 300 });
            self.log.fill(usize::try_from(bytes).expect("records are short"));
        }
        let delay = self.below(COMMIT_DELAY_MICROS_MAX);
        let time = self.now().saturating_sub(Duration::from_micros(delay));
        if self.one_in(8) {
            self.log.abort(time);
        } else {
            self.log.commit(time);
        }
        self.observe_clock();
    }

    fn restore_point(&mut self) {
        let (name, now) = (format!("point {}", self.below(1000)), self.now());
        self.log.restore_point(&name, now);
        self.observe_clock();
    }

    fn idle(&mut self) {
        let pause = self.below(IDLE_MICROS_MAX);
        self.pass(Duration::from_micros(pause));
    }

    fn step_clock(&mut self) {
        let most = CLOCK_STEP_MICROS_MAX;
        let step = self.below(2 * most).cast_signed() - most.cast_signed();
        self.ahead = self.ahead.saturating_add(step);
        self.observe_clock();
    }
}
