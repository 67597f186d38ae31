//! A plan as an operator reads it.

use std::fmt;

use super::{Answer, Cost, Objective, PlannedLog, RecoveryTarget, RestorePlan, SnapshotChoice, Target};
use crate::model::{Snapshot, SnapshotKind};
use crate::plan::text::{Size, Span};

impl fmt::Display for RestorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "restore {} to {}, along timeline {}", self.incarnation(), self.target(), self.timeline())?;
        if self.requested_timeline() == self.timeline() {
            writeln!(f)?;
        } else {
            writeln!(f, ", an ancestor of timeline {}", self.requested_timeline())?;
        }
        self.snapshots().iter().try_for_each(|snapshot| explain_snapshot(f, snapshot))?;
        writeln!(f, "            {}", Because(self.choice(), self.objective()))?;
        explain_logs(f, self.logs())?;
        self.histories().iter().try_for_each(|history| writeln!(f, "  history   {}", history.key))?;
        if let Some(history) = self.unstored_history() {
            writeln!(f, "  history   of timeline {}, not stored: made from what is known", history.timeline())?;
        }
        self.explain_stop(f)?;
        let cost = self.cost();
        let (fetch, replay) = (Size(cost.bytes_to_fetch), Size(cost.wal_bytes_to_replay));
        let took = Span(cost.estimated_duration);
        write!(f, "  estimate  {took}: fetch {fetch} in {} objects, replay {replay} of log", cost.objects)
    }
}

impl RestorePlan {
    fn explain_stop(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stop = self.stop();
        match (self.recovery(), self.answer()) {
            (RecoveryTarget::Time { at, inclusive }, _) => {
                let relation = if inclusive { "after" } else { "at or after" };
                write!(f, "  stop      before the first commit {relation} ")?;
                match self.target() {
                    Target::Time { .. } => writeln!(f, "that time, in {stop}")?,
                    _ => writeln!(f, "{at}, in {stop}")?,
                }
            }
            (RecoveryTarget::EndOfWal, Answer::Exact) => {
                writeln!(f, "  stop      at the end of this log, {}", stop.end)?
            }
            (RecoveryTarget::EndOfWal, Answer::IdleTail { last_commit, archived_until }) => {
                write!(f, "  stop      at the end of the log, {}: nothing was committed ", stop.end)?;
                match last_commit {
                    Some(at) => writeln!(f, "after {at} until {archived_until}")?,
                    None => writeln!(f, "after the snapshot until {archived_until}")?,
                }
            }
        }
        match self.unreachable_from() {
            Some(missing) => {
                writeln!(f, "  beware    there is later log, which cannot be reached: {missing} is missing")
            }
            None => Ok(()),
        }
    }
}

fn explain_snapshot(f: &mut fmt::Formatter<'_>, snapshot: &Snapshot) -> fmt::Result {
    let Snapshot { id, consistent_at, kind, stored_bytes, .. } = snapshot;
    write!(f, "  snapshot  {id}, ")?;
    match kind {
        SnapshotKind::Full => f.write_str("full")?,
        SnapshotKind::Incremental { parent } => write!(f, "incremental on {parent}")?,
    }
    writeln!(f, ", consistent at {consistent_at}, {}", Size(*stored_bytes))
}

fn explain_logs(f: &mut fmt::Formatter<'_>, logs: &[PlannedLog]) -> fmt::Result {
    for run in logs.chunk_by(|a, b| a.needed.timeline == b.needed.timeline) {
        if let (Some(first), Some(last)) = (run.first(), run.last()) {
            let (from, to, timeline) = (first.needed.start, last.needed.end, first.needed.timeline);
            writeln!(f, "  log       {from}..{to} on timeline {timeline}, in {} log backups", run.len())?;
        }
    }
    Ok(())
}

struct Because<'a>(&'a SnapshotChoice, Objective);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let better = match self.1 {
            Objective::RecoveryTime => "faster",
            Objective::Bytes => "fewer bytes",
            Objective::Artifacts => "fewer objects",
        };
        match self.0 {
            SnapshotChoice::Requested => f.write_str("because it was asked for"),
            SnapshotChoice::Earliest => f.write_str("because it is the first that can be restored"),
            SnapshotChoice::Newest => {
                write!(f, "because it is the newest that reaches this point, and none before it is {better}")
            }
            SnapshotChoice::Better { than, cost } => {
                write!(f, "because it is {better} than {than}, which would take {}", Took(self.1, *cost))
            }
        }
    }
}

/// A cost by its objective.
pub(super) struct Took(pub(super) Objective, pub(super) Cost);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Objective::RecoveryTime => Span(self.1.estimated_duration).fmt(f),
            Objective::Bytes => Size(self.1.bytes_to_fetch).fmt(f),
            Objective::Artifacts => write!(f, "{} objects", self.1.objects),
        }
    }
}
