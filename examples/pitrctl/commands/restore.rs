//! Restoring.

use std::fmt::{self, Display};
use std::path::Path;
use std::sync::Arc;

use pitr::adapter::postgres::{DataDirectory, LocalServer, OsUser, PgInstall, StopMode};
use pitr::engine::{Restore, RestoreSettings};
use pitr::model::{Change, FollowUp, RequestId, RestoreOutcome, RestoreRun, RestoreSpec, ServerName};
use serde::Serialize;
use serde_json::json;

use super::{POLL, say_done};
use crate::cli::RestoreArgs;
use crate::exit::{Exit, Failure, Result, unwell};
use crate::output::Lines;
use crate::point::PointArgs;
use crate::shared::stage;
use crate::world::World;

pub(crate) async fn run(world: &World, arguments: RestoreArgs) -> Result<()> {
    let RestoreArgs { server, point, name, replaces_original, no_wait, into } = arguments;
    match (name, into) {
        (Some(name), _) => {
            let spec = point.spec(name);
            let spec = if replaces_original { spec.replacing_original() } else { spec };
            order(world, &server, spec, no_wait).await
        }
        (None, Some(directory)) => here(world, &server, &point, &directory).await,
        (None, None) => Err(Failure::new(Exit::Usage, "--as or --into says where to restore to")),
    }
}

/// Has whoever serves make a new server.
async fn order(world: &World, server: &ServerName, spec: RestoreSpec, no_wait: bool) -> Result<()> {
    let (name, id) = (spec.name.clone(), &world.caller().request);
    let ordered = world.service.restore(server, world.caller(), spec).await;
    ordered.map_err(|error| world.repeatable(error))??;
    if no_wait {
        let said = format!("restore {id} will make {name}: `pitrctl restores {server}` says how far it is");
        return say_done(world.output, said, json!({ "restore": id, "server": name }));
    }
    let run = wait(world, server, id).await?;
    let is_made = matches!(run.outcome, Some(RestoreOutcome::Made(_)));
    world.output.say(&Run(run))?;
    unwell(is_made)
}

/// Waits until a restore is over. Whoever is interrupted can ask for it again by its request.
async fn wait(world: &World, server: &ServerName, id: &RequestId) -> Result<RestoreRun> {
    let spinner = world.output.spinner(format!("restore {id}: whoever serves with --servers makes it"));
    loop {
        let runs = world.service.restores(server).await?.runs;
        match runs.into_iter().find(|run| run.order.id == *id) {
            Some(run) if run.ended_at.is_some() => {
                spinner.finish_and_clear();
                return Ok(run);
            }
            Some(run) => spinner.set_message(format!("restore {id}: {}", stage(&run))),
            None => return Err(Failure::new(Exit::NotFound, format!("nothing is known any more of restore {id}"))),
        }
        tokio::time::sleep(POLL).await;
    }
}

pub(crate) async fn list(world: &World, server: &ServerName) -> Result<()> {
    let restores = world.service.restores(server).await?;
    for (object, error) in &restores.unreadable {
        world.output.remark(&format!("{object} cannot be read: {error}"));
    }
    world.output.say(&Runs(restores.runs.into_iter().map(Run).collect()))
}

pub(crate) async fn cancel(world: &World, server: &ServerName, restore: RequestId) -> Result<()> {
    world.change(server, Change::CancelRestore { restore: restore.clone() }).await?;
    say_done(world.output, format!("restore {restore} is cancelled"), json!({ "restore": restore }))
}

/// Restores into a directory of this machine, and lets PostgreSQL recover there.
async fn here(world: &World, server: &ServerName, point: &PointArgs, directory: &Path) -> Result<()> {
    let repository = world.server(server).await?;
    let mut catalog = repository.inventory().await?.catalog;
    let plan = repository.plan(&mut catalog, &point.request()).await??;
    world.output.remark(&plan.to_string());
    let mut target = DataDirectory::new(directory).delta();
    if let Some(user) = OsUser::for_servers()? {
        target = target.owner(user);
    }
    let local = LocalServer::new(PgInstall::discover(Some(plan.incarnation().major))?, directory);
    let (bar, observer) = world.output.progress("restore");
    let settings = RestoreSettings::default().observer(observer);
    let target = Arc::new(target);
    let feed = Restore::new(&repository, plan, target.clone()).settings(settings).run().await?;
    let running = feed.run_beside(async { Ok::<_, Failure>(local.start().await?) }).await?;
    bar.finish_and_clear();
    target.finish_recovery().await?;
    let last_commit = running.recovered()?.and_then(|recovered| recovered.last_commit);
    running.stop(StopMode::Fast).await?;
    let replayed = last_commit.map_or_else(String::new, |at| format!(", the last commit that was replayed at {at}"));
    let said = format!(
        "{server} is restored in {}{replayed}; PostgreSQL was stopped there in good order",
        directory.display()
    );
    say_done(world.output, said, json!({ "server": server, "directory": directory, "last_commit": last_commit }))
}

#[derive(Serialize)]
#[serde(transparent)]
struct Runs(Vec<Run>);

impl Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let runs: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&runs.join("\n"))
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Run(RestoreRun);

impl Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = &self.0.order;
        write!(
            f,
            "{}: {} as {}, ordered at {} by {}: ",
            order.id, order.spec.target, order.spec.name, order.at, order.by
        )?;
        match &self.0.outcome {
            Some(outcome) if self.0.ended_at.is_some() => write!(f, "{outcome}")?,
            _ => f.write_str(stage(&self.0))?,
        }
        if let (Some(failure), None) = (&self.0.failure, self.0.ended_at) {
            write!(f, "; failed {} times, the last time: {failure}", self.0.failures)?;
        }
        let Some(RestoreOutcome::Made(server)) = &self.0.outcome else { return Ok(()) };
        let tasks: Vec<_> = server.tasks.iter().map(told).collect();
        write!(f, "{}", Lines("  ", &tasks))
    }
}

fn told(FollowUp { task, is_done, .. }: &FollowUp) -> String {
    format!("[{}] {task}\n      {}", if *is_done { 'x' } else { ' ' }, task.why())
}
