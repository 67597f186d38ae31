//! What is stored, what of it can be restored, and what a plan takes, as a picture.

mod axis;
mod lane;
mod svg;

use std::collections::BTreeMap;
use std::time::Duration;

use self::axis::Axis;
use self::lane::Lane;
use self::svg::Drawing;
use super::{RecoveryTarget, RestorableInterval, RestorePlan, recovery_window};
use crate::model::{Branch, Catalog, Timestamp};

/// What is drawn of a catalog, beside what it holds.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct SvgOptions<'a> {
    window: Option<(Timestamp, Timestamp)>,
    span: Option<(Timestamp, Timestamp)>,
    plan: Option<&'a RestorePlan>,
    width: u32,
}

impl Default for SvgOptions<'_> {
    fn default() -> Self {
        Self { window: None, span: None, plan: None, width: 960 }
    }
}

impl<'a> SvgOptions<'a> {
    /// Marks where the retention window begins, and the present: what lies before it is only kept for what lies in it.
    pub const fn window(self, start: Timestamp, now: Timestamp) -> Self {
        Self { window: Some((start, now)), ..self }
    }

    /// Draws only what lies from `from` to `until`. By default, all that is known.
    pub const fn between(self, from: Timestamp, until: Timestamp) -> Self {
        Self { span: Some((from, until)), ..self }
    }

    /// Marks what `plan` takes, and where it leads to.
    pub const fn plan(self, plan: &'a RestorePlan) -> Self {
        Self { plan: Some(plan), ..self }
    }

    /// How wide it is, in pixels; 960 by default. At least 320 and at most 10,000.
    pub fn width(self, width: u32) -> Self {
        Self { width: width.clamp(320, 10_000), ..self }
    }
}

/// Draws what is stored of a server over time, and which instants can be restored, as a document of SVG 1.1.
///
/// - On top stand the instants that can be restored on the branch that the server was on last, or that the plan is for. Below, each timeline has a lane: its
///   log, with its holes; its snapshots; and where it left another one.
/// - Everything says what it is when it is pointed at, in a `<title>`. Colours are those of the reader's scheme, light or dark, and nothing is told by colour alone.
/// - `data-from` and `data-until` of the root, in microseconds since 1970, are the times of the `data-left`th and `data-right`th pixel: so a program
///   knows which instant somebody points at. Snapshots have their ID in `data-snapshot`.
///
/// There are no scripts in it, nor anything that is fetched. What it says of times that no log backup tells, it takes from the backup before. It has some kilobytes for
/// each timeline, however many log backups there are: what would be drawn within the same pixel is drawn as one.
///
/// # Examples
/// ```
/// use pitr::model::Catalog;
/// use pitr::plan::{SvgOptions, timeline_svg};
///
/// let svg = timeline_svg(&Catalog::default(), SvgOptions::default());
/// assert!(svg.starts_with("<svg ") && svg.contains("Nothing is stored"));
/// ```
#[must_use]
pub fn timeline_svg(catalog: &Catalog, options: SvgOptions<'_>) -> String {
    let lanes: Vec<Lane<'_>> = catalog.branches().map(|branch| Lane::of(catalog, branch)).collect();
    let branch = options.plan.map(branch_of).or_else(|| catalog.current());
    let restorable = branch.map_or_else(Vec::new, |branch| recovery_window(catalog, branch).intervals);
    let axis = Axis::new(span(&lanes, &restorable, options), options.width);
    let instant = options.plan.and_then(|plan| instant(plan, &lanes));
    Drawing { axis, lanes, branch, restorable, window: options.window, plan: options.plan, instant }.to_string()
}

/// The branch in whose past the target of `plan` was looked for.
fn branch_of(plan: &RestorePlan) -> Branch {
    Branch::new(plan.incarnation(), plan.requested_timeline())
}

/// The instant that `plan` restores, as near as is known.
fn instant(plan: &RestorePlan, lanes: &[Lane<'_>]) -> Option<Timestamp> {
    match plan.recovery() {
        RecoveryTarget::Time { at, .. } => Some(at),
        RecoveryTarget::EndOfWal => {
            let branch = Branch::new(plan.incarnation(), plan.timeline());
            let lane = lanes.iter().find(|lane| lane.branch == branch)?;
            lane.time_of(plan.stop().end)
        }
    }
}

/// All that is known, or what was asked for, a second at least; `None` if nothing is known.
fn span(
    lanes: &[Lane<'_>],
    restorable: &[RestorableInterval],
    options: SvgOptions<'_>,
) -> Option<(Timestamp, Timestamp)> {
    let known = lanes.iter().flat_map(Lane::times);
    let restorable = restorable.iter().flat_map(|interval| [interval.from, interval.until]);
    let now = options.window.map(|(_, now)| now);
    let times: Vec<_> = known.chain(restorable).collect();
    let times = if times.is_empty() { times } else { times.into_iter().chain(now).collect() };
    let all = || Some((*times.iter().min()?, *times.iter().max()?));
    let (from, until) = options.span.or_else(all)?;
    Some((from, until.max(from.saturating_add(Duration::from_secs(1)))))
}

/// Where each branch has its lane.
fn rows(lanes: &[Lane<'_>]) -> BTreeMap<Branch, usize> {
    lanes.iter().enumerate().map(|(row, lane)| (lane.branch, row)).collect()
}
