//! An agenda as an operator reads it.

use std::fmt;
use std::time::Duration;

use super::{Agenda, DueReason, DueTask, LaterTask, Wait};

impl fmt::Display for DueReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::First => f.write_str("there was none yet"),
            Self::OnDemand => f.write_str("it was asked for"),
            Self::Slot => f.write_str("it is its time"),
            Self::MissedSlots { slots } => write!(f, "its time has passed {slots} times"),
            Self::FirstWrite => f.write_str("something was written after idle days"),
            Self::RecoveryTime { replay, objective } => {
                let (replay, objective) = (Span(replay), Span(objective));
                write!(f, "replaying the log would take {replay}, more than the objective of {objective}")
            }
            Self::Cadence { every } => write!(f, "the last began {} before", Span(every)),
            Self::Size { unarchived_bytes } => write!(f, "{unarchived_bytes} bytes of log are not archived"),
            Self::Count { log_backups } => write!(f, "there are {log_backups} small log backups"),
            Self::Resumed => f.write_str("the server was paused"),
            Self::AfterSnapshot => f.write_str("a snapshot was taken"),
            Self::Expiry => f.write_str("something has become too old"),
            Self::ClockSetBack { recorded } => {
                write!(f, "the last is recorded for {recorded}, yet to come: the clock was set back")
            }
        }
    }
}

impl fmt::Display for DueTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12}  since {}, because {}", self.task, self.since, self.reason)?;
        match self.failures {
            0 => {}
            1 => f.write_str("; it failed once")?,
            failures => write!(f, "; it failed {failures} times")?,
        }
        match self.abandoned {
            Some(since) => write!(f, "; the run of {since} counts as dead"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for LaterTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12}  at    {}, ", self.task, self.at)?;
        match self.waits {
            Wait::Time => write!(f, "because {}", self.reason),
            Wait::Retry { failures: 1 } => write!(f, "again after a failure, because {}", self.reason),
            Wait::Retry { failures } => write!(f, "again after {failures} failures, because {}", self.reason),
            Wait::Run { since } => write!(f, "if the run of {since} has not ended by then"),
        }
    }
}

impl fmt::Display for Agenda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.due.iter().try_for_each(|due| writeln!(f, "due    {due}"))?;
        self.later.iter().try_for_each(|later| writeln!(f, "later  {later}"))?;
        match self.next {
            Some(next) => write!(f, "next   {next}"),
            None if self.due.is_empty() => f.write_str("next   nothing while the server is paused"),
            None => f.write_str("next   nothing but what is due"),
        }
    }
}

/// A duration in the largest unit that divides it.
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
        let seconds = self.0.as_secs();
        let exact =
            |&(unit, _): &(u64, &str)| self.0.subsec_nanos() == 0 && seconds >= unit && seconds.is_multiple_of(unit);
        match units.into_iter().find(exact) {
            Some((unit, name)) => write!(f, "{} {name}", seconds / unit),
            None => write!(f, "{:?}", self.0),
        }
    }
}
