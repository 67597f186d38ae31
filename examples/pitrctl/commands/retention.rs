//! How long every instant stays restorable.

use std::fmt::{self, Display};

use indicatif::HumanBytes;
use pitr::model::{Change, ConfigUpdate, RetentionDays, ServerName, Timestamp};
use pitr::plan::retention::{RetentionChange, RetentionPolicy, plan_retention};
use serde::Serialize;

use super::{confirm, say_done};
use crate::cli::RetentionCommand;
use crate::exit::Result;
use crate::world::World;

pub(crate) async fn run(world: &World, command: RetentionCommand) -> Result<()> {
    match command {
        RetentionCommand::Show { server } => show(world, &server).await,
        RetentionCommand::Set { server, days, dry_run, consent } => {
            let update = ConfigUpdate::new().retention(days);
            let effects = Effects::of(&world.service.preview(&server, &update).await?);
            if dry_run {
                return world.output.say(&effects);
            }
            if effects.deletes > 0 {
                world.output.remark(&effects.to_string());
                confirm("Delete these? [yes]", "yes", consent.yes)?;
            }
            world.change(&server, Change::Configure(Box::new(update))).await?;
            say_done(world.output, said(&server, days, &effects), &effects)
        }
    }
}

fn said(server: &ServerName, days: RetentionDays, effects: &Effects) -> String {
    format!("every instant of {server} stays restorable for {} days. {effects}", days.days())
}

async fn show(world: &World, server: &ServerName) -> Result<()> {
    let server = world.server(server).await?;
    let (config, catalog) = (server.config().await?, server.inventory().await?.catalog);
    let now = pitr::adapter::system().clock.now();
    world.output.say(&plan_retention(&catalog, &RetentionPolicy::of(&config), &server.protections().await?, now))
}

/// What another retention does at once.
#[derive(Debug, Serialize)]
struct Effects {
    /// How many objects it deletes that the present one keeps.
    deletes: usize,
    frees_bytes: u64,
    /// How many objects it keeps that the present one deletes.
    spares: usize,
    earliest_before: Option<Timestamp>,
    earliest_after: Option<Timestamp>,
    promised_from: Option<Timestamp>,
}

impl Effects {
    fn of(change: &RetentionChange) -> Self {
        Self {
            deletes: change.newly_expired.len(),
            frees_bytes: change.newly_freed_bytes,
            spares: change.newly_kept.len(),
            earliest_before: change.earliest_before,
            earliest_after: change.earliest_after,
            promised_from: change.promised_from,
        }
    }
}

impl Display for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.deletes, self.spares) {
            (0, 0) => f.write_str("Nothing is deleted or spared by that now")?,
            (0, spares) => write!(f, "It spares {spares} objects that would be deleted")?,
            (deletes, _) => write!(f, "It deletes {deletes} objects, {}", HumanBytes(self.frees_bytes))?,
        }
        match (self.earliest_before, self.promised_from) {
            (Some(before), Some(from)) => {
                write!(f, ". The first instant that can be restored is {before}; promised from then on is {from}")
            }
            _ => Ok(()),
        }
    }
}
