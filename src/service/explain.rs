//! What happens, as an operator reads it.

use std::fmt;

use super::{Happening, Outcome, ServiceEvent};
use crate::engine::Progress;
use crate::port::explain;

impl Happening {
    /// What it is, in a word or two.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Taken(_) => "taken",
            Self::Left => "left",
            Self::Changed(_) => "changed",
            Self::Surveyed(_) => "surveyed",
            Self::Archived(_) => "archived",
            Self::Gap(_) => "gap",
            Self::Began(..) => "began",
            Self::Done(_) => "done",
            Self::Failed(..) => "failed",
            Self::Unreachable(_) => "unreachable",
            Self::Restoring(..) => "restoring",
            Self::Restored(_) => "restored",
            Self::Destroyed(_) => "destroyed",
        }
    }
}

/// In a line.
impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(token) => write!(f, "tended here from now on, under lease {token}"),
            Self::Left => f.write_str("tended here no longer"),
            Self::Changed(change) => write!(f, "change {change}"),
            Self::Surveyed(survey) => match survey.earliest.zip(survey.latest) {
                Some((earliest, latest)) => write!(f, "restorable from {earliest} to {latest}"),
                None => f.write_str("no instant can be restored"),
            },
            Self::Archived(log) => write!(f, "archived log {}", log.wal),
            Self::Gap(lost) => write!(f, "log was lost before it was archived: {lost}"),
            Self::Began(task, reason) => write!(f, "{task} begins, because {reason}"),
            Self::Done(outcome) => write!(f, "{} done: {outcome}", outcome.task()),
            Self::Failed(task, error) => write!(f, "{task} failed, and is tried again: {}", explain(&**error)),
            Self::Unreachable(error) => write!(f, "cannot be worked for, which is tried again: {}", explain(&**error)),
            Self::Restoring(restore, Progress { bytes, bytes_total, .. }) => {
                write!(f, "restore {restore}: {bytes} of {bytes_total} bytes")
            }
            Self::Restored(run) => {
                write!(f, "restore {} as {}: ", run.order.id, run.order.spec.name)?;
                match &run.outcome {
                    Some(outcome) => outcome.fmt(f),
                    None => f.write_str("over"),
                }
            }
            Self::Destroyed(report) => {
                write!(f, "{}, and destroyed: {} objects, {} bytes", report.deletion, report.objects, report.bytes)
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(report) => {
                let snapshot = &report.snapshot;
                write!(f, "{} of {} bytes, {} more stored", snapshot.id, snapshot.logical_bytes, snapshot.added_bytes())
            }
            Self::Retention(report) => write!(f, "{} objects deleted, {} bytes", report.objects, report.bytes),
            Self::Compaction(report) => {
                write!(f, "{} log backups merged into {}, {} deleted", report.merged, report.made, report.deleted)
            }
            Self::Verification(report) => {
                write!(f, "{} objects, {} bytes, {} faults", report.objects, report.bytes, report.faults.len())
            }
            Self::TestRestore(proof) => {
                write!(f, "{}, {}", proof.instant, proof.failure.as_deref().unwrap_or("sound"))
            }
        }
    }
}

impl fmt::Display for ServiceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.server, self.what)
    }
}
