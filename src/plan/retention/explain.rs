//! A retention plan as an operator reads it.

use std::fmt;

use super::{ExpireReason, KeepReason, RetentionPlan};
use crate::plan::text::Size;

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingRestorable => {
                f.write_str("no snapshot of the current branch can be restored, so nothing expires")
            }
            Self::Window(branch) => write!(f, "an instant of the window needs it, on {branch}"),
            Self::Anchor(branch) => write!(f, "anchor: the window's first instants are restored from it, on {branch}"),
            Self::Minimum => f.write_str("one of the newest snapshots, of which a number is kept"),
            Self::Sparse(period) => write!(f, "the first of its {period}"),
            Self::Held(name) => write!(f, "held: {name}"),
            Self::Leased(holder) => write!(f, "in use by {holder}"),
            Self::Running => f.write_str("a snapshot is being taken that needs it"),
            Self::ParentOf(child) => write!(f, "{child} builds on it"),
            Self::LogOf(snapshot) => write!(f, "it makes {snapshot} consistent"),
            Self::EndOf(branch) => write!(f, "it tells when the server left {branch}"),
            Self::HistoryOf(branch) => write!(f, "it tells the past of {branch}"),
        }
    }
}

impl fmt::Display for ExpireReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeWindow => f.write_str("before the window"),
            Self::OrphanedBranch { last_seen } => write!(f, "the server was last on this branch at {last_seen}"),
            Self::Unneeded => f.write_str("nothing is left of its timeline"),
        }
    }
}

impl fmt::Display for RetentionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.window_start(), self.horizon) {
            (Some(start), Some(end)) => {
                write!(f, "{} days: the window is {start} to {end}", self.policy.window.days())?;
            }
            _ => f.write_str("the server was never seen: there is no window yet")?,
        }
        self.explain_kept(f)?;
        self.explain_expired(f)?;
        write!(f, "\n  {} stay, {} are freed", Size(self.kept_bytes()), Size(self.freed_bytes()))
    }
}

impl RetentionPlan {
    fn explain_kept(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kept in &self.kept_snapshots {
            write!(f, "\n  keep    snapshot {}: {}", kept.id, kept.reason)?;
        }
        for kept in &self.kept_logs {
            let timeline = kept.branch.timeline;
            write!(f, "\n  keep    log {}..{} on timeline {timeline}: {}", kept.start, kept.end, kept.reason)?;
        }
        self.kept_histories.iter().try_for_each(|kept| write!(f, "\n  keep    {}: {}", kept.object.key, kept.reason))
    }

    fn explain_expired(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for expired in &self.expired_snapshots {
            write!(f, "\n  expire  snapshot {}: {}", expired.snapshot.id, expired.reason)?;
        }
        for expired in &self.expired_logs {
            let (count, timeline) = (expired.logs.len(), expired.branch.timeline);
            write!(f, "\n  expire  {count} log backups on timeline {timeline}: {}", expired.reason)?;
        }
        let histories = self.expired_histories.iter();
        histories
            .map(|e| (&e.history.object.key, e.reason))
            .try_for_each(|(key, reason)| write!(f, "\n  expire  {key}: {reason}"))
    }
}
