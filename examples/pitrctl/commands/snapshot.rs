//! Snapshots on demand.

use std::time::Instant;

use pitr::model::{Change, ServerName, Snapshot, Timestamp};
use serde_json::json;

use super::{PATIENCE, POLL, say_done};
use crate::exit::Result;
use crate::world::World;

pub(crate) async fn run(world: &World, server: &ServerName, no_wait: bool) -> Result<()> {
    let asked = world.change(server, Change::RequestSnapshot).await?.at;
    if no_wait {
        let said = format!("whoever serves takes a snapshot of {server} next");
        return say_done(world.output, said, json!({ "server": server, "requested_at": asked }));
    }
    let snapshot = wait(world, server, asked).await?;
    let said = format!("snapshot {} can be restored, as of {}", snapshot.id, snapshot.consistent_at);
    say_done(world.output, said, snapshot)
}

/// Waits for a snapshot that is consistent after `asked`, and has all of its log.
async fn wait(world: &World, server: &ServerName, asked: Timestamp) -> Result<Snapshot> {
    let spinner = world.output.spinner("whoever serves takes the snapshot");
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        let snapshots = world.service.restore_points(server).await?.snapshots;
        if let Some(snapshot) = snapshots.into_iter().find(|snapshot| snapshot.consistent_at > asked) {
            spinner.finish_and_clear();
            return Ok(snapshot);
        }
        if begun.elapsed() > PATIENCE {
            if !std::mem::replace(&mut is_told, true) {
                world.output.remark(&format!("it is not taken yet: does `pitrctl serve` run, and reach {server}?"));
            }
            let agenda = world.service.status(server).await?.agenda;
            if let Some(due) = agenda.due.iter().find(|due| due.failures > 0) {
                spinner.set_message(format!("it is tried again: {due}"));
            }
        }
        tokio::time::sleep(POLL).await;
    }
}
