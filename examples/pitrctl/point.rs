//! The point to restore to, as it is named on the command line.

use clap::{Args, ValueEnum};
use pitr::model::{Lsn, RestoreSpec, ServerName, SnapshotId, Target, TimelineChoice, TimelineId, Timestamp, Xid};
use pitr::plan::{Objective, RestoreRequest};

use crate::times::instant;

#[derive(Args, Debug)]
#[command(next_help_heading = "The point to restore to")]
pub(crate) struct PointArgs {
    #[command(flatten)]
    choice: Choice,
    /// Without what was committed in that microsecond, or without that transaction.
    #[arg(long, conflicts_with_all = ["latest", "earliest", "snapshot", "lsn", "restore_point"])]
    before: bool,
    /// On which timeline; the one that the server was on last, unless it is given.
    #[arg(long)]
    timeline: Option<TimelineId>,
    /// Of several ways, which is best. A new server is restored by the fastest.
    #[arg(long, value_enum, default_value_t = Best::RecoveryTime, value_name = "BY")]
    best: Best,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Choice {
    /// An instant, with its offset: `2026-11-24T14:02:59+01:00`, `2026-11-24 13:02:59.25Z`, or `90s ago`; units are s, m, h, d.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    at: Option<Timestamp>,
    /// The end of the log.
    #[arg(long)]
    latest: bool,
    /// The first snapshot.
    #[arg(long)]
    earliest: bool,
    /// A snapshot, without log: the fastest.
    #[arg(long, value_name = "ID")]
    snapshot: Option<SnapshotId>,
    /// A position in the log: `0/3000148`.
    #[arg(long)]
    lsn: Option<Lsn>,
    /// The end of a transaction.
    #[arg(long)]
    xid: Option<Xid>,
    /// What `pg_create_restore_point` was called with.
    #[arg(long, value_name = "NAME")]
    restore_point: Option<String>,
}

/// What the best way is judged by.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Best {
    RecoveryTime,
    Bytes,
    Artifacts,
}

impl PointArgs {
    fn target(&self) -> Target {
        match &self.choice {
            Choice { at: Some(at), .. } if self.before => Target::just_before(*at),
            Choice { at: Some(at), .. } => Target::time(*at),
            Choice { xid: Some(xid), .. } if self.before => Target::just_before_xid(*xid),
            Choice { xid: Some(xid), .. } => Target::xid(*xid),
            Choice { snapshot: Some(id), .. } => Target::Snapshot(id.clone()),
            Choice { lsn: Some(lsn), .. } => Target::Lsn(*lsn),
            Choice { restore_point: Some(name), .. } => Target::RestorePoint(name.clone()),
            Choice { earliest: true, .. } => Target::Earliest,
            // The group has one of them.
            Choice { .. } => Target::Latest,
        }
    }

    pub(crate) fn request(&self) -> RestoreRequest {
        let request = RestoreRequest::new(self.target()).for_objective(match self.best {
            Best::RecoveryTime => Objective::RecoveryTime,
            Best::Bytes => Objective::Bytes,
            Best::Artifacts => Objective::Artifacts,
        });
        match self.timeline {
            Some(timeline) => request.on_timeline(timeline),
            None => request,
        }
    }

    pub(crate) fn spec(&self, name: ServerName) -> RestoreSpec {
        let mut spec = RestoreSpec::new(name, self.target());
        spec.timeline = self.timeline.map_or(TimelineChoice::Current, TimelineChoice::Id);
        spec
    }
}
