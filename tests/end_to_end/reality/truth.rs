//! What is in the log, as PostgreSQL's own `pg_waldump` reads it, and what PostgreSQL's own rules make of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pitr::format::wal::{WalDecoder, WalIdentity, WalRecord, WalRecordDetail};
use pitr::format::wal_name::WalFileName;
use pitr::model::{Lsn, SegmentNumber, SegmentSize, TimelineHistory, TimelineId, Timestamp};
use pitr::plan::Target;
use pitr::port::SourceIdentity;

use crate::stand::Stand;

/// A record of the log.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) timeline: TimelineId,
    pub(super) lsn: Lsn,
    pub(super) end_lsn: Lsn,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    End { xid: u32, at: Timestamp, committed: bool },
    RestorePoint(String),
    Other,
}

impl Record {
    /// The transaction that it ends, and when.
    pub(super) fn end(&self) -> Option<(u32, Timestamp)> {
        match self.kind {
            Kind::End { xid, at, .. } => Some((xid, at)),
            _ => None,
        }
    }

    pub(super) fn is_point(&self, name: &str) -> bool {
        matches!(&self.kind, Kind::RestorePoint(made) if made == name)
    }

    pub(super) fn is_commit(&self) -> bool {
        matches!(self.kind, Kind::End { committed: true, .. })
    }
}

/// All records of the timeline of `history` from `start` on, in the server's own files.
pub(super) fn read(
    stand: &Stand,
    pg_wal: &Path,
    identity: SourceIdentity,
    history: &TimelineHistory,
    start: Lsn,
) -> Vec<Record> {
    let program = stand.install.bin().join("pg_waldump");
    if program.exists() {
        dumped(stand, pg_wal, history.timeline(), start, identity.segment_size)
    } else {
        // Only distributions bring it; PostgreSQL 15 always is one. `tests/wal_oracle.rs` holds the decoder against it.
        assert_ne!(stand.install.major().as_u32(), 15, "pg_waldump is missing");
        decoded(pg_wal, identity, history, start)
    }
}

/// It fails where the log ends, and has printed everything before.
fn dumped(stand: &Stand, pg_wal: &Path, timeline: TimelineId, start: Lsn, size: SegmentSize) -> Vec<Record> {
    let mut command = stand.program("pg_waldump");
    command.env("TZ", "UTC").env("LC_ALL", "C").arg("-p").arg(pg_wal);
    let output = command.args(["-t", &timeline.to_string(), "-s", &start.to_string()]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| parse(line, timeline, size).unwrap_or_else(|| panic!("{line}"))).collect()
}

/// `rmgr: Transaction len (rec/tot):     34/    34, tx:        740, lsn: 0/01523C38, prev 0/01523C00, desc: COMMIT …`
fn parse(line: &str, timeline: TimelineId, size: SegmentSize) -> Option<Record> {
    let (head, description) = line.split_once(", desc: ")?;
    let part = |begin: &str, end: &str| {
        let (_, rest) = head.split_once(begin)?;
        Some(rest.split_once(end).map_or(rest, |(part, _)| part).trim())
    };
    let bytes: u64 = part("(rec/tot):", ", tx")?.split_once('/')?.1.trim().parse().ok()?;
    let (lsn, xid): (Lsn, u32) = (part("lsn: ", ",")?.parse().ok()?, part("tx:", ",")?.parse().ok()?);
    let (what, rest) = description.trim().split_once(' ').unwrap_or_else(|| (description.trim(), ""));
    let kind = match (part("rmgr: ", " ")?, what) {
        ("Transaction", "COMMIT" | "ABORT") => Kind::End { xid, at: time(rest)?, committed: what == "COMMIT" },
        ("Transaction", "COMMIT_PREPARED" | "ABORT_PREPARED") => {
            let (xid, rest) = rest.split_once(": ")?;
            Kind::End { xid: xid.parse().ok()?, at: time(rest)?, committed: what == "COMMIT_PREPARED" }
        }
        ("XLOG", "RESTORE_POINT") => Kind::RestorePoint(rest.to_owned()),
        _ => Kind::Other,
    };
    let end_lsn = if (part("rmgr: ", " ")?, what) == ("XLOG", "SWITCH") {
        SegmentNumber::containing(lsn, size).next().start(size)
    } else {
        end_of(lsn, bytes, size)
    };
    Some(Record { timeline, lsn, end_lsn, kind })
}

