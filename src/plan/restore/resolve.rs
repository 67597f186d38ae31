//! Where in the log a transaction ended, or a restore point was made.

use std::collections::BTreeMap;

use super::request::Target;
use super::{PlanError, refuse};
use crate::model::{LogRef, Lsn, Timestamp, Xid};
use crate::plan::past::{Need, Path, Position, Span};

/// How many log backups are asked for at a time where it is not known in which of them a transaction ended.
const NEEDS_MAX: usize = 16;

/// Where the transaction `xid` ended.
///
/// # Errors
/// If it did not, or more than once, or if log backups must be read to know: then one is asked for in the middle of those that
/// it could have ended in, since transactions end more or less in the order of their IDs.
pub(super) fn transaction(path: &Path<'_>, xid: Xid) -> Result<Lsn, PlanError> {
    one(path, Target::xid(xid), |path| ends_of(path, xid))
}

/// Where the restore point `name` was made.
///
/// # Errors
/// If it was not, or more than once, or if log backups must be read to know.
pub(super) fn restore_point(path: &Path<'_>, name: &str) -> Result<Lsn, PlanError> {
    one(path, Target::RestorePoint(name.to_owned()), |path| made(path, name))
}

/// What is known of where something is, and what must be read to know more.
struct Looked {
    found: BTreeMap<Lsn, Timestamp>,
    needs: Vec<Need>,
}

fn one(path: &Path<'_>, target: Target, look: impl Fn(&Path<'_>) -> Looked) -> Result<Lsn, PlanError> {
    let Looked { found, needs } = look(path);
    let mut lsns = found.keys();
    match (lsns.next(), lsns.next(), needs.is_empty()) {
        (Some(&lsn), None, _) => Ok(lsn),
        (Some(_), Some(_), _) => Err(PlanError::Ambiguous { requested: target, at: found.into_iter().collect() }),
        (None, _, false) => Err(PlanError::Unknown { requested: target, needs, previous: None, next: None }),
        (None, _, true) => Err(refuse::not_found(path, target, |other| look(other).found.len() == 1)),
    }
}

fn ends_of(path: &Path<'_>, xid: Xid) -> Looked {
    let ends = |log: LogRef<'_>, span: &Span<'_, '_>| {
        let ends = log.index().and_then(|index| index.transactions.as_deref()).unwrap_or_default();
        let here = ends.iter().filter(|end| end.xid == xid && span.start < end.end_lsn && end.end_lsn <= span.end);
        here.map(|end| (end.end_lsn, end.time)).collect::<Vec<_>>()
    };
    let (mut found, mut needs) = (BTreeMap::new(), Vec::new());
    for span in whole(path) {
        for log in indexed(&span) {
            found.extend(ends(log, &span));
            let possible = log.index().and_then(|index| index.xids).is_some_and(|xids| xids.contains(xid));
            needs.extend(Need::of(log).filter(|_| possible));
        }
    }
    if found.is_empty() && needs.is_empty() {
        needs = unread(path, xid);
    }
    Looked { found, needs }
}

fn made(path: &Path<'_>, name: &str) -> Looked {
    let (mut found, mut needs) = (BTreeMap::new(), Vec::new());
    for span in whole(path) {
        for log in span.stretch.record.log.with_restore_points().filter(|log| touches(*log, &span)) {
            let Some(index) = log.index() else {
                needs.push(Need::Index(log.to_backup()));
                continue;
            };
            let here = index.restore_points.iter().filter(|point| point.name == name);
            let here = here.filter(|point| span.start < point.end_lsn && point.end_lsn <= span.end);
            found.extend(here.map(|point| (point.end_lsn, point.time)));
        }
    }
    // A name need not be unique: which one is meant is only known if all are known.
    if !needs.is_empty() {
        found.clear();
    }
    Looked { found, needs }
}

/// All of the past.
fn whole<'p, 'a>(path: &'p Path<'a>) -> impl Iterator<Item = Span<'p, 'a>> {
    path.spans(Position { stretch: 0, lsn: Lsn::ZERO }, Lsn::MAX)
}

fn touches(log: LogRef<'_>, span: &Span<'_, '_>) -> bool {
    log.start() < span.end && span.start < log.end()
}

fn indexed<'a>(span: &Span<'_, 'a>) -> impl Iterator<Item = LogRef<'a>> {
    let (log, span) = (&span.stretch.record.log, Span { ..*span });
    let (start, end) = (span.start, span.end);
    log.indexed().iter().map(|&row| log.get(row)).filter(move |log| log.start() < end && start < log.end())
}

/// Which of the log backups with commits whose index was not read are to be read next.
fn unread(path: &Path<'_>, xid: Xid) -> Vec<Need> {
    let mut before = Vec::new();
    let mut between = Vec::new();
    let mut after = Vec::new();
    let mut passed = false;
    for log in whole(path).flat_map(|span| all(&span).collect::<Vec<_>>()) {
        match log.index().map(|index| index.xids) {
            // Everything up to here ended before it was assigned, more or less.
            Some(Some(xids)) if xids.newest.precedes(xid) && !passed => before.append(&mut between),
            Some(Some(xids)) if xid.precedes(xids.oldest) => passed = true,
            Some(_) => {}
            None if log.max_commit_time().is_none() => {}
            None if passed => after.push(log),
            None => between.push(log),
        }
    }
    let chosen: Vec<LogRef<'_>> = match between.len() {
        0 => after.into_iter().take(NEEDS_MAX).chain(before.into_iter().rev().take(NEEDS_MAX)).collect(),
        length => vec![between[length / 2]],
    };
    chosen.into_iter().filter_map(Need::of).collect()
}

/// The log backups that hold any of the span, in order.
fn all<'a>(span: &Span<'_, 'a>) -> impl Iterator<Item = LogRef<'a>> {
    let log = &span.stretch.record.log;
    let (start, end) = (span.start, span.end);
    let rows = log.first_beyond(start)..log.begun_by(end);
    rows.map(|row| log.get(row)).filter(move |log| log.start() < end && start < log.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Artifact, Branch, Catalog, LogBackup, TimelineId, WalRange};

    /// The branches look at each other only once.
    #[test]
    fn what_is_on_none_of_several_branches_is_not_found() {
        let incarnation = "7-15".parse().unwrap();
        let timelines = [1, 2, 3].map(|timeline| TimelineId::new(timeline).unwrap());
        let log = |timeline| -> Artifact {
            let wal = WalRange::new(timeline, Lsn::new(0x100_0000), Lsn::new(0x200_0000)).unwrap();
            LogBackup::new(incarnation, wal, "logs".parse().unwrap(), 1).into()
        };
        let catalog = Catalog::new(timelines.map(log)).unwrap();
        for timeline in timelines {
            let branch = Branch::new(incarnation, timeline);
            let path = Path::new(&catalog, branch).unwrap();
            let not_found = |requested| Err(PlanError::NotFound { requested, branch });
            let name = "nowhere".to_owned();
            assert_eq!(restore_point(&path, &name), not_found(Target::RestorePoint(name)));
            assert_eq!(transaction(&path, Xid::FIRST), not_found(Target::xid(Xid::FIRST)));
        }
    }
}
