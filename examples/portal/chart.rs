//! What was stored over time, as a picture.

use indicatif::HumanBytes;
use maud::{Markup, html};
use pitr::plan::usage::DayUsage;
use pitr::service::ServerUsage;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 220.0;
/// Room for what stands beside the bars.
const LEFT: f64 = 84.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 14.0;

/// Bars of what was stored at the end of each day, by kind, and a line at what is free.
pub(crate) fn usage(usage: &ServerUsage) -> Markup {
    let totals = usage.days.iter().map(|day| day.at_end.total());
    let scale = Scale { most: totals.chain([usage.provisioned_bytes, 1]).max().unwrap_or(1), days: usage.days.len() };
    let free = scale.y(usage.provisioned_bytes);
    html! {
        svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(told(usage)) {
            @for part in 0..=4 {
                @let bytes = scale.most / 4 * part;
                @let y = scale.y(bytes);
                path.line d=(format!("M{LEFT} {y:.1}H{WIDTH}")) {}
                text x=(LEFT - 8.0) y=(format!("{:.1}", y + 4.0)) text-anchor="end" { (HumanBytes(bytes)) }
            }
            @for (at, day) in usage.days.iter().enumerate() { (bar(&scale, at, day)) }
            @if usage.provisioned_bytes > 0 {
                path.free d=(format!("M{LEFT} {free:.1}H{WIDTH}")) { title { (HumanBytes(usage.provisioned_bytes)) " are free" } }
            }
        }
        p.legend { span.snapshots { "■" } " snapshots  " span.logs { "■" } " log  " @if usage.provisioned_bytes > 0 { span.free { "╌╌" } " free" } }
    }
}

fn told(usage: &ServerUsage) -> String {
    let free = HumanBytes(usage.provisioned_bytes);
    format!(
        "What was stored at the end of each of {} days; now {}, of which {free} are free",
        usage.days.len(),
        HumanBytes(usage.now.total())
    )
}

struct Scale {
    most: u64,
    days: usize,
}

impl Scale {
    fn y(&self, bytes: u64) -> f64 {
        HEIGHT - BOTTOM - self.height(bytes)
    }

    #[allow(clippy::cast_precision_loss, reason = "pixels")]
    fn height(&self, bytes: u64) -> f64 {
        bytes as f64 / self.most as f64 * (HEIGHT - BOTTOM - TOP)
    }

    #[allow(clippy::cast_precision_loss, reason = "pixels")]
    fn x(&self, at: usize) -> f64 {
        LEFT + at as f64 * self.step()
    }

    #[allow(clippy::cast_precision_loss, reason = "pixels")]
    fn step(&self) -> f64 {
        ((WIDTH - LEFT) / self.days.max(1) as f64).min(60.0)
    }
}

fn bar(scale: &Scale, at: usize, day: &DayUsage) -> Markup {
    let (x, width, date) = (scale.x(at) + 1.0, (scale.step() - 2.0).max(1.0), day.day.to_string());
    let snapshots = day.at_end.snapshots.saturating_add(day.at_end.on_demand_snapshots);
    let logs = day.at_end.logs.saturating_add(day.at_end.histories);
    let is_named = scale.step() > 40.0 || at.is_multiple_of(7);
    html! {
        g {
            title { (format!("{:.10}: {} of snapshots, {} of log", date, HumanBytes(snapshots), HumanBytes(logs))) }
            rect.snapshots x=(format!("{x:.1}")) width=(format!("{width:.1}")) y=(format!("{:.1}", scale.y(snapshots))) height=(format!("{:.1}", scale.height(snapshots))) {}
            rect.logs x=(format!("{x:.1}")) width=(format!("{width:.1}")) y=(format!("{:.1}", scale.y(snapshots.saturating_add(logs)))) height=(format!("{:.1}", scale.height(logs))) {}
            @if is_named { text x=(format!("{x:.1}")) y=(HEIGHT - 8.0) { (date[5..10]) } }
        }
    }
}