/// `2026-11-23 21:09:08.000001 UTC; …`
fn time(text: &str) -> Option<Timestamp> {
    format!("{}Z", text.split_once(" UTC")?.0.replacen(' ', "T", 1)).parse().ok()
}

/// Where a record of so many bytes ends that begins at `lsn`: page headers stand between its parts.
fn end_of(lsn: Lsn, bytes: u64, size: SegmentSize) -> Lsn {
    let (mut at, mut rest) = (lsn.as_u64(), bytes);
    loop {
        let room = 8192 - at % 8192;
        if rest <= room {
            return Lsn::new((at + rest).next_multiple_of(8));
        }
        rest -= room;
        at += room;
        at += if at.is_multiple_of(size.bytes()) { 40 } else { 24 };
    }
}

/// The rest of the last file is what the log was before, and no log.
fn decoded(pg_wal: &Path, identity: SourceIdentity, history: &TimelineHistory, start: Lsn) -> Vec<Record> {
    let (timeline, size) = (history.timeline(), identity.segment_size);
    let whose = WalIdentity::new(identity.incarnation, size, history.clone());
    let first = SegmentNumber::containing(start, size);
    let mut decoder = WalDecoder::new(whose, first.start(size));
    let mut records = Vec::new();
    for segment in std::iter::successors(Some(first), |number| Some(number.next())) {
        let name = WalFileName::Segment { timeline, segment }.display(size).to_string();
        let Ok(log) = fs::read(pg_wal.join(name)) else { break };
        let fed = decoder.feed(&log, |WalRecord { lsn, end_lsn, detail, .. }| {
            let kind = match detail {
                WalRecordDetail::Commit { xid, time: at } => Kind::End { xid, at, committed: true },
                WalRecordDetail::Abort { xid, time: at } => Kind::End { xid, at, committed: false },
                WalRecordDetail::RestorePoint { name, .. } => Kind::RestorePoint(name),
                _ => Kind::Other,
            };
            records.push(Record { timeline, lsn, end_lsn, kind });
        });
        if fed.is_err() {
            break;
        }
    }
    records.retain(|record| record.lsn >= start);
    records
}

/// All that a server replays, or wrote, on the way to the end of one branch.
#[derive(Clone, Debug)]
pub(super) struct Past(pub(super) Vec<Record>);

impl Past {
    /// How many records PostgreSQL replays if it recovers to `target` from where a snapshot's log begins at `redo` and ends at
    /// `consistent`; `None` if there is nothing to stop before.
    pub(super) fn replayed(&self, target: &Target, redo: Lsn, consistent: Lsn) -> Option<usize> {
        let ended_by = |lsn: Lsn| self.0.partition_point(|record| record.end_lsn <= lsn);
        match target {
            // `recoveryStopsBefore` in `access/transam/xlogrecovery.c`.
            Target::Time { at, inclusive, .. } => self.0.iter().position(|record| {
                let late = |(_, time)| if *inclusive { time > *at } else { time >= *at };
                record.lsn >= redo && record.end().is_some_and(late)
            }),
            Target::Lsn(lsn) => Some(ended_by(*lsn)),
            Target::Xid { xid, inclusive, .. } => {
                let is = |record: &Record| record.end().is_some_and(|(ended, _)| ended == xid.as_u32());
                Some(self.0.iter().position(is).expect("it ended") + usize::from(*inclusive))
            }
            Target::RestorePoint(name) => {
                Some(self.0.iter().position(|record| record.is_point(name)).expect("it was made") + 1)
            }
            Target::Earliest | Target::Snapshot(_) => Some(ended_by(consistent)),
            _ => None,
        }
    }

    /// What is committed once so many records are replayed.
    pub(super) fn committed(&self, replayed: usize) -> BTreeSet<u32> {
        let commit = |record: &Record| match record.kind {
            Kind::End { xid, committed: true, .. } => Some(xid),
            _ => None,
        };
        self.0[..replayed].iter().filter_map(commit).collect()
    }

    /// The ends of transactions.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&Record, u32, Timestamp)> {
        self.0.iter().filter_map(|record| record.end().map(|(xid, at)| (record, xid, at)))
    }
}
