//! What was considered: every snapshot, and why it lost.

use std::fmt;

use serde::Serialize;

use super::explain::Took;
use super::restore_plan::RestorePlan;
use super::route::Route;
use super::search::{Goal, Search, last_replayed};
use super::{Cost, Objective, PlanError, RestoreRequest};
use crate::model::{Branch, Catalog, Lsn, Snapshot, SnapshotId, Timestamp, Unusable, WalRange};
use crate::plan::past::{Candidate, Need, Obstacle, Stop};

/// A plan or a refusal, and how every snapshot of the catalog fared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// What [`plan_restore`](super::plan_restore) says.
    pub outcome: Result<RestorePlan, PlanError>,
    /// By what ways were compared.
    pub objective: Objective,
    /// Every snapshot, those on the way first, the furthest in the log before others.
    pub considered: Vec<Considered>,
}

/// A snapshot, and whether recovery could or should start from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Considered {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of a snapshot that was considered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Recovery starts from it, or, of a chain, from one that builds on it.
    Chosen(Cost),
    /// It would do, but costs more.
    Costlier(Cost),
    /// It would do, but another one was asked for by name, or as the earliest.
    NotAskedFor,
    /// It is only consistent after the target: from this instant, or from this position on.
    TooLate(ConsistentFrom),
    /// The log from it does not reach the target.
    #[non_exhaustive]
    DoesNotReach {
        /// How far it reaches.
        reach: Lsn,
        /// The hole there, if there is log after it.
        missing: Option<WalRange>,
    },
    /// Recovery from it would stop elsewhere than from a newer one, which knows better what the clock was.
    StopsElsewhere(WalRange),
    /// It is unknown whether it would do.
    Unknown(Vec<Need>),
    /// It lacks log that makes it consistent.
    LogMissing(WalRange),
    /// It cannot be restored whatever log there is.
    Unusable(Unusable),
    /// The past that was asked for does not go through it.
    OtherBranch(Branch),
}

/// From when, or from where, a snapshot can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConsistentFrom {
    /// From this instant on.
    Time(Timestamp),
    /// From this position on.
    Lsn(Lsn),
}

/// Plans, and tells of every snapshot why it was chosen or not.
///
/// # Errors
/// If what was asked for is not known at all: no branch, or no position to look for. Whatever is refused because no snapshot
/// reaches it has an explanation.
pub fn explain_restore(catalog: &Catalog, request: &RestoreRequest) -> Result<Explanation, PlanError> {
    let search = Search::new(catalog, request)?;
    let goal = search.goal(request)?;
    let outcome = search.plan(request, &goal);
    let jury = Jury { search: &search, goal: &goal, meant: meant(&search, &goal), outcome: &outcome };
    let considered = jury.all(catalog);
    Ok(Explanation { objective: request.objective, considered, outcome })
}

/// Where the newest snapshot that can reach the goal stops.
fn meant(search: &Search<'_>, goal: &Goal) -> Option<Stop> {
    search.path.candidates().find_map(|candidate| goal.stop_from(&search.path, &candidate))
}

struct Jury<'j, 'a> {
    search: &'j Search<'a>,
    goal: &'j Goal,
    meant: Option<Stop>,
    outcome: &'j Result<RestorePlan, PlanError>,
}

impl Jury<'_, '_> {
    fn all(&self, catalog: &Catalog) -> Vec<Considered> {
        let path = &self.search.path;
        let on_the_way = path.snapshots().map(|(_, id)| Considered { snapshot: id.clone(), verdict: self.passed(id) });
        let mut considered: Vec<_> = on_the_way.collect();
        let elsewhere = |snapshot: &&Snapshot| path.candidate(&snapshot.id).is_none();
        considered.extend(catalog.snapshots().filter(elsewhere).map(|snapshot| {
            let verdict = Verdict::OtherBranch(snapshot.branch());
            Considered { snapshot: snapshot.id.clone(), verdict }
        }));
        considered
    }

