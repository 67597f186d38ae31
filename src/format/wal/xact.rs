//! Commit and abort records.
//!
//! See `xl_xact_commit`, `xl_xact_abort` and `xl_xact_xinfo` in PostgreSQL's `src/include/access/xact.h`, and
//! `ParseCommitRecord` in `src/backend/access/rmgrdesc/xactdesc.c`.

use crate::model::{PostgresMajor, Timestamp};

use super::detail::Step;
use super::fields::Fields;
use super::record::WalRecordDetail;

/// `XLOG_XACT_OPMASK`; the bit above it says whether flags follow the time.
const OPERATION: u8 = 0x70;

/// `XACT_XINFO_HAS_DBINFO`: two numbers of 32 bits follow the flags.
const HAS_DATABASE: u32 = 1 << 0;
/// What may follow then up to the number of the prepared transaction, in this order.
const SECTIONS: [(u32, Section); 5] = [
    (1 << 1, Section::Subtransactions),
    (1 << 2, Section::Relations),
    (1 << 8, Section::Statistics),
    (1 << 3, Section::Invalidations),
    (1 << 4, Section::PreparedXid),
];

#[derive(Clone, Copy, Debug)]
enum Section {
    Subtransactions,
    Relations,
    Statistics,
    Invalidations,
    PreparedXid,
}

impl Section {
    /// The bytes of each item, for those that begin with a count of items.
    fn item_bytes(self, major: PostgresMajor) -> u64 {
        match self {
            Self::Subtransactions => 4,
            Self::Relations => 12,
            // Objects' numbers grew to 64 bits.
            Self::Statistics => 12 + if major.as_u32() < 18 { 0 } else { 4 },
            Self::Invalidations => 16,
            Self::PreparedXid => 0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Commit,
    Abort,
}

/// Reads a commit or abort record.
#[derive(Debug)]
pub(super) struct XactScan {
    outcome: Outcome,
    prepared: bool,
    xid: u32,
    major: PostgresMajor,
    time: Option<Timestamp>,
    /// The flags, once they were read.
    flags: Option<u32>,
    /// The section whose first field is being read.
    section: usize,
}

impl XactScan {
    /// A scan of a record with this operation that transaction `xid` wrote, if it ends a transaction.
    #[inline]
    pub(super) fn of(operation: u8, xid: u32, major: PostgresMajor) -> Option<Self> {
        let (outcome, prepared) = match operation & OPERATION {
            0x00 => (Outcome::Commit, false),
            0x20 => (Outcome::Abort, false),
            0x30 => (Outcome::Commit, true),
            0x40 => (Outcome::Abort, true),
            _ => return None,
        };
        Some(Self { outcome, prepared, xid, major, time: None, flags: None, section: 0 })
    }

    /// What to read first.
    pub(super) const fn begin() -> Step {
        Step::take(8)
    }

    /// Reads the field that was asked for last.
    pub(super) fn step(&mut self, field: &[u8]) -> Step {
        let mut field = Fields::of(field);
        match (self.time, self.flags) {
            (None, _) => self.read_time(Timestamp::from_postgres_micros(field.i64())),
            (_, None) => {
                let flags = field.u32();
                self.flags = Some(flags);
                self.seek(0, if flags & HAS_DATABASE == 0 { 0 } else { 8 })
            }
            _ => self.read_section(field.u32()),
        }
    }

    fn read_time(&mut self, time: Option<Timestamp>) -> Step {
        match time {
            None => Step::Broken("a time outside the years 0001 to 9999"),
            // All but a prepared transaction's record has the transaction's number in its header.
            Some(time) if !self.prepared => self.done(time),
            _ => {
                self.time = time;
                Step::take(4)
            }
        }
    }

    /// A section's first field is the count of its items, or the number that is sought.
    fn read_section(&mut self, value: u32) -> Step {
        match (SECTIONS.get(self.section), self.time) {
            (Some((_, Section::PreparedXid)), Some(time)) => {
                self.xid = value;
                self.done(time)
            }
            (Some((_, section)), _) => self.seek(self.section + 1, u64::from(value) * section.item_bytes(self.major)),
            (None, _) => Step::Broken("no prepared transaction"),
        }
    }

    /// Passes over `skip` bytes to the first section from `from` on that the record has.
    fn seek(&mut self, from: usize, skip: u64) -> Step {
        let flags = self.flags.unwrap_or_default();
        let present = |index: &usize| SECTIONS.get(*index).is_some_and(|(flag, _)| flags & flag != 0);
        match (from..SECTIONS.len()).find(present) {
            None => Step::Broken("no prepared transaction"),
            Some(section) => {
                self.section = section;
                Step::Read { skip, take: 4 }
            }
        }
    }

    fn done(&self, time: Timestamp) -> Step {
        let xid = self.xid;
        Step::Done(match self.outcome {
            Outcome::Commit => WalRecordDetail::Commit { xid, time },
            Outcome::Abort => WalRecordDetail::Abort { xid, time },
        })
    }
}
