//! Records about the log itself.
//!
//! See `CheckPoint` in PostgreSQL's `src/include/catalog/pg_control.h`, and `xl_restore_point`, `xl_end_of_recovery` and
//! `xl_overwrite_contrecord` in `src/include/access/xlog_internal.h`. From 15 to 18 fields were only added behind, or in the
//! padding between, those that are read here.

use crate::model::{TimelineId, Timestamp};

use super::detail::Step;
use super::fields::Fields;
use super::record::WalRecordDetail;

/// `XLOG_SWITCH`: the rest of the segment is empty.
pub(super) const SWITCH: u8 = 0x40;

/// `MAXFNAMELEN`, the space for the name of a restore point.
const NAME_BYTES: usize = 64;

const BAD_TIME: &str = "a time outside the years 0001 to 9999";

/// Reads a record about the log.
#[derive(Clone, Copy, Debug)]
pub(super) enum XlogScan {
    Checkpoint { shutdown: bool },
    BackupEnd,
    RestorePoint,
    EndOfRecovery,
    Overwrite,
}

impl XlogScan {
    /// A scan of a record with this operation, if it is of interest.
    #[inline]
    pub(super) const fn of(operation: u8) -> Option<Self> {
        match operation {
            0x00 => Some(Self::Checkpoint { shutdown: true }),
            0x10 => Some(Self::Checkpoint { shutdown: false }),
            0x50 => Some(Self::BackupEnd),
            0x70 => Some(Self::RestorePoint),
            0x90 => Some(Self::EndOfRecovery),
            0xD0 => Some(Self::Overwrite),
            _ => None,
        }
    }

    /// What to read of a record's main data.
    pub(super) const fn begin(self) -> Step {
        Step::take(match self {
            Self::Checkpoint { .. } => 72,
            Self::BackupEnd => 8,
            Self::RestorePoint => 8 + NAME_BYTES,
            Self::EndOfRecovery | Self::Overwrite => 16,
        })
    }

    /// Reads what was asked for.
    pub(super) fn step(self, data: &[u8]) -> Step {
        let fields = Fields::of(data);
        let detail = match self {
            Self::Checkpoint { shutdown } => checkpoint(fields, shutdown),
            Self::BackupEnd => backup_end(fields),
            Self::RestorePoint => restore_point(fields),
            Self::EndOfRecovery => end_of_recovery(fields),
            Self::Overwrite => overwrite(fields),
        };
        detail.map_or_else(Step::Broken, Step::Done)
    }
}

fn checkpoint(mut fields: Fields<'_>, shutdown: bool) -> Result<WalRecordDetail, &'static str> {
    let redo = fields.lsn();
    let (timeline, previous_timeline) = timelines(&mut fields)?;
    // The flags, counters and transaction numbers that `pg_control` keeps too.
    let _: [u8; 48] = fields.array();
    let micros = fields.i64().checked_mul(1_000_000);
    let time = micros.and_then(Timestamp::from_unix_micros).ok_or(BAD_TIME)?;
    Ok(WalRecordDetail::Checkpoint { redo, shutdown, timeline, previous_timeline, time })
}

fn backup_end(mut fields: Fields<'_>) -> Result<WalRecordDetail, &'static str> {
    Ok(WalRecordDetail::BackupEnd { redo: fields.lsn() })
}

fn restore_point(mut fields: Fields<'_>) -> Result<WalRecordDetail, &'static str> {
    let time = time(&mut fields)?;
    let name: [u8; NAME_BYTES] = fields.array();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(WalRecordDetail::RestorePoint { name: String::from_utf8_lossy(name).into_owned(), time })
}

fn end_of_recovery(mut fields: Fields<'_>) -> Result<WalRecordDetail, &'static str> {
    let time = time(&mut fields)?;
    let (timeline, previous_timeline) = timelines(&mut fields)?;
    Ok(WalRecordDetail::EndOfRecovery { timeline, previous_timeline, time })
}

fn overwrite(mut fields: Fields<'_>) -> Result<WalRecordDetail, &'static str> {
    let lost = fields.lsn();
    Ok(WalRecordDetail::Overwrite { lost, time: time(&mut fields)? })
}

fn timelines(fields: &mut Fields<'_>) -> Result<(TimelineId, TimelineId), &'static str> {
    let mut timeline = || TimelineId::new(fields.u32()).ok_or("timeline 0");
    Ok((timeline()?, timeline()?))
}

fn time(fields: &mut Fields<'_>) -> Result<Timestamp, &'static str> {
    Timestamp::from_postgres_micros(fields.i64()).ok_or(BAD_TIME)
}
