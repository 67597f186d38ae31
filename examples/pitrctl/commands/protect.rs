//! Protecting servers.

use pitr::model::{Change, ConfigUpdate, ServerName, ServerSpec};
use pitr::port::SnapshotSource;
use serde_json::json;

use super::say_done;
use crate::cli::{ConfigureArgs, Global, ProtectArgs, SourceArgs};
use crate::exit::Result;
use crate::output::Output;
use crate::times::Interval;
use crate::world::{self, World};

pub(crate) async fn init(global: &Global) -> Result<()> {
    let (storage, key) = world::init(global).await?;
    let said = format!(
        "backups go to {storage}; they are wrapped by the key in {key}.\n\
         Keep a copy of it elsewhere: without it nothing can be restored, and whoever has it can read everything."
    );
    say_done(Output { json: global.json }, said, json!({ "repository": storage, "key": key }))
}

pub(crate) async fn run(world: &World, arguments: ProtectArgs) -> Result<()> {
    let ProtectArgs { server, source, retention, storage } = arguments;
    let identity = source.server()?.identify().await?;
    let mut spec = ServerSpec::new(server, identity.incarnation.major);
    (spec.retention, spec.storage_bytes) = (retention, u64::from(storage) << 30);
    source.note(&mut spec);
    let created = world.service.create(world.caller(), spec).await;
    let spec = created.map_err(|error| world.repeatable(error))?.spec;
    let (name, major, days) = (&spec.name, spec.postgres, spec.retention.days());
    let said = format!(
        "{name}, PostgreSQL {major}, is protected: every instant of {days} days can be restored once `pitrctl serve` \
         has taken its first snapshot"
    );
    let (incarnation, postgres) = (identity.incarnation, spec.postgres);
    say_done(
        world.output,
        said,
        json!({ "server": name, "incarnation": incarnation, "postgres": postgres, "retention_days": days }),
    )
}

pub(crate) async fn connect(world: &World, server: &ServerName, source: &SourceArgs) -> Result<()> {
    let identity = source.server()?.identify().await?;
    let mut spec = world.server(server).await?.spec().await?;
    source.note(&mut spec);
    let mut update = ConfigUpdate::new();
    update.tags = Some(spec.tags);
    world.change(server, Change::Configure(Box::new(update))).await?;
    let said = format!("{server} is reached there from now on: it is {}", identity.incarnation);
    say_done(world.output, said, json!({ "server": server, "incarnation": identity.incarnation }))
}

pub(crate) async fn configure(world: &World, arguments: ConfigureArgs) -> Result<()> {
    let server = &arguments.server;
    let mut schedule = world.server(server).await?.config().await?.schedule;
    set(&mut schedule.log_backup_every, arguments.log_backup_every);
    set(&mut schedule.snapshot_every, arguments.snapshot_every);
    set(&mut schedule.snapshot_at, arguments.snapshot_at);
    set(&mut schedule.recovery_time_objective, arguments.recovery_time_objective.map(|Interval(every)| every));
    set(&mut schedule.verification_every, arguments.verification_every);
    set(&mut schedule.test_restore_every, arguments.test_restore_every.map(|Interval(every)| every));
    let mut update = ConfigUpdate::new().schedule(schedule);
    update.delete_grace = arguments.delete_grace;
    update.storage_bytes = arguments.storage.map(|gib| u64::from(gib) << 30);
    let config = world.change(server, Change::Configure(Box::new(update))).await?.config;
    let said = format!("{server} is backed up so from now on");
    say_done(
        world.output,
        said,
        json!({ "schedule": config.schedule, "delete_grace": config.delete_grace.as_secs(), "storage_bytes": config.spec.storage_bytes }),
    )
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}
