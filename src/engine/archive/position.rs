//! Where to go on archiving.

use crate::model::{
    Branch, Catalog, Incarnation, LogRef, Lsn, ObjectKey, SegmentNumber, SegmentSize, TimelineHistory, TimelineId,
};

/// A position on a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) timeline: TimelineId,
    pub(super) lsn: Lsn,
}

/// Where the archived log of a server with this `history` ends; `None` if nothing of its past is archived.
///
/// What was archived of a timeline beyond the point where the server left it belongs to a branch that was abandoned: then
/// archiving goes on at the branching point.
pub(super) fn archived_end(catalog: &Catalog, incarnation: Incarnation, history: &TimelineHistory) -> Option<Position> {
    let stretches: Vec<_> = history.stretches().collect();
    let mut next = None;
    for (timeline, begin, end) in stretches.into_iter().rev() {
        let archived =
            catalog.archived_through(Branch::new(incarnation, timeline)).filter(|archived| *archived > begin);
        if let Some(archived) = archived {
            let left = end.is_some_and(|switch| archived >= switch);
            return if left { next } else { Some(Position { timeline, lsn: archived }) };
        }
        next = Some(Position { timeline, lsn: begin });
    }
    None
}

/// The log backup that ends at `at`; of a server with this `history`, which may have left a timeline there.
pub(super) fn previous(
    catalog: &Catalog,
    incarnation: Incarnation,
    history: &TimelineHistory,
    at: Position,
) -> Option<ObjectKey> {
    let last_byte = Lsn::new(at.lsn.as_u64().checked_sub(1)?);
    let ends_there = |timeline| {
        let mut logs = catalog.logs(Branch::new(incarnation, timeline));
        logs.rfind(|log| log.end() == at.lsn).map(LogRef::key)
    };
    ends_there(at.timeline).or_else(|| ends_there(history.timeline_at(last_byte)))
}

/// Where to begin archiving a server that keeps its log from `kept` on.
///
/// The start of the segment, since recovery reads a segment's first page before any other of it; the server keeps whole
/// segments.
pub(super) fn first(history: &TimelineHistory, kept: Lsn, segment_size: SegmentSize) -> Position {
    let lsn = SegmentNumber::containing(kept, segment_size).start(segment_size);
    Position { timeline: history.timeline_at(lsn), lsn }
}
