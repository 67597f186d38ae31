//! What is asked for: hundreds of requests that are only planned, and some of each kind that are really restored.

use pitr::model::{Lsn, Snapshot, TimelineId, Timestamp, Xid};
use pitr::plan::{RestoreRequest, Target};

use super::TICK;
use super::story::{Story, timeline};
use super::truth::{Past, Record};

/// Of so many transactions one is asked for in every way.
const ASKED_ONE_IN: usize = 61;
/// And those that ended after one that began so many later.
const LATE: u32 = 20;

/// Everything that can be asked for on the way to the end of `timeline`.
pub(super) fn requests(story: &Story, timeline: TimelineId) -> Vec<Target> {
    let past = story.past(timeline);
    let mut targets = vec![Target::Earliest, Target::Latest];
    targets.extend(story.snapshots.iter().map(|snapshot| Target::Snapshot(snapshot.id.clone())));
    targets.extend(["first", "second"].map(|name| Target::RestorePoint(format!("in the {name}"))));
    for (record, xid, at) in chosen(&past) {
        let (xid, before) = (Xid::new(xid).unwrap(), at.saturating_sub(TICK));
        targets.extend([Target::time(at), Target::just_before(at), Target::time(before)]);
        targets.extend([Target::xid(xid), Target::just_before_xid(xid)]);
        targets.extend(positions(&record).map(Target::Lsn));
    }
    targets
}

/// Ends of transactions that stand for all: some of the short ones, and the long ones.
fn chosen(past: &Past) -> Vec<(Record, u32, Timestamp)> {
    let ends: Vec<_> = past.ends().map(|(record, xid, at)| (record.clone(), xid, at)).collect();
    let late = |number: usize| number > 0 && ends[number].1 + LATE < ends[number - 1].1;
    let chosen = (0..ends.len()).filter(|&number| number.is_multiple_of(ASKED_ONE_IN) || late(number));
    chosen.map(|number| ends[number].clone()).collect()
}

/// Where a record ends, just before and just after, and in its middle.
fn positions(record: &Record) -> [Lsn; 4] {
    let (lsn, end) = (record.lsn.as_u64(), record.end_lsn.as_u64());
    [end, end - 1, end + 1, lsn + 9].map(Lsn::new)
}

/// What is really restored: of each kind something, on each timeline.
pub(super) fn spread(story: &Story) -> Vec<RestoreRequest> {
    let [first, behind, standby, last] = &story.snapshots;
    let past = story.past(timeline(3));
    let [to_second, to_third] = story.histories[&timeline(3)].ancestors() else { panic!("there were two promotions") };
    let ends = |from: Lsn, to: Lsn| -> Vec<_> {
        past.ends().filter(|(end, ..)| from < end.lsn && end.end_lsn <= to).collect()
    };
    // Where the machine is slow, a snapshot knows of its consistency long after it was reached.
    let ends_after = |snapshot: &Snapshot, to: Lsn| -> Vec<_> {
        ends(snapshot.wal.end, to).into_iter().filter(|(.., at)| *at > snapshot.consistent_at).collect()
    };
    let in_first = ends_after(first, story.hole.start);
    let in_second = ends_after(behind, to_second.switch);
    let in_third = ends(to_second.switch, to_third.switch);
    let in_fourth = ends_after(last, Lsn::MAX);
    let middle = |ends: &[(&Record, u32, Timestamp)]| -> (Lsn, Xid, Timestamp) {
        let (record, xid, at) = ends[ends.len() / 2];
        (record.end_lsn, Xid::new(xid).unwrap(), at)
    };
    let left = story.past(timeline(1));
    let abandoned: Vec<_> = left.ends().filter(|(end, ..)| end.lsn >= to_second.switch).collect();
    let between = {
        let (before, after) = (in_second.last().unwrap().2, in_third.first().unwrap().2);
        before.saturating_add(after.duration_since(before) / 2)
    };
    let on_first = |target| RestoreRequest::new(target).on_timeline(timeline(1));
    let on_second = |target| RestoreRequest::new(target).on_timeline(timeline(2));
    let rolled_back = |ends: &[(&Record, u32, Timestamp)]| ends.iter().find(|end| !end.0.is_commit()).unwrap().2;
    vec![
        Target::Latest.into(),
        Target::time(middle(&in_second).2).into(),
        Target::just_before(middle(&in_third).2).into(),
        Target::time(between).into(),
        Target::xid(slowest(&in_third)).into(),
        Target::Snapshot(standby.id.clone()).into(),
        Target::just_before_xid(middle(&in_second).1).into(),
        Target::time(rolled_back(&in_fourth).saturating_sub(TICK)).into(),
        on_first(Target::time(middle(&abandoned).2)),
        Target::RestorePoint("in the second".to_owned()).into(),
        Target::Lsn(middle_of_torn(&past)).into(),
        Target::time(middle(&in_first).2).into(),
        Target::Lsn(middle(&in_third).0).into(),
        on_first(Target::xid(middle(&abandoned).1)),
        Target::Lsn(to_second.switch).into(),
        Target::Earliest.into(),
        on_second(Target::just_before_xid(middle(&in_third).1)),
        Target::time(idle(story)).into(),
    ]
}

/// The transaction that ended after most of those that began after it.
fn slowest(ends: &[(&Record, u32, Timestamp)]) -> Xid {
    let later = |place: usize| ends[..place].iter().filter(|end| end.1 > ends[place].1).count();
    Xid::new(ends[(0..ends.len()).max_by_key(|&place| later(place)).unwrap()].1).unwrap()
}

/// A position on the second of two pages on which a record stands.
fn middle_of_torn(past: &Past) -> Lsn {
    let page = |lsn: u64| lsn / 8192;
    let torn = past.0.iter().rfind(|record| page(record.lsn.as_u64()) != page(record.end_lsn.as_u64() - 33)).unwrap();
    Lsn::new((page(torn.lsn.as_u64()) + 1) * 8192 + 32)
}

/// A time after the last commit.
fn idle(story: &Story) -> Timestamp {
    let last = story.past(timeline(3)).ends().map(|(.., at)| at).max().unwrap();
    last.saturating_add(std::time::Duration::from_millis(50))
}
