//! Writing it down.

use std::collections::BTreeMap;
use std::fmt;

use super::axis::{Axis, Tenths, Tick};
use super::lane::{Lane, Stretch};
use super::{RestorableInterval, RestorePlan, rows};
use crate::model::{Branch, LogBackup, Snapshot, Timestamp};
use crate::plan::text::Size;

/// All that is drawn.
pub(super) struct Drawing<'a> {
    pub(super) axis: Axis,
    pub(super) lanes: Vec<Lane<'a>>,
    /// Whose instants are `restorable`.
    pub(super) branch: Option<Branch>,
    pub(super) restorable: Vec<RestorableInterval>,
    pub(super) window: Option<(Timestamp, Timestamp)>,
    pub(super) plan: Option<&'a RestorePlan>,
    pub(super) instant: Option<Timestamp>,
}

/// Where the instants stand that can be restored, and where lanes begin.
const STRIP_TOP: u32 = 26;
const LANES_TOP: u32 = 70;
const LANE: u32 = 48;
const BAR: u32 = 14;
/// What is narrower is drawn so wide, in tenths of a pixel.
const HOLE_MIN: i64 = 30;
const BAR_MIN: i64 = 10;

const STYLE: &str = "\
.pitr-timeline{font:12px system-ui,sans-serif;--ink:#1d2733;--faint:#66768a;--line:#ccd5df;--log:#8fb4e3;--can:#2c9a68;--hole:#cf3f55;--plan:#b26a00;--past:#e9edf2;--paper:#fff}\
@media(prefers-color-scheme:dark){.pitr-timeline{--ink:#e3e9f0;--faint:#94a5b8;--line:#39475a;--log:#3f6ca6;--can:#3dbb82;--hole:#ff7488;--plan:#f2a93b;--past:#1b242f;--paper:#10161d}}\
.pitr-timeline .paper{fill:var(--paper)}.pitr-timeline text{fill:var(--ink)}.pitr-timeline .faint{fill:var(--faint)}.pitr-timeline .small{font-size:10px}\
.pitr-timeline .strong{font-weight:600}.pitr-timeline .line{stroke:var(--line);fill:none}.pitr-timeline .past{fill:var(--past)}.pitr-timeline .can{fill:var(--can)}\
.pitr-timeline .log{fill:var(--log)}.pitr-timeline .hole{fill:var(--paper);stroke:var(--hole);stroke-width:1.5}.pitr-timeline .snapshot{fill:var(--ink);stroke:var(--paper)}\
.pitr-timeline .fork{stroke:var(--faint);fill:none;stroke-width:1.5}.pitr-timeline .now{stroke:var(--faint);stroke-dasharray:3 3}\
.pitr-timeline .target{stroke:var(--plan);stroke-width:2}.pitr-timeline .used{fill:var(--plan)}.pitr-timeline .chosen{stroke:var(--plan);stroke-width:2;fill:none}";

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = (self.axis.width, self.height());
        write!(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"pitr-timeline\" role=\"img\" ")?;
        write!(
            f,
            "viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" aria-label=\"{}\"",
            self.told()
        )?;
        if let Some((from, until)) = self.axis.span {
            write!(f, " data-from=\"{}\" data-until=\"{}\"", from.as_unix_micros(), until.as_unix_micros())?;
            write!(f, " data-left=\"{}\" data-right=\"{}\"", self.axis.left(), self.axis.right())?;
        }
        write!(f, "><style>{STYLE}</style><rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>")?;
        if self.axis.span.is_none() {
            return write!(f, "<text x=\"16\" y=\"40\">Nothing is stored</text></svg>");
        }
        self.ground(f)?;
        self.strip(f)?;
        let rows = rows(&self.lanes);
        self.lanes.iter().try_for_each(|lane| self.fork(f, lane, &rows))?;
        self.lanes.iter().enumerate().try_for_each(|(row, lane)| self.lane(f, row, lane))?;
        self.marks(f)?;
        self.legend(f)?;
        write!(f, "</svg>")
    }
}

