//! What a server's log says about its recovery.

use crate::model::{Lsn, TimelineId, Timestamp};

/// Where a recovery really ended, as the server's log says (`src/backend/access/transam/xlogrecovery.c`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Why replay stopped where it did.
    pub stop: RecoveryStop,
    /// The start of the last record that was read: of the one that was replayed last, or of the one that replay stopped before.
    /// `None` if there was nothing to replay.
    pub last_record: Option<Lsn>,
    /// The time of the last commit or abort that was replayed; `None` if there was none.
    pub last_commit: Option<Timestamp>,
    /// The timeline that the server is on now.
    pub timeline: TimelineId,
}

/// Why a recovery stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoveryStop {
    /// The server was consistent, which was all that was asked for.
    Consistent,
    /// The next commit or abort was this one; it was not replayed.
    BeforeTransaction {
        /// Its number.
        xid: u32,
        /// Its time.
        at: Timestamp,
    },
    /// The last commit or abort was this one.
    AfterTransaction {
        /// Its number.
        xid: u32,
        /// Its time.
        at: Timestamp,
    },
    /// The next record would have been at or after this position.
    BeforeLsn(Lsn),
    /// The last record was at or after this position.
    AfterLsn(Lsn),
    /// A restore point of this name.
    RestorePoint(String),
    /// The log was at its end.
    EndOfWal,
}

impl Recovered {
    /// Reads the log of a server, which is in English and has any prefix. `None` if no archive recovery ended in it.
    ///
    /// What is said first counts: until recovery has ended, no client can make the server log anything.
    #[must_use]
    pub fn from_log(log: &str) -> Option<Self> {
        let after = |mark: &str| log.lines().find_map(|line| line.split_once(mark).map(|(_, rest)| rest.trim()));
        let timeline = after("LOG:  selected new timeline ID: ")?.parse().ok()?;
        let stop = after("LOG:  recovery stopping ").and_then(RecoveryStop::parse);
        let last_record = after("LOG:  redo done at ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        let last_commit = after("LOG:  last completed transaction was at log time ").and_then(log_time);
        Some(Self { stop: stop.unwrap_or(RecoveryStop::EndOfWal), last_record, last_commit, timeline })
    }
}

impl RecoveryStop {
    /// The rest of a line that begins with "recovery stopping".
    fn parse(text: &str) -> Option<Self> {
        if text == "after reaching consistency" {
            return Some(Self::Consistent);
        }
        if let Some(rest) = text.strip_prefix("at restore point \"") {
            return Some(Self::RestorePoint(rest.rsplit_once("\", time ")?.0.to_owned()));
        }
        let (side, rest) = text.split_once(' ')?;
        let before = side == "before";
        if let Some(rest) = rest.strip_prefix("WAL location (LSN) \"") {
            let lsn = rest.strip_suffix('"')?.parse().ok()?;
            return Some(if before { Self::BeforeLsn(lsn) } else { Self::AfterLsn(lsn) });
        }
        let (xid, at) = rest.split_once(" of transaction ")?.1.split_once(", time ")?;
        let (xid, at) = (xid.parse().ok()?, log_time(at)?);
        Some(if before { Self::BeforeTransaction { xid, at } } else { Self::AfterTransaction { xid, at } })
    }
}

/// A time as `timestamptz_to_str` prints it, in whichever time zone: `2026-11-23 22:09:08.5+01`, `… +05:30`.
fn log_time(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.trim_end_matches('.').split_once(' ')?;
    let (time, offset) = rest.split_at(rest.find(['+', '-'])?);
    let minutes = if offset.contains(':') { "" } else { ":00" };
    format!("{date}T{time}{offset}{minutes}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-23 21:53:10.100 UTC [7] LOG:  starting point-in-time recovery to 2026-11-23 21:52:00+00
2026-11-23 21:53:10.200 UTC [7] LOG:  redo starts at 0/2000028
2026-11-23 21:53:10.300 UTC [7] LOG:  recovery stopping before commit of transaction 740, time 2026-11-23 22:52:00.000001+01
2026-11-23 21:53:10.300 UTC [7] LOG:  redo done at 0/3000A70 system usage: CPU: user: 0.00 s, system: 0.00 s, elapsed: 0.01 s
2026-11-23 21:53:10.300 UTC [7] LOG:  last completed transaction was at log time 2026-11-23 22:51:59.5+01
2026-11-23 21:53:10.400 UTC [7] LOG:  selected new timeline ID: 4
2026-11-23 21:53:10.500 UTC [7] LOG:  archive recovery complete
";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_log_says_where_recovery_ended() {
        let recovered = Recovered::from_log(LOG).unwrap();
        assert_eq!(recovered.stop, RecoveryStop::BeforeTransaction { xid: 740, at: at("2026-11-23T21:52:00.000001Z") });
        assert_eq!(recovered.last_record, Some("0/3000A70".parse().unwrap()));
        assert_eq!(recovered.last_commit, Some(at("2026-11-23T21:51:59.5Z")));
        assert_eq!(recovered.timeline.as_u32(), 4);
    }

    #[test]
    fn a_log_without_the_end_of_a_recovery_says_nothing() {
        let unfinished: String = LOG.lines().take(4).collect();
        assert_eq!(Recovered::from_log(&unfinished), None);
        assert_eq!(Recovered::from_log(""), None);
    }

    #[test]
    fn every_stop_is_understood() {
        let lsn = "0/3000A70".parse().unwrap();
        let noon = at("2026-11-23T12:00:00Z");
        for (text, stop) in [
            ("after reaching consistency", RecoveryStop::Consistent),
            ("before WAL location (LSN) \"0/3000A70\"", RecoveryStop::BeforeLsn(lsn)),
            ("after WAL location (LSN) \"0/03000A70\"", RecoveryStop::AfterLsn(lsn)),
            (
                "after abort of transaction 9, time 2026-11-23 17:30:00+05:30",
                RecoveryStop::AfterTransaction { xid: 9, at: noon },
            ),
            (
                "at restore point \"a \", time b\", time 2026-11-23 12:00:00+00",
                RecoveryStop::RestorePoint("a \", time b".to_owned()),
            ),
        ] {
            assert_eq!(RecoveryStop::parse(text), Some(stop), "{text}");
        }
        assert_eq!(RecoveryStop::parse("for tea"), None);
    }
}
