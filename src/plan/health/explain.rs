//! What was found, as an operator reads it.

use std::fmt;

use super::{Finding, Health, Status};
use crate::plan::text::Span;

impl Finding {
    /// What to do about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::NothingRestorable => "take a snapshot, and see that the log is archived up to its end",
            Self::RecoveryPointOld { .. } => {
                "see whether the archiver runs, reaches the server and the store, and keeps up; the server keeps its log meanwhile, so watch its disk"
            }
            Self::SnapshotOld { .. } => "see why snapshots fail, or take one by hand",
            Self::WindowHasHoles { .. } => {
                "nothing brings them back, unless the server still has the log; find out why it was lost: a slot that was dropped, or a server that was replaced"
            }
            Self::WindowShort { .. } => "find out who deleted backups; the window grows again by itself",
            Self::SnapshotUnusable { .. } => "nothing: it expires with its window; others do not need it",
            Self::PagesDamaged { .. } => {
                "the server's own files are damaged: run pg_amcheck, and restore an instant before, if the pages matter"
            }
            Self::Faults { .. } => {
                "read the report of the verification: it says which instants they cost, and what heals them"
            }
            Self::NotProven { .. } => {
                "read its record; restore the same instant by hand to see whether it is the backup or the place"
            }
            Self::ProofOld { .. } => "see whether test restores still run",
            Self::NeverProven { .. } => {
                "see whether a process that tends has a scratch place, and why test restores fail"
            }
            Self::ClockAhead { .. } => {
                "set the clocks by NTP; until then nothing expires too early, but times of restores may mislead"
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingRestorable => f.write_str("nothing can be restored"),
            Self::RecoveryPointOld { latest, age, .. } => {
                write!(f, "nothing after {latest} can be restored: a disaster would cost {}", Span(*age))
            }
            Self::SnapshotOld { taken, age, .. } => {
                write!(f, "the last snapshot that can be restored is of {taken}, {} ago", Span(*age))
            }
            Self::WindowHasHoles { holes, lost, until } => {
                let count = holes.len();
                write!(f, "{count} holes in the window, {} in all, the last of which leaves it at {until}", Span(*lost))
            }
            Self::WindowShort { earliest, missing } => {
                write!(f, "nothing before {earliest} can be restored: {} of the retention are missing", Span(*missing))
            }
            Self::SnapshotUnusable { snapshot, reason } => {
                write!(f, "the snapshot {snapshot} cannot be restored: {reason}")
            }
            Self::PagesDamaged { snapshot, pages } => {
                write!(f, "the snapshot {snapshot} found {pages} pages of the server with wrong checksums")
            }
            Self::Faults { count } => write!(f, "the last verification found {count} faults"),
            Self::NotProven { at, why } => write!(f, "the test restore of {at} failed: {why}"),
            Self::ProofOld { at, age } => write!(f, "nothing was restored on trial since {at}, {} ago", Span(*age)),
            Self::NeverProven { since } => {
                write!(f, "nothing was ever restored on trial since protection began at {since}")
            }
            Self::ClockAhead { by } => write!(f, "the server's clock is ahead by {}", Span(*by)),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Green => "green",
            Self::Amber => "amber",
            Self::Red => "red",
        })
    }
}

/// The status, and a line for each finding.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(latest) = self.latest {
            write!(f, ", restorable until {latest}")?;
        }
        self.findings
            .iter()
            .try_for_each(|finding| write!(f, "\n  {}: {finding}\n         {}", finding.status(), finding.advice()))
    }
}