impl Drawing<'_> {
    fn axis_y(&self) -> u32 {
        LANES_TOP.saturating_add(LANE.saturating_mul(u32::try_from(self.lanes.len()).unwrap_or(u32::MAX / LANE)))
    }

    fn height(&self) -> u32 {
        if self.axis.span.is_none() { 64 } else { self.axis_y().saturating_add(82) }
    }

    /// For who cannot see it.
    fn told(&self) -> String {
        let snapshots: usize = self.lanes.iter().map(|lane| lane.snapshots.len()).sum();
        let holes: usize = self.lanes.iter().map(|lane| lane.holes().count()).sum();
        let stored = format!("{} timelines, {snapshots} snapshots, {holes} holes in the log", self.lanes.len());
        match (self.restorable.first(), self.restorable.last()) {
            (Some(first), Some(last)) => {
                let parts = self.restorable.len();
                format!("Restorable from {} to {} in {parts} parts; {stored}", first.from, last.until)
            }
            _ => format!("Nothing can be restored; {stored}"),
        }
    }

    /// What lies before the window, and the marks of the axis.
    fn ground(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (top, bottom) = (STRIP_TOP - 8, self.axis_y());
        if let Some((start, _)) = self.window
            && let Some((from, _)) = self.axis.span
            && from < start
        {
            let what = format!("before the window, which begins at {start}");
            bar(f, "past", (self.axis.x(from), self.axis.x(start)), top, bottom - top, &what)?;
        }
        for Tick { x, label, day } in self.axis.ticks() {
            write!(f, "<path class=\"line\" d=\"M{x} {top}V{}\"/>", bottom + 4)?;
            under(f, x, bottom + 16, &label)?;
            day.map_or(Ok(()), |day| under(f, x, bottom + 29, &day))?;
        }
        write!(f, "<path class=\"line\" d=\"M{} {bottom}H{}\"/>", self.axis.left(), self.axis.right())
    }

    fn strip(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<text class=\"strong\" x=\"8\" y=\"{}\">restorable</text>", STRIP_TOP + 12)?;
        if let Some(branch) = self.branch {
            write!(
                f,
                "<text class=\"small faint\" x=\"8\" y=\"{}\">on timeline {}</text>",
                STRIP_TOP + 26,
                branch.timeline
            )?;
        }
        let intervals = self.restorable.iter().map(|interval| (interval.from, interval.until));
        for Run { x, from, until, .. } in runs(self.axis, intervals, BAR_MIN, BAR_MIN) {
            bar(f, "can", x, STRIP_TOP, BAR + 2, &format!("every instant from {from} to {until} can be restored"))?;
        }
        Ok(())
    }

    /// How the timeline left another one.
    fn fork(&self, f: &mut fmt::Formatter<'_>, lane: &Lane<'_>, rows: &BTreeMap<Branch, usize>) -> fmt::Result {
        let Some((parent, switch, time)) = lane.left else { return Ok(()) };
        let (Some(from), Some(to), Some(time)) = (rows.get(&parent), rows.get(&lane.branch), time) else {
            return Ok(());
        };
        if !self.axis.shows(time) {
            return Ok(());
        }
        let (x, from, to) = (self.axis.x(time), middle(*from), middle(*to));
        write!(f, "<path class=\"fork\" d=\"M{x} {from}V{to}\"><title>")?;
        write!(
            f,
            "timeline {} left timeline {} at {switch}, about {time}</title></path>",
            lane.branch.timeline, parent.timeline
        )
    }

    fn lane(&self, f: &mut fmt::Formatter<'_>, row: usize, lane: &Lane<'_>) -> fmt::Result {
        self.name(f, row, lane)?;
        let top = middle(row) - BAR / 2;
        let times = lane.stretches.iter().map(|stretch| (stretch.from, stretch.until));
        for run in runs(self.axis, times, BAR_MIN, HOLE_MIN) {
            bar(f, "log", run.x, top, BAR, &log(&lane.stretches[run.first..=run.last]))?;
        }
        let holes: Vec<_> = lane.holes().collect();
        let times = holes.iter().map(|(_, from, until)| (*from, *until));
        for run in runs(self.axis, times, HOLE_MIN, 0) {
            let what = match &holes[run.first..=run.last] {
                [(wal, from, until)] => format!("the log {wal} is missing, between about {from} and {until}"),
                more => format!("{} holes in the log between {} and {}", more.len(), run.from, run.until),
            };
            bar(f, "hole", run.x, top, BAR, &what)?;
        }
        self.used(f, row, lane)?;
        self.snapshots(f, row, lane)
    }

    fn name(&self, f: &mut fmt::Formatter<'_>, row: usize, lane: &Lane<'_>) -> fmt::Result {
        let (class, y) = (if lane.is_current { " class=\"strong\"" } else { "" }, middle(row));
        write!(f, "<text{class} x=\"8\" y=\"{}\">timeline {}</text>", y + 1, lane.branch.timeline)?;
        let incarnation = lane.branch.incarnation;
        let has_others = self.lanes.iter().any(|other| other.branch.incarnation != incarnation);
        let note = if has_others { incarnation.to_string() } else { String::new() };
        let note = if lane.is_current && !has_others { "current".to_owned() } else { note };
        write!(f, "<text class=\"small faint\" x=\"8\" y=\"{}\">{note}</text>", y + 14)
    }

    /// The log that the plan takes of the timeline.
    fn used(&self, f: &mut fmt::Formatter<'_>, row: usize, lane: &Lane<'_>) -> fmt::Result {
        let Some(plan) = self.plan else { return Ok(()) };
        let is_here = |log: &&LogBackup| Branch::new(log.incarnation, log.wal.timeline) == lane.branch;
        let logs: Vec<&LogBackup> = plan.logs().iter().map(|log| &log.backup).filter(is_here).collect();
        let (Some(first), Some(last)) = (logs.first(), logs.last()) else { return Ok(()) };
        let (Some(from), Some(until)) = (lane.time_of(first.wal.start), lane.time_of(last.wal.end)) else {
            return Ok(());
        };
        let until = self.instant.map_or(until, |instant| until.min(instant)).max(from);
        let Some(x) = self.axis.clip(from, until) else { return Ok(()) };
        let what = format!("the plan takes {} log backups, {}..{}", logs.len(), first.wal.start, last.wal.end);
        bar(f, "used", widened(x, BAR_MIN), middle(row) + BAR / 2 + 2, 4, &what)
    }

    fn snapshots(&self, f: &mut fmt::Formatter<'_>, row: usize, lane: &Lane<'_>) -> fmt::Result {
        let y = middle(row);
        let mut columns: BTreeMap<i64, Vec<&Snapshot>> = BTreeMap::new();
        for snapshot in lane.snapshots.iter().filter(|snapshot| self.axis.shows(snapshot.consistent_at)) {
            columns.entry(self.axis.x(snapshot.consistent_at).0 / 10).or_default().push(snapshot);
        }
        for (x, snapshots) in columns {
            let Some(last) = snapshots.last() else { continue };
            write!(
                f,
                "<path class=\"snapshot\" data-snapshot=\"{}\" d=\"M{} {y}L{x} {}L{} {y}L{x} {}Z\">",
                last.id,
                x - 6,
                y - 7,
                x + 6,
                y + 7
            )?;
            write!(f, "<title>{}</title></path>", snapshot_title(last, snapshots.len()))?;
            let is_chosen = |plan: &RestorePlan| snapshots.iter().any(|snapshot| snapshot.id == plan.snapshot().id);
            if self.plan.is_some_and(is_chosen) {
                write!(f, "<circle class=\"chosen\" cx=\"{x}\" cy=\"{y}\" r=\"11\"/>")?;
            }
        }
        Ok(())
    }

    /// The present, and where the plan leads to.
    fn marks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bottom = self.axis_y();
        if let Some((_, now)) = self.window.filter(|(_, now)| self.axis.shows(*now)) {
            let x = self.axis.x(now);
            write!(f, "<path class=\"now\" d=\"M{x} {}V{bottom}\"><title>now, {now}</title></path>", STRIP_TOP - 8)?;
            under(f, x, bottom + 42, "now")?;
        }
        let Some(instant) = self.instant.filter(|instant| self.axis.shows(*instant)) else { return Ok(()) };
        let x = self.axis.x(instant);
        let is_late = x.0 > i64::from(self.axis.width) * 5;
        let (anchor, x_text) = if is_late { ("end", Tenths(x.0 + 60)) } else { ("start", Tenths(x.0 - 60)) };
        write!(f, "<path class=\"target\" d=\"M{x} {}V{bottom}\"/>", STRIP_TOP - 8)?;
        write!(
            f,
            "<text class=\"small strong\" x=\"{x_text}\" y=\"12\" text-anchor=\"{anchor}\">restore to {instant}</text>"
        )
    }

    fn legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let y = self.axis_y() + 58;
        let mut x = 8;
        for (class, text, width) in [("can", "restorable", 92), ("log", "log", 54), ("hole", "log is missing", 108)] {
            write!(f, "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"14\" height=\"10\"/>")?;
            write!(f, "<text class=\"small\" x=\"{}\" y=\"{}\">{text}</text>", x + 20, y + 9)?;
            x += width;
        }
        write!(
            f,
            "<path class=\"snapshot\" d=\"M{x} {0}L{1} {2}L{3} {0}L{1} {4}Z\"/>",
            y + 5,
            x + 6,
            y - 2,
            x + 12,
            y + 12
        )?;
        write!(f, "<text class=\"small\" x=\"{}\" y=\"{}\">snapshot</text>", x + 18, y + 9)?;
        write!(
            f,
            "<text class=\"small faint\" x=\"{}\" y=\"{}\" text-anchor=\"end\">times in UTC</text>",
            self.axis.right(),
            y + 9
        )
    }
}

