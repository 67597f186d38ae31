//! One history, seen from one timeline, and what a restore in it should be.

use pitr::model::{Catalog, Lsn, ServerRole, Timestamp};
use pitr::plan::{CostModel, Objective, PlanError, RestorePlan, RestoreRequest, Target};

use crate::known::{self, Stop};
use crate::past::Past;
use crate::server::{Ended, Failed, Told, recover};
use crate::steps::Flavour;
use crate::subsets::{Best, Subsets, Taking, Weight};
use crate::world::{Taken, UNIT, World, lsn};

/// Says what is wrong.
pub(crate) type Checked = Result<(), String>;

/// Something that plans: the planner, or a wrong one that must be found out.
pub(crate) type Planner = fn(&Catalog, &RestoreRequest) -> Result<RestorePlan, PlanError>;

macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+));
        }
    };
}
pub(crate) use ensure;

pub(crate) struct Case<'p, 'w> {
    pub(crate) past: &'p Past<'w>,
    pub(crate) subsets: &'p Subsets<'p, 'w>,
    pub(crate) catalog: &'p Catalog,
    pub(crate) flavour: Flavour,
    pub(crate) objective: Objective,
    pub(crate) costs: CostModel,
    pub(crate) planner: Planner,
}

/// What a target means, and from which snapshots it is reached, the furthest in the log first.
#[derive(Debug)]
pub(crate) struct Meant<'w> {
    pub(crate) stop: Lsn,
    pub(crate) how: How,
    pub(crate) from: Vec<&'w Taken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// PostgreSQL stops by itself after this.
    Limit(Timestamp),
    /// Log is staged up to there, after which nothing was committed for a while.
    Idle(Timestamp),
    /// Log is staged up to there.
    Position,
}

impl<'w> Case<'_, 'w> {
    pub(crate) fn world(&self) -> &'w World {
        self.past.world
    }

    pub(crate) fn request(&self, target: Target) -> RestoreRequest {
        self.request_on(self.past.timeline, target)
    }

    pub(crate) fn request_on(&self, timeline: usize, target: Target) -> RestoreRequest {
        let request = RestoreRequest::new(target).on_timeline(self.world().timelines[timeline].id);
        request.for_objective(self.objective).with_costs(self.costs)
    }

    pub(crate) fn plan(&self, target: Target) -> Result<RestorePlan, PlanError> {
        (self.planner)(self.catalog, &self.request(target))
    }

    pub(crate) fn restorable(&self, target: Target) -> bool {
        self.plan(target).is_ok()
    }

    /// What a limit means: by what is known, or if all was read, by what is true.
    pub(crate) fn time(&self, limit: Timestamp) -> Option<Meant<'w>> {
        match self.flavour {
            Flavour::Tidy | Flavour::Steady => self.by(limit, |taken| known::stop(self.past, taken, limit)),
            Flavour::Read | Flavour::Loose => self.by(limit, |taken| truth(self.past, taken, limit)),
        }
    }

    /// The snapshot furthest in the log says where the stop is; the others compete if they stop there.
    pub(crate) fn by(&self, limit: Timestamp, stop: impl Fn(&Taken) -> Option<Stop>) -> Option<Meant<'w>> {
        let all = self.past.snapshots.iter().filter_map(|&taken| Some((taken, stop(taken)?)));
        let all: Vec<(&Taken, Stop)> = all.collect();
        let &(_, meant) = all.first()?;
        let from = all.into_iter().filter(|&(_, stop)| stop == meant).map(|(taken, _)| taken).collect();
        let how = if meant.idle { How::Idle(limit) } else { How::Limit(limit) };
        Some(Meant { stop: lsn(meant.end), how, from })
    }

    /// What a position means.
    pub(crate) fn position(&self, asked: Lsn) -> Option<Meant<'w>> {
        let stop = Past::whole(asked);
        let from = self.past.ways_to(stop);
        (!from.is_empty()).then_some(Meant { stop, how: How::Position, from })
    }

    /// What a snapshot itself means.
    pub(crate) fn own(&self, taken: &'w Taken) -> Meant<'w> {
        Meant { stop: taken.snapshot.wal.end, how: How::Position, from: vec![taken] }
    }

    /// The best of all subsets for that.
    pub(crate) fn best(&self, meant: &Meant<'w>) -> Option<Best<'w>> {
        let end = meant.stop.as_u64().div_ceil(UNIT);
        let suffices = |taken: &Taken, staged: u64| match meant.how {
            // What is known may end later than where PostgreSQL stops.
            How::Limit(limit) => staged >= end && stops(self.past, taken, staged, limit),
            How::Idle(limit) => {
                staged >= end && recover(self.past, taken, end, Told::Limit(limit)) == Err(Failed::NotReached)
            }
            How::Position => recover(self.past, taken, staged.min(end), Told::Everything) == Ok(Ended::At(end)),
        };
        self.subsets.best(&meant.from, meant.stop, |taking| self.weight(taking), suffices)
    }

    pub(crate) fn weight(&self, taking: Taking) -> Weight {
        taking.weight(self.objective, &self.costs)
    }
}

fn stops(past: &Past<'_>, taken: &Taken, staged: u64, limit: Timestamp) -> bool {
    matches!(recover(past, taken, staged, Told::Limit(limit)), Ok(Ended::Before(_)))
}

/// Where recovery really stops if everything archived is staged, and whether that is the state at `limit`.
pub(crate) fn truth(past: &Past<'_>, taken: &Taken, limit: Timestamp) -> Option<Stop> {
    let reach = past.reach(taken)?;
    if taken.snapshot.consistent_at >= limit || seen_late(past, taken, limit) {
        return None;
    }
    match recover(past, taken, reach, Told::Limit(limit)) {
        Ok(Ended::Before(end)) => Some(Stop { end, idle: false }),
        Err(Failed::NotReached) if Some(limit) <= past.observed(taken.end, reach) => {
            Some(Stop { end: reach, idle: true })
        }
        _ => None,
    }
}

/// Whether, as far as archived log tells, the files of a standby hold a commit after `limit`. Its clock would not tell.
pub(crate) fn seen_late(past: &Past<'_>, taken: &Taken, limit: Timestamp) -> bool {
    let standby = taken.snapshot.role == ServerRole::Standby;
    standby && past.commits(0, taken.end).any(|commit| commit.time > limit && past.is_told(commit.end, taken.timeline))
}
