//! What a record says, read as its bytes pass.
//!
//! After a record's header come the headers of its blocks and the length of its main data, each with a tag, then the blocks,
//! then the main data (`DecodeXLogRecord` in PostgreSQL's `src/backend/access/transam/xlogreader.c`). The records of
//! interest here refer to no blocks, so their main data follows at once.

use crate::model::PostgresMajor;

use super::error::WalErrorKind;
use super::fields::Fields;
use super::gather::Gather;
use super::record::{RecordHeader, ResourceManager, WalRecordDetail};
use super::xact::XactScan;
use super::xlog::XlogScan;

/// The longest field that is read in one piece: a checkpoint up to its time, and a restore point.
const FIELD_BYTES_MAX: usize = 72;

/// Reads what a record says, in constant memory: lists in it are skipped, not kept.
#[derive(Debug)]
pub(super) struct DetailScan {
    stage: Stage,
    skip: u64,
    wanted: usize,
    field: Gather<FIELD_BYTES_MAX>,
    main: MainData,
}

/// What to do next with the bytes of a record.
pub(super) enum Step {
    /// Pass over `skip` bytes, then take the next `take` (at most 72).
    Read {
        /// How many to pass over.
        skip: u64,
        /// How many to take.
        take: usize,
    },
    /// Everything is known.
    Done(WalRecordDetail),
    /// The record makes no sense.
    Broken(&'static str),
}

impl Step {
    /// Take the next bytes.
    pub(super) const fn take(bytes: usize) -> Self {
        Self::Read { skip: 0, take: bytes }
    }
}

#[derive(Debug)]
enum Stage {
    Tag,
    MainLength,
    Main,
    Done(WalRecordDetail),
    Broken(&'static str),
}

#[derive(Debug)]
enum MainData {
    Xlog(XlogScan),
    Xact(XactScan),
}

impl DetailScan {
    /// A scan of the record's body, if it is one of interest.
    #[inline]
    pub(super) fn of(header: &RecordHeader, major: PostgresMajor) -> Option<Self> {
        let main = match header.rmid {
            ResourceManager::XLOG => MainData::Xlog(XlogScan::of(header.operation())?),
            ResourceManager::XACT => MainData::Xact(XactScan::of(header.operation(), header.xid, major)?),
            _ => return None,
        };
        Some(Self { stage: Stage::Tag, skip: 0, wanted: 1, field: Gather::EMPTY, main })
    }

    /// Reads the next bytes of the body.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !matches!(self.stage, Stage::Done(_) | Stage::Broken(_)) {
            let skipped = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
            self.skip -= skipped as u64;
            let rest = bytes.get(skipped..).unwrap_or_default();
            let taken = self.field.fill(rest, self.wanted);
            bytes = rest.get(taken..).unwrap_or_default();
            if self.field.len() == self.wanted {
                let field = std::mem::replace(&mut self.field, Gather::EMPTY);
                let step = self.step(field.collected());
                self.obey(step);
            }
        }
    }

    /// What the record said, now that it is whole.
    pub(super) fn finish(self) -> Result<WalRecordDetail, WalErrorKind> {
        match self.stage {
            Stage::Done(detail) => Ok(detail),
            Stage::Broken(what) => Err(WalErrorKind::MalformedRecord { what }),
            _ => Err(WalErrorKind::MalformedRecord { what: "less than its kind needs" }),
        }
    }

    fn step(&mut self, field: &[u8]) -> Step {
        match self.stage {
            Stage::Tag => self.tag(Fields::of(field).u8()),
            Stage::MainLength => self.begin_main(),
            _ => match &mut self.main {
                MainData::Xlog(scan) => scan.step(field),
                MainData::Xact(scan) => scan.step(field),
            },
        }
    }

    /// `XLR_BLOCK_ID_*` of `src/include/access/xlogrecord.h`.
    fn tag(&mut self, tag: u8) -> Step {
        let (stage, step) = match tag {
            // The length of the main data, which goes on to the record's end.
            255 => (Stage::MainLength, Step::take(1)),
            254 => (Stage::MainLength, Step::take(4)),
            // The replication origin, and the top-level transaction.
            253 => (Stage::Tag, Step::Read { skip: 2, take: 1 }),
            252 => (Stage::Tag, Step::Read { skip: 4, take: 1 }),
            _ => (Stage::Tag, Step::Broken("a reference to a block, which its kind does not have")),
        };
        self.stage = stage;
        step
    }

    fn begin_main(&mut self) -> Step {
        self.stage = Stage::Main;
        match &self.main {
            MainData::Xlog(scan) => scan.begin(),
            MainData::Xact(_) => XactScan::begin(),
        }
    }

    fn obey(&mut self, step: Step) {
        match step {
            Step::Read { skip, take } => (self.skip, self.wanted) = (skip, take),
            Step::Done(detail) => self.stage = Stage::Done(detail),
            Step::Broken(what) => self.stage = Stage::Broken(what),
        }
    }
}