/// A text below the axis.
fn under(f: &mut fmt::Formatter<'_>, x: Tenths, y: u32, text: &str) -> fmt::Result {
    write!(f, "<text class=\"small faint\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{text}</text>")
}

/// The middle of a lane.
fn middle(row: usize) -> u32 {
    let row = u32::try_from(row).unwrap_or(u32::MAX / LANE);
    LANES_TOP.saturating_add(LANE.saturating_mul(row)).saturating_add(LANE / 2 - 4)
}

fn bar(
    f: &mut fmt::Formatter<'_>,
    class: &str,
    (from, until): (Tenths, Tenths),
    y: u32,
    height: u32,
    title: &str,
) -> fmt::Result {
    let width = Tenths(until.0 - from.0);
    write!(
        f,
        "<rect class=\"{class}\" x=\"{from}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"2\"><title>{title}</title></rect>"
    )
}

/// Intervals that are drawn as one.
struct Run {
    x: (Tenths, Tenths),
    from: Timestamp,
    until: Timestamp,
    first: usize,
    last: usize,
}

/// Intervals in order, each `least` wide at least, and those put together that are no more than `apart` from each other, in tenths of a pixel.
fn runs(axis: Axis, intervals: impl Iterator<Item = (Timestamp, Timestamp)>, least: i64, apart: i64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (number, (from, until)) in intervals.enumerate() {
        let Some(x) = axis.clip(from, until).map(|x| widened(x, least)) else { continue };
        match runs.last_mut().filter(|run| x.0.0 <= run.x.1.0 + apart) {
            Some(run) => {
                (run.x.1, run.until, run.last) = (run.x.1.max(x.1), run.until.max(until), number);
            }
            None => runs.push(Run { x, from, until, first: number, last: number }),
        }
    }
    runs
}

fn widened((from, until): (Tenths, Tenths), least: i64) -> (Tenths, Tenths) {
    (from, Tenths(until.0.max(from.0 + least)))
}

fn log(stretches: &[Stretch]) -> String {
    let (Some(first), Some(last)) = (stretches.first(), stretches.last()) else { return String::new() };
    let backups: u64 = stretches.iter().map(|stretch| stretch.backups).sum();
    let bytes: u64 = stretches.iter().map(|stretch| stretch.stored_bytes).fold(0, u64::saturating_add);
    let (start, end) = (first.wal.start, last.wal.end);
    format!("log {start}..{end}, until {}, in {backups} log backups of {}", last.until, Size(bytes))
}

fn snapshot_title(last: &Snapshot, count: usize) -> String {
    let others = if count > 1 { format!(", and {} more within the same pixel", count - 1) } else { String::new() };
    let size = Size(last.stored_bytes);
    format!("snapshot {}, consistent at {}, {size} to fetch{others}", last.id, last.consistent_at)
}