    fn passed(&self, id: &SnapshotId) -> Verdict {
        match self.search.path.candidate(id) {
            Some(Ok(candidate)) => self.usable(&candidate),
            Some(Err(Obstacle::Chain(reason))) => Verdict::Unusable(reason),
            Some(Err(Obstacle::Log(missing))) => Verdict::LogMissing(missing),
            None => Verdict::OtherBranch(self.search.path.branch),
        }
    }

    fn usable(&self, candidate: &Candidate<'_, '_>) -> Verdict {
        let plan = self.outcome.as_ref().ok();
        if let Some(plan) = plan.filter(|plan| plan.snapshots().iter().any(|s| s.id == candidate.snapshot.id)) {
            return Verdict::Chosen(plan.cost());
        }
        let path = &self.search.path;
        match (self.goal.stop_from(path, candidate), &self.meant) {
            (Some(stop), Some(meant)) if meant.is(&stop) => {
                Verdict::Costlier(Route::new(path, &self.search.scale, candidate, stop).cost)
            }
            (Some(stop), _) => Verdict::StopsElsewhere(stop.range),
            (None, _) => self.unfit(candidate),
        }
    }

    fn unfit(&self, candidate: &Candidate<'_, '_>) -> Verdict {
        let (reach, missing) = (candidate.reach, self.search.path.hole(candidate.reach));
        match *self.goal {
            Goal::Own(..) => Verdict::NotAskedFor,
            Goal::Position { asked } if asked < candidate.snapshot.wal.end => {
                Verdict::TooLate(ConsistentFrom::Lsn(candidate.snapshot.wal.end))
            }
            Goal::Position { .. } => Verdict::DoesNotReach { reach, missing },
            Goal::Time { at, inclusive } => {
                let limit = last_replayed(at, inclusive);
                let needs = candidate.needs_for(limit);
                match needs.is_empty() {
                    false => Verdict::Unknown(needs),
                    true if limit < candidate.floor => Verdict::TooLate(ConsistentFrom::Time(candidate.floor)),
                    true => Verdict::DoesNotReach { reach, missing },
                }
            }
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Ok(plan) => writeln!(f, "{plan}")?,
            Err(refusal) => writeln!(f, "refused: {refusal}")?,
        }
        write!(f, "considered, for {}:", self.objective)?;
        self.considered.iter().try_for_each(|Considered { snapshot, verdict }| {
            write!(f, "\n  {snapshot}: {}", Told { verdict, objective: self.objective })
        })
    }
}

struct Told<'a> {
    verdict: &'a Verdict,
    objective: Objective,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Chosen(cost) => write!(f, "chosen, {}", Took(self.objective, *cost)),
            Verdict::Costlier(cost) => write!(f, "would do, but takes {}", Took(self.objective, *cost)),
            Verdict::NotAskedFor => f.write_str("would do, but was not asked for"),
            Verdict::TooLate(ConsistentFrom::Time(from)) => write!(f, "can only be restored from {from} on"),
            Verdict::TooLate(ConsistentFrom::Lsn(from)) => write!(f, "can only be restored from {from} on"),
            Verdict::DoesNotReach { missing: Some(missing), .. } => write!(f, "log is missing after it: {missing}"),
            Verdict::DoesNotReach { reach, .. } => write!(f, "its log only reaches {reach}"),
            Verdict::StopsElsewhere(stop) => {
                write!(f, "recovery would stop in {stop}, before a newer snapshot that shows what the clock was")
            }
            Verdict::Unknown(needs) => {
                f.write_str("unknown without ")?;
                needs.iter().enumerate().try_for_each(|(i, need)| write!(f, "{}{need}", if i == 0 { "" } else { ", " }))
            }
            Verdict::LogMissing(missing) => write!(f, "its own log lacks {missing}"),
            Verdict::Unusable(reason) => write!(f, "cannot be restored: {reason}"),
            Verdict::OtherBranch(branch) => write!(f, "lies on {branch}"),
        }
    }
}
