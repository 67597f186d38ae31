//! What can be restored, and how.

use std::fmt::{self, Display};
use std::path::Path;

use indicatif::HumanBytes;
use pitr::model::{ServerName, Snapshot};
use pitr::plan::RestorePlan;
use pitr::service::RestorePoints;
use serde::Serialize;

use crate::exit::Result;
use crate::output::Lines;
use crate::point::PointArgs;
use crate::shared::timeline;
use crate::world::World;

pub(crate) async fn window(world: &World, server: &ServerName, svg: Option<&Path>) -> Result<()> {
    let points = world.service.restore_points(server).await?;
    draw(world, server, svg, None).await?;
    world.output.say(&Points(points))
}

pub(crate) async fn run(
    world: &World,
    server: &ServerName,
    point: &PointArgs,
    explain: bool,
    svg: Option<&Path>,
) -> Result<()> {
    let explanation = world.service.explain(server, &point.request()).await??;
    draw(world, server, svg, explanation.outcome.as_ref().ok()).await?;
    if explain {
        world.output.say(&explanation)?;
    }
    match explanation.outcome {
        Ok(plan) if !explain => world.output.say(&plan),
        Err(refusal) => Err(refusal.into()),
        Ok(_) => Ok(()),
    }
}

async fn draw(world: &World, server: &ServerName, file: Option<&Path>, plan: Option<&RestorePlan>) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    Ok(std::fs::write(file, timeline(&world.service, server, plan).await?)?)
}

#[derive(Serialize)]
#[serde(transparent)]
struct Points(RestorePoints);

impl Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for window in &self.0.windows {
            writeln!(f, "{}:", window.branch)?;
            for interval in &window.intervals {
                writeln!(f, "  every instant from {} to {}", interval.from, interval.until)?;
            }
            writeln!(f, "  later ones from {}", window.next)?;
        }
        let snapshots: Vec<_> = self.0.snapshots.iter().map(told).collect();
        write!(f, "{} snapshots:{}", snapshots.len(), Lines("  ", &snapshots))
    }
}

fn told(snapshot: &Snapshot) -> String {
    let Snapshot { id, consistent_at, logical_bytes, .. } = snapshot;
    let (size, added) = (HumanBytes(*logical_bytes), HumanBytes(snapshot.added_bytes()));
    format!("{id}, consistent at {consistent_at}: {size}, of which {added} were added to what is stored")
}
