//! Protecting servers.

use pitr::model::{Change, ConfigUpdate, ServerName, ServerSpec};
use pitr::port::SnapshotSource;
use serde_json::json;

use super::say_done;
use crate::cli::{Global, ProtectArgs, SourceArgs};
use crate::exit::Result;
use crate::output::Output;
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
