//! Where in the log a transaction ended, or a restore point was made.

use std::collections::BTreeMap;

use super::{PlanError, refuse};
use crate::model::{LogRef, Lsn, Target, Timestamp, Xid};
use crate::plan::past::{Need, Path, Position, Span};

/// How many log backups are asked for at a time where it is not known in which of them a transaction ended.
const NEEDS_MAX: usize = 16;

/// Where what is looked for was found, and what must be read before it is known whether that is all.
#[derive(Debug, Default)]
struct Traces {
    found: BTreeMap<Lsn, Timestamp>,
    needs: Vec<Need>,
}

/// Where the transaction `xid` ended.
///
/// # Errors
/// If it did not, or more than once, or if log backups must be read to know: then one is asked for in the middle of those that
/// it could have ended in, since transactions end more or less in the order of their IDs.
pub(super) fn transaction(path: &Path<'_>, xid: Xid) -> Result<Lsn, PlanError> {
    let mut traces = traces_of_transaction(path, xid);
    if traces.found.is_empty() && traces.needs.is_empty() {
        traces.needs = unread(path, xid);
    }
    traces.one(path, Target::xid(xid), |other| traces_of_transaction(other, xid))
}

/// Where the restore point `name` was made.
///
/// # Errors
/// If it was not, or more than once, or if log backups must be read to know.
pub(super) fn restore_point(path: &Path<'_>, name: &str) -> Result<Lsn, PlanError> {
    let target = Target::RestorePoint(name.to_owned());
    traces_of_restore_point(path, name).one(path, target, |other| traces_of_restore_point(other, name))
}

fn traces_of_transaction(path: &Path<'_>, xid: Xid) -> Traces {
    let ends = |log: LogRef<'_>, span: &Span<'_, '_>| {
        let ends = log.index().and_then(|index| index.transactions.as_deref()).unwrap_or_default();
        let here = ends.iter().filter(|end| end.xid == xid && span.has_end(end.end_lsn));
        here.map(|end| (end.end_lsn, end.time)).collect::<Vec<_>>()
    };
    let mut traces = Traces::default();
    for span in whole(path) {
        for log in indexed(span) {
            traces.found.extend(ends(log, &span));
            let possible = log.index().and_then(|index| index.xids).is_some_and(|xids| xids.contains(xid));
            traces.needs.extend(Need::of(log).filter(|_| possible));
        }
    }
    traces
}

fn traces_of_restore_point(path: &Path<'_>, name: &str) -> Traces {
    let mut traces = Traces::default();
    for span in whole(path) {
        for log in span.stretch.record.log.with_restore_points().filter(|log| span.touches(*log)) {
            let Some(index) = log.index() else {
                traces.needs.push(Need::Index(log.to_backup()));
                continue;
            };
            let here = index.restore_points.iter().filter(|point| point.name == name);
            let here = here.filter(|point| span.has_end(point.end_lsn));
            traces.found.extend(here.map(|point| (point.end_lsn, point.time)));
        }
    }
    // A name need not be unique: which one is meant is only known if all are known.
    if !traces.needs.is_empty() {
        traces.found.clear();
    }
    traces
}

impl Traces {
    /// The one place where it is; if it is not on `path`, then the other pasts that `on` finds it in, once each, are offered.
    fn one(self, path: &Path<'_>, target: Target, on: impl Fn(&Path<'_>) -> Self) -> Result<Lsn, PlanError> {
        let Self { found, needs } = self;
        let mut lsns = found.keys();
        match (lsns.next(), lsns.next(), needs.is_empty()) {
            (Some(&lsn), None, _) => Ok(lsn),
            (Some(_), Some(_), _) => Err(PlanError::Ambiguous { requested: target, at: found.into_iter().collect() }),
            (None, _, false) => Err(PlanError::Unknown { requested: target, needs, previous: None, next: None }),
            (None, _, true) => Err(refuse::not_found(path, target, |other| on(other).found.len() == 1)),
        }
    }
}

/// All of the past.
fn whole<'p, 'a>(path: &'p Path<'a>) -> impl Iterator<Item = Span<'p, 'a>> {
    path.spans(Position::START, Lsn::MAX)
}

/// The log backups that hold any of the span and whose index was read, in order.
fn indexed<'p, 'a: 'p>(span: Span<'p, 'a>) -> impl Iterator<Item = LogRef<'a>> + 'p {
    let log = &span.stretch.record.log;
    log.indexed().iter().map(|&row| log.get(row)).filter(move |log| span.touches(*log))
}

/// Which of the log backups with commits whose index was not read are to be read next.
fn unread(path: &Path<'_>, xid: Xid) -> Vec<Need> {
    let mut before = Vec::new();
    let mut between = Vec::new();
    let mut after = Vec::new();
    let mut passed = false;
    for log in whole(path).flat_map(all) {
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
fn all<'p, 'a: 'p>(span: Span<'p, 'a>) -> impl Iterator<Item = LogRef<'a>> + 'p {
    let log = &span.stretch.record.log;
    let rows = log.first_beyond(span.start)..log.begun_by(span.end);
    rows.map(|row| log.get(row)).filter(move |log| span.touches(*log))
}
